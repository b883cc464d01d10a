"""The order of the data: every batch of a training, drawn once from its seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch

from vilbench.training.encoding import Siblings
from vilbench.training.recipe import BatchConfig

_POOL = 32
"""Batches that are sorted by length together."""


class Order(torch.utils.data.Sampler[list[int]]):
    """Batches of all epochs, as lists of places among the siblings.

    An epoch is a new shuffle. Within a pool of batches siblings of like length come together,
    so that pads are short, and the batches of a pool come in random order.

    Args:
        siblings: What there is.
        config: Sizes.
        epochs: Passes over it.
        seed: Of the shuffles.
        processes: Batches that are computed side by side and should be of like length.
        steps: Updates; fewer than the epochs make ends sooner.

    Attributes:
        batches: All of them.
        first: Place among `batches` where each epoch begins.
    """

    def __init__(
        self,
        siblings: Sequence[Siblings],
        config: BatchConfig,
        *,
        epochs: int,
        seed: int,
        processes: int = 1,
        steps: int | None = None,
    ) -> None:
        self.batches: list[list[int]] = []
        self.first: list[int] = []
        self._size = len(siblings)
        for epoch in range(epochs):
            self.first.append(len(self.batches))
            rng = np.random.default_rng([seed, epoch])
            shuffled = rng.permutation(len(siblings)).tolist()
            total = sum(len(one.solutions) for one in siblings)
            pool = max(1, round(_POOL * config.solutions * len(siblings) / total))
            for start in range(0, len(shuffled), pool):
                chosen = sorted(
                    shuffled[start : start + pool], key=lambda k: _length(siblings[k], config)
                )
                made = list(_cut(chosen, siblings, config))
                units = [made[k : k + processes] for k in range(0, len(made), processes)]
                for unit in rng.permutation(len(units)).tolist():
                    self.batches += units[unit]
        if steps is not None:
            del self.batches[steps * config.accumulate * processes :]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def epoch(self, batch: int) -> float:
        """How many epochs are done when `batch` batches are."""
        starts = [*self.first, max(len(self.batches), self.first[-1] + 1)]
        for number, (begin, end) in enumerate(pairwise(starts)):
            if batch <= end:
                return number + (batch - begin) / max(1, end - begin)
        return float(len(self.first))

    def digest(self) -> str:
        """SHA-256 of the order."""
        return hashlib.sha256(json.dumps(self.batches).encode()).hexdigest()


def _length(siblings: Siblings, config: BatchConfig) -> int:
    return siblings.width if config.layout == "siblings" else siblings.longest


def _cut(
    chosen: Sequence[int], siblings: Sequence[Siblings], config: BatchConfig
) -> Iterator[list[int]]:
    batch: list[int] = []
    solutions = rows = longest = 0
    for k in chosen:
        one = siblings[k]
        count = len(one.solutions)
        more = 1 if config.layout == "siblings" else count
        length = max(longest, _length(one, config))
        full = solutions + count / 2 > config.solutions or (rows + more) * length > config.tokens
        if batch and full:
            yield batch
            batch, solutions, rows = [], 0, 0
            length = _length(one, config)
        batch.append(k)
        solutions += count
        rows += more
        longest = length
    if batch:
        yield batch
