"""Files of a run folder: written whole or not at all, and their errors in our words."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from vilbench.errors import RunError, RunStorageError

PARTIAL = ".partial"
"""Suffix of a file that is being written; a leftover of a crash is overwritten."""

_OS_CAUSES = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the folder is read-only",
    errno.EACCES: "the folder cannot be read or written with these permissions",
    errno.EPERM: "the folder cannot be read or written with these permissions",
}
_SQLITE_CAUSES = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "run.sqlite or its folder is read-only",
    sqlite3.SQLITE_CANTOPEN: "run.sqlite cannot be opened",
    sqlite3.SQLITE_CORRUPT: "run.sqlite is damaged",
    sqlite3.SQLITE_NOTADB: "run.sqlite is damaged, or no SQLite file",
    sqlite3.SQLITE_IOERR: "run.sqlite cannot be read or written",
    sqlite3.SQLITE_BUSY: "run.sqlite is busy",
}


@contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """Turn what the disk and SQLite raise into `RunStorageError` with folder and cause."""
    try:
        yield
    except OSError as error:
        cause = _OS_CAUSES.get(error.errno or 0, "the folder cannot be used")
        raise RunStorageError(f"{folder}: {cause} ({error})") from error
    except sqlite3.Error as error:
        # The low byte is the primary code; the others tell variants of it.
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        cause = _SQLITE_CAUSES.get(code, "run.sqlite cannot be used")
        raise RunStorageError(f"{folder}: {cause} ({error})") from error
    except UnicodeEncodeError as error:
        raise RunError(f"{folder}: a name holds half of a surrogate pair: {error}") from error


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` when the block ends without error.

    After a crash at any moment `path` holds either its old content or the new, whole and
    on the disk. One writer at a time.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, which syncing a file does not."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
