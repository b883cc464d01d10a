"""From a recipe to what it needs: problems, samplers, scorers, searches, and an analysis."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vilbench.collect.budget import Budget, Price, Prices
from vilbench.collect.evaluator import Evaluator, Reading
from vilbench.collect.export import StoredTrees
from vilbench.collect.forest import Width
from vilbench.collect.growth import Method
from vilbench.collect.policy import Limits, Policy
from vilbench.config.collecting import CollectRecipe, EvaluatorConfig
from vilbench.config.engine import EngineConfig, LocalEngineConfig, OpenAIEngineConfig
from vilbench.config.models import Engines, scoring_width
from vilbench.config.problems import load_problem_set
from vilbench.config.recipe import Experiment, ExtractionConfig, Recipe
from vilbench.config.scorers import JudgeConfig, PrmScorerConfig, ScorerConfig
from vilbench.config.staff import Staff
from vilbench.engines.openai.money import TokenPrice, price_of
from vilbench.errors import RecipeError
from vilbench.evaluate.analysis import Plan
from vilbench.evaluate.extraction import PROMPTS as EXTRACTION_PROMPTS
from vilbench.evaluate.extraction import Extractor
from vilbench.evaluate.sampling import Sampler
from vilbench.evaluate.stages import SAMPLE, SCORE
from vilbench.problems.sets import ProblemSet, together
from vilbench.search import Again, AnySettings, TreeRecord
from vilbench.steps import FORMATS
from vilbench.store import trees
from vilbench.store.records import EXTRACT
from vilbench.store.run import Run
from vilbench.types import Generator, Sampling, StepScorer


def load_problems(recipe: Experiment) -> ProblemSet:
    """The recipe's problems; the path of a file is relative to the current folder.

    Raises:
        InputError: There are none to use.
    """
    return together([load_problem_set(one, recipe.seed) for one in recipe.problem_sets])


def plan(recipe: Recipe) -> Plan:
    """How a run of the recipe is analysed; no model is needed."""
    scorers = tuple(scorer.plan() for scorer in recipe.scorers)
    blends = tuple(one.plan() for one in recipe.blends)
    reading = recipe.sample.extraction
    use = reading is not None and reading.use
    return Plan(recipe.sample.n, scorers, recipe.main, blends, _prices(recipe), use)


def _prices(recipe: Recipe) -> Mapping[str, TokenPrice]:
    """Prices of the servers' models by stage; a local model has none."""
    models = {SAMPLE: recipe.sample.engine} | {
        one.name: one.engine for one in recipe.scorers if not isinstance(one, PrmScorerConfig)
    }
    if recipe.sample.extraction is not None:
        models[EXTRACT] = recipe.sample.extraction.engine
    found = {}
    for stage, engine in models.items():
        if isinstance(engine, OpenAIEngineConfig):
            given = engine.price and TokenPrice(**engine.price.model_dump())
            found[stage] = given or price_of(engine.model)
    return {stage: price for stage, price in found.items() if price is not None}


class Built(NamedTuple):
    """What stages of a recipe need, built; close the engines when they are done.

    Attributes:
        sampler: None where nothing is sampled.
        scorers: In the recipe's order.
        widths: Problems that each scorer has under way at a time.
        engines: Those of all of them.
        extractor: Names answers of sampled solutions; None where nothing is sampled, or the
            recipe has none.
        concurrency: Problems that are sampled at a time.
    """

    sampler: Sampler | None
    scorers: tuple[StepScorer, ...]
    widths: tuple[int, ...]
    engines: tuple[Any, ...]
    extractor: Extractor | None = None
    concurrency: int = 1


def build(
    recipe: Recipe, stages: Collection[str] = (SAMPLE, SCORE), staff: Staff | None = None
) -> Built:
    """Builds what `stages` need; engines that are configured alike are built once.

    Args:
        recipe: Of what.
        stages: Which of its stages.
        staff: Workers that hold some of the models.

    Raises:
        InputError: A checkpoint cannot be loaded.
    """
    engines = Engines(staff)
    sampler = sampler_of(recipe, engines[recipe.sample.engine]) if SAMPLE in stages else None
    configs = recipe.scorers if SCORE in stages else ()
    scorers = tuple(engines.scorer(config) for config in configs)
    widths = tuple(engines.scoring_width(config, recipe.sample.n) for config in configs)
    reading = recipe.sample.extraction if SAMPLE in stages else None
    extractor = None if reading is None else _extractor(reading, engines[reading.engine])
    concurrency = engines.width(recipe.sample.engine, recipe.concurrency)
    return Built(sampler, scorers, widths, engines.closing(scorers), extractor, concurrency)


