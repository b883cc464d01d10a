"""Whether keys and libraries are at hand that the models of a recipe need; nothing is loaded."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator

from vilbench.config.classes import load_class
from vilbench.config.collecting import CollectRecipe
from vilbench.config.engine import EngineConfig, LocalEngineConfig, OpenAIEngineConfig
from vilbench.config.recipe import Experiment, Recipe
from vilbench.config.scorers import PrmScorerConfig, RemoteScorerConfig, ScorerConfig
from vilbench.config.searching import SearchRecipe
from vilbench.errors import RecipeError
from vilbench.evaluate.stages import SAMPLE, SCORE


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
            load_class(name)


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
        key_of(engine)


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


def key_of(config: OpenAIEngineConfig) -> str | None:
    """The key that a server is asked with; None for a server that takes none.

    Raises:
        RecipeError: It is not at hand.
    """
    variable = config.api_key_env
    if variable is None:
        if config.base_url is not None:
            return None
        variable = "OPENAI_API_KEY"
    key = os.environ.get(variable, "").strip()
    if not key:
        raise RecipeError(f"the environment variable {variable} holds no key", field="api_key_env")
    return key
