"""What connects a caller that waits with the work done for it elsewhere."""

from __future__ import annotations

from concurrent.futures import Future, InvalidStateError
from typing import Generic, TypeVar

from vilbench.errors import EngineError

Result = TypeVar("Result")


class Ticket(Generic[Result]):
    """Collects the results of one request, which come in any order and from another thread.

    Args:
        count: How many results there will be; at least one.

    Attributes:
        future: Gets the results in order, or the request's error.
    """

    def __init__(self, count: int) -> None:
        self.future: Future[list[Result]] = Future()
        self._results: dict[int, Result] = {}
        self._count = count

    @property
    def wanted(self) -> bool:
        """Whether the caller still waits: not once it cancelled or got an error."""
        return not self.future.done()

    def deliver(self, place: int, result: Result) -> None:
        """Takes result number `place`."""
        self._results[place] = result
        if len(self._results) == self._count and self.wanted:
            try:
                self.future.set_result([self._results[k] for k in range(self._count)])
            except InvalidStateError:  # cancelled at this very moment
                return

    def is_delivered(self, place: int) -> bool:
        """Whether result number `place` is here."""
        return place in self._results

    def fail(self, error: BaseException) -> None:
        """Ends the request with an `EngineError` that tells of `error`."""
        if isinstance(error, EngineError):
            told = error
        else:
            told = EngineError(f"{type(error).__name__}: {error}")
            told.__cause__ = error
        if self.wanted:
            try:
                self.future.set_exception(told)
            except InvalidStateError:
                return
