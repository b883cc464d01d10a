"""What a source of problems is: where it lies, which splits it has, how a row is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from vilbench.answers import kind_of
from vilbench.errors import ProblemError
from vilbench.problems.cells import Cells
from vilbench.types import AnswerKind, Problem


@dataclass(frozen=True)
class Part:
    """A split of a source, or one of its configurations.

    Attributes:
        files: Patterns of its files, the first that matches counts: the hub's Parquet, what
            the authors offer beside it, VLMEvalKit's TSV.
        split: Split on the hub.
        config: Configuration on the hub.
        rows: How many it is known to have.
        closed: Why it cannot be used; "" where it can.
    """

    files: tuple[str, ...]
    split: str
    config: str | None = None
    rows: int | None = None
    closed: str = ""


class Identity(NamedTuple):
    """What a row's problem is called.

    Attributes:
        source: Of the problem: the benchmark's title.
        default: Id of a row that has none, from its place.
        part: Key of the source's part that is read; "" where rows of any part will do.
    """

    source: str
    default: str
    part: str = ""


@dataclass(frozen=True)
class Source:
    """A public data set of problems.

    Attributes:
        title: The benchmark's name; `Problem.source` of its problems.
        repository: On the hub.
        revision: Commit that is known to have these columns; None where none is known here.
        parts: By name; the first is the default.
        columns: Columns that a table must have; a "|" lies between names of which one
            must be there.
        read: The problem of a row.
        about: What it is, in a line.
    """

    title: str
    repository: str
    parts: Mapping[str, Part]
    columns: tuple[str, ...]
    read: Callable[[Cells, Identity], Problem] = field(repr=False)
    about: str
    revision: str | None = None


def kind_of_answer(answer: str) -> AnswerKind:
    """Kind of a free answer of which nothing else is known: a number, LaTeX, or text."""
    return kind_of(answer)


def choice_at(index: int | None, choices: tuple[str, ...], key: str) -> str:
    """The letter of a choice by its index from 0.

    Raises:
        ProblemError: There is none.
    """
    if index is None:
        raise ProblemError("is missing", field=key)
    if index >= len(choices):
        raise ProblemError(f"{index} is not among the {len(choices)} choices", field=key)
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[index]


def enough_choices(choices: tuple[str, ...], key: str) -> tuple[str, ...]:
    """The choices of a question that must have some.

    Raises:
        ProblemError: There are fewer than 2 or more than 26, or one is empty.
    """
    if not 2 <= len(choices) <= 26:
        raise ProblemError(f"{len(choices)} choices; 2 to 26 are possible", field=key)
    for place, choice in enumerate(choices):
        if not choice.strip():
            raise ProblemError("is empty", field=f"{key}[{place}]")
    return choices
