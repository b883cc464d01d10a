"""The one layer that asks again; neither the client nor its transport does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from vilbench.engines.openai.faults import RequestFault

Result = TypeVar("Result")


@dataclass(frozen=True)
class Patience:
    """Time limits and attempts of one request.

    Attributes:
        connect_s: Seconds until there is a connection.
        first_byte_s: Seconds without a byte of the answer, at its beginning or within it.
        call_s: Seconds of one attempt, all in all.
        attempts: Most attempts, the first one included.
        first_wait_s: Most seconds before the second attempt; the bound doubles with each.
        longest_wait_s: Most seconds between two attempts; a server that asks for more is
            given up, with all that would be asked of it.
    """

    connect_s: float = 30.0
    first_byte_s: float = 300.0
    call_s: float = 600.0
    attempts: int = 6
    first_wait_s: float = 1.0
    longest_wait_s: float = 120.0

    def asks_again(self, error: BaseException) -> bool:
        """Whether a failed attempt is followed by another, while there are any left."""
        if not isinstance(error, RequestFault) or not error.retry:
            return False
        return error.wait_s is None or error.wait_s <= self.longest_wait_s


async def persistently(
    attempt: Callable[[], Awaitable[Result]],
    patience: Patience,
    note: Callable[[RequestFault], None],
) -> Result:
    """The result of the first attempt that gives one.

    Between attempts the server's own wait is kept where it names one, else a random time
    below a bound that doubles ("full jitter").

    Args:
        attempt: Asks once.
        patience: How often, and how long to wait.
        note: Told of every fault that is followed by another attempt.

    Raises:
        RequestFault: That of the last attempt.
    """
    failed: list[RequestFault] = []
    try:
        return await attempt()
    except RequestFault as fault:
        failed.append(fault)

    async def once() -> Result:
        # The first attempt is counted here and made above: most requests need no more.
        if failed:
            raise failed.pop()
        return await attempt()

    return await _retrying(patience, note)(once)


def _retrying(patience: Patience, note: Callable[[RequestFault], None]) -> AsyncRetrying:
    backoff = wait_random_exponential(multiplier=patience.first_wait_s, max=patience.longest_wait_s)

    def wait(state: RetryCallState) -> float:
        asked = getattr(_error(state), "wait_s", None)
        return backoff(state) if asked is None else float(asked)

    def before_sleep(state: RetryCallState) -> None:
        error = _error(state)
        if isinstance(error, RequestFault):
            note(error)

    return AsyncRetrying(
        stop=stop_after_attempt(patience.attempts),
        wait=wait,
        retry=retry_if_exception(patience.asks_again),
        before_sleep=before_sleep,
        reraise=True,
    )


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None
