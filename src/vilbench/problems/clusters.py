"""Which problems are versions of one another, so that they are no independent draws.

The twins of a puzzle show one scene, the versions of a MathVerse problem tell one task with
more or less of it in words, and problems of one's own may name a group. A model that finds one
of them hard finds the others hard too: intervals that took each for a draw of its own would be
too short.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from vilbench.types import Problem

GROUP = "cluster"
"""Key of the metadata by which problems of one's own name their group."""


def clusters(problems: Sequence[Problem]) -> list[int]:
    """Number of the cluster of each problem, from 0 in order of appearance."""
    numbers: dict[str, int] = {}
    return [numbers.setdefault(_key(one), len(numbers)) for one in problems]


def _key(problem: Problem) -> str:
    """Equal for versions of one another, and only for these."""
    data = problem.metadata
    if data.get(GROUP) is not None:
        parts = ("group", problem.source, data[GROUP])
    elif "puzzle" in data and data.get("gold"):
        parts = ("puzzle", problem.source, [data.get(key) for key in ("facts", "gold")])
    elif data.get("problem_index") is not None:
        parts = ("index", problem.source, data["problem_index"])
    else:
        parts = ("id", problem.id, None)
    return json.dumps(parts, sort_keys=True, default=str)
