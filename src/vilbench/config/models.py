"""From the configuration of an engine or a scorer to the thing itself."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from vilbench.collect.forest import Width
from vilbench.config.checking import key_of
from vilbench.config.classes import load_class
from vilbench.config.collecting import CollectRecipe
from vilbench.config.engine import EngineConfig, LocalEngineConfig, OpenAIEngineConfig
from vilbench.config.scorers import (
    JudgeConfig,
    LikelihoodConfig,
    PrmScorerConfig,
    RemoteScorerConfig,
    ScorerConfig,
)
from vilbench.config.staff import Staff
from vilbench.embedded import PREFIX, model_folder
from vilbench.errors import RecipeError
from vilbench.scorers.judge import PROMPTS
from vilbench.steps import FORMATS
from vilbench.types import Generator, LikelihoodModel, StepScorer


class Engines(dict[EngineConfig, Any]):
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

    def scorer(self, config: ScorerConfig) -> StepScorer:
        """The scorer of a configuration, built anew unless it is on workers.

        Raises:
            InputError: A checkpoint cannot be loaded, or a key is not at hand.
        """
        away: StepScorer | None = self.away(config)
        if away is not None:
            return away
        if isinstance(config, PrmScorerConfig):
            return _prm(config)
        if isinstance(config, RemoteScorerConfig):
            return _remote(config)
        return scorer_of(config, self[config.engine])

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
    return load_class("engine/local")(
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
    made = load_class("engine/openai")
    price = config.price
    return made(
        config.model,
        config.dialect,
        base_url=config.base_url,
        api_key=key_of(config),
        revision=config.revision,
        concurrency=config.concurrency,
        price=None if price is None else load_class("openai/price")(**price.model_dump()),
        budget=config.budget_usd,
        images=load_class("openai/images")(**config.image.model_dump()),
        max_n=config.max_n,
        top_logprobs=config.top_logprobs,
        answers_as=config.answers_as,
        patience=load_class("openai/patience")(**config.patience.model_dump()),
        extra=config.extra,
        omit=config.omit,
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


def _prm(config: PrmScorerConfig) -> StepScorer:
    """The reward model, loaded.

    Raises:
        CheckpointError: It cannot be loaded.
        RecipeError: Its values have other bounds than the recipe has, or a library is missing.
    """
    folder = model_folder(config.model)
    place = {"device": config.device, "dtype": config.dtype}
    if config.untrained:
        loaded = load_class("prm/untrained")(
            folder,
            config.head_seed or 0,
            format=FORMATS[config.format or "steps"],
            name=config.model.removeprefix(PREFIX),
            value_range=config.value_range,
            **place,
        )
    else:
        loaded = load_class("prm/trained")(folder, **place)
    bounds = loaded.config.value_range
    if bounds != config.value_range:
        raise RecipeError(
            f"the model's values have the bounds {list(bounds)}", field=f"{config.name}.value_range"
        )
    made = load_class("prm/scoring")
    scoring = made(loaded, config.way, config.max_batch_tokens, recall=config.recall)
    scorer: StepScorer = load_class("scorer/prm")(scoring, loaded.fingerprint, config.name)
    return scorer


def _remote(config: RemoteScorerConfig) -> StepScorer:
    """The scorer behind its server, which is asked what it is.

    Raises:
        CheckpointError: The server does not answer, or serves no such scorer.
        RecipeError: Its values are others than the recipe says, or a library is missing.
    """
    look, made = load_class("remote/look"), load_class("scorer/remote")
    key = None if config.api_key_env is None else key_of(config.engine)
    patience = load_class("openai/patience")(**config.patience.model_dump())
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
        scorer = load_class("scorer/judge")(
            engine,
            config.granularity,
            PROMPTS[config.prompt],
            expectation=config.expectation,
            name=config.name,
        )
    else:
        scorer = load_class("scorer/likelihood")(engine, FORMATS[config.format], name=config.name)
    return scorer
