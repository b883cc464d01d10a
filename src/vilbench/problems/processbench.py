"""Solutions whose first wrong step people have located: ProcessBench (Qwen/ProcessBench).

A solution a row: `id`, `generator`, `problem`, `steps`, `final_answer_correct`, and `label`,
the index of the first wrong step from 0, or -1 where no step is wrong. The set is text alone. It
comes as a file per subset (`gsm8k.json`, `math.json`, `olympiadbench.json`, `omnimath.json`); of
a single file with rows of several subsets the ids tell them apart ("math-12"). No row has the
answer, so that the problems hold a word in its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from vilbench.errors import ImageError, InputError, ProblemError
from vilbench.problems.cells import Cells, Pictures, kind_of, told
from vilbench.problems.loading import Loading, Place
from vilbench.problems.public import reads
from vilbench.problems.storage import storage
from vilbench.problems.tables import Line, Table
from vilbench.types import Problem

TITLE = "ProcessBench"
SUBSETS: Mapping[str, int] = {"gsm8k": 400, "math": 1000, "olympiadbench": 1000, "omnimath": 1000}
"""The subsets, and how many rows each is known to have."""

NOT_GIVEN = "(not given)"
"""Stands for the answer that the rows lack."""

NONE_WRONG = -1
"""Label of a solution without a wrong step."""


@dataclass(frozen=True)
class LocatedSolution:
    """A solution with the place of its first wrong step.

    Attributes:
        problem: What it solves, with the id of the row; its category is the subset.
        steps: S texts; at least one.
        first_error: Index of the first wrong step in [0, S), or -1.
        policy: Model that wrote it.
        right: Whether its final answer is right; a right answer may follow from a wrong step.
    """

    problem: Problem
    steps: tuple[str, ...]
    first_error: int
    policy: str
    right: bool


@dataclass(frozen=True)
class LocatedSet:
    """Located solutions, in the order of the files.

    Attributes:
        solutions: The usable ones; each has a problem of its own.
        rejected: One error per row that was set aside.
        notes: What a reader should know.
    """

    solutions: tuple[LocatedSolution, ...]
    rejected: tuple[ProblemError | ImageError, ...]
    notes: tuple[str, ...]


def processbench(path: Path, *, limit: int | None = None) -> LocatedSet:
    """The solutions of ProcessBench.

    Args:
        path: A folder or archive with the subsets' files, or one such file.
        limit: Most solutions of each subset's file.

    Raises:
        InputError: There is no such file, it is damaged, or no row is usable.
    """
    loading = Loading(TITLE, path)
    located: dict[str, LocatedSolution] = {}
    for part in _parts(path):
        first = len(loading.problems)
        rows = -1
        for rows, line in enumerate(part.table.lines):
            place = Place(part.table.file, line.number)
            if loading.enough(None if limit is None else first + limit, place):
                break
            identity = f"{part.subset or TITLE.lower()}-{rows}"
            make = partial(_kept, located, line, part.subset, identity)
            loading.add(place, make)
        else:
            known = SUBSETS.get(part.subset, rows + 1)
            if rows + 1 != known:
                loading.notes.append(
                    f"{part.table.file}: {rows + 1:,} rows; {TITLE}, {part.subset}, is known to "
                    f"have {known:,}"
                )
    found = loading.finished()
    solutions = tuple(located[problem.id] for problem in found.problems)
    return LocatedSet(solutions, found.rejected, found.notes)


class _Part(NamedTuple):
    """A file of rows; `subset` is "" where its name tells none."""

    table: Table
    subset: str


def _parts(path: Path) -> Iterator[_Part]:
    held = storage(path)
    if not path.is_dir() and held.path != path:
        for here in reads(path, ()):
            yield _Part(here.table, _subset_of(path.name))
        return
    found = False
    for subset in SUBSETS:
        patterns = (f"{subset}.json", f"{subset}.jsonl", f"{subset}-*.parquet", f"{subset}.parquet")
        if held.matching(patterns):
            found = True
            for here in reads(path, patterns):
                yield _Part(here.table, subset)
    if not found:
        names = ", ".join(f"{subset}.json" for subset in SUBSETS)
        raise InputError(f"holds none of {names}", file=path)


def _subset_of(name: str) -> str:
    """The subset that a file's name or a row's id begins with, "" for none."""
    stem = PurePosixPath(name).stem.lower()
    return next((one for one in SUBSETS if stem == one or stem.startswith(f"{one}-")), "")


def _kept(
    located: dict[str, LocatedSolution],
    line: Line,
    subset: str,
    identity: str,
    notes: list[str],
) -> Problem:
    solution = _solution(Cells(line.read(), Pictures(None, encoded=False), notes), subset, identity)
    located[solution.problem.id] = solution
    return solution.problem


def _solution(cells: Cells, subset: str, identity: str) -> LocatedSolution:
    row = cells.scalar("id").strip() if cells.has("id") else identity
    steps = cells.texts("steps")
    if not steps:
        raise ProblemError("there is no step", field="steps")
    for place, step in enumerate(steps):
        if not step.strip():
            raise ProblemError("is empty", field=f"steps[{place}]")
    right = cells.get("final_answer_correct")
    if not isinstance(right, bool):
        raise ProblemError(
            f"must be true or false, not {kind_of(right)}", field="final_answer_correct"
        )
    policy = cells.optional("generator")
    problem = Problem(
        id=row,
        source=TITLE,
        question=cells.text("problem").strip(),
        answer=NOT_GIVEN,
        category=subset or _subset_of(row),
        modality="text-only",
        metadata={"generator": policy},
    )
    return LocatedSolution(problem, steps, _label(cells.get("label"), len(steps)), policy, right)


def _label(value: object, steps: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ProblemError(f"must be a whole number, not {told(value)}", field="label")
    if not NONE_WRONG <= value < steps:
        raise ProblemError(f"{value} is neither -1 nor one of the {steps} steps", field="label")
    return value
