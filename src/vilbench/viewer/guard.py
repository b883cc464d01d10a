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
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Scope

from vilbench.web import guard
from vilbench.web.guard import Gate, same_site

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


class Access(guard.Access):
    """Who may read: a browser shows a cookie that it was given for the token."""

    def cookie(self) -> str:
        """What the cookie of a reader holds: not the token, but nobody without it can tell it."""
        key = (self.token or "").encode()
        return hmac.new(key, b"vilbench view: a reader", hashlib.sha256).hexdigest()

    def admits(self, headers: Headers) -> bool:
        """Whether a request shows the token, in `Authorization: Bearer` or by the cookie."""
        if super().admits(headers):
            return True
        held = _cookie(headers.get("cookie", ""))
        return hmac.compare_digest(held.encode("utf-8", "replace"), self.cookie().encode())


class Guard(Gate):
    """Stands before the whole app."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        super().__init__(app, _HEADERS)
        self._access = access

    def refusal(self, scope: Scope) -> Response | None:
        """The answer to a request that may not pass."""
        headers, method, path = Headers(scope=scope), scope["method"], scope["path"]
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._access.named(hosts[0]):
            return PlainTextResponse("This address is not served here.\n", 421)
        if not same_site(headers, hosts[0]):
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


def _cookie(header: str) -> str:
    try:
        held = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return "" if held is None else held.value
