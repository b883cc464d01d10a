"""What every reader of problems shares: rows are taken or set aside, ids are unique."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from vilbench.errors import ImageError, InputError, ProblemError
from vilbench.problems.rows import shown
from vilbench.problems.sets import ProblemSet
from vilbench.types import Problem

_NAMED_REJECTIONS = 3


class Place(NamedTuple):
    """Where a row stands; `row` counts from 1."""

    file: str
    row: int


@dataclass
class Loading:
    """What has been read so far.

    Attributes:
        name: Of the set.
        origin: What is read, for messages.
    """

    name: str
    origin: Path | str
    problems: list[Problem] = field(default_factory=list)
    rejected: list[ProblemError | ImageError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)

    def add(self, place: Place, make: Callable[[list[str]], Problem]) -> None:
        """Takes the problem of a row, or sets the row aside.

        Args:
            place: Where it stands.
            make: Makes the problem; takes a list for what a reader should know of the row.
        """
        notes: list[str] = []
        try:
            problem = make(notes)
            self.refuse_known(problem.id, place)
        except (ProblemError, ImageError) as error:
            self.rejected.append(placed(error, place))
            return
        self.places[problem.id] = place
        self.problems.append(problem)
        self.notes += [f"{place.file}, row {place.row}: {note}" for note in notes]

    def enough(self, limit: int | None, place: Place) -> bool:
        """Whether there are `limit` problems before a row; notes that it was not looked at."""
        if limit is None or len(self.problems) < limit:
            return False
        self.notes.append(
            f"{place.file}: took the first {limit} of its problems (limit); "
            f"the rows from {place.row} on are not needed"
        )
        return True

    def refuse_known(self, identity: str, place: Place) -> None:
        """Raises `ProblemError` for an id that another row has."""
        first = self.places.get(identity)
        if first is not None:
            elsewhere = "" if first.file == place.file else f" of {first.file}"
            raise ProblemError(
                f"{shown(identity)} is already the id of row {first.row}{elsewhere}", field="id"
            )

    def finished(self) -> ProblemSet:
        """The set.

        Raises:
            InputError: There is no usable row.
        """
        if not self.problems:
            raise _nothing_usable(self.origin, self.rejected)
        return ProblemSet(
            self.name,
            tuple(self.problems),
            tuple(self.rejected),
            tuple(self.notes),
            (f"{self.name}: {self.origin}",),
        )


def placed(error: ProblemError | ImageError, place: Place) -> ProblemError | ImageError:
    """The error with its row; a file that it names already, such as an archive, is told too."""
    inner = f"{error.file}: " if error.file not in (None, place.file) else ""
    return type(error)(inner + error.message, file=place.file, row=place.row, field=error.field)


def _nothing_usable(origin: Path | str, rejected: Sequence[InputError]) -> InputError:
    if not rejected:
        return InputError("the file has no rows", file=origin)
    first = rejected[:_NAMED_REJECTIONS]
    told = "; ".join(str(InputError(one.message, row=one.row, field=one.field)) for one in first)
    more = len(rejected) - _NAMED_REJECTIONS
    tail = f"; and {more} more" if more > 0 else ""
    return InputError(f"no usable row among {len(rejected)}: {told}{tail}", file=origin)
