"""The keys of a recipe of guided search."""

from __future__ import annotations

from pydantic import Field, model_validator

from vilbench.config.collecting import (
    BudgetConfig,
    CollectRecipe,
    EvaluatorConfig,
    PolicyConfig,
    PricesConfig,
    SearchScorerConfig,
    WidthConfig,
    recalling,
)
from vilbench.config.recipe import Experiment, Recipe, SampleConfig
from vilbench.search import Guided
from vilbench.types import Whole


class SearchRecipe(Experiment):
    """One solution a problem, searched step by step under a scorer of steps.

    Attributes:
        policy: Goes on from prefixes.
        scorer: Values them: a reward model, or a judge of steps.
        search: Beams, widths and groups.
        keep: Solutions of a problem that are kept, the best first.
        budget: Limits of each search.
        total: Limits of the run; a run may go on with others.
        prices: For limits of money.
        width: How much happens at a time.
    """

    policy: PolicyConfig
    scorer: SearchScorerConfig
    search: Guided = Guided()
    keep: Whole = Field(default=1, ge=1)
    budget: BudgetConfig = BudgetConfig()
    total: BudgetConfig = BudgetConfig()
    prices: PricesConfig = PricesConfig()
    width: WidthConfig = WidthConfig()

    @model_validator(mode="after")
    def _can_be_searched(self) -> SearchRecipe:
        if self.scorer.plan().granularity != "step":
            raise ValueError("scorer.granularity: a search needs values of steps")
        self.trees()
        return self

    def trees(self) -> CollectRecipe:
        """The recipe that grows the trees of the searches."""
        return CollectRecipe(
            name=self.name,
            seed=self.seed,
            problems=self.problems,
            max_failures=self.max_failures,
            expect=self.expect,
            policy=self.policy,
            search=self.search,
            evaluator=EvaluatorConfig(scorer=self.scorer),
            budget=self.budget,
            total=self.total,
            prices=self.prices,
            width=self.width,
        )

    def run(self) -> Recipe:
        """The recipe by which what was found is analysed, reported and scored by others."""
        return Recipe(
            name=self.name,
            seed=self.seed,
            problems=self.problems,
            max_failures=self.max_failures,
            expect=self.expect,
            sample=SampleConfig(
                engine=recalling(self.policy.engine, recall=False),
                format=self.policy.format,
                n=self.keep,
                temperature=self.policy.temperature,
                top_p=self.policy.top_p,
                max_tokens=self.policy.max_tokens,
            ),
            scorers=(recalling(self.scorer, recall=False),),
            main=self.scorer.name,
        )

    def models(self) -> tuple[str, ...]:
        """Models of folders that it names, each once."""
        return self.trees().models()
