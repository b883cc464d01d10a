"""Training rows as ids with labels on them, made once and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vilbench.backbone.model import Backbone
from vilbench.backbone.tokens import PromptEncoder
from vilbench.errors import InputError
from vilbench.prm.tokens import EncodedSteps, Spans, StepEncoder
from vilbench.training.recipe import LossConfig
from vilbench.training.rows import TrainingRow, ValueRange
from vilbench.types import Image

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


class Labelled(NamedTuple):
    """Places among ids `[L]` and what is to be predicted there, both `[K]`."""

    places: Ints
    values: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """One solution as ids.

    Attributes:
        row: Its place among the training rows.
        ids: `[L]`, step ends included.
        ends: Labelled step ends.
        marks: Labelled tokens within steps.
        learn: `[Q]` tokens that the language-model loss learns.
        said: `[S]` text tokens behind the first, where the loss asks for their surprise.
    """

    row: int
    ids: Ints
    ends: Labelled
    marks: Labelled
    learn: Ints
    said: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Siblings:
    """Solutions of one question behind one prompt.

    Attributes:
        group: As the rows have it.
        ids: `[P]` of the prompt.
        images: In order.
        positions: `[A, P]` of the prompt's tokens.
        solutions: At least one.
    """

    group: str
    ids: Ints
    images: tuple[Image, ...]
    positions: Ints
    solutions: tuple[Solution, ...]

    @property
    def width(self) -> int:
        """Tokens of the row that holds them all."""
        return len(self.ids) + sum(len(solution.ids) for solution in self.solutions)

    @property
    def longest(self) -> int:
        """Tokens of the longest solution with its prompt."""
        return len(self.ids) + max(len(solution.ids) for solution in self.solutions)


class Encoding:
    """Encodes rows; siblings are brought together.

    Args:
        encoder: Of prompts, for pixels.
        steps: Of solutions.
        backbone: For positions.
        loss: Which labels are wanted.
        span: What values may be.
        most: Most siblings in one row.
    """

    def __init__(
        self,
        encoder: PromptEncoder,
        steps: StepEncoder,
        backbone: Backbone,
        loss: LossConfig,
        span: ValueRange,
        most: int,
    ) -> None:
        self._encoder = encoder
        self._steps = steps
        self._backbone = backbone
        self._loss = loss
        self._span = span
        self._most = most

    def encode(self, rows: Sequence[TrainingRow]) -> tuple[Siblings, ...]:
        """All rows, those of a group together, in the order of their first.

        Raises:
            InputError: A row is too long, or its image is refused by the processor; the
                message names file and row.
        """
        together: dict[tuple[str, tuple[str | Image, ...]], list[int]] = {}
        for number, row in enumerate(rows):
            together.setdefault((row.group, row.parts), []).append(number)
        return tuple(
            siblings
            for numbers in together.values()
            for start in range(0, len(numbers), self._most)
            for siblings in self._siblings(rows, numbers[start : start + self._most])
        )

    def _siblings(self, rows: Sequence[TrainingRow], numbers: Sequence[int]) -> list[Siblings]:
        first = rows[numbers[0]]
        encoded = [self._encoded(rows[number]) for number in numbers]
        prompt = encoded[0].prompt
        pixels = self._encoder.pixels(prompt.images) if prompt.images else {}
        positions = self._backbone.positions(prompt, pixels)
        shift = self._backbone.shift(prompt, pixels)
        length = len(prompt.ids)
        places = np.tile(np.arange(length) + shift, (self._backbone.axes, 1))
        places[:, : prompt.image_end] = positions[:, : prompt.image_end]
        solutions = tuple(
            self._solution(number, rows[number], steps)
            for number, steps in zip(numbers, encoded, strict=True)
        )
        return [Siblings(first.group, np.array(prompt.ids), prompt.images, places, solutions)]

    def _encoded(self, row: TrainingRow) -> EncodedSteps:
        try:
            return self._steps.encode(row.parts, row.steps)
        except InputError as error:
            raise error.at(file=row.place.file, row=row.place.row) from error

    def _solution(self, number: int, row: TrainingRow, encoded: EncodedSteps) -> Solution:
        ends = [
            (place, value)
            for place, value in zip(encoded.ends, row.values[encoded.dropped :], strict=True)
            if value is not None
        ]
        loss = self._loss
        spans = self._steps.spans(encoded, row.steps) if loss.dense or loss.language else None
        marks = _marked(row, encoded, spans) if spans and loss.dense else []
        learn = self._learnt(row, encoded, spans) if spans and loss.language else []
        text = sorted(set(range(1, len(encoded.ids))) - set(encoded.ends))
        return Solution(
            number,
            np.array(encoded.ids, np.int64),
            _labelled(ends),
            _labelled(marks),
            np.array(learn, np.int64),
            np.array(text if loss.surprise else [], np.int64),
        )

    def _learnt(self, row: TrainingRow, encoded: EncodedSteps, spans: Spans) -> list[int]:
        """Text tokens of what is right, as `measure` has it; step ends are not text."""
        middle = (self._span.low + self._span.high) / 2
        right = [value is not None and value > middle for value in row.values]
        if self._loss.language_on == "correct-solutions":
            if not all(value is None or value > middle for value in row.values):
                return []
            right = [True] * len(right)
        until = right.index(False) if False in right else len(right)
        cut = 0
        if until < len(right):
            wrong = [mark.start for mark in row.marks[until] if mark.value <= middle]
            cut = min(wrong) if wrong else 0
        ends = set(encoded.ends)
        return [
            place
            for place, (owner, stop) in enumerate(zip(*spans, strict=True))
            if place not in ends and (owner < until or (owner == until and stop <= cut))
        ]


def _marked(row: TrainingRow, encoded: EncodedSteps, spans: Spans) -> list[tuple[int, float]]:
    """Tokens with the value of the mark that holds their last character."""
    ends = set(encoded.ends)
    found = []
    for place, (owner, stop) in enumerate(zip(*spans, strict=True)):
        if place in ends:
            continue
        for mark in row.marks[owner]:
            if mark.start < stop <= mark.end:
                found.append((place, mark.value))
                break
    return found


def _labelled(pairs: Sequence[tuple[int, float]]) -> Labelled:
    places = np.array([place for place, _ in pairs], np.int64)
    return Labelled(places, np.array([value for _, value in pairs], np.float32))
