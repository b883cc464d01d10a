"""How many requests are in flight: halved when the server refuses, grown back by answers.

Additive increase and multiplicative decrease, as in TCP's congestion avoidance (Jacobson,
1988): a refusal for too many requests halves the limit once for all requests that were
under way at that time; as many answers as the limit is high raise it by one. Other errors
of the server leave it as it is.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class Passage:
    """A request that has passed; `era` counts the halvings before it."""

    era: int


class Gate:
    """Requests pass in the order in which they came.

    Args:
        most: The limit never exceeds it.
    """

    def __init__(self, most: int) -> None:
        self._most = float(most)
        self._limit = float(most)
        self._era = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed_until = 0.0
        self._opening: asyncio.TimerHandle | None = None
        self.in_flight = 0
        self.most_in_flight = 0

    @property
    def limit(self) -> int:
        """Most requests in flight at present."""
        return int(self._limit)

    async def enter(self) -> Passage:
        """Waits for a place."""
        if self._waiting or not self._has_place():
            place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            self._wake_later()
            try:
                await place
            except asyncio.CancelledError:
                if place.done() and not place.cancelled():
                    self._leave()  # the place was given at this very moment
                raise
        else:
            self._take()
        return Passage(self._era)

    def leave(self) -> None:
        """Gives the place back; nothing is learnt from the request."""
        self._leave()

    def answered(self, passage: Passage) -> None:
        """Gives the place back of a request that the server answered."""
        if passage.era == self._era:
            self._limit = min(self._most, self._limit + 1 / self._limit)
        self._leave()

    def refused(self, passage: Passage) -> None:
        """Gives the place back of a request that was one too many."""
        if passage.era == self._era:
            self._limit = max(1.0, self._limit / 2)
            self._era += 1
        self._leave()

    def close_for(self, seconds: float) -> None:
        """Lets nobody pass for a while, because the server said so."""
        until = asyncio.get_running_loop().time() + seconds
        self._closed_until = max(self._closed_until, until)

    def _has_place(self) -> bool:
        open_now = asyncio.get_running_loop().time() >= self._closed_until
        return open_now and self.in_flight < int(self._limit)

    def _take(self) -> None:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def _leave(self) -> None:
        self.in_flight -= 1
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self._has_place():
            place = self._waiting.popleft()
            if not place.done():
                self._take()
                place.set_result(None)
        self._wake_later()

    def _wake_later(self) -> None:
        """A gate that is closed for a while opens by itself."""
        loop = asyncio.get_running_loop()
        if not self._waiting or self._opening is not None or loop.time() >= self._closed_until:
            return

        def open_again() -> None:
            self._opening = None
            self._wake()

        self._opening = loop.call_at(self._closed_until, open_again)
