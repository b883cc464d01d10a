"""What goes wrong with a request, and whether it is worth asking again.

RequestFault (an EngineError)
|- retry      another attempt may help: the server is busy, broken or out of reach
|- fatal      every further request would fail alike: a wrong key, a spent quota
`- neither    this request alone cannot be answered
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx2
import openai

from vilbench.errors import EngineError

_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
_FATAL = frozenset({401, 402, 404, 407})
_QUOTA = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_REFUSALS = frozenset({429, 529})
NO_CONNECTION = "no-connection"
"""Kind of the fault of a request that reached no server."""

_TOLD = 300
"""Most characters of a server's words in a message."""


class RequestFault(EngineError):  # noqa: N818 - the word of the package
    """One request went wrong.

    Args:
        message: What happened.
        kind: A word for counters.
        retry: Whether another attempt may help.
        fatal: Whether every further request would fail too.
        wait_s: Seconds that the server asks for, None where it says nothing.
        refused: Whether it was one request too many.
        billed: Whether the server may have written an answer that must be paid.
        words: The server's own words, whole; the message ends with the beginning of them.
    """

    def __init__(
        self,
        message: str,
        kind: str,
        *,
        words: str = "",
        retry: bool = False,
        fatal: bool = False,
        wait_s: float | None = None,
        refused: bool = False,
        billed: bool = False,
    ) -> None:
        super().__init__(_with_words(message, words))
        self._uncut = (message, words)
        self.kind = kind
        self.retry = retry
        self.fatal = fatal
        self.wait_s = wait_s
        self.refused = refused
        self.billed = billed

    def hide(self, secret: str) -> None:
        """Takes a secret out of the message, before the words are cut: no part of it stays."""
        message, words = (text.replace(secret, "[key]") for text in self._uncut)
        self._uncut = (message, shortened(words))
        self.args = (_with_words(message, words),)


def unreadable(message: str, kind: str, words: str = "") -> RequestFault:
    """The fault of an answer that is none; it was paid all the same."""
    return RequestFault(message, kind, retry=True, billed=True, words=words)


def fault_of(error: Exception, now: datetime | None = None) -> RequestFault | None:
    """The fault that an exception of the client stands for; None for any other exception.

    Args:
        error: What was raised.
        now: For dates in `Retry-After`; the time of day by default.
    """
    cause = error.__cause__ or error
    if isinstance(error, RequestFault):
        return error
    if isinstance(cause, RequestFault):  # the client wraps what its transport raises
        return cause
    if isinstance(error, openai.APIStatusError):
        return status_fault(error.status_code, error.response.headers, error.body, now)
    if isinstance(cause, httpx2.ConnectTimeout | httpx2.ConnectError | httpx2.ProxyError):
        return RequestFault("no connection", NO_CONNECTION, retry=True, words=_words(cause))
    if isinstance(error, openai.APITimeoutError):
        told = "no byte of the answer came within the limit"
        return RequestFault(told, "no-answer", retry=True, billed=True)
    if isinstance(error, TimeoutError):
        told = "the answer was not complete within the limit of a call"
        return RequestFault(told, "too-slow", retry=True, billed=True)
    if isinstance(error, openai.APIConnectionError):
        return unreadable("the connection broke", "broken-connection", _words(cause))
    if isinstance(error, openai.OpenAIError):
        return RequestFault("the client failed", type(error).__name__, words=_words(error))
    return None


def status_fault(
    status: int, headers: Mapping[str, str], body: object, now: datetime | None = None
) -> RequestFault:
    """The fault of an answer with an error's status.

    Args:
        status: HTTP status, or the code of an error that came with status 200.
        headers: By lower-case name, or of any case.
        body: The error as JSON, or its text.
        now: For dates in `Retry-After`; the time of day by default.
    """
    code, words = _error_words(body)
    message = f"the server answered {status}"
    if code in _QUOTA or status == 402:
        return RequestFault(message, "quota", fatal=True, words=words)
    wait = retry_after(headers, now)
    refused = status in _REFUSALS
    return RequestFault(
        message,
        str(status),
        retry=status in _AGAIN,
        fatal=status in _FATAL,
        wait_s=wait,
        refused=refused,
        words=words,
    )


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that a server asks to wait, at least 0; None where it says nothing readable.

    `retry-after-ms` goes before `Retry-After`, which is a number of seconds or a date (RFC
    9110, section 10.2.3).
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    said = headers.get("retry-after")
    seconds = _number(said)
    if seconds is not None or said is None:
        return seconds
    try:
        date = parsedate_to_datetime(said)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())


def _number(text: str | None) -> float | None:
    if text is None or len(text) > 20:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _error_words(body: object) -> tuple[str, str]:
    """Code and message of an error, as servers word it: the client unwraps `error`."""
    if isinstance(body, Mapping):
        inner = body.get("error", body)
        error = inner if isinstance(inner, Mapping) else {"message": inner}
        code = str(error.get("code") or error.get("type") or "")
        kind = str(error.get("type") or "")
        words = error.get("message") or error.get("detail") or code
        return (kind if kind in _QUOTA else code), str(words)
    return "", body if isinstance(body, str) else ""


def shortened(text: str) -> str:
    """The beginning of a server's words, on one line."""
    line = " ".join(text[: 4 * _TOLD].split())
    return line if len(line) <= _TOLD else line[: _TOLD - 3] + "..."


def _with_words(message: str, words: str) -> str:
    line = shortened(words)
    return f"{message}: {line}" if line else message


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
