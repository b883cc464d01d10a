"""Refusals and failures as clients see them: in OpenAI's shape, without paths or addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from pydantic import JsonValue
from starlette.responses import JSONResponse

from vilbench.errors import InputError, VilbenchError

_NONE: Mapping[str, str] = MappingProxyType({})
_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_WORDS = 400
"""Most characters of a message."""

_PLACES = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s'\"<>]*"  # addresses
    r"|(?<![\w.])(?:~|\.{1,2})?(?:/[^\s/'\":,;()]{1,255}){2,64}/?"  # paths
    r"|\b[A-Za-z]:\\[^\s'\"]*"
    r"|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?\b"
    r"|\[[0-9A-Fa-f:.]{2,45}\](?::\d{1,5})?"
    r"|\blocalhost(?::\d{1,5})?\b"
    r"|\b(?:sk|key|hf|Bearer)[-_ ][A-Za-z0-9_.-]{8,200}"
)


class Refusal(Exception):  # noqa: N818 - the word of the package
    """A request that is not answered.

    Args:
        status: HTTP status.
        code: A word for programs.
        message: For people; nothing of it is private.
        param: Field of the request that is to blame.
        headers: Further headers, such as `Retry-After`.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        headers: Mapping[str, str] = _NONE,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.headers = headers

    def document(self) -> dict[str, JsonValue]:
        """The body of the answer."""
        kind = _TYPES.get(self.status)
        kind = kind or ("server_error" if self.status >= 500 else "invalid_request_error")
        return {
            "error": {
                "message": self.message,
                "type": kind,
                "param": self.param,
                "code": self.code,
            }
        }

    def response(self) -> JSONResponse:
        """The answer."""
        return JSONResponse(self.document(), self.status, headers=dict(self.headers))


def no_model(known: Iterable[str], param: str) -> Refusal:
    """A name that nothing here has; `known` are those that something has."""
    names = ", ".join(f"'{name}'" for name in known)
    told = f"there is no such model here; there are {names}"
    return Refusal(404, "model_not_found", told, param=param)


def busy(message: str, seconds: int) -> Refusal:
    """Too many requests; the client may come again in so many seconds."""
    return Refusal(429, "busy", message, headers={"retry-after": str(seconds)})


def stopping() -> Refusal:
    """The server ends."""
    return Refusal(503, "stopping", "the server stops", headers={"connection": "close"})


def wrong(message: str, param: str | None = None, code: str = "invalid_value") -> Refusal:
    """A request that cannot be used."""
    return Refusal(400, code, message, param=param)


def unscorable(error: VilbenchError, *, behind_server: bool) -> Refusal:
    """Nothing of a request could be scored.

    Args:
        error: Why.
        behind_server: Whether the scorer asks another server, whose words stay here.
    """
    if behind_server and not isinstance(error, InputError):
        status = 504 if getattr(error, "kind", "") in ("no-answer", "too-slow") else 502
        return Refusal(status, "scorer_failed", "the scorer's own server did not give a score")
    words = error.message if isinstance(error, InputError) else str(error)
    return Refusal(422, "unscorable", public(words))


def public(text: str) -> str:
    """Words of an error for clients: one short line without addresses, paths and keys."""
    line = _PLACES.sub("[...]", " ".join(text[: 8 * _WORDS].split()))
    return line if len(line) <= _WORDS else line[: _WORDS - 3] + "..."
