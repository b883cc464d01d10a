"""Pages that follow a run while it goes on.

A page marks regions of itself with `data-live`; the script asks for the page's own address
again, says which state it has seen (`If-None-Match`), and takes the regions out of the answer.
Nothing is rendered while the state stays as it was. Without a script a reload does the same.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from vilbench.store import database
from vilbench.store.folder import LOCK, RESULTS
from vilbench.store.run import Run

_BORN: Final = secrets.token_hex(4)
"""A viewer that was started anew may render the same state in another way."""

_TABLES: Final = ("problems", "solutions", "scores", "failures", "events", "trees", "calls")
_FILES: Final = (database.FILE, f"{database.FILE}-wal", RESULTS)


def running(folder: Path) -> bool:
    """Whether a process writes to the run; asks without touching the lock it holds.

    Its number stands in the lock file, which it keeps open. Where that cannot be looked up
    (another user's process, no /proc) a living process of that number counts.
    """
    lock = folder / LOCK
    try:
        number = int(lock.read_bytes()[:32])
        if number <= 0:
            return False
        os.kill(number, 0)
    except PermissionError:
        return True
    except (OSError, ValueError, OverflowError):
        return False
    try:
        handles = list(Path(f"/proc/{number}/fd").iterdir())
    except OSError:
        return True
    for handle in handles:
        with suppress(OSError):
            if handle.samefile(lock):
                return True
    return False


def mark(run: Run, *more: object) -> str:
    """Names the state of a run for an `ETag`: it changes with whatever a page could show.

    Args:
        run: The run.
        more: What else the page depends on.
    """
    tables = [name for name in _TABLES if run.has_table(name)]
    newest = ", ".join(f"(SELECT max(rowid) FROM {name})" for name in tables)  # noqa: S608
    rows: Sequence[Sequence[Any]] = run.rows(f"SELECT {newest}")
    # A row that takes the place of the newest one has its number: the files tell of it.
    files = [_state(run.folder / name) for name in _FILES]
    said = (_BORN, str(run.folder), tuple(rows[0]), files, running(run.folder), more)
    return f'"{hashlib.sha256(repr(said).encode("utf-8", "replace")).hexdigest()[:24]}"'


def _state(file: Path) -> tuple[int, int] | None:
    """Size and time of a file; None for an empty log, which a reader makes, as for none."""
    with suppress(OSError):
        found = file.stat()
        if found.st_size:
            return found.st_size, found.st_mtime_ns
    return None


def seen(request: Request, state: str) -> Response | None:
    """The answer to a reader who has this state already; None for one who has not."""
    if request.headers.get("if-none-match") == state:
        return Response(status_code=304, headers={"etag": state})
    return None


def marked(answer: Response, state: str) -> Response:
    """The page, with its state named."""
    answer.headers["etag"] = state
    return answer