def _extractor(config: ExtractionConfig, generator: Generator) -> Extractor:
    prompt = EXTRACTION_PROMPTS[config.prompt]
    return Extractor(generator, prompt, config.of, config.use, config.max_tokens)


def build_scorers(configs: Collection[ScorerConfig], n: int) -> Built:
    """Builds scorers alone, for pools of `n`; engines that are configured alike are built once.

    Raises:
        InputError: A checkpoint cannot be loaded.
    """
    engines = Engines()
    scorers = tuple(engines.scorer(config) for config in configs)
    widths = tuple(scoring_width(config, n) for config in configs)
    return Built(None, scorers, widths, engines.closing(scorers))


def build_engine(config: EngineConfig) -> Any:
    """Builds an engine alone; close it when it is done.

    Raises:
        InputError: A checkpoint cannot be loaded, or a key is not at hand.
    """
    return Engines()[config]


class BuiltMethod(NamedTuple):
    """What collecting by a recipe needs, built; close the engines when it is done."""

    method: Method
    width: Width
    total: Budget
    engines: tuple[Any, ...]


def build_method(recipe: CollectRecipe, staff: Staff | None = None) -> BuiltMethod:
    """Builds the models of a recipe that collects.

    Args:
        recipe: The recipe.
        staff: Workers that hold some of the models.

    Raises:
        InputError: A checkpoint cannot be loaded.
        RunError: The run whose trees are continued again holds none.
    """
    engines = Engines(staff)
    scoring = recipe.evaluator.scorer
    scorer = None if scoring is None else engines.scorer(scoring)
    method = method_of(recipe, engines[recipe.policy.engine], scorer, bound(recipe.search))
    width, total = engines.widths(recipe), Budget(**recipe.total.model_dump())
    closing = engines.closing([] if scorer is None else [scorer])
    return BuiltMethod(method, width, total, closing)


def method_of(
    recipe: CollectRecipe,
    generator: Generator,
    scorer: StepScorer | None,
    search: AnySettings,
) -> Method:
    """How the recipe grows trees, by models that are there."""
    config = recipe.policy
    policy = Policy(
        generator=generator,
        format=FORMATS[config.format],
        temperature=config.temperature,
        top_p=config.top_p,
        limits=Limits(
            config.max_tokens, config.step_tokens, config.step_characters, config.max_depth
        ),
        seed=recipe.seed,
    )
    return Method(
        search=search,
        policy=policy,
        evaluator=_evaluator(recipe.evaluator, scorer, policy.joint),
        budget=Budget(**recipe.budget.model_dump()),
        prices=Prices(
            Price(**recipe.prices.policy.model_dump()),
            Price(**recipe.prices.evaluator.model_dump()),
        ),
    )


def bound(search: AnySettings) -> AnySettings:
    """A search with the trees at hand that it continues, where it does.

    Raises:
        RunError: The run that holds them is not there, or holds none.
    """
    if not isinstance(search, Again):
        return search
    folder = Path(search.of)
    with Run.read(folder) as run:
        key = StoredTrees(run).key

    def other(problem_id: str) -> TreeRecord | None:
        with Run.read(folder) as run:
            return trees.one(run, key, problem_id)

    return search.bound(other, key)


def _evaluator(config: EvaluatorConfig, scorer: StepScorer | None, joint: str) -> Evaluator:
    if config.scorer is None or scorer is None:
        return Evaluator(joint=joint)
    scale = config.scorer.plan().scale
    if scale is None:
        raise RecipeError("its values have no bounds", field="evaluator.scorer")
    reading: Reading = "all-steps"
    if isinstance(config.scorer, JudgeConfig):
        reading = "last-steps" if config.scorer.granularity == "step" else "whole"
    return Evaluator(
        scorer, reading, scale.low, scale.high, config.scorer_weight, config.grade_weight, joint
    )


def sampler_of(recipe: Recipe, generator: Generator) -> Sampler:
    """How the recipe draws pools, by a model that is there."""
    config = recipe.sample
    return Sampler(
        generator=generator,
        format=FORMATS[config.format],
        n=config.n,
        sampling=Sampling(config.temperature, config.top_p, config.max_tokens),
        seed=recipe.seed,
        max_steps=config.max_steps,
    )


def build_all(configs: Sequence[EngineConfig | ScorerConfig]) -> tuple[Any, ...]:
    """Builds models for a worker; engines that are configured alike are built once.

    Raises:
        InputError: A checkpoint cannot be loaded.
    """
    engines = Engines()
    return tuple(
        engines[one]
        if isinstance(one, LocalEngineConfig | OpenAIEngineConfig)
        else engines.scorer(one)
        for one in configs
    )
