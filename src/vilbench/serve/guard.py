"""Who may ask the server, and how much a request may bring: before any route is looked up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vilbench.serve.faults import Refusal, stopping
from vilbench.serve.limits import Limits
from vilbench.serve.memory import Holding, Memory
from vilbench.serve.meters import Meters
from vilbench.serve.service import Service
from vilbench.web.guard import Access, Gate, same_site

_HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_ALWAYS: Final = frozenset({"/health", "/metrics"})
"""Paths that answer while the server stops."""


class Door(Gate):
    """Stands before the whole app: names, origins and the token, for every route and method."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        super().__init__(app, _HEADERS)
        self._access = access

    def refusal(self, scope: Scope) -> ASGIApp | None:
        """The answer to a request that may not pass."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._access.named(hosts[0]):
            return Refusal(421, "misdirected", "this address is not served here").response()
        if not same_site(headers, hosts[0]):
            return Refusal(403, "other_site", "other sites may not ask this").response()
        if not self._access.admits(headers):
            bearer = {"www-authenticate": "Bearer"}
            return Refusal(401, "invalid_api_key", "a token is needed", headers=bearer).response()
        return None


class Desk:
    """Takes bodies in, counts what is under way, and refuses what is too much.

    Args:
        app: Gets requests whose bodies are complete.
        service: The server's state.
        meters: What is counted.
    """

    def __init__(self, app: ASGIApp, service: Service, meters: Meters) -> None:
        self._app = app
        self._service = service
        self._limits: Limits = service.limits
        self._meters = meters
        self._memory = Memory(service.limits.held_bytes, service.limits.body_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reads the body, then lets the app answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        status = 499

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        held = Holding(self._memory)
        held.put(scope)
        self._service.running += 1
        try:
            if self._service.stopping and scope["path"] not in _ALWAYS:
                raise stopping()
            body = await self._body(scope, receive, held)
            if body is None:
                return
            await self._app(scope, _replaying(body, receive), noted)
        except Refusal as refusal:
            await refusal.response()(scope, receive, noted)
        finally:
            held.release()
            self._service.running -= 1
            self._meters.answered(scope, status, time.perf_counter() - begun)

    async def _body(self, scope: Scope, receive: Receive, held: Holding) -> bytes | None:
        """The whole body; None where the client has gone.

        Raises:
            Refusal: It is too long, too slow, compressed, or too much is held already.
        """
        headers = Headers(scope=scope)
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise Refusal(415, "unsupported", "compressed bodies are not taken", headers=_CLOSE)
        most = self._limits.body_bytes
        said = headers.get("content-length", "0")
        if not said.isascii() or not said.isdigit() or len(said) > 18:
            raise Refusal(400, "invalid_value", "the length is no number", headers=_CLOSE)
        if int(said) > most:
            raise _too_long(most)
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    part = message.get("body", b"")
                    size += len(part)
                    parts.append(part)
                    if size > most:
                        raise _too_long(most)
                    held.take(len(part))
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            seconds = self._limits.body_seconds
            told = f"the request did not come within {seconds:g} seconds"
            raise Refusal(408, "timeout", told, headers=_CLOSE) from None


_CLOSE: Final[Mapping[str, str]] = {"connection": "close"}


def _too_long(most: int) -> Refusal:
    told = f"a request has at most {most:,} bytes"
    return Refusal(413, "too_large", told, headers=_CLOSE)


def _replaying(body: bytes, receive: Receive) -> Receive:
    """Gives a body that has been read, then what comes behind it."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
