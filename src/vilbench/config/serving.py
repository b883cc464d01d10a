"""What `vilbench serve` is asked for: a scorer, and an engine that draws candidates."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import JsonValue, ValidationError

from vilbench.config.building import build_engine, build_scorers
from vilbench.config.checking import check_scorer_keys
from vilbench.config.engine import (
    EngineConfig,
    LocalEngineConfig,
    OpenAIEngineConfig,
    PatienceConfig,
)
from vilbench.config.models import scoring_width
from vilbench.config.places import refusal
from vilbench.config.reading import load
from vilbench.config.recipe import Recipe
from vilbench.config.scorers import PrmScorerConfig, ScorerConfig
from vilbench.embedded import model_folder
from vilbench.errors import CheckpointError, RecipeError
from vilbench.evaluate.pools import ScorerPlan
from vilbench.recipes import SUFFIXES, shipped
from vilbench.steps import FORMATS, StepFormat
from vilbench.types import StepScorer

RECIPE = "recipe"
"""As an upstream: the engine that the recipe samples with."""

_CARD = "prm.json"

_PATIENCE = PatienceConfig(
    connect_s=5.0, first_byte_s=120.0, call_s=240.0, attempts=2, first_wait_s=0.2, longest_wait_s=5
)
"""Of an upstream that is given as an address: whoever waits would rather ask again himself."""


class Serving(NamedTuple):
    """What is to be served.

    Attributes:
        scorer: The scorer.
        format: How its texts are split, and candidates asked for.
        upstream: The engine behind the proxy; None for a server that only scores.
    """

    scorer: ScorerConfig
    format: StepFormat
    upstream: EngineConfig | None


class BuiltScorer(NamedTuple):
    """A scorer that is to be served, built; close the engines when it is done.

    Attributes:
        scorer: Who scores.
        plan: Its scale and aggregations.
        behind_server: Whether it asks another server.
        width: Batches that it takes at a time.
        engines: Those that it asks.
    """

    scorer: StepScorer
    plan: ScorerPlan
    behind_server: bool
    width: int
    engines: tuple[Any, ...]


def serving(
    target: str,
    *,
    scorer: str | None = None,
    upstream: str | None = None,
    upstream_model: str | None = None,
    upstream_key: str | None = None,
    format: str | None = None,  # noqa: A002 - the recipe's word
) -> Serving:
    """Reads what was asked for; nothing is loaded.

    Args:
        target: A reward model's folder, one that ships, or a recipe whose scorer is served.
        scorer: Which one of a recipe; its main one, or its only one, by default.
        upstream: "recipe", a model's folder, one that ships, or a server's address.
        upstream_model: The model's name at that address.
        upstream_key: Environment variable that holds the key for it.
        format: How texts are split; that of the recipe, or of the model.

    Raises:
        RecipeError: There is no such scorer, format or engine.
    """
    recipe = _recipe(target)
    if recipe is None:
        if scorer is not None:
            raise RecipeError("chooses a scorer of a recipe", field="--scorer")
        config: ScorerConfig = _bare(target)
    else:
        config = _chosen(recipe, scorer)
    if format is not None and format not in FORMATS:
        raise RecipeError(f"'{format}' is none of {', '.join(FORMATS)}", field="--format")
    named = format or _format_of(config) or (recipe.sample.format if recipe else "steps")
    engine = _upstream(upstream, upstream_model, upstream_key, recipe)
    return Serving(config, FORMATS[named], engine)


def build_served(serving: Serving) -> BuiltScorer:
    """Builds the scorer.

    Raises:
        InputError: A checkpoint cannot be loaded, or a key is not at hand.
    """
    config = serving.scorer
    check_scorer_keys([config])
    built = build_scorers([config], 1)
    behind = not isinstance(config, PrmScorerConfig) and isinstance(
        config.engine, OpenAIEngineConfig
    )
    return BuiltScorer(
        built.scorers[0], config.plan(), behind, min(8, scoring_width(config, 8)), built.engines
    )


def engine_maker(config: EngineConfig) -> Callable[[], Any]:
    """Makes the engine, as often as it is asked to."""
    return lambda: build_engine(config)


def _recipe(target: str) -> Recipe | None:
    named = any((one.name, one.command) == (target, "run") for one in shipped())
    if named or Path(target).suffix in SUFFIXES:
        return load(target)
    return None


def _chosen(recipe: Recipe, name: str | None) -> ScorerConfig:
    known = [one.name for one in recipe.scorers]
    name = name or recipe.main or (known[0] if len(known) == 1 else None)
    if name is None:
        raise RecipeError(f"which one? It has {', '.join(known) or 'none'}", field="--scorer")
    return recipe.only([name]).scorers[0]


def _bare(model: str) -> PrmScorerConfig:
    """A reward model by its folder alone, with the bounds that it was trained with."""
    bounds = _card(model).get("value_range")
    if isinstance(bounds, list) and len(bounds) == 2:
        return PrmScorerConfig(model=model, value_range=(bounds[0], bounds[1]))
    return PrmScorerConfig(model=model)


def _format_of(config: ScorerConfig) -> str | None:
    """The format that a scorer reads solutions in, where it has one."""
    if isinstance(config, PrmScorerConfig) and not config.untrained:
        found = _card(config.model).get("format")
        return found if isinstance(found, str) and found in FORMATS else None
    return getattr(config, "format", None)


def _card(model: str) -> Mapping[str, JsonValue]:
    """What a reward model's folder says of itself; loading it checks that again."""
    try:
        found = json.loads((model_folder(model) / _CARD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError("is no reward model's folder", file=model) from None
    except (OSError, ValueError) as error:
        raise CheckpointError("cannot be read", file=f"{model}/{_CARD}") from error
    return found if isinstance(found, dict) else {}


def _upstream(
    given: str | None, model: str | None, key: str | None, recipe: Recipe | None
) -> EngineConfig | None:
    if given is None:
        return None
    if given == RECIPE:
        if recipe is None:
            raise RecipeError("no recipe is served", field="--upstream")
        return recipe.sample.engine
    if not given.startswith(("http://", "https://")):
        return LocalEngineConfig(model=given)
    if not model:
        raise RecipeError("name the model at that address", field="--upstream-model")
    data = {"model": model, "base_url": given, "api_key_env": key, "patience": _PATIENCE}
    try:
        return OpenAIEngineConfig.model_validate(data)
    except ValidationError as error:
        raise refusal(error, data, "the command line") from error
