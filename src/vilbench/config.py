"""Recipes: frozen models of what to run, and the only tables from names to classes.

Classes are imported when they are built, so that reading a recipe loads no torch.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import yaml
from pydantic import Field, JsonValue, ValidationError, model_validator

from vilbench.embedded import model_folder
from vilbench.evaluate.analysis import Plan
from vilbench.evaluate.pools import Scale, ScorerPlan
from vilbench.evaluate.sampling import Sampler
from vilbench.problems.sets import ProblemSet
from vilbench.selection import aggregation
from vilbench.steps import FORMATS
from vilbench.types import (
    Generator,
    Granularity,
    LikelihoodModel,
    RecipeError,
    Record,
    Sampling,
    StepScorer,
)

_CLASSES: Mapping[str, str] = {
    "engine/local": "vilbench.engines.local:LocalEngine",
    "scorer/judge": "vilbench.scorers.judge:JudgeScorer",
    "scorer/likelihood": "vilbench.scorers.likelihood:LikelihoodScorer",
}

_NO_EFFECT = {"concurrency", "max_failures", "device", "max_batch_tokens", "report"}
"""Keys that change neither a solution nor a score: a run may go on with others."""


class LocalEngineConfig(Record):
    """A checkpoint in a folder, or one that ships (`embedded:base`)."""

    kind: Literal["local"] = "local"
    model: str
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: str = "auto"
    max_batch_tokens: int | None = Field(default=None, ge=1)


class ProblemsConfig(Record):
    """Which problems: puzzles of a split, or a JSONL file.

    Attributes:
        source: "puzzles", or the path of a `.jsonl` file.
        split: Split of the puzzles; unused for a file.
        limit: Most problems; None takes all of a file. Puzzles have no end and need one.
        seed: Which sequence of puzzles; the run's seed by default.
    """

    source: str
    split: Literal["train", "dev", "test"] = "test"
    limit: int | None = Field(default=None, ge=1)
    seed: int | None = None


class SampleConfig(Record):
    """How the pools are drawn."""

    engine: LocalEngineConfig
    format: str = "steps"
    n: int = Field(default=24, ge=1)
    temperature: float = Field(default=1.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=1024, ge=1)
    max_steps: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _known(self) -> SampleConfig:
        if self.format not in FORMATS:
            raise ValueError(f"format '{self.format}' is none of {', '.join(FORMATS)}")
        return self


_STEP_AGGREGATIONS = ("mean", "min", "product", "last-1", "last-2", "last-3", "last-4")


class JudgeConfig(Record):
    """A generative judge, as ORM ("solution") or PRM ("step")."""

    kind: Literal["judge"] = "judge"
    name: str
    engine: LocalEngineConfig
    granularity: Granularity
    prompt: str = "rubric"
    expectation: bool = True
    aggregations: tuple[str, ...] = _STEP_AGGREGATIONS
    votes: str = "mean"


class LikelihoodConfig(Record):
    """Mean token log-probability of each step under a model."""

    kind: Literal["likelihood"] = "likelihood"
    name: str = "likelihood"
    engine: LocalEngineConfig
    format: str = "steps"
    aggregations: tuple[str, ...] = ("mean", "last-1", "last-2", "last-3", "last-4")
    votes: str = "mean"


ScorerConfig = Annotated[JudgeConfig | LikelihoodConfig, Field(discriminator="kind")]


class Recipe(Record):
    """One experiment.

    Attributes:
        seed: Seeds sampling, and the puzzles where `problems.seed` is not set.
        concurrency: Problems under way at a time.
        max_failures: Share of units that may fail before the exit code says so.
    """

    name: str = Field(min_length=1)
    seed: int = Field(default=0, ge=0)
    problems: ProblemsConfig
    sample: SampleConfig
    scorers: tuple[ScorerConfig, ...] = ()
    concurrency: int = Field(default=32, ge=1)
    max_failures: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        names = [scorer.name for scorer in self.scorers]
        if len(set(names)) < len(names):
            raise ValueError(f"scorers need names of their own, these are given: {names}")
        for scorer in self.scorers:
            for name in (*scorer.aggregations, scorer.votes):
                aggregation(name)
        return self

    def identity(self) -> dict[str, JsonValue]:
        """What changes the output, for the run's fingerprint."""
        return {
            key: value
            for key, value in _without(self.model_dump(mode="json")).items()
            if key not in ("name", "seed")
        }

    def changed(self, changes: Mapping[str, object]) -> Recipe:
        """The recipe with some values replaced, by dotted path.

        Raises:
            RecipeError: The result is no recipe.
        """
        data = self.model_dump(mode="json")
        for path, value in changes.items():
            *parents, last = path.split(".")
            place: Any = data
            for parent in parents:
                place = place[parent]
            place[last] = value
        return parse(data)

    def models(self) -> tuple[str, ...]:
        """Models that it names, each once."""
        engines = [self.sample.engine, *(scorer.engine for scorer in self.scorers)]
        return tuple(dict.fromkeys(engine.model for engine in engines))

    @property
    def problem_set(self) -> str:
        """Name of the problem set for tables."""
        problems = self.problems
        if problems.source == "puzzles":
            return f"puzzles:{problems.split}"
        return Path(problems.source).stem


