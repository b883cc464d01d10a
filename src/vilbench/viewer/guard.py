"""Who may ask the viewer, and what every answer tells the browser to forbid.

A page that shows what models wrote, on a machine that also browses the web, has three
enemies: other sites that ask the local server through the browser (wrong `Host` after DNS
rebinding, wrong `Origin`, embedding), other people on the network (no token), and the shown
text itself (content security policy without inline code). All three are met here, before a
route is looked up, so that no route and no method can be forgotten.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
"""Names under which a browser on the same machine asks."""

LOGIN: Final = "/login"
OPEN: Final = frozenset(
    {LOGIN, *(f"/static/{one}" for one in ("colours.css", "viewer.css", "viewer.js", "icon.svg"))}
)
"""Paths that need no token: the form that asks for it, and what its page loads."""

COOKIE: Final = "vilbench_view"

POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing inline, nothing from elsewhere."""

_HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    # Without one a browser names no origin where it posts the token.
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
_READING: Final = frozenset({"GET", "HEAD"})
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True)
class Access:
    """Who may read.

    Attributes:
        names: Names of the server that requests may be addressed to, in lower case and
            without a port; a request to any other came here by a rebound name.
        token: What a reader must show; None asks for nothing.
    """

    names: frozenset[str] = LOOPBACK
    token: str | None = None

    def named(self, host: str) -> bool:
        """Whether a `Host` header names this server."""
        found = _HOST.fullmatch(host)
        return found is not None and found["name"].strip("[]").lower() in self.names

    def cookie(self) -> str:
        """What the cookie of a reader holds: not the token, but nobody without it can tell it."""
        key = (self.token or "").encode()
        return hmac.new(key, b"vilbench view: a reader", hashlib.sha256).hexdigest()

    def accepts(self, token: str) -> bool:
        """Whether it is the token; takes as long for one that begins alike."""
        return self.token is not None and hmac.compare_digest(
            token.encode("utf-8", "replace"), self.token.encode()
        )

    def admits(self, headers: Headers) -> bool:
        """Whether a request shows the token, in `Authorization: Bearer` or by the cookie."""
        if self.token is None:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.accepts(given.strip()):
            return True
        held = _cookie(headers.get("cookie", ""))
        return hmac.compare_digest(held.encode("utf-8", "replace"), self.cookie().encode())


class Guard:
    """Stands before the whole app."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

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
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope)
        await (self._app if refusal is None else refusal)(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        """The answer to a request that may not pass."""
        headers, method, path = Headers(scope=scope), scope["method"], scope["path"]
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._access.named(hosts[0]):
            return PlainTextResponse("This address is not served here.\n", 421)
        if not _same_site(headers, hosts[0]):
            return PlainTextResponse("Other sites may not read this.\n", 403)
        if method not in _READING and not (method == "POST" and path == LOGIN):
            return PlainTextResponse("This only reads.\n", 405, {"allow": "GET, HEAD"})
        if path in OPEN or self._access.admits(headers):
            return None
        if "text/html" in headers.get("accept", ""):
            query = scope["query_string"].decode("ascii", "replace")
            wanted = quote(path) + (f"?{query}" if query else "")
            return RedirectResponse(f"{LOGIN}?next={quote(wanted, safe='')}", 303)
        return PlainTextResponse("A token is needed.\n", 401, {"www-authenticate": "Bearer"})


def _same_site(headers: Headers, host: str) -> bool:
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


def _cookie(header: str) -> str:
    try:
        held = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return "" if held is None else held.value
