"""From a recipe to what it names: problems, engines, scorers, and how to analyse them."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
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
from vilbench.config.problems import load_problem_set
from vilbench.config.recipe import (
    Experiment,
    ExtractionConfig,
    JudgeConfig,
    LikelihoodConfig,
    PrmScorerConfig,
    Recipe,
    RemoteScorerConfig,
    ScorerConfig,
)
from vilbench.config.searching import SearchRecipe
from vilbench.config.staff import Staff
from vilbench.embedded import PREFIX, model_folder
from vilbench.engines.openai.money import TokenPrice, price_of
from vilbench.errors import RecipeError
from vilbench.evaluate.analysis import Plan
from vilbench.evaluate.extraction import PROMPTS as EXTRACTION_PROMPTS
from vilbench.evaluate.extraction import Extractor
from vilbench.evaluate.sampling import Sampler
from vilbench.evaluate.stages import SAMPLE, SCORE
from vilbench.problems.sets import ProblemSet, together
from vilbench.scorers.judge import PROMPTS
from vilbench.search import Again, AnySettings, TreeRecord
from vilbench.steps import FORMATS
from vilbench.store import trees
from vilbench.store.records import EXTRACT
from vilbench.store.run import Run
from vilbench.types import Generator, LikelihoodModel, Sampling, StepScorer

_CLASSES: Mapping[str, str] = {
    "engine/local": "vilbench.engines.local:LocalEngine",
    "engine/openai": "vilbench.engines.openai.engine:OpenAIEngine",
    "openai/images": "vilbench.engines.openai.pictures:ImagePolicy",
    "openai/patience": "vilbench.engines.openai.attempts:Patience",
    "openai/price": "vilbench.engines.openai.money:TokenPrice",
    "scorer/judge": "vilbench.scorers.judge:JudgeScorer",
    "scorer/likelihood": "vilbench.scorers.likelihood:LikelihoodScorer",
    "scorer/prm": "vilbench.scorers.prm:PrmScorer",
    "scorer/remote": "vilbench.scorers.remote:RemoteScorer",
    "remote/look": "vilbench.scorers.remote:look",
    "prm/trained": "vilbench.prm.folder:load",
    "prm/untrained": "vilbench.prm.folder:untrained",
    "prm/scoring": "vilbench.prm.scoring:PrmScoring",
}

_LOCAL_ENGINE = "engines of kind local need {}: pip install 'vilbench[local]'"
_PRM = "scorers of kind prm need {}: pip install 'vilbench[local]'"
_REMOTE = "scorers of kind remote need {}: pip install 'vilbench[openai]'"
_LACKING: Mapping[str, str] = {
    "engine/local": _LOCAL_ENGINE,
    "engine/openai": "engines of kind openai need {}: pip install 'vilbench[openai]'",
    "scorer/remote": _REMOTE,
    "remote/look": _REMOTE,
    "prm/trained": _PRM,
    "prm/untrained": _PRM,
    "prm/scoring": _PRM,
}
"""What is said where a library of an extra is not installed."""


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


def check_keys(recipe: Experiment, stages: Collection[str] = (SAMPLE, SCORE)) -> None:
    """Looks for the keys of all servers that stages of a recipe ask; nothing is loaded.

    Raises:
        RecipeError: One is not at hand.
    """
    for one in _models(recipe, stages):
        _check_key(one)


def check_scorer_keys(scorers: Collection[ScorerConfig]) -> None:
    """Looks for the keys of all servers that scorers ask; nothing is loaded.

    Raises:
        RecipeError: One is not at hand.
    """
    for one in scorers:
        _check_key(one)


def check_libraries(
    recipe: Experiment, stages: Collection[str] = (SAMPLE, SCORE), *, away: bool = False
) -> None:
    """Imports what the models of stages of a recipe are made by; no model is loaded.

    Args:
        recipe: Whose models.
        stages: Which of its stages.
        away: Whether workers load what is not behind a server.

    Raises:
        RecipeError: A library is not installed.
    """
    for one in _models(recipe, stages):
        for name in _maker_names(one, away=away):
            _load_class(name)


def _models(recipe: Experiment, stages: Collection[str]) -> Iterator[EngineConfig | ScorerConfig]:
    """The models that stages of a recipe ask."""
    if isinstance(recipe, SearchRecipe):
        recipe = recipe.trees()
    if isinstance(recipe, Recipe):
        if SAMPLE in stages:
            yield recipe.sample.engine
            if recipe.sample.extraction is not None:
                yield recipe.sample.extraction.engine
        if SCORE in stages:
            yield from recipe.scorers
    elif isinstance(recipe, CollectRecipe):
        yield recipe.policy.engine
        if recipe.evaluator.scorer is not None:
            yield recipe.evaluator.scorer


def _engine_of(config: EngineConfig | ScorerConfig) -> EngineConfig | None:
    """The engine itself, or the one that a scorer asks; None of a reward model."""
    if isinstance(config, LocalEngineConfig | OpenAIEngineConfig):
        return config
    return None if isinstance(config, PrmScorerConfig) else config.engine


def _check_key(config: EngineConfig | ScorerConfig) -> None:
    engine = _engine_of(config)
    if isinstance(engine, OpenAIEngineConfig):
        _key(engine)


def _maker_names(config: EngineConfig | ScorerConfig, *, away: bool) -> Collection[str]:
    """Names of the classes that need an extra of the package."""
    if isinstance(config, RemoteScorerConfig):
        return ("remote/look", "scorer/remote")
    engine = _engine_of(config)
    if isinstance(engine, OpenAIEngineConfig):
        return ("engine/openai",)
    if away:
        return ()
    return ("engine/local",) if engine is not None else ("prm/trained", "prm/scoring")


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
    engines = _Engines(staff)
    sampler = sampler_of(recipe, engines[recipe.sample.engine]) if SAMPLE in stages else None
    configs = recipe.scorers if SCORE in stages else ()
    scorers = tuple(_any_scorer(config, engines) for config in configs)
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
    engines = _Engines()
    scorers = tuple(_any_scorer(config, engines) for config in configs)
    widths = tuple(scoring_width(config, n) for config in configs)
    return Built(None, scorers, widths, engines.closing(scorers))


def build_engine(config: EngineConfig) -> Any:
    """Builds an engine alone; close it when it is done.

    Raises:
        InputError: A checkpoint cannot be loaded, or a key is not at hand.
    """
    return _Engines()[config]


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
    engines = _Engines(staff)
    scoring = recipe.evaluator.scorer
    scorer = None if scoring is None else _any_scorer(scoring, engines)
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


class _Engines(dict[EngineConfig, Any]):
    """Engines by their configuration, each built when it is asked for, here or on workers."""

    def __init__(self, staff: Staff | None = None) -> None:
        super().__init__()
        self._staff = staff

    def __missing__(self, config: EngineConfig) -> Any:
        engine = self.away(config)
        if engine is None:
            engine = _local(config) if isinstance(config, LocalEngineConfig) else _openai(config)
        self[config] = engine
        return engine

    def away(self, config: EngineConfig | ScorerConfig) -> Any:
        """The model on workers; None where they do not hold it."""
        return None if self._staff is None else self._staff.model(config)

    def width(self, config: EngineConfig | ScorerConfig, here: int) -> int:
        """Calls of a model under way at a time: `here` of one that is not on workers."""
        return here if self._staff is None else self._staff.width(config, here)

    def scoring_width(self, config: ScorerConfig, n: int) -> int:
        """Problems that a scorer has under way at a time, in pools of `n`."""
        return self.width(config, scoring_width(config, n))

    def widths(self, recipe: CollectRecipe) -> Width:
        """How much of a search happens at a time; more trees where workers would wait."""
        here, scorer = Width(**recipe.width.model_dump()), recipe.evaluator.scorer
        policy = self.width(recipe.policy.engine, here.policy)
        evaluator = here.evaluator if scorer is None else self.width(scorer, here.evaluator)
        return Width(max(here.trees, policy), policy, evaluator)

    def closing(self, scorers: Collection[StepScorer]) -> tuple[Any, ...]:
        """All that is to be closed: the engines, and scorers that hold connections."""
        here = (one for config, one in self.items() if self.away(config) is None)
        workers = () if self._staff is None else (self._staff.pool,)
        return (*here, *(one for one in scorers if hasattr(one, "aclose")), *workers)


def _local(config: LocalEngineConfig) -> Any:
    shipped = config.model.startswith(PREFIX)
    return _load_class("engine/local")(
        model_folder(config.model),
        name=config.model.removeprefix(PREFIX) if shipped else None,
        device=config.device,
        dtype=config.dtype,
        max_batch_tokens=config.max_batch_tokens,
        recall=config.recall,
    )


def _openai(config: OpenAIEngineConfig) -> Any:
    """The client of a server.

    Raises:
        RecipeError: Its key is not at hand, its library is not installed, or a budget has no
            price to count by.
    """
    made = _load_class("engine/openai")
    price = config.price
    return made(
        config.model,
        config.dialect,
        base_url=config.base_url,
        api_key=_key(config),
        revision=config.revision,
        concurrency=config.concurrency,
        price=None if price is None else _load_class("openai/price")(**price.model_dump()),
        budget=config.budget_usd,
        images=_load_class("openai/images")(**config.image.model_dump()),
        max_n=config.max_n,
        top_logprobs=config.top_logprobs,
        answers_as=config.answers_as,
        patience=_load_class("openai/patience")(**config.patience.model_dump()),
        extra=config.extra,
        omit=config.omit,
    )


def _key(config: OpenAIEngineConfig) -> str | None:
    variable = config.api_key_env
    if variable is None:
        if config.base_url is not None:
            return None
        variable = "OPENAI_API_KEY"
    key = os.environ.get(variable, "").strip()
    if not key:
        raise RecipeError(f"the environment variable {variable} holds no key", field="api_key_env")
    return key


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


def scoring_width(config: ScorerConfig, n: int) -> int:
    """Problems that a scorer has under way at a time, in pools of `n`.

    One fills the batches of a local model, and no value depends on others then; a server is
    kept busy by as many as it takes requests.
    """
    if isinstance(config, PrmScorerConfig) or isinstance(config.engine, LocalEngineConfig):
        return 1
    if isinstance(config, RemoteScorerConfig):
        return config.concurrency
    return max(1, math.ceil(config.engine.concurrency / n))


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
    engines = _Engines()
    return tuple(
        engines[one]
        if isinstance(one, LocalEngineConfig | OpenAIEngineConfig)
        else _any_scorer(one, engines)
        for one in configs
    )


def _any_scorer(config: ScorerConfig, engines: _Engines) -> StepScorer:
    away: StepScorer | None = engines.away(config)
    if away is not None:
        return away
    if isinstance(config, PrmScorerConfig):
        return _prm(config)
    if isinstance(config, RemoteScorerConfig):
        return _remote(config)
    return scorer_of(config, engines[config.engine])


def _prm(config: PrmScorerConfig) -> StepScorer:
    """The reward model, loaded.

    Raises:
        CheckpointError: It cannot be loaded.
        RecipeError: Its values have other bounds than the recipe has, or a library is missing.
    """
    folder = model_folder(config.model)
    place = {"device": config.device, "dtype": config.dtype}
    if config.untrained:
        loaded = _load_class("prm/untrained")(
            folder,
            config.head_seed or 0,
            format=FORMATS[config.format or "steps"],
            name=config.model.removeprefix(PREFIX),
            value_range=config.value_range,
            **place,
        )
    else:
        loaded = _load_class("prm/trained")(folder, **place)
    bounds = loaded.config.value_range
    if bounds != config.value_range:
        raise RecipeError(
            f"the model's values have the bounds {list(bounds)}", field=f"{config.name}.value_range"
        )
    scoring = _load_class("prm/scoring")(loaded, config.way, config.max_batch_tokens)
    scorer: StepScorer = _load_class("scorer/prm")(scoring, loaded.fingerprint, config.name)
    return scorer


def _remote(config: RemoteScorerConfig) -> StepScorer:
    """The scorer behind its server, which is asked what it is.

    Raises:
        CheckpointError: The server does not answer, or serves no such scorer.
        RecipeError: Its values are others than the recipe says, or a library is missing.
    """
    look, made = _load_class("remote/look"), _load_class("scorer/remote")
    key = None if config.api_key_env is None else _key(config.engine)
    patience = _load_class("openai/patience")(**config.patience.model_dump())
    served = look(config.base_url, config.model, key, patience)
    bounds = None if served.low is None else (served.low, served.high)
    if (served.granularity, bounds) != (config.granularity, config.value_range):
        raise RecipeError(
            f"the server's scorer gives values of {served.granularity}s within {bounds}",
            field=f"{config.name}.value_range",
        )
    scorer: StepScorer = made(
        config.base_url,
        served,
        api_key=key,
        name=config.name,
        concurrency=config.concurrency,
        patience=patience,
    )
    return scorer


def scorer_of(
    config: JudgeConfig | LikelihoodConfig, engine: Generator | LikelihoodModel
) -> StepScorer:
    """A scorer by a model that is there."""
    scorer: StepScorer
    if isinstance(config, JudgeConfig):
        scorer = _load_class("scorer/judge")(
            engine,
            config.granularity,
            PROMPTS[config.prompt],
            expectation=config.expectation,
            name=config.name,
        )
    else:
        scorer = _load_class("scorer/likelihood")(engine, FORMATS[config.format], name=config.name)
    return scorer


def _load_class(name: str) -> Any:
    """What `_CLASSES` has under a name.

    Raises:
        RecipeError: A library that it needs is not installed.
    """
    module, _, attribute = _CLASSES[name].partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if name not in _LACKING:
            raise
        raise RecipeError(_LACKING[name].format(error.name)) from error