def _without(data: dict[str, Any]) -> dict[str, JsonValue]:
    return {key: _cleaned(value) for key, value in data.items() if key not in _NO_EFFECT}


def _cleaned(value: Any) -> JsonValue:
    if isinstance(value, dict):
        return _without(value)
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    cleaned: JsonValue = value
    return cleaned


def load(recipe: str) -> Recipe:
    """A recipe from a YAML file, or a shipped one by its bare name.

    Raises:
        RecipeError: There is no such recipe, or it has an unknown key or a wrong value; the
            message names file, line and key.
    """
    path = Path(recipe)
    if path.suffix not in (".yaml", ".yml"):
        shipped = {Path(item.name).stem: item for item in files("vilbench.recipes").iterdir()}
        shipped = {name: item for name, item in shipped.items() if name and name != "__init__"}
        if recipe not in shipped:
            raise RecipeError(
                f"no recipe '{recipe}' is shipped; there are {', '.join(sorted(shipped))}, "
                "or name a .yaml file"
            )
        return parse_text(shipped[recipe].read_text(encoding="utf-8"), f"{recipe}.yaml")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot be read: {error}", file=path) from error
    return parse_text(text, str(path))


def parse_text(text: str, file: str) -> Recipe:
    """A recipe from YAML text; `file` names it in errors."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        _refuse_repeated_keys(node, file)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        row = mark.line + 1 if mark else None
        problem = getattr(error, "problem", None) or str(error)
        raise RecipeError(f"is no YAML: {problem}", file=file, row=row) from error
    if not isinstance(data, dict):
        raise RecipeError("a recipe is a mapping of keys", file=file)
    return parse(data, file, node)


def _refuse_repeated_keys(node: yaml.Node | None, file: str) -> None:
    """YAML would silently keep the last of them."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                row = key.start_mark.line + 1
                raise RecipeError("is given twice", file=file, row=row, field=str(key.value))
            seen.add(key.value)
            _refuse_repeated_keys(value, file)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_repeated_keys(item, file)


def parse(data: object, file: str | None = None, node: yaml.Node | None = None) -> Recipe:
    """A recipe from plain data; `node` lets errors name the line."""
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        location = [part for part in first["loc"] if part not in ("judge", "likelihood")]
        message = _message(first["type"], first["msg"], len(error.errors()))
        raise RecipeError(
            message, file=file, row=_line(node, location), field=_path(location)
        ) from error


def _message(kind: str, text: str, count: int) -> str:
    words = "is no key of a recipe" if kind == "extra_forbidden" else text
    return words if count == 1 else f"{words} (and {count - 1} more)"


def _path(location: list[str | int]) -> str | None:
    words = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return words.lstrip(".") or None


