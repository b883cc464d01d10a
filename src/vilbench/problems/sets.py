"""A loaded problem set: what can be asked, and what was set aside."""

from __future__ import annotations

from dataclasses import dataclass

from vilbench.errors import ImageError, ProblemError
from vilbench.types import Problem


@dataclass(frozen=True)
class ProblemSet:
    """Problems with unique ids, in their order.

    Attributes:
        name: Name in tables and in the run's manifest.
        problems: The usable ones.
        rejected: One error per row that was set aside, each naming file, row and field.
        notes: What a reader should know and that stopped nothing (a converted image, a
            reading that was chosen among two).
    """

    name: str
    problems: tuple[Problem, ...]
    rejected: tuple[ProblemError | ImageError, ...] = ()
    notes: tuple[str, ...] = ()
