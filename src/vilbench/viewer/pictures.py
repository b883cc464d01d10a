"""Images of a run by the hash of their bytes, of a type that is checked and fixed."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vilbench.display.picture import Encoded, Picture, encoded, placed
from vilbench.display.text import visible
from vilbench.errors import ImageError
from vilbench.images import size_of
from vilbench.store.folder import image_path
from vilbench.types import FileSource, Image
from vilbench.viewer.library import Entry
from vilbench.viewer.shell import entry

_DIGEST = re.compile(r"[0-9a-f]{64}")
_MOST_BYTES = 4_000_000
_MOST_SIDE = 2048
_HEADERS = {
    "cache-control": "private, max-age=31536000, immutable",
    "content-security-policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
    "content-disposition": "inline",
}


def pictured(found: Entry, image: Image) -> Picture:
    """An image of a run at its address, or why it cannot be shown."""
    try:
        path = _path(found, image.digest)
        size = size_of(path.read_bytes())
    except OSError:
        return Picture("", problem="it is not stored in the run")
    except ImageError as error:
        return Picture("", problem=visible(error.message, 200))
    return placed(f"/runs/{found.slug}/images/{image.digest}", size)


def _image(request: Request) -> Response:
    found, digest = entry(request), request.path_params["digest"]
    if not _DIGEST.fullmatch(digest):
        raise HTTPException(404)
    mark = f'"{digest}"'
    if request.headers.get("if-none-match") == mark:
        return Response(status_code=304, headers={"etag": mark})
    try:
        shown = _shown(_path(found, digest), digest)
    except (OSError, ImageError):
        raise HTTPException(404, "There is no such image.") from None
    kind = f"image/{shown.kind.lower()}"
    return Response(shown.data, headers={"etag": mark, **_HEADERS}, media_type=kind)


@lru_cache(maxsize=64)
def _shown(path: Path, digest: str) -> Encoded:
    return encoded(Image(digest=digest).bound(FileSource(path)), _MOST_BYTES, _MOST_SIDE)


def _path(found: Entry, digest: str) -> Path:
    """Where an image lies; a link that leads out of the run is none.

    Raises:
        FileNotFoundError: It is not there.
    """
    path = image_path(found.folder, digest)
    with suppress(OSError):
        if path.resolve(strict=True).is_relative_to(found.folder.resolve()):
            return path
    raise FileNotFoundError


def routes() -> list[Route]:
    """The images of a run."""
    return [Route("/runs/{run}/images/{digest}", _image)]
