"""The form that takes the token once and leaves a cookie."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs, urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from vilbench.viewer.guard import COOKIE, LOGIN, Access
from vilbench.viewer.shell import render

_MOST_BYTES = 4_096
_PENALTY = 0.5
"""Seconds that a wrong token costs."""


async def _form(request: Request) -> Response:
    wanted = _within(request.query_params.get("next", "/"))
    access: Access = request.app.state.access
    if access.admits(request.headers):
        return RedirectResponse(wanted, 303)
    wrong = "wrong" in request.query_params
    return render(request, "login.html.jinja", wanted=wanted, wrong=wrong)


async def _enter(request: Request) -> Response:
    access: Access = request.app.state.access
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BYTES:
            raise HTTPException(413)
    try:
        fields = parse_qs(body.decode("ascii"), max_num_fields=8)
    except ValueError:
        raise HTTPException(400) from None
    wanted = _within(fields.get("next", ["/"])[0])
    if not access.accepts(fields.get("token", [""])[0].strip()):
        await asyncio.sleep(_PENALTY)
        return RedirectResponse(f"{LOGIN}?{urlencode({'wrong': 1, 'next': wanted})}", 303)
    answer = RedirectResponse(wanted, 303)
    secure = request.url.scheme == "https"
    answer.set_cookie(
        COOKIE, access.cookie(), httponly=True, samesite="strict", secure=secure, path="/"
    )
    return answer


def _within(address: str) -> str:
    """The address if it stays on this server, else the first page."""
    inside = address.startswith("/") and not address.startswith(("//", "/\\"))
    return address if inside and address.isprintable() else "/"


def routes() -> list[Route]:
    """Asking for the token."""
    return [
        Route(LOGIN, _form, methods=["GET"]),
        Route(LOGIN, _enter, methods=["POST"]),
    ]
