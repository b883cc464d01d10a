"""Batches: siblings behind one shared prompt as one row, or a row for each solution.

In a row of siblings every solution sees the prompt and itself, and no other: a block mask
says so, and each solution's positions go on from the prompt. So one row gives exactly what
the solutions would give one by one, and the same gradients, for the price of one prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vilbench.backbone.tokens import Pixels, PromptEncoder
from vilbench.training.encoding import Siblings, Solution
from vilbench.types import Image


class Targets(NamedTuple):
    """What is to be predicted where.

    Attributes:
        places: `[K]` places among the batch's `B * T` tokens.
        values: `[K]` values, or token ids.
    """

    places: Tensor
    values: Tensor


@dataclass(frozen=True)
class Batch:
    """B rows, padded on the right to T tokens.

    Attributes:
        ids: `[B, T]`.
        positions: `[A, B, T]`.
        owners: `[B, T]` 0 for the prompt, k for the row's k-th solution, -1 for pads; None
            where no row has more than one solution.
        pixels: Image inputs of each set of images, each set once.
        sets: `[B]` which of `pixels` each row shows, -1 for none.
        image_places: `[I]` places of image tokens among the `B * T`.
        image_features: `[I]` which feature belongs there, in the order of `pixels`.
        ends: Labelled step ends.
        marks: Labelled tokens within steps.
        language: Where a token is predicted, and which.
        said: Where a token stands whose surprise is told, and which.
        pairs: `[R, 2]` step ends (places in `ends`), the better first.
        rows: `[K]` training row of every step end.
        solutions: How many solutions.
        tokens: How many tokens, pads not counted.
    """

    ids: Tensor
    positions: Tensor
    owners: Tensor | None
    pixels: tuple[Pixels, ...]
    sets: tuple[int, ...]
    image_places: Tensor
    image_features: Tensor
    ends: Targets
    marks: Targets
    language: Targets
    said: Targets
    pairs: Tensor
    rows: Tensor
    solutions: int
    tokens: int

    def to(self, device: torch.device | str, **kwargs: Any) -> Batch:
        """The same on a device."""
        return Batch(**{one.name: _moved(getattr(self, one.name), device) for one in fields(self)})

    def counts(self) -> Tensor:
        """`[5]` float: step ends, marks, pairs, tokens of language, tokens of surprise."""
        targets = (self.ends, self.marks, self.language, self.said)
        ends, marks, language, said = (one.places for one in targets)
        found = (ends, marks, self.pairs, language, said)
        return torch.tensor([float(len(one)) for one in found])

    def mask(self) -> Tensor | None:
        """`[B, 1, T, T]` bool, what each token sees; None for plain causal rows."""
        if self.owners is None:
            return None
        owners = self.owners
        causal = torch.ones(owners.shape[1:] * 2, dtype=torch.bool, device=owners.device).tril()
        seen = (owners[:, None, :] == 0) | (owners[:, None, :] == owners[:, :, None])
        return (seen & causal)[:, None]


def _moved(value: Any, device: torch.device | str) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, Targets):
        return Targets(value.places.to(device), value.values.to(device))
    if isinstance(value, tuple):
        return tuple(_moved(one, device) for one in value)
    if isinstance(value, Mapping):
        return {name: one.to(device) for name, one in value.items()}
    return value


class Collator:
    """Lays siblings out as a batch.

    Args:
        encoder: For pixels.
        image_id: Token id of image placeholders.
        pad_id: Any token.
        together: Siblings share a row.
    """

    def __init__(
        self, encoder: PromptEncoder, image_id: int, pad_id: int, *, together: bool = True
    ) -> None:
        self._encoder = encoder
        self._image_id = image_id
        self._pad_id = pad_id
        self._together = together

    def grouping(self) -> Collator:
        """The same with siblings in one row."""
        return Collator(self._encoder, self._image_id, self._pad_id)

    def __call__(self, items: Sequence[Siblings]) -> Batch:
        """One batch of all `items`."""
        rows = [row for item in items for row in self._rows(item)]
        width = max(row.width for row in rows)
        axes = len(rows[0].positions)
        ids = np.full((len(rows), width), self._pad_id, np.int64)
        positions = np.zeros((axes, len(rows), width), np.int64)
        owners = np.full((len(rows), width), -1, np.int64)
        ends, marks, language, said = (_Collected() for _ in range(4))
        numbers: list[int] = []
        last: dict[str, list[tuple[int, float]]] = {}
        for place, row in enumerate(rows):
            prompt = len(row.ids)
            ids[place, :prompt] = row.ids
            positions[:, place, :prompt] = row.positions
            owners[place, :prompt] = 0
            after = int(row.positions[0, -1]) + 1
            begin = prompt
            for owner, solution in enumerate(row.solutions, start=1):
                end = begin + len(solution.ids)
                ids[place, begin:end] = solution.ids
                positions[:, place, begin:end] = after + np.arange(end - begin)
                owners[place, begin:end] = owner
                base = place * width + begin
                if len(solution.ends.places):
                    known = len(numbers) + len(solution.ends.places) - 1
                    value = float(solution.ends.values[-1])
                    last.setdefault(row.group, []).append((known, value))
                numbers += [solution.row] * len(solution.ends.places)
                ends.add(base + solution.ends.places, solution.ends.values)
                marks.add(base + solution.marks.places, solution.marks.values)
                before = base + solution.learn - 1
                before[solution.learn == 0] = place * width + prompt - 1
                language.add(before, solution.ids[solution.learn])
                said.add(base + solution.said, solution.ids[solution.said])
                begin = end
        shown = self._images(rows, width)
        siblings = any(len(row.solutions) > 1 for row in rows)
        return Batch(
            ids=torch.from_numpy(ids),
            positions=torch.from_numpy(positions),
            owners=torch.from_numpy(owners) if siblings else None,
            pixels=shown.pixels,
            sets=shown.sets,
            image_places=shown.places,
            image_features=shown.features,
            ends=ends.targets(np.float32),
            marks=marks.targets(np.float32),
            language=language.targets(np.int64),
            said=said.targets(np.int64),
            pairs=_pairs(last.values()),
            rows=torch.tensor(numbers, dtype=torch.long),
            solutions=sum(len(row.solutions) for row in rows),
            tokens=sum(row.width for row in rows),
        )

    def _rows(self, item: Siblings) -> list[Siblings]:
        if self._together:
            return [item]
        return [
            Siblings(item.group, item.ids, item.images, item.positions, (solution,))
            for solution in item.solutions
        ]

    def _images(self, rows: Sequence[Siblings], width: int) -> _Shown:
        """Each set of images once, and where its features go."""
        sets: dict[tuple[Image, ...], int] = {}
        starts: list[int] = []
        pixels: list[Pixels] = []
        places: list[Any] = []
        features: list[Any] = []
        shown: list[int] = []
        free = 0
        for number, row in enumerate(rows):
            if not row.images:
                shown.append(-1)
                continue
            found = (row.ids == self._image_id).nonzero()[0]
            if row.images not in sets:
                sets[row.images] = len(pixels)
                starts.append(free)
                pixels.append(self._encoder.pixels(row.images))
                free += len(found)
            shown.append(sets[row.images])
            places.append(number * width + found)
            features.append(starts[shown[-1]] + np.arange(len(found)))
        return _Shown(
            tuple(pixels), tuple(shown), _joined(places, np.int64), _joined(features, np.int64)
        )


class _Shown(NamedTuple):
    pixels: tuple[Pixels, ...]
    sets: tuple[int, ...]
    places: Tensor
    features: Tensor


class _Collected:
    def __init__(self) -> None:
        self._places: list[Any] = []
        self._values: list[Any] = []

    def add(self, places: Any, values: Any) -> None:
        self._places.append(places)
        self._values.append(values)

    def targets(self, kind: Any) -> Targets:
        return Targets(_joined(self._places, np.int64), _joined(self._values, kind))


def _joined(parts: Sequence[Any], kind: Any) -> Tensor:
    return torch.from_numpy(np.concatenate([np.zeros(0, kind), *parts]).astype(kind))


def _pairs(groups: Any) -> Tensor:
    found = [
        (one, other) if value > against else (other, one)
        for group in groups
        for (one, value), (other, against) in combinations(group, 2)
        if value != against
    ]
    return torch.tensor(found, dtype=torch.long).reshape(-1, 2)


__all__ = ["Batch", "Collator", "Siblings", "Solution", "Targets"]
