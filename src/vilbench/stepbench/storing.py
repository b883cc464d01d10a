"""Marked solutions in a run: paid scores of them are kept like those of any other run.

A problem carries the marks of its solutions in its metadata, which no scorer is shown, so that
a run tells by itself what it measured.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from functools import partial
from typing import Literal

from pydantic import ValidationError

from vilbench.answers import read, soon
from vilbench.errors import RunMismatchError
from vilbench.evaluate.stages import note_sampling
from vilbench.stepbench.marks import Group, Mark, Marked, MarkedSet
from vilbench.store.run import Run
from vilbench.types import Problem, Record, Solution, Span

Role = Literal["test", "dev"]

KEY = "stepbench"
"""Where a problem's metadata hold what is known of its solutions."""

_DEV = "dev/"


class Row(Record):
    """What is known of a stored solution; see `Marked`."""

    marks: tuple[Mark, ...]
    first_error: int | None
    policy: str


class Stored(Record):
    """What a problem's metadata hold of its solutions, by their index."""

    benchmark: str
    role: Role
    rows: tuple[Row, ...]


def stored(problem: Problem) -> Stored | None:
    """What is known of the solutions of a stored problem; None where it is of no benchmark."""
    data = problem.metadata.get(KEY)
    if data is None:
        return None
    try:
        return Stored.model_validate(data)
    except ValidationError:
        return None


def keyed(found: MarkedSet, role: Role) -> list[Problem]:
    """The problems of a set as they are stored; those to choose on have ids of their own."""
    return [_problem(found.title, group, role) for group in found.groups]


def _problem(title: str, group: Group, role: Role) -> Problem:
    rows = tuple(
        Row(marks=one.marks, first_error=one.first_error, policy=one.policy)
        for one in group.solutions
    )
    record = Stored(benchmark=title, role=role, rows=rows).model_dump(mode="json")
    identity = f"{_DEV if role == 'dev' else ''}{group.problem.id}"
    metadata = {**group.problem.metadata, KEY: record}
    return group.problem.model_copy(update={"id": identity, "metadata": metadata})


def sample_key(joint: str) -> str:
    """Names how solutions are made of their steps."""
    return hashlib.sha256(f"stepbench\0{joint}".encode()).hexdigest()


async def store(run: Run, found: MarkedSet, role: Role, joint: str) -> str:
    """Stores the solutions of a set, whose problems are in the run; gives their key.

    Args:
        run: Open for writing.
        found: The set.
        role: What its figures are for.
        joint: Stands between two steps.

    Raises:
        RunMismatchError: Other solutions are stored under the same names.
    """
    key = sample_key(joint)
    known = run.solutions(key)
    for group, problem in zip(found.groups, keyed(found, role), strict=True):
        had = known.get(problem.id, ())
        texts = [joint.join(one.steps) for one in group.solutions]
        if [one.text for one in had] != texts[: len(had)]:
            raise RunMismatchError(
                f"{run.folder}: the solutions of problem {problem.id!r} have changed since the "
                "run began; start over with --fresh, or choose another --out",
                (),
            )
        if len(had) < len(texts):
            made = partial(_solutions, problem, group.solutions, joint)
            run.put_solutions(key, await soon(problem, made))
    most = max((len(group.solutions) for group in found.groups), default=1)
    if role == "test":
        note_sampling(run, key, most, found.title)
    return key


def store_all(run: Run, sets: Sequence[tuple[MarkedSet, Role]], joint: str) -> str:
    """`store` of several sets; the key is that of all of them."""

    async def every() -> None:
        for found, role in sets:
            await store(run, found, role, joint)

    asyncio.run(every())
    return sample_key(joint)


def _solutions(problem: Problem, rows: Sequence[Marked], joint: str) -> list[Solution]:
    return [_solution(problem, index, row, joint) for index, row in enumerate(rows)]


def _solution(problem: Problem, index: int, row: Marked, joint: str) -> Solution:
    text = joint.join(row.steps)
    spans: list[Span] = []
    start = 0
    for step in row.steps:
        spans.append(Span(start, start + len(step)))
        start += len(step) + len(joint)
    answer, verdict = None, row.verdict
    if verdict is None:
        answer, verdict = read(text, problem)
    return Solution(
        problem_id=problem.id,
        index=index,
        text=text,
        steps=tuple(spans),
        answer=answer,
        verdict=verdict,
        finish_reason="stop",
    )
