"""One writer per run folder, by a kernel lock that dies with its process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from vilbench.errors import RunLockedError


class WriterLock:
    """An exclusive `flock` on a file; the file stays, only the lock comes and goes.

    Removing the file would let two processes lock two files of one name.
    """

    def __init__(self, path: Path) -> None:
        """Take the lock.

        Raises:
            RunLockedError: Another process (or this one, a second time) holds it.
            OSError: The file cannot be made or opened.
        """
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = os.read(self._handle, 32).decode("ascii", "replace").strip()
                who = f"process {holder}" if holder.isdigit() else "another process"
                raise RunLockedError(
                    f"{path.parent}: {who} is writing to this run; "
                    "wait for it, or choose another --out"
                ) from error
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, f"{os.getpid()}\n".encode(), 0)
        except BaseException:
            os.close(self._handle)
            raise

    def release(self) -> None:
        """Give the lock back."""
        os.close(self._handle)
