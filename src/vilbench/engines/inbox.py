"""Requests on their way from event loops to a worker's thread, gathered without a clock.

What is worked on together must not depend on how fast the machine is. So the worker takes
what waits when the event loops have had their say, counted in turns of the loop: a loop is
quiet once it has turned `QUIET_TURNS` times without a new request. A loop whose requests
were taken last is listened to anew, so that whatever its callers ask in answer to the
results is there too.
"""

from __future__ import annotations

import threading
from asyncio import AbstractEventLoop, get_running_loop
from contextlib import suppress
from typing import Generic, TypeVar

Item = TypeVar("Item")

QUIET_TURNS = 16
"""From a result through a group of tasks and a bounded map to the next request it takes eight."""

_LOOK_S = 0.05
"""How often to look whether a loop that is waited for still runs."""


class _Listening:
    """Turns that a loop must still be quiet for."""

    def __init__(self) -> None:
        self.turns = QUIET_TURNS


class Inbox(Generic[Item]):
    """A queue from any number of event loops to one worker's thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[Item] = []
        self._taken: list[Item] = []
        self._senders: set[AbstractEventLoop] = set()
        self._listening: dict[AbstractEventLoop, _Listening] = {}
        self._closed = False

    def put(self, item: Item) -> bool:
        """Sends an item from the running event loop; False when the inbox is closed."""
        loop = get_running_loop()
        with self._changed:
            if self._closed:
                return False
            self._waiting.append(item)
            self._senders.add(loop)
            self._listen(loop)
            self._changed.notify_all()
        return True

    def take(self) -> list[Item]:
        """Waits for items and takes all; called by the worker when it is done with the last.

        Returns:
            In the order of their arrival; none when the inbox is closed.
        """
        with self._changed:
            self._taken = []
            senders, self._senders = self._senders, set()
            for loop in senders:
                self._listen(loop)
            while not self._closed and (self._listening or not self._waiting):
                self._changed.wait(_LOOK_S if self._listening else None)
                self._leave_stopped_loops()
            self._taken, self._waiting = self._waiting, []
            return list(self._taken)

    def close(self) -> list[Item]:
        """Ends `put` and `take`; what waits and what was taken last."""
        with self._changed:
            self._closed = True
            left, self._waiting = [*self._taken, *self._waiting], []
            self._changed.notify_all()
        return left

    def _listen(self, loop: AbstractEventLoop) -> None:
        listening = self._listening.get(loop)
        if listening is not None:
            listening.turns = QUIET_TURNS
            return
        with suppress(RuntimeError):  # the loop is closed
            listening = _Listening()
            loop.call_soon_threadsafe(self._turn, loop, listening)
            self._listening[loop] = listening

    def _turn(self, loop: AbstractEventLoop, listening: _Listening) -> None:
        """One turn of a loop has passed."""
        with self._changed:
            if self._listening.get(loop) is not listening:
                return
            listening.turns -= 1
            if listening.turns > 0:
                loop.call_soon(self._turn, loop, listening)
            else:
                del self._listening[loop]
                self._changed.notify_all()

    def _leave_stopped_loops(self) -> None:
        """Whoever stops a loop between result and answer must not hold the others up."""
        for loop in [loop for loop in self._listening if not loop.is_running()]:
            del self._listening[loop]
