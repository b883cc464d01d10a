"""Cutting work into batches: under a budget, and again after a failure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeVar

from vilbench.backbone.memory import ran_out
from vilbench.backbone.prefill import Placed
from vilbench.engines.tickets import Ticket


class Work(Protocol):
    """A row to be sampled or a reply to be scored; a request has one or several."""

    @property
    def ticket(self) -> Ticket[Any]:
        """The request that it is for."""
        ...

    @property
    def place(self) -> int:
        """Which of the request's results it makes."""
        ...

    @property
    def prompt(self) -> Placed:
        """What it begins with."""
        ...

    @property
    def length(self) -> int:
        """Tokens to compute before anything is sampled."""
        ...

    @property
    def room(self) -> int:
        """Tokens to make room for beyond these."""
        ...

    def restart(self) -> None:
        """Forgets what was done so far, to be done again."""
        ...


Piece = TypeVar("Piece", bound=Work)


def cut(batch: Sequence[Piece], budget: int) -> Iterator[list[Piece]]:
    """Batches of like length; what shares images and their place stays together if it fits.

    Args:
        batch: All the work.
        budget: Most tokens of a batch, as rows times the longest row with its room. A single
            row may exceed it.
    """
    groups: dict[object, list[Piece]] = {}
    for work in batch:
        encoded = work.prompt.encoded
        groups.setdefault((encoded.images, encoded.ids[: encoded.image_end]), []).append(work)
    part: list[Piece] = []
    width = 0
    for group in sorted(groups.values(), key=lambda group: max(w.length for w in group)):
        widest = max(work.length + work.room for work in group)
        if part and (len(part) + len(group)) * max(width, widest) > budget:
            yield part
            part, width = [], 0
        for work in sorted(group, key=lambda w: w.length):
            width = max(width, work.length + work.room)
            if part and (len(part) + 1) * width > budget:
                yield part
                part, width = [], work.length + work.room
            part.append(work)
    if part:
        yield part


def parts_of(batch: list[Piece], error: Exception) -> list[list[Piece]]:
    """How to run a failed batch again: in halves if memory ran out, else by request.

    A single part means that there is nothing left to take apart.
    """
    if ran_out(error):
        middle = len(batch) // 2
        return [part for part in (batch[:middle], batch[middle:]) if part]
    by_ticket: dict[int, list[Piece]] = {}
    for work in batch:
        by_ticket.setdefault(id(work.ticket), []).append(work)
    return list(by_ticket.values())
