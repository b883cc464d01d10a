"""Which files of a folder are a run's: what may be opened, and what may be removed."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path

from pydantic import ValidationError

from vilbench.errors import RunError, RunStorageError
from vilbench.store import database
from vilbench.store.disk import PARTIAL, replacing
from vilbench.store.manifest import Manifest
from vilbench.types import SCHEMA_VERSION

MANIFEST = "manifest.json"
LOCK = "run.lock"
RESULTS = "results.json"

_IMAGES = "images"
_DATABASE = (
    # The log goes before the file: beside another file it would be replayed into that.
    f"{database.FILE}-wal",
    f"{database.FILE}-shm",
    f"{database.FILE}-journal",
    database.FILE,
)
_BEFORE_MANIFEST = {*_DATABASE, LOCK, _IMAGES, MANIFEST + PARTIAL}
_IMAGE_NAME = re.compile(r"[0-9a-f]{64}(\.partial)?")
_DERIVED_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def image_path(folder: Path, digest: str) -> Path:
    """Where the encoded image of a hash lies."""
    return folder / _IMAGES / digest[:2] / digest


def is_derived_name(name: str) -> bool:
    """Whether a derived file may be called so: a plain name, and none of the run's own."""
    own = name in _BEFORE_MANIFEST or name == MANIFEST or name.endswith(PARTIAL)
    return _DERIVED_NAME.fullmatch(name) is not None and not own


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Make the folder a run."""
    with replacing(folder / MANIFEST) as file:
        file.write(manifest.model_dump_json(indent=2).encode() + b"\n")


def read_manifest(folder: Path) -> Manifest:
    """The folder's manifest.

    Raises:
        RunStorageError: It is damaged.
        RunError: It is of a newer schema.
    """
    text = (folder / MANIFEST).read_bytes()
    try:
        version = json.loads(text)["schema_version"]
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise RunError(
                f"{folder}: the run has schema version {version}, this vilbench knows "
                f"{SCHEMA_VERSION}: use a newer vilbench"
            )
        return Manifest.model_validate_json(text)
    except (ValueError, KeyError, TypeError, RecursionError, ValidationError) as error:
        raise RunStorageError(f"{folder}: {MANIFEST} is damaged: {error}") from error


def check_is_run_or_new(folder: Path) -> None:
    """Refuse a folder of something else, so that nothing of it is ever touched.

    A folder without a manifest is new when it is empty or holds only what a run makes
    before its manifest, the lock first: its creation was interrupted.

    Raises:
        RunError: It is neither a run nor new.
    """
    names = {entry.name for entry in folder.iterdir()}
    is_begun = LOCK in names and names <= _BEFORE_MANIFEST
    if not names or is_begun or database.is_ours(folder / database.FILE):
        return
    if not _has_run_manifest(folder):
        raise RunError(f"{folder}: the folder is not empty and holds no run; choose another --out")


def _has_run_manifest(folder: Path) -> bool:
    """Whether `manifest.json` is a run's: other programs use the name too."""
    try:
        value = json.loads((folder / MANIFEST).read_bytes())
    except (FileNotFoundError, IsADirectoryError, ValueError, RecursionError):
        return False
    return isinstance(value, dict) and {"schema_version", "fingerprint"} <= value.keys()


def remove_run(folder: Path) -> None:
    """Remove what a run made and nothing else.

    The lock file stays, since it is held, and the manifest stays until the next one takes
    its place: a run that was killed half removed must still be known as a run.
    """
    remove_derived(folder)
    images = folder / _IMAGES
    for path in images.glob("[0-9a-f][0-9a-f]/*"):
        if _IMAGE_NAME.fullmatch(path.name):
            path.unlink()
    for path in [*images.glob("[0-9a-f][0-9a-f]"), images]:
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    for name in _DATABASE:
        (folder / name).unlink(missing_ok=True)


def remove_derived(folder: Path) -> None:
    """Remove what can be made from the run again."""
    for name in _derived_names(folder):
        (folder / name).unlink(missing_ok=True)
        (folder / (name + PARTIAL)).unlink(missing_ok=True)


def _derived_names(folder: Path) -> set[str]:
    """Files that the run derived; of a damaged database only the results are known."""
    try:
        connection = database.connect_reader(folder)
        try:
            rows = connection.execute("SELECT name FROM derived").fetchall()
        finally:
            connection.close()
    except (sqlite3.Error, RunError):
        rows = []
    # Checked again: whoever wrote the database, no path leads out of the folder.
    return {RESULTS, *(name for (name,) in rows if is_derived_name(name))}
