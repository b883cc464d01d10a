"""Heads that are fitted before anything moves: linear probing, then fine-tuning.

A random head sends gradients into the backbone that undo some of what it knows before the head
has found out where to look (Kumar et al., 2022, "Fine-tuning can distort pretrained features").
The heads here are linear and their losses are squares, so the best ones for the backbone as
it is follow from sums over tokens, without steps.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from vilbench.training.batch import Batch
from vilbench.training.forward import hidden_states
from vilbench.training.learner import Learner

RIDGE = 1e-4
"""Added to the diagonal, as a share of its mean."""


class _Moments(NamedTuple):
    """Means over tokens in float64, W counting a column of ones where there is a bias.

    Attributes:
        gram: `[W, W]` of products of states.
        target: `[W]` of states times targets.
    """

    gram: Tensor
    target: Tensor


class _Sums:
    """Moments that batches are added to."""

    def __init__(self, head: torch.nn.Linear) -> None:
        self._bias = head.bias is not None
        width = head.in_features + self._bias
        self._gram = torch.zeros(width, width, dtype=torch.float64)
        self._target = torch.zeros(width, dtype=torch.float64)
        self.count = 0

    def add(self, states: Tensor, targets: Tensor) -> None:
        """Adds `[K, W]` states with their `[K]` targets."""
        given = states.double().cpu()
        if self._bias:
            given = torch.cat([given, given.new_ones(len(given), 1)], dim=1)
        self._gram += given.T @ given
        self._target += given.T @ targets.double().cpu()
        self.count += len(given)

    def mean(self) -> _Moments:
        """The means; zeros when nothing was added."""
        count = max(self.count, 1)
        return _Moments(self._gram / count, self._target / count)


@torch.no_grad()
def fit(learner: Learner, batches: Iterable[Batch]) -> int:
    """Gives the heads of `learner` the weights that are best for its backbone as it stands.

    They minimize what a training minimizes by them, but for the loss `rank`: the mean squared
    error at step ends and, at its weight, at marked tokens; the second head's that of the surprise.

    Args:
        learner: Its heads are changed in place, nothing else.
        batches: Whose labels are fitted, on the learner's device.

    Returns:
        How many step ends and marks the score head was fitted to; it is left as it was where
        there are none.
    """
    head: torch.nn.Linear = learner.reward.score
    ends, marks = _Sums(head), _Sums(head)
    surprise = _Sums(learner.surprise) if learner.objective.wants_surprise else None
    for batch in batches:
        hidden = hidden_states(learner.reward.backbone, batch)
        ends.add(hidden[batch.ends.places], batch.ends.values)
        if learner.objective.wants_marks:
            marks.add(hidden[batch.marks.places], batch.marks.values)
        if surprise is not None:
            surprise.add(hidden[batch.said[0]], learner.surprising(hidden, batch))
    if ends.count + marks.count:
        gram, target = ends.mean()
        weight = learner.objective.dense
        _solve(
            head, _Moments(gram + weight * marks.mean().gram, target + weight * marks.mean().target)
        )
    if surprise is not None and surprise.count:
        _solve(learner.surprise, surprise.mean())
    return ends.count + marks.count


def _solve(head: torch.nn.Linear, moments: _Moments) -> None:
    """Ridge regression; the bias is held as little as the weights."""
    gram = moments.gram
    steady = RIDGE * gram.diagonal().mean().clamp(min=1e-12)
    eye = torch.eye(len(gram), dtype=gram.dtype)
    found = torch.linalg.solve(gram + steady * eye, moments.target)
    head.weight.copy_(found[: head.in_features][None])
    if head.bias is not None:
        head.bias.copy_(found[head.in_features :])
