"""The keys of a step benchmark: marked solutions, where thresholds come from, scorers."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import Field, JsonValue, ValidationError, field_validator, model_validator

from vilbench.config.places import refusal
from vilbench.config.reading import find, read_yaml
from vilbench.config.recipe import effective, folders
from vilbench.config.scorers import PrmScorerConfig, ScorerConfig, told_apart
from vilbench.errors import RecipeError
from vilbench.stepbench.marks import Kind, MarkedSet, load
from vilbench.types import Number, Record, Whole


class BenchmarkConfig(Record):
    """Marked solutions.

    Attributes:
        kind: Which set.
        path: A copy: a file, a folder or a zip archive, relative to the current folder.
        limit: Most solutions; of each subset's file for ProcessBench.
    """

    kind: Kind
    path: str = Field(min_length=1)
    limit: Whole | None = Field(default=None, ge=1)

    def load(self) -> MarkedSet:
        """The set.

        Raises:
            InputError: It cannot be used.
        """
        return load(self.kind, Path(self.path), limit=self.limit)


class ChosenConfig(Record):
    """Thresholds that `vilbench choose` found, under each scorer's `chosen`."""

    kind: Literal["chosen"] = "chosen"


class FileConfig(Record):
    """Thresholds from marked solutions of their own, which are scored too."""

    kind: Literal["file"]
    dev: BenchmarkConfig


class SplitConfig(Record):
    """Thresholds from a part of the benchmark's own problems, which is in no figure then."""

    kind: Literal["split"]
    share: Number = Field(default=0.2, gt=0, lt=1)
    seed: Whole = Field(default=0, ge=0)


class SubsetConfig(Record):
    """Thresholds from one of the benchmark's subsets, which is in no figure then."""

    kind: Literal["subset"]
    subset: str


ThresholdConfig = Annotated[
    ChosenConfig | FileConfig | SplitConfig | SubsetConfig, Field(discriminator="kind")
]


class StepbenchRecipe(Record):
    """Scorers on a step benchmark.

    Attributes:
        benchmark: What they score.
        threshold: Where thresholds come from; never from what is reported.
        scorers: As in a recipe of `vilbench run`.
        main: The scorer that the others are compared with; the first by default.
        joint: Stands between two steps where a scorer reads the solution as one text.
        max_failures: Share of units that may fail before the exit code says so.
    """

    name: str = Field(min_length=1)
    benchmark: BenchmarkConfig
    threshold: ThresholdConfig = ChosenConfig()
    scorers: tuple[ScorerConfig, ...] = Field(min_length=1)
    main: str | None = None
    joint: str = Field(default="\n\n", min_length=1)
    max_failures: Number = Field(default=0.0, ge=0, le=1)

    @field_validator("scorers")
    @classmethod
    def _told_apart(cls, scorers: tuple[ScorerConfig, ...]) -> tuple[ScorerConfig, ...]:
        return told_apart(scorers)

    @model_validator(mode="after")
    def _usable(self) -> StepbenchRecipe:
        names = [scorer.name for scorer in self.scorers]
        if self.main is not None and self.main not in names:
            raise ValueError(f"main: '{self.main}' is none of the scorers: {', '.join(names)}")
        if isinstance(self.threshold, FileConfig) and self.threshold.dev == self.benchmark:
            raise ValueError("threshold.dev: is what is reported; thresholds need other problems")
        return self

    @property
    def problem_set(self) -> str:
        """Name of the set in tables."""
        return self.benchmark.kind

    def identity(self) -> dict[str, JsonValue]:
        """What changes a stored solution or score, for the run's fingerprint.

        Where thresholds come from is none of it, save further solutions that are scored.
        """
        data = self.model_dump(mode="json")
        found = {key: effective(data[key]) for key in ("benchmark", "scorers", "joint")}
        if isinstance(self.threshold, FileConfig):
            found["dev"] = effective(data["threshold"]["dev"])
        return found

    def only(self, names: Collection[str]) -> Self:
        """The recipe with these of its scorers alone.

        Raises:
            RecipeError: One of the names is none of its scorers.
        """
        known = [scorer.name for scorer in self.scorers]
        for name in names:
            if name not in known:
                raise RecipeError(
                    f"the recipe has no scorer '{name}'; it has {', '.join(known)}",
                    field="--scorer",
                )
        kept = tuple(scorer for scorer in self.scorers if scorer.name in names)
        main = self.main if self.main in names else None
        return self.model_copy(update={"scorers": kept, "main": main})

    def models(self) -> tuple[str, ...]:
        """Models of folders that it names, each once."""
        return folders(
            *(one if isinstance(one, PrmScorerConfig) else one.engine for one in self.scorers)
        )


def load_stepbench(recipe: str) -> StepbenchRecipe:
    """A recipe of a step benchmark from a YAML file, or a shipped one by its bare name.

    Raises:
        RecipeError: There is no such recipe, or it has an unknown key or a wrong value.
    """
    source = find(recipe, "stepbench")
    document = read_yaml(*source)
    return parse_stepbench(document.data, source.file, document.node)


def parse_stepbench(
    data: object, file: str | None = None, node: yaml.Node | None = None
) -> StepbenchRecipe:
    """A recipe of a step benchmark from plain data; `node` lets errors name the line.

    Raises:
        RecipeError: It is none.
    """
    try:
        return StepbenchRecipe.model_validate(data)
    except ValidationError as error:
        raise refusal(error, data, file, node) from error
