"""A loaded problem set: what can be asked, and what was set aside."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from vilbench.errors import ImageError, InputError, ProblemError
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
        origins: Where they were read, in words: a data set at a commit, or a local copy.
    """

    name: str
    problems: tuple[Problem, ...]
    rejected: tuple[ProblemError | ImageError, ...] = ()
    notes: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()

    def digest(self) -> str:
        """SHA-256 of the problems, which name their images by hash."""
        lines = (problem.model_dump_json().encode() for problem in self.problems)
        return hashlib.sha256(b"\n".join(lines)).hexdigest()


def together(sets: Sequence[ProblemSet]) -> ProblemSet:
    """Several sets as one, in their order; a single one as it is.

    Ids get the name of their set in front, so that sets which count from 1 stay apart and
    an id does not depend on which other sets there are.

    Raises:
        InputError: A set is named twice with a problem in common.
    """
    if len(sets) == 1:
        return sets[0]
    problems: dict[str, Problem] = {}
    for one in sets:
        for problem in one.problems:
            name = f"{one.name}/{problem.id}"
            if name in problems:
                raise InputError(f"problem '{name}' is in two of the problem sets")
            problems[name] = problem.model_copy(update={"id": name})
    return ProblemSet(
        "+".join(dict.fromkeys(one.name for one in sets)),
        tuple(problems.values()),
        tuple(error for one in sets for error in one.rejected),
        tuple(note for one in sets for note in one.notes),
        tuple(origin for one in sets for origin in one.origins),
    )
