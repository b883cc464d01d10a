"""How many bytes the requests under way hold."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import Scope

from vilbench.serve.faults import Refusal, busy

_KEY = "vilbench.holding"


class Memory:
    """What all requests together may hold.

    Args:
        most: Bytes of all of them.
        most_each: Bytes of one.
    """

    def __init__(self, most: int, most_each: int) -> None:
        self.most = most
        self.most_each = most_each
        self.held = 0


class Holding:
    """What one request holds: its body, and the images that are fetched for it.

    Args:
        memory: What it is a part of.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._size = 0

    def take(self, size: int) -> None:
        """Counts so many bytes more.

        Raises:
            Refusal: They are too many for one request, or for all of them.
        """
        self._size += size
        self._memory.held += size
        if self._size > self._memory.most_each:
            told = f"a request has at most {self._memory.most_each:,} bytes"
            raise Refusal(413, "too_large", told)
        if self._memory.held > self._memory.most:
            raise busy("the requests under way fill the memory set apart for them", 1)

    def release(self) -> None:
        """Gives all of it back."""
        self._memory.held -= self._size
        self._size = 0

    def put(self, scope: Scope) -> None:
        """Leaves it where a route finds it."""
        scope[_KEY] = self


def holding(request: Request) -> Holding:
    """What a request holds."""
    found: Holding = request.scope[_KEY]
    return found
