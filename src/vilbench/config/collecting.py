"""The keys of a recipe that collects step values by tree search."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field, JsonValue, model_validator

from vilbench.config.engine import CONTINUING, EngineConfig, LocalEngineConfig, OpenAIEngineConfig
from vilbench.config.recipe import Experiment, folders
from vilbench.config.scorers import JudgeConfig, PrmScorerConfig, StepScorerConfig
from vilbench.search import RestMcts, Settings
from vilbench.steps import FormatName
from vilbench.types import Number, Record, Whole

Asked = TypeVar("Asked", EngineConfig, StepScorerConfig)


def recalling(config: Asked, *, recall: bool, unless_told: bool = False) -> Asked:
    """A model that keeps, or does not keep, what it computed for requests that begin alike.

    Args:
        config: An engine, or a scorer; those behind servers stay as they are.
        recall: Whether it keeps it.
        unless_told: Whether a configuration that says so itself stays as it is.
    """
    if isinstance(config, JudgeConfig):
        engine = recalling(config.engine, recall=recall, unless_told=unless_told)
        return config.model_copy(update={"engine": engine})
    if not isinstance(config, LocalEngineConfig | PrmScorerConfig):
        return config
    if unless_told and "recall" in config.model_fields_set:
        return config
    return config.model_copy(update={"recall": recall})


def _for_search(config: Asked) -> Asked:
    """Searches ask for the same problem again and again."""
    return recalling(config, recall=True, unless_told=True)


SearchScorerConfig = Annotated[StepScorerConfig, AfterValidator(_for_search)]
"""A scorer that values the steps of a search."""


class PolicyConfig(Record):
    """The model that goes on from prefixes, and the bounds of its text.

    Attributes:
        max_tokens: Most tokens of a continuation to the end.
        step_tokens: Most tokens of a step, where steps are asked for one by one.
        step_characters: Most characters of a step.
        max_depth: Most steps of a solution.
    """

    engine: Annotated[EngineConfig, AfterValidator(_for_search)]
    format: FormatName = "steps"
    temperature: Number = Field(default=1.0, ge=0)
    top_p: Number = Field(default=1.0, gt=0, le=1)
    max_tokens: Whole = Field(default=1024, ge=1)
    step_tokens: Whole = Field(default=256, ge=1)
    step_characters: Whole = Field(default=2000, ge=1)
    max_depth: Whole = Field(default=32, ge=1)


class EvaluatorConfig(Record):
    """What values prefixes.

    Attributes:
        scorer: A judge or a reward model, whose values are brought to [0, 1]; None for the
            grade of finished answers alone.
        scorer_weight: Of its value at the end of a finished solution.
        grade_weight: Of the grade there, 1 for a right answer and 0 for another.
    """

    scorer: SearchScorerConfig | None = None
    scorer_weight: Number = Field(default=1.0, ge=0)
    grade_weight: Number = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _weighs_something(self) -> EvaluatorConfig:
        if self.scorer is None and (self.scorer_weight, self.grade_weight) != (1.0, 0.0):
            raise ValueError("weights are for a scorer beside the grade: give a scorer")
        if self.scorer_weight + self.grade_weight == 0:
            raise ValueError("one of the weights must be above 0")
        return self


class BudgetConfig(Record):
    """Most of what may be spent; None is no limit.

    Attributes:
        nodes: Nodes, without roots.
        policy_tokens: Tokens that the policy writes.
        evaluator_calls: Prefixes that the evaluator is asked about.
        seconds: Of a tree, the time that its rounds of requests take; of a run, the time since
            it was started or gone on with.
        money: By `prices`.
    """

    nodes: Whole | None = Field(default=None, ge=1)
    policy_tokens: Whole | None = Field(default=None, ge=1)
    evaluator_calls: Whole | None = Field(default=None, ge=1)
    seconds: Number | None = Field(default=None, gt=0)
    money: Number | None = Field(default=None, gt=0)


class PriceConfig(Record):
    """Money for a million tokens."""

    prompt: Number = Field(default=0.0, ge=0)
    completion: Number = Field(default=0.0, ge=0)


class PricesConfig(Record):
    """Prices of both models, in one currency."""

    policy: PriceConfig = PriceConfig()
    evaluator: PriceConfig = PriceConfig()


class WidthConfig(Record):
    """How much happens at a time; no tree depends on it, but for rounding.

    Attributes:
        trees: Trees that grow.
        policy: Requests to the policy under way.
        evaluator: Calls of the evaluator under way.
    """

    trees: Whole = Field(default=64, ge=1)
    policy: Whole = Field(default=32, ge=1)
    evaluator: Whole = Field(default=32, ge=1)


class CollectRecipe(Experiment):
    """Step values by tree search.

    Attributes:
        search: Which search, and its settings.
        budget: Limits of each tree.
        total: Limits of the run; a run may go on with others.
        prices: For limits of money.
    """

    policy: PolicyConfig
    search: Settings
    evaluator: EvaluatorConfig = EvaluatorConfig()
    budget: BudgetConfig = BudgetConfig()
    total: BudgetConfig = BudgetConfig()
    prices: PricesConfig = PricesConfig()
    width: WidthConfig = WidthConfig()

    @model_validator(mode="after")
    def _can_be_searched(self) -> CollectRecipe:
        grades = self.evaluator.scorer is None
        if isinstance(self.search, RestMcts) and grades and self.search.ahead is not None:
            raise ValueError(
                "search.ahead: the grade of answers alone values finished solutions only: "
                "look ahead to their end (ahead: null), or give evaluator.scorer"
            )
        policy = self.policy.engine
        if isinstance(policy, OpenAIEngineConfig) and not policy.continues:
            raise ValueError(
                "policy.engine.server: a search goes on from prefixes, which needs a server that "
                f"continues a reply it is given ({', '.join(CONTINUING)})"
            )
        priced = self.prices != PricesConfig()
        if (self.budget.money or self.total.money) and not priced:
            raise ValueError("prices: a limit of money needs them")
        return self

    def models(self) -> tuple[str, ...]:
        """Models of folders that it names, each once."""
        scorer = self.evaluator.scorer
        if scorer is None:
            return folders(self.policy.engine)
        used = scorer if isinstance(scorer, PrmScorerConfig) else scorer.engine
        return folders(self.policy.engine, used)

    def identity(self) -> dict[str, JsonValue]:
        """What changes a tree, for the run's fingerprint."""
        apart = {"total", "width"} if self.budget.money else {"total", "width", "prices"}
        return {key: value for key, value in super().identity().items() if key not in apart}
