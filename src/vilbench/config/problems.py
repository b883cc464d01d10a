"""The keys that say which problems a recipe is about, and the way from them to the problems."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, get_args

from pydantic import (
    AfterValidator,
    Field,
    JsonValue,
    PlainValidator,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
)

from vilbench.errors import RecipeError
from vilbench.problems import own, subset
from vilbench.problems.adapters import SOURCES, find
from vilbench.problems.public import Request, load
from vilbench.problems.sets import ProblemSet
from vilbench.problems.subset import Draw
from vilbench.types import Record, Whole

PUZZLES = "puzzles"
_NEWER = ("path", "revision", "columns", "draw", "sample_ids")
_EMPTY: tuple[JsonValue, ...] = (None, {}, "first", [])
_PUZZLE_SPLITS = ("train", "dev", "test")


def _limit(value: object) -> float | str | None:
    """A limit as a recipe stores it: a number where it is one, a range as its text."""
    if value is None:
        return None
    if not isinstance(value, int | float | str):
        raise ValueError("must be a number or text")
    parsed = subset.parse(value)
    if parsed.places is not None:
        return f"{parsed.places[0]}-{parsed.places[1]}"
    return parsed.count if parsed.count is not None else parsed.share


def _distinct(ids: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(ids)) < len(ids):
        raise ValueError("an id is given twice")
    return ids


class ProblemsConfig(Record):
    """Which problems: puzzles of a split, a public source, or own data.

    Attributes:
        source: "puzzles", the name of a public source ("mathvista"), or the path of own data:
            a `.jsonl`, `.csv`, `.tsv`, `.parquet`, `.json` or `.zip` file or a folder, relative
            to the current folder.
        split: Split of the puzzles ("test" by default) or of the source (its first by
            default); unused for own data.
        path: Copy of a public source: a file, a folder or a zip archive. Without it a prepared
            set is taken where there is one, else the hub is asked.
        revision: Commit on the hub of a public source.
        columns: Names of columns by the names that are looked for, where the data has others.
        limit: How many problems: a count, a share in (0, 1) or "25%", or a range of places
            from 1 such as "10-20". None takes all. Puzzles have no end and need a count or a
            range.
        draw: What a count or a share takes: "first", or by seed "random", or as many of each
            "category", "modality" or "source" as it has of all.
        sample_ids: Only these problems, before anything else.
        seed: Which sequence of puzzles, and which draw; the run's seed by default.
    """

    source: str = Field(min_length=1)
    split: str | None = None
    path: str | None = None
    revision: str | None = None
    columns: Mapping[str, str] = Field(default_factory=dict)
    limit: Annotated[int | float | str | None, PlainValidator(_limit)] = None
    draw: Draw = "first"
    sample_ids: Annotated[tuple[str, ...], AfterValidator(_distinct)] = ()
    seed: Whole | None = None

    @field_validator("split")
    @classmethod
    def _known_split(cls, split: str | None, info: ValidationInfo) -> str | None:
        of = info.data.get("source", PUZZLES)
        known = tuple(find(of).parts) if of in SOURCES else _PUZZLE_SPLITS
        if split is not None and split not in known:
            raise ValueError(f"'{split}' is no split of {of}; there are {', '.join(known)}")
        return split

    @field_validator("path", "revision")
    @classmethod
    def _of_a_public_source(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("source") not in SOURCES:
            raise ValueError(f"is for public sources: {', '.join(SOURCES)}")
        return value

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, JsonValue]:
        """Keys that were not given stay out, so that runs of older versions can go on."""
        data: dict[str, JsonValue] = dump(self)
        if data["split"] is None and self.source not in SOURCES:
            data["split"] = "test"
        return {key: data[key] for key in data if key not in _NEWER or data[key] not in _EMPTY}

    @property
    def name(self) -> str:
        """Name of the set for tables."""
        if self.source == PUZZLES:
            return f"{PUZZLES}:{self.split or 'test'}"
        if self.source in SOURCES:
            return f"{self.source}:{self.split or next(iter(find(self.source).parts))}"
        return Path(self.source).stem


def load_problem_set(problems: ProblemsConfig, run_seed: int) -> ProblemSet:
    """One set of a recipe.

    Args:
        problems: Which.
        run_seed: Draws where the set has no seed of its own.

    Raises:
        InputError: There are none to use.
    """
    seed = run_seed if problems.seed is None else problems.seed
    limit = None if problems.limit is None else subset.parse(problems.limit)
    if problems.source == PUZZLES:
        return subset.taken(_puzzles(problems, limit, seed), limit, ids=problems.sample_ids)
    whole = problems.draw != "first" or problems.sample_ids or limit is None
    most = None if whole or limit is None else limit.count
    if problems.source in SOURCES:
        found = load(request_of(problems, most))
    elif own.is_own(problems.source):
        found = own.load(Path(problems.source), limit=most, columns=problems.columns)
    else:
        raise RecipeError(
            f"'{problems.source}' is neither 'puzzles', nor a public source "
            f"({', '.join(SOURCES)}), nor a file or folder of own data",
            field="problems.source",
        )
    return subset.taken(found, limit, draw=problems.draw, seed=seed, ids=problems.sample_ids)


def request_of(problems: ProblemsConfig, limit: int | None = None) -> Request:
    """What is asked of a public source."""
    path = None if problems.path is None else Path(problems.path)
    return Request(
        problems.source, problems.split, path, problems.revision, problems.columns, limit
    )


def _puzzles(problems: ProblemsConfig, limit: subset.Limit | None, seed: int) -> ProblemSet:
    from vilbench.problems.puzzles import puzzles
    from vilbench.problems.puzzles.puzzle import Split

    most = None if limit is None else limit.places[1] if limit.places else limit.count
    if most is None:
        raise RecipeError("puzzles have no end: give a number or a range", field="problems.limit")
    if problems.draw != "first":
        raise RecipeError("puzzles have no end: none can be drawn", field="problems.draw")
    splits: tuple[Split, ...] = get_args(Split)
    split = next(one for one in splits if one == (problems.split or "test"))
    drawn = tuple(p.problem for p in puzzles(split, most, seed))
    return ProblemSet(problems.name, drawn, origins=(f"{problems.name}: drawn with seed {seed}",))
