"""Scores of several scorers as one, and scores as the weights of votes."""

from __future__ import annotations

import math
from collections.abc import Sequence

Pool = Sequence[float | None]
"""Scores of one problem's solutions by one scorer; None is "no verdict"."""


def z_normalize(pool: Pool) -> list[float | None]:
    """Scores as distances from the pool's mean in (population) standard deviations.

    None stays None and counts in neither; equal scores all become 0.

    Raises:
        ValueError: A score is NaN or infinite.
    """
    present = _present(pool)
    if not present or min(present) == max(present):
        return [None if score is None else 0.0 for score in pool]
    # Scaling by a power of two is exact, and keeps the squares of very large and very
    # small scores representable.
    exponent = math.frexp(max(abs(score) for score in present))[1]
    scaled = [math.ldexp(score, -exponent) for score in present]
    centre = math.fsum(scaled) / len(scaled)
    deviation = math.sqrt(math.fsum((score - centre) ** 2 for score in scaled) / len(scaled))
    if deviation == 0:
        return [None if score is None else 0.0 for score in pool]
    return [
        None if score is None else (math.ldexp(score, -exponent) - centre) / deviation
        for score in pool
    ]


def combine(pools: Sequence[Pool], weights: Sequence[float] | None = None) -> list[float | None]:
    """Weighted mean of several scorers' z-normalized scores of the same solutions.

    A solution that some scorers gave no verdict is judged by the others, whose weights
    are scaled up; without any verdict of positive weight its score is None.

    Args:
        pools: A pool per scorer, solutions in the same order.
        weights: A weight per scorer, at least 0 and not all 0; equal ones by default.

    Raises:
        ValueError: Lengths differ, a weight is unusable, or a score is not finite.
    """
    if weights is None:
        weights = [1.0] * len(pools)
    if not pools or len(weights) != len(pools):
        raise ValueError(f"{len(pools)} scorers and {len(weights)} weights cannot be combined")
    if len({len(pool) for pool in pools}) > 1:
        raise ValueError(f"pools of unequal size: {[len(pool) for pool in pools]}")
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not any(weights):
        raise ValueError(f"weights must be finite, at least 0 and not all 0: {list(weights)}")
    normalized = [z_normalize(pool) for pool in pools]
    combined: list[float | None] = []
    for scores in zip(*normalized, strict=True):
        votes = [
            (weight, score)
            for weight, score in zip(weights, scores, strict=True)
            if score is not None and weight > 0
        ]
        total = math.fsum(weight for weight, _ in votes)
        combined.append(
            math.fsum(weight * score for weight, score in votes) / total if votes else None
        )
    return combined


def exponential_weights(pool: Pool) -> list[float | None]:
    """Logarithmic scores as weights of votes in (0, 1]: `exp(score - highest)`.

    For scorers whose scores are logarithms, such as a likelihood's, which are negative.
    The best solution of the pool weighs 1; None stays None.

    Raises:
        ValueError: A score is NaN or infinite.
    """
    best = max(_present(pool), default=0.0)
    return [None if score is None else math.exp(score - best) for score in pool]


def _present(pool: Pool) -> list[float]:
    present = [score for score in pool if score is not None]
    for score in present:
        if not math.isfinite(score):
            raise ValueError(f"a score is {score}")
    return present
