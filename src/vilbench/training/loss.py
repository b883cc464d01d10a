"""Losses on a batch: sums, each with the number of things that it is a sum over.

Sums and counts are kept apart so that a mean over several forwards, or over several
processes, is exactly that of one large batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vilbench.training.batch import Batch
from vilbench.training.encoding import Floats
from vilbench.training.recipe import LossConfig
from vilbench.training.rows import ValueRange


class Sums(NamedTuple):
    """Summed losses of a batch, in the order of `Batch.counts`.

    Attributes:
        ends: Of the values at step ends.
        marks: Of the values at marked tokens.
        rank: Of pairs of siblings.
        language: Negative log-likelihood in nats of tokens.
        surprise: Of what the second head says of tokens.
        values: `[K]` scores at the step ends, detached.
    """

    ends: Tensor
    marks: Tensor
    rank: Tensor
    language: Tensor
    surprise: Tensor
    values: Tensor


class Objective:
    """The loss of a recipe.

    Args:
        config: Kind and weights.
        span: What values may be.
    """

    def __init__(self, config: LossConfig, span: ValueRange) -> None:
        self._config = config
        self._span = span

    @property
    def wants_language(self) -> bool:
        """Whether logits are needed."""
        return self._config.language > 0

    @property
    def wants_surprise(self) -> bool:
        """Whether a second head says how surprising tokens are."""
        return self._config.surprise > 0

    @property
    def wants_marks(self) -> bool:
        """Whether scores within steps are needed."""
        return self.dense > 0

    @property
    def dense(self) -> float:
        """Weight of the loss at marked tokens."""
        return self._config.dense

    def sums(
        self,
        ends: Tensor,
        marks: Tensor,
        logits: Tensor | None,
        batch: Batch,
        surprise: Tensor | None = None,
    ) -> Sums:
        """Summed losses.

        Args:
            ends: `[K]` scores at the labelled step ends.
            marks: `[M]` scores at the marked tokens; none where they are not wanted.
            logits: `[Q, V]` where tokens are predicted, None where they are not wanted.
            batch: With the targets.
            surprise: `[S, 2]` what the second head says of tokens, and what they are; None
                where it is not wanted.
        """
        zero = ends.new_zeros(())
        pairs = ends[batch.pairs] if self._config.rank else ends.new_zeros(0, 2)
        return Sums(
            ends=self._values(ends, batch.ends.values),
            marks=self._values(marks, batch.marks.values) if len(marks) else zero,
            rank=functional.softplus(pairs[:, 1] - pairs[:, 0]).sum(),
            language=zero
            if logits is None
            else functional.cross_entropy(logits, batch.language.values, reduction="sum"),
            surprise=zero if surprise is None else (surprise[:, 0] - surprise[:, 1]).square().sum(),
            values=ends.detach(),
        )

    def read(self, scores: Sequence[Floats]) -> list[Floats]:
        """Values of scores, which are logits for "bce"."""
        if self._config.kind == "mse":
            return list(scores)
        return [(1 / (1 + np.exp(-one))).astype(np.float32) for one in scores]

    def total(self, sums: Sums, counts: Tensor) -> Tensor:
        """The weighted sum of means.

        Args:
            sums: Of one batch.
            counts: `[5]` of all batches that make an update together.
        """
        config = self._config
        weights = (1.0, config.dense, config.rank, config.language, config.surprise)
        terms = [
            weight * part / count
            for weight, part, count in zip(weights, sums[:5], counts.clamp(min=1), strict=True)
            if weight
        ]
        return torch.stack(terms).sum()

    def _values(self, scores: Tensor, values: Tensor) -> Tensor:
        if self._config.kind == "mse":
            return (scores - values).square().sum()
        low, high = self._span
        if self._config.hard_at is not None:
            target = (values >= self._config.hard_at).to(scores.dtype)
        else:
            target = (values - low) / (high - low)
        return functional.binary_cross_entropy_with_logits(scores, target, reduction="sum")
