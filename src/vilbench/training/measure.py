"""How well scores fit the labels of dev rows: the metrics that a training selects by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from vilbench.training.encoding import Floats
from vilbench.training.rows import TrainingRow, ValueRange


class Measured(NamedTuple):
    """Metrics of scores at labelled step ends; None where they are not defined.

    Attributes:
        mse: Mean squared error.
        auroc: Chance that a right step outscores a wrong one, over all groups.
        within: The same of whole solutions, by their last labelled step, within groups that
            have both; the mean over these.
        steps: Labelled steps.
        groups: Groups that `within` rests on.
    """

    mse: float
    auroc: float | None
    within: float | None
    steps: int
    groups: int

    def value(self, metric: str) -> float | None:
        """A metric by its name in recipes, turned so that more is better."""
        if metric == "mse":
            return -self.mse
        return self.auroc if metric == "auroc" else self.within


def measure(rows: Sequence[TrainingRow], scores: Sequence[Floats], span: ValueRange) -> Measured:
    """Metrics of the scores of rows.

    A step is right when its value is above the middle of the range, and a solution when its
    last labelled step is.

    Args:
        rows: The rows.
        scores: For each row the scores at its labelled steps.
        span: What values may be.
    """
    middle = (span.low + span.high) / 2
    labels = [np.array([v for v in row.values if v is not None], np.float32) for row in rows]
    # Dropping early steps of long solutions leaves the last ones.
    labels = [label[len(label) - len(score) :] for label, score in zip(labels, scores, strict=True)]
    flat, given = np.concatenate(labels), np.concatenate(list(scores))
    groups: dict[str, tuple[list[float], list[float]]] = {}
    for row, label, score in zip(rows, labels, scores, strict=True):
        if len(score):
            wrong, right = groups.setdefault(row.group, ([], []))
            (right if label[-1] > middle else wrong).append(float(score[-1]))
    areas = [_area(np.array(right), np.array(wrong)) for wrong, right in groups.values()]
    found = [area for area in areas if area is not None]
    return Measured(
        mse=float(np.square(flat - given).mean()),
        auroc=_area(given[flat > middle], given[flat <= middle]),
        within=float(np.mean(found)) if found else None,
        steps=len(flat),
        groups=len(found),
    )


def _area(right: Floats, wrong: Floats) -> float | None:
    """AUROC by ranks (Mann-Whitney), ties counting half."""
    if not len(right) or not len(wrong):
        return None
    ranks = rankdata(np.concatenate([right, wrong]))[: len(right)].sum()
    wins = ranks - len(right) * (len(right) + 1) / 2
    return float(wins / (len(right) * len(wrong)))
