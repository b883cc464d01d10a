"""Prepared problem sets: a source once read, verified and written down as own data.

A folder of `problems.jsonl` in the format of `files`, `images/` named by the hash of their
bytes, and `prepared.json`. It is read without the libraries that the source took, and
pictures are read when they are needed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import JsonValue, ValidationError

from vilbench.errors import ImageError, InputError, ProblemError
from vilbench.images import extension
from vilbench.problems.files import load_jsonl
from vilbench.problems.rows import ImageName, shown
from vilbench.problems.sets import ProblemSet
from vilbench.types import FileSource, Image, Problem, Record
from vilbench.validation import in_words

_ROWS, _CARD, _IMAGES = "problems.jsonl", "prepared.json", "images"
_VERSION = 1
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Card(Record):
    """What a prepared set is.

    Attributes:
        version: Of this format.
        name: Source and split, as in "mathvista:testmini".
        repository: On the hub.
        revision: Commit that it was read at; None where it was read from a local copy.
        sha256: Of `problems.jsonl`, which names every picture by its hash.
        problems: How many there are.
        rejected: Rows that were set aside, and why.
        notes: What a reader should know of the others.
        made: When, in UTC.
    """

    version: int = _VERSION
    name: str
    repository: str
    revision: str | None
    sha256: str
    problems: int
    rejected: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    made: str


def home() -> Path:
    """Where prepared sets are put: `$VILBENCH_DATA`, else `~/.cache/vilbench/problems`."""
    given = os.environ.get("VILBENCH_DATA")
    return Path(given) if given else Path("~/.cache/vilbench/problems").expanduser()


def default_folder(name: str) -> Path:
    """Where the set "source:split" is put unless another place is given."""
    return home() / name.replace(":", "-")


def is_prepared(folder: Path) -> bool:
    """Whether there is a prepared set."""
    return (folder / _CARD).is_file()


def write(
    problems: ProblemSet,
    folder: Path,
    repository: str,
    revision: str | None,
    *,
    made: str | None = None,
    beside: Mapping[str, bytes] | None = None,
) -> Card:
    """Writes a set to a folder, which appears whole or not at all.

    Args:
        problems: The set.
        folder: Where.
        repository: That it comes from.
        revision: The commit that it was read at, if any.
        made: When, for the card; now by default.
        beside: Further files by their plain names.

    Raises:
        InputError: There is something else at the folder, or it cannot be written.
    """
    if folder.exists() and not is_prepared(folder):
        raise InputError("is there already, and no prepared set", file=folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".preparing-") as room:
            new = Path(room) / "new"
            at = made or datetime.now(UTC).isoformat(timespec="seconds")
            card = _written(problems, new, repository, revision, at)
            for name, data in (beside or {}).items():
                (new / name).write_bytes(data)
            if folder.exists():
                shutil.move(folder, Path(room) / "old")
            new.rename(folder)
    except OSError as error:
        raise InputError(error.strerror or "cannot be written", file=folder) from error
    return card


def _written(
    problems: ProblemSet, folder: Path, repository: str, revision: str | None, made: str
) -> Card:
    (folder / _IMAGES).mkdir(parents=True)
    names: dict[str, str] = {}
    digest = hashlib.sha256()
    with (folder / _ROWS).open("wb") as rows:
        for problem in problems.problems:
            for image in problem.images:
                if image.digest not in names:
                    data = image.read()
                    name = names[image.digest] = f"{_IMAGES}/{image.digest}.{extension(data)}"
                    (folder / name).write_bytes(data)
            line = json.dumps(_row(problem, names), ensure_ascii=False).encode() + b"\n"
            digest.update(line)
            rows.write(line)
    card = Card(
        name=problems.name,
        repository=repository,
        revision=revision,
        sha256=digest.hexdigest(),
        problems=len(problems.problems),
        rejected=tuple(str(error) for error in problems.rejected),
        notes=problems.notes,
        made=made,
    )
    (folder / _CARD).write_text(card.model_dump_json(indent=1), encoding="utf-8")
    return card


def _row(problem: Problem, names: Mapping[str, str]) -> dict[str, JsonValue]:
    row: dict[str, JsonValue] = problem.model_dump(mode="json", exclude={"images"})
    row["images"] = [names[image.digest] for image in problem.images]
    return {key: value for key, value in row.items() if value not in (None, [], {})}


def card_of(folder: Path) -> Card:
    """What a prepared set says of itself.

    Raises:
        InputError: It cannot be read, or is of another version.
    """
    path = folder / _CARD
    try:
        card = Card.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(error.strerror or "unreadable", file=path) from error
    except ValidationError as error:
        raise InputError(f"is damaged: {in_words(error.errors()[0])}", file=path) from error
    if card.version != _VERSION:
        raise InputError(f"is of version {card.version}, not {_VERSION}", file=path)
    return card


def load(
    folder: Path, name: str, revision: str | None = None, *, limit: int | None = None
) -> ProblemSet:
    """A prepared set.

    Args:
        folder: Where it is.
        name: The set that it must be.
        revision: The commit that it must have been read at, where one is asked for.
        limit: Most problems.

    Raises:
        InputError: It is another set, or has been changed.
    """
    card = card_of(folder)
    if card.name != name:
        raise InputError(f"is {card.name}, not {name}", file=folder)
    if revision is not None and card.revision != revision:
        had = card.revision or "a local copy"
        raise InputError(f"was read at {had}, not at {revision}", file=folder, field="revision")
    path = folder / _ROWS
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(error.strerror or "unreadable", file=path) from error
    if digest != card.sha256:
        raise InputError("has been changed since it was prepared", file=path)
    found = load_jsonl(path, source=name, limit=limit, picture=_picture)
    at = f"{card.repository}@{card.revision}" if card.revision else "a local copy"
    found = replace(found, origins=(f"{name}: {at}, prepared {card.made}, sha256 {digest}",))
    if limit is not None:
        return found
    return replace(
        found,
        rejected=(*(ProblemError(told) for told in card.rejected), *found.rejected),
        notes=(*card.notes, *found.notes),
    )


def _picture(folder: Path, name: ImageName, notes: list[str]) -> Image:
    """The picture of that name, whose bytes are held against its hash when they are read."""
    del notes
    path = folder / name.path
    digest = path.stem
    if path.parent != folder / _IMAGES or not _DIGEST.fullmatch(digest):
        raise ProblemError(f"{shown(name.path)} is no picture of a prepared set", field=name.field)
    if not path.is_file():
        raise ImageError(f"{shown(name.path)}: no such file", field=name.field)
    return Image(digest=digest).bound(FileSource(path))
