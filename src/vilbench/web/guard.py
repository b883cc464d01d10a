"""Who may ask a server: what is refused before a route is looked up.

A server on a machine that also browses the web is asked by other sites through the browser
(a wrong `Host` after DNS rebinding, a wrong `Origin`) and by other people on the network (no
token). Both are met outside of the routes, so that no route and no method can be forgotten.
"""

from __future__ import annotations

import hmac
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vilbench.web.listening import LOOPBACK

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes:
        names: Names of the server that requests may be addressed to, in lower case and
            without a port; a request to any other came here by a rebound name.
        token: What a client must show; None asks for nothing.
    """

    names: frozenset[str] = LOOPBACK
    token: str | None = None

    def named(self, host: str) -> bool:
        """Whether a `Host` header names this server."""
        found = _HOST.fullmatch(host)
        return found is not None and found["name"].strip("[]").lower() in self.names

    def accepts(self, token: str) -> bool:
        """Whether it is the token; takes as long for one that begins alike."""
        return self.token is not None and hmac.compare_digest(
            token.encode("utf-8", "replace"), self.token.encode()
        )

    def admits(self, headers: Headers) -> bool:
        """Whether a request shows the token in `Authorization: Bearer`, or none is needed."""
        if self.token is None:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self.accepts(given.strip())


class Gate(ABC):
    """Stands before a whole app.

    Args:
        app: What is guarded.
        headers: What every answer carries where it says nothing else.
    """

    def __init__(self, app: ASGIApp, headers: Mapping[str, str]) -> None:
        self._app = app
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers for the app where a request must not reach it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self.refusal(scope)
        await (self._app if refusal is None else refusal)(scope, receive, guarded)

    @abstractmethod
    def refusal(self, scope: Scope) -> ASGIApp | None:
        """The answer to a request that may not pass; None lets it pass."""


def same_site(headers: Headers, host: str) -> bool:
    """Whether the browser says that no other site is behind the request, or says nothing.

    Following a link from elsewhere is no harm: it shows the page to its reader only.
    """
    for origin in headers.getlist("origin"):
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or parts.netloc.lower() != host.lower():
            return False
    if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
        return True
    followed = headers.get("sec-fetch-mode") == "navigate"
    return followed and headers.get("sec-fetch-dest", "document") == "document"
