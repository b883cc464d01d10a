"""Which runs there are: the only way from a name in an address to a folder on the disk."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vilbench.errors import InputError
from vilbench.store import database
from vilbench.store.folder import MANIFEST
from vilbench.store.run import Run

DEPTH = 5
"""How far below the given folder runs are looked for."""

_MOST_FOLDERS = 5_000
_MOST_RUNS = 1_000
_FRESH_FOR = 2.0
_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Entry:
    """A run that was found.

    Attributes:
        slug: Its name in addresses: letters, digits and ".", "_", "-".
        title: Its folder, relative to the given one.
        folder: Where it is.
    """

    slug: str
    title: str
    folder: Path

    def open(self) -> Run:
        """The run, for reading, also while another process writes to it.

        Raises:
            RunStorageError: It is damaged or cannot be read.
            RunError: It is gone, or of a newer schema.
        """
        return Run.read(self.folder)


@dataclass
class Library:
    """The runs in a folder, looked for again when somebody asks and the list is old.

    Links are not followed: whatever is shown lies below the folder that was named.

    Raises:
        InputError: There is no such folder.
    """

    root: Path
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _known: Mapping[str, Entry] = field(default_factory=dict, repr=False)
    _looked: float = field(default=float("-inf"), repr=False)

    def __post_init__(self) -> None:
        if not self.root.is_dir():
            raise InputError("there is no such folder", file=self.root)
        self.root = self.root.resolve()

    def entries(self) -> tuple[Entry, ...]:
        """All runs, by their titles."""
        return tuple(self._entries().values())

    def find(self, slug: str) -> Entry | None:
        """The run of that name; None where the list has none."""
        return self._entries().get(slug)

    def _entries(self) -> Mapping[str, Entry]:
        with self._lock:
            if time.monotonic() - self._looked > _FRESH_FOR:
                found = sorted(_runs(self.root), key=lambda path: path.parts)[:_MOST_RUNS]
                entries = (_entry(folder, self.root) for folder in found)
                self._known = {entry.slug: entry for entry in entries}
                self._looked = time.monotonic()
            return self._known


def _entry(folder: Path, root: Path) -> Entry:
    title = root.name if folder == root else folder.relative_to(root).as_posix()
    mark = hashlib.sha256(os.fsencode(title)).hexdigest()[:6]
    plain = _PLAIN.sub("-", title).strip("-.")[-60:] or "run"
    return Entry(f"{plain}-{mark}", title, folder)


def _runs(root: Path) -> Iterator[Path]:
    """Run folders at and below `root`, the nearest first; a run holds no other runs."""
    level, seen = [root], 0
    for _ in range(DEPTH + 1):
        below: list[Path] = []
        for folder in level:
            seen += 1
            if seen > _MOST_FOLDERS:
                return
            if is_run(folder):
                yield folder
            else:
                below += _folders(folder)
        level = below


def is_run(folder: Path) -> bool:
    """Whether the folder is a run of ours, its files its own and no links."""
    files = (folder / MANIFEST, folder / database.FILE)
    return all(file.is_file() and not file.is_symlink() for file in files) and database.is_ours(
        files[1]
    )


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as found:
            names = [
                entry.name
                for entry in found
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            ]
    except OSError:
        return []
    return [folder / name for name in sorted(names)]