def _line(node: yaml.Node | None, location: list[str | int]) -> int | None:
    """1-based line of the deepest part of `location` that the file has."""
    if node is None:
        return None
    line = node.start_mark.line + 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == part), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line


def load_problems(recipe: Recipe) -> ProblemSet:
    """The recipe's problems.

    Raises:
        InputError: There are none to use.
    """
    problems = recipe.problems
    if problems.source == "puzzles":
        from vilbench.problems.puzzles import puzzles

        if problems.limit is None:
            raise RecipeError("puzzles have no end: give a number", field="problems.limit")
        seed = recipe.seed if problems.seed is None else problems.seed
        drawn = tuple(p.problem for p in puzzles(problems.split, problems.limit, seed))
        return ProblemSet(recipe.problem_set, drawn)
    if not problems.source.endswith(".jsonl"):
        raise RecipeError(
            f"'{problems.source}' is neither 'puzzles' nor a .jsonl file", field="problems.source"
        )
    from vilbench.problems.files import load_jsonl

    loaded = load_jsonl(Path(problems.source))
    return dataclasses.replace(loaded, problems=loaded.problems[: problems.limit])


class Built(NamedTuple):
    """What a recipe names, built."""

    sampler: Sampler
    scorers: tuple[StepScorer, ...]
    engines: tuple[Any, ...]


def build(recipe: Recipe) -> Built:
    """Builds engines (each distinct one once) and scorers.

    Raises:
        InputError: A checkpoint cannot be loaded, or a name is unknown.
    """
    config = recipe.sample
    configs = dict.fromkeys([config.engine, *(scorer.engine for scorer in recipe.scorers)])
    engines = {one: _engine(one) for one in configs}
    sampler = Sampler(
        generator=engines[config.engine],
        format=FORMATS[config.format],
        n=config.n,
        sampling=Sampling(config.temperature, config.top_p, config.max_tokens),
        seed=recipe.seed,
        max_steps=config.max_steps,
    )
    return Built(
        sampler,
        tuple(_scorer(one, engines[one.engine]) for one in recipe.scorers),
        tuple(engines.values()),
    )


def plan(recipe: Recipe) -> Plan:
    """How a run of the recipe is analysed."""
    return Plan(recipe.sample.n, tuple(_scorer_plan(scorer) for scorer in recipe.scorers))


def _scorer_plan(config: ScorerConfig) -> ScorerPlan:
    judge = isinstance(config, JudgeConfig)
    return ScorerPlan(
        name=config.name,
        granularity=config.granularity if isinstance(config, JudgeConfig) else "step",
        scale=Scale(1.0, 5.0) if judge else None,
        aggregations=config.aggregations,
        votes=config.votes,
    )


def _engine(config: LocalEngineConfig) -> Any:
    return _load_class(f"engine/{config.kind}")(
        model_folder(config.model),
        name=config.model.removeprefix("embedded:") if ":" in config.model else None,
        device=config.device,
        dtype=config.dtype,
        max_batch_tokens=config.max_batch_tokens,
    )


def _scorer(config: ScorerConfig, engine: Generator | LikelihoodModel) -> StepScorer:
    scorer: StepScorer
    if isinstance(config, JudgeConfig):
        from vilbench.scorers.judge import PROMPTS

        if config.prompt not in PROMPTS:
            raise RecipeError(f"'{config.prompt}' is none of {', '.join(PROMPTS)}", field="prompt")
        scorer = _load_class("scorer/judge")(
            engine,
            config.granularity,
            PROMPTS[config.prompt],
            expectation=config.expectation,
            name=config.name,
        )
        return scorer
    if config.format not in FORMATS:
        raise RecipeError(f"'{config.format}' is none of {', '.join(FORMATS)}", field="format")
    scorer = _load_class("scorer/likelihood")(engine, FORMATS[config.format], name=config.name)
    return scorer


def _load_class(name: str) -> Any:
    module, _, attribute = _CLASSES[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
