"""What a run derived and left in its folder: the results, and the report as it is."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vilbench.evaluate.results import Results
from vilbench.store.folder import RESULTS
from vilbench.viewer.library import Entry
from vilbench.viewer.shell import entry

REPORT = "report.html"
_MOST_BYTES = 64_000_000

_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox allow-downloads"
)
"""The report brings its own style; whatever else it brings, it runs nothing and loads nothing."""


def results(found: Entry) -> Results | None:
    """The run's results; None where there are none, or of another version."""
    try:
        path = found.folder / RESULTS
        return _results(path, path.stat().st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=16)
def _results(path: Path, _: int) -> Results | None:
    try:
        return Results.model_validate_json(_read(path))
    except (OSError, ValidationError, ValueError):
        return None


def has_report(found: Entry) -> bool:
    """Whether there is a report to show."""
    path = found.folder / REPORT
    return path.is_file() and not path.is_symlink()


def _report(request: Request) -> Response:
    try:
        data = _read(entry(request).folder / REPORT)
    except OSError:
        raise HTTPException(404, "This run has no report yet.") from None
    headers = {"content-security-policy": _POLICY}
    return Response(data, headers=headers, media_type="text/html; charset=utf-8")


def _read(path: Path) -> bytes:
    """A file of the run folder itself, no link.

    Raises:
        OSError: It is none, or too large.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise OSError("too large")
    return data


def routes() -> list[Route]:
    """The report of a run."""
    return [Route("/runs/{run}/report", _report)]
