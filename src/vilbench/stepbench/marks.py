"""Solutions with marks of their steps, grouped by what they solve.

The two public sets tell different things. VisualProcessBench marks every step: right, wrong, or
neither, which its measure leaves out. ProcessBench names the first wrong step alone: the steps
before it are right, and of those behind it nothing is known.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from vilbench.errors import ImageError, ProblemError
from vilbench.problems import processbench, stepwise
from vilbench.problems.processbench import NONE_WRONG
from vilbench.types import Problem, Verdict

Mark = Literal[1, 0, -1]
"""Right; neither, or not known; wrong."""

Kind = Literal["visualprocessbench", "processbench"]


@dataclass(frozen=True)
class Marked:
    """A solution with what people say of its steps.

    Attributes:
        steps: S texts; at least one.
        marks: `[S]`.
        first_error: Index of the first wrong step, or -1; None where it is not settled.
        policy: Model that wrote it.
        verdict: Of its final answer, where the set tells; None leaves it to the rules.
    """

    steps: tuple[str, ...]
    marks: tuple[Mark, ...]
    first_error: int | None
    policy: str
    verdict: Verdict | None = None


@dataclass(frozen=True)
class Group:
    """The solutions of one problem.

    Attributes:
        problem: Its category is the subset that it is reported in.
        solutions: At least one.
    """

    problem: Problem
    solutions: tuple[Marked, ...]


@dataclass(frozen=True)
class MarkedSet:
    """Marked solutions by problem, in the order in which the problems come first.

    Attributes:
        title: Of the benchmark.
        groups: Their problems differ in more than the id.
        rejected: One error per row that was set aside.
        notes: What a reader should know.
    """

    title: str
    groups: tuple[Group, ...]
    rejected: tuple[ProblemError | ImageError, ...] = ()
    notes: tuple[str, ...] = ()


def content(problem: Problem) -> str:
    """Names a problem by what is asked: question, choices and pictures, whatever its id."""
    parts = (problem.question.strip(), *problem.choices, *(one.digest for one in problem.images))
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def load(kind: Kind, path: Path, *, limit: int | None = None) -> MarkedSet:
    """A public set from a copy.

    Args:
        kind: Which.
        path: As its reader takes it.
        limit: Most solutions; of each subset's file for ProcessBench.

    Raises:
        InputError: There is no such file, it is damaged, or no row is usable.
    """
    if kind == "visualprocessbench":
        judged = stepwise.visualprocessbench(path, limit=limit)
        rows = [(one.problem, _judged(one)) for one in judged.solutions]
        return MarkedSet(stepwise.TITLE, grouped(rows), judged.rejected, judged.notes)
    located = processbench.processbench(path, limit=limit)
    rows = [(one.problem, _located(one)) for one in located.solutions]
    return MarkedSet(processbench.TITLE, grouped(rows), located.rejected, located.notes)


def _judged(row: stepwise.JudgedSolution) -> Marked:
    first = next((place for place, label in enumerate(row.labels) if label == -1), NONE_WRONG)
    return Marked(row.steps, row.labels, first, row.policy)


def _located(row: processbench.LocatedSolution) -> Marked:
    first = row.first_error
    marks = tuple(_mark(place, first) for place in range(len(row.steps)))
    return Marked(row.steps, marks, first, row.policy, "correct" if row.right else "wrong")


def _mark(place: int, first_error: int) -> Mark:
    if first_error == NONE_WRONG or place < first_error:
        return 1
    return -1 if place == first_error else 0


def grouped(rows: Iterable[tuple[Problem, Marked]]) -> tuple[Group, ...]:
    """Rows of the same problem and subset together, under the id of the first of them."""
    found: dict[tuple[str, str], Group] = {}
    for problem, solution in rows:
        key = (content(problem), problem.category)
        group = found.get(key)
        if group is None:
            found[key] = Group(problem, (solution,))
        else:
            found[key] = replace(group, solutions=(*group.solutions, solution))
    return tuple(found.values())


def apart(groups: Sequence[Group], others: Sequence[Group]) -> tuple[Group, ...]:
    """The groups whose problem is none of the others', whatever their subsets."""
    taken = {content(one.problem) for one in others}
    return tuple(one for one in groups if content(one.problem) not in taken)
