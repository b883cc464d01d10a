"""Our own style sheets and scripts."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_ROOMS: Final = {"colours.css": "vilbench.display"}
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class _Asset(NamedTuple):
    data: bytes
    kind: str
    mark: str


def _asset(request: Request) -> Response:
    found = _known().get(request.path_params["name"])
    if found is None:
        raise HTTPException(404)
    headers = {"etag": found.mark, "cache-control": "private, no-cache"}
    if request.headers.get("if-none-match") == found.mark:
        return Response(status_code=304, headers=headers)
    return Response(found.data, headers=headers, media_type=found.kind)


@cache
def _known() -> dict[str, _Asset]:
    """All there are, read once: no name of a request reaches the disk."""
    ours = [one for one in files("vilbench.viewer").joinpath("static").iterdir() if one.is_file()]
    shared = [files(room).joinpath(name) for name, room in _ROOMS.items()]
    found = {}
    for one in [*ours, *shared]:
        kind = next((kind for end, kind in _TYPES.items() if one.name.endswith(end)), None)
        if kind is not None:
            data = one.read_bytes()
            found[one.name] = _Asset(data, kind, f'"{hashlib.sha256(data).hexdigest()[:20]}"')
    return found


def routes() -> list[Route]:
    """The files below `/static/`."""
    return [Route("/static/{name}", _asset)]
