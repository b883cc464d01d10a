"""Counts of what became of the solutions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from vilbench.types import Solution


class VerdictCounts(NamedTuple):
    """Solutions by verdict."""

    correct: int
    wrong: int
    unparsed: int
    failed: int


def count_verdicts(solutions: Iterable[Solution]) -> VerdictCounts:
    """Counts of the verdicts."""
    counts = Counter(solution.verdict for solution in solutions)
    return VerdictCounts(counts["correct"], counts["wrong"], counts["unparsed"], counts["failed"])
