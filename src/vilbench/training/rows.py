"""Training rows: a question, one solution in steps, and a value for each step.

A row is a JSON object, or a row of Parquet, with the keys

    question   text; may be empty only where there is an image
    steps      list of texts, the solution
    values     list of numbers or null, one for each step; null is "not labelled"
    images     paths of image files, relative to the file and below its folder (Parquet: or
               the encoded bytes); `image` for a single one
    choices    list of texts
    id         text or integer; without it, the file's stem and the row number
    group      siblings, solutions of one problem, share it; without it, those with the same
               question, choices and images
    marks      a list for each step of `[start, end, value]`: the value of the prefix at these
               characters of the step's text, blanks around it taken off ("dense" labels)
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from pydantic import JsonValue

from vilbench.errors import ProblemError
from vilbench.problems.rows import Row, identity_of, shown
from vilbench.steps.format import shown_parts
from vilbench.types import Image

KEYS = (
    "id",
    "group",
    "question",
    "choices",
    "images",
    "image",
    "steps",
    "values",
    "marks",
)


class ValueRange(NamedTuple):
    """What values may be, both ends included; `high` says that a step is right."""

    low: float
    high: float


class Mark(NamedTuple):
    """The value of the prefix at characters `[start, end)` of a step's stripped text."""

    start: int
    end: int
    value: float


class Place(NamedTuple):
    """Where a row stands; `row` counts from 1."""

    file: str
    row: int


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One solution with its labels.

    Attributes:
        id: Unique in its file.
        place: Where it was read.
        group: Solutions of one problem have the same.
        parts: The question as it is shown, images among the text.
        steps: S texts, in order; at least one.
        values: `[S]`, None where a step is not labelled.
        marks: `[S]` dense labels of each step's text; all empty where there are none.
    """

    id: str
    place: Place
    group: str
    parts: tuple[str | Image, ...]
    steps: tuple[str, ...]
    values: tuple[float | None, ...]
    marks: tuple[tuple[Mark, ...], ...]

    @property
    def images(self) -> tuple[Image, ...]:
        """The images, in order."""
        return tuple(part for part in self.parts if isinstance(part, Image))


def row_of(
    row: Row, images: Sequence[Image], place: Place, stem: str, span: ValueRange
) -> TrainingRow:
    """The training row that an object describes.

    Args:
        row: The object; its images are read already.
        images: These.
        place: Where it stands.
        stem: Begins the id of a row without one.
        span: What values may be.

    Raises:
        ProblemError: A rule is broken; the message names the field.
    """
    question = _text(row, "question")
    if not question.strip() and not images:
        raise ProblemError("is empty, and there is no image", field="question")
    choices = _texts(row, "choices") if row.get("choices") is not None else ()
    steps = _texts(row, "steps")
    if not steps:
        raise ProblemError("there is no step", field="steps")
    values = _values(row, len(steps), span)
    if all(value is None for value in values):
        raise ProblemError("no step is labelled", field="values")
    marks = _marks(row, steps, span)
    parts = shown_parts(question, choices, images)
    group = _group(row) or _content(parts)
    return TrainingRow(
        identity_of(row, f"{stem}-{place.row}"), place, group, parts, steps, values, marks
    )


def _content(parts: Sequence[str | Image]) -> str:
    told = [part.digest if isinstance(part, Image) else [part] for part in parts]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _group(row: Row) -> str | None:
    value = row.get("group")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise ProblemError("must be text or an integer", field="group")
    # Never equal to a hash of contents.
    return f"={value}"


def _text(row: Row, key: str) -> str:
    value = row.get(key)
    if value is None:
        raise ProblemError("is missing", field=key)
    if not isinstance(value, str):
        raise ProblemError(f"must be text, not {shown(json.dumps(value))}", field=key)
    return value


def _list(row: Row, key: str) -> Sequence[JsonValue]:
    value = row.get(key)
    if value is None:
        raise ProblemError("is missing", field=key)
    if not isinstance(value, list):
        raise ProblemError("must be a list", field=key)
    return value


def _texts(row: Row, key: str) -> tuple[str, ...]:
    texts = []
    for place, value in enumerate(_list(row, key)):
        if not isinstance(value, str):
            raise ProblemError("must be text", field=f"{key}[{place}]")
        texts.append(value)
    return tuple(texts)


def _values(row: Row, steps: int, span: ValueRange) -> tuple[float | None, ...]:
    values = _list(row, "values")
    if len(values) != steps:
        raise ProblemError(f"{len(values)} values for {steps} steps", field="values")
    return tuple(
        None if value is None else number(value, f"values[{place}]", span)
        for place, value in enumerate(values)
    )


def number(value: JsonValue, field: str, span: ValueRange) -> float:
    """A label.

    Raises:
        ProblemError: It is no number, not finite, or outside of `span`.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProblemError("must be a number or null", field=field)
    if not math.isfinite(value):
        raise ProblemError(f"{value} is not a finite number", field=field)
    if not span.low <= value <= span.high:
        raise ProblemError(f"{value} is outside of {span.low:g} to {span.high:g}", field=field)
    return float(value)


def _marks(row: Row, steps: Sequence[str], span: ValueRange) -> tuple[tuple[Mark, ...], ...]:
    if row.get("marks") is None:
        return ((),) * len(steps)
    lists = _list(row, "marks")
    if len(lists) != len(steps):
        raise ProblemError(f"{len(lists)} lists for {len(steps)} steps", field="marks")
    return tuple(
        _marks_of(given, len(step.strip()), f"marks[{place}]", span)
        for place, (given, step) in enumerate(zip(lists, steps, strict=True))
    )


def _marks_of(given: JsonValue, length: int, field: str, span: ValueRange) -> tuple[Mark, ...]:
    if given is None:
        return ()
    if not isinstance(given, list):
        raise ProblemError("must be a list", field=field)
    marks = []
    for place, item in enumerate(given):
        here = f"{field}[{place}]"
        if not isinstance(item, list) or len(item) != 3:
            raise ProblemError("must be [start, end, value]", field=here)
        start, end = (_offset(one, here) for one in item[:2])
        if not start < end <= length:
            raise ProblemError(
                f"[{start}, {end}) is no range of a text of {length} characters", field=here
            )
        marks.append(Mark(start, end, number(item[2], here, span)))
    marks.sort()
    if any(one.end > other.start for one, other in pairwise(marks)):
        raise ProblemError("ranges overlap", field=field)
    return tuple(marks)


def _offset(value: JsonValue, field: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProblemError("start and end must be integers from 0", field=field)
    if not math.isfinite(value) or value != int(value) or value < 0:
        raise ProblemError("start and end must be integers from 0", field=field)
    return int(value)
