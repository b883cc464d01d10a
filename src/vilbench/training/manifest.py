"""What a training was made of, in its folder: the way to go on with it, or to refuse."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from vilbench import __version__
from vilbench.errors import InputError, RunMismatchError
from vilbench.types import Record

MANIFEST = "training.json"
RESULT = "prm"
"""Folder of the reward model, below that of the training."""

_PACKAGES = ("torch", "transformers", "accelerate", "peft", "tokenizers", "numpy", "pillow")


class TrainManifest(Record):
    """What a training was made of.

    Attributes:
        recipe: The whole of it.
        fingerprint: SHA-256 over what changes the outcome: recipe, data, order, backbone.
        data: SHA-256 of each file with its images.
        order: SHA-256 of the order of the data.
        backbone: Fingerprint of the model that it began with.
        rows: Rows learnt from.
        dev_rows: Rows selected by.
        groups: Rows of siblings.
        rejected: Rows that were set aside, and why.
        processes: That share the work.
        versions: Of the packages.
    """

    schema_version: int = 1
    recipe: Mapping[str, JsonValue]
    fingerprint: str
    data: Mapping[str, str]
    order: str
    backbone: str
    rows: int
    dev_rows: int
    groups: int
    rejected: tuple[str, ...]
    processes: int
    versions: Mapping[str, str]


def check(out: Path, manifest: TrainManifest) -> None:
    """Refuses the folder of another training.

    Raises:
        RunMismatchError: It was made of something else; carries what differs.
        InputError: Its manifest cannot be read.
    """
    path = out / MANIFEST
    if not path.exists():
        return
    try:
        known = TrainManifest.model_validate_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"cannot be read: {error}", file=path) from error
    if known.fingerprint != manifest.fingerprint:
        raise RunMismatchError(
            f"{out}: this is the training of another recipe or of other data; start over "
            "with --fresh, or choose another --out",
            _differences(known, manifest),
        )


def begin(out: Path, manifest: TrainManifest, *, fresh: bool) -> None:
    """Writes the manifest; `fresh` removes what an earlier training left."""
    path = out / MANIFEST
    if fresh:
        for name in ("checkpoints", "best", RESULT, "tensorboard"):
            shutil.rmtree(out / name, ignore_errors=True)
        for name in (MANIFEST, "log.jsonl"):
            (out / name).unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
    part.replace(path)


def _differences(known: TrainManifest, new: TrainManifest) -> list[str]:
    """Lines such as `optimizer.learning_rate: 1e-05 -> 0.001`."""
    lines = []
    before, after = (_flat(one.model_dump(mode="json")) for one in (known, new))
    for key in sorted(before.keys() | after.keys()):
        skipped = key.startswith(("versions", "rejected", "fingerprint"))
        if not skipped and before.get(key) != after.get(key):
            lines.append(f"{key.removeprefix('recipe.')}: {before.get(key)} -> {after.get(key)}")
    return lines


def _flat(data: Any, place: str = "") -> dict[str, Any]:
    if not isinstance(data, dict):
        return {place: data}
    found: dict[str, Any] = {}
    for key, value in data.items():
        found |= _flat(value, f"{place}.{key}" if place else str(key))
    return found


def versions() -> dict[str, str]:
    """Of what makes a training."""
    found = {"vilbench": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
