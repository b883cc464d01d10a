"""How long work tells where it is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told of every unit of a stage; a unit is a problem."""

    def begin(self, stage: str, total: int, done: int) -> None:
        """A stage begins; `done` of its `total` units are stored already."""
        ...

    def advance(self, stage: str, *, failed: bool) -> None:
        """One more unit is stored, or has failed."""
        ...

    def end(self, stage: str) -> None:
        """The stage has ended."""
        ...


class Silence:
    """Tells nobody."""

    def begin(self, stage: str, total: int, done: int) -> None:
        """Nothing."""

    def advance(self, stage: str, *, failed: bool) -> None:
        """Nothing."""

    def end(self, stage: str) -> None:
        """Nothing."""
