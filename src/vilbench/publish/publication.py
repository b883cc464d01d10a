"""What is to be published: files under their names, a card among them, and what stays behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from vilbench.display.text import visible
from vilbench.errors import InputError
from vilbench.publish.privacy import Screen
from vilbench.store.disk import replacing, storage_errors
from vilbench.types import Record

CARD = "README.md"

RepoType = Literal["model", "dataset"]

_MARKS = ("library_name: vilbench", "- vilbench")
"""Lines in the header of a card of ours: a model's, and a data set's among its tags."""

_HEADER = 1 << 20
"""Most characters of a card in which its header is looked for."""

_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz", ".dill")


class Entry(NamedTuple):
    """A file of a publication.

    Attributes:
        name: Its path there, with "/" between folders.
        source: Its content, or a file that holds it.
    """

    name: str
    source: bytes | Path

    @property
    def size(self) -> int:
        """Bytes."""
        return self.source.stat().st_size if isinstance(self.source, Path) else len(self.source)


class LeftOut(NamedTuple):
    """Something of the folder that is not published, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class Publication:
    """A folder to be written or uploaded.

    Attributes:
        repo_type: What it is on the hub.
        what: What it is in words, such as "reward model".
        entries: Its files, the card first.
        left_out: What stays behind.
        remarks: What was replaced in its texts, and what else its owner should know.
        message: Of the commit.
    """

    repo_type: RepoType
    what: str
    entries: tuple[Entry, ...]
    left_out: tuple[LeftOut, ...]
    remarks: tuple[str, ...]
    message: str

    def __post_init__(self) -> None:
        names = [one.name for one in self.entries]
        if len(set(names)) < len(names) or names[:1] != [CARD]:
            raise ValueError(f"files need names of their own, and the card comes first: {names}")
        for name in names:
            if Path(name).suffix.lower() in _PICKLES:
                raise ValueError(f"{name}: pickles and other code are not published")

    @property
    def card(self) -> str:
        """The card as Markdown."""
        source = self.entries[0].source
        data = source.read_bytes() if isinstance(source, Path) else source
        return data.decode()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(one.size for one in self.entries)


def card_entry(text: str) -> Entry:
    """The card as a file; characters that hide or steer become visible signs."""
    return Entry(CARD, visible(text, lines=True).encode())


def record_entry(name: str, record: Record, screen: Screen) -> Entry:
    """A record as JSON, its texts screened."""
    told = screen.recipe(record.model_dump(mode="json"))
    return Entry(name, json.dumps(told, indent=1).encode("ascii") + b"\n")


def write(publication: Publication, folder: Path) -> None:
    """Writes a publication below `folder`; each file is replaced whole, the card first.

    Files of an earlier export that this one has not stay.

    Raises:
        InputError: The folder holds one of the files that are to be published, or it is neither
            empty nor an earlier export.
        RunStorageError: It cannot be written.
    """
    root = folder.resolve()
    for entry in publication.entries:
        if isinstance(entry.source, Path) and entry.source.resolve() == root / entry.name:
            raise InputError("is what is to be published; choose another --to", file=folder)
    refuse_foreign(folder)
    write_entries(publication.entries, folder)


def refuse_foreign(folder: Path) -> None:
    """Nothing that is not ours is written over, be it a card alone.

    A folder that is not there yet will do, and so will one that git alone has touched.

    Raises:
        InputError: The folder is neither empty nor an earlier export.
        RunStorageError: It cannot be read.
    """
    with storage_errors(folder):
        if not folder.exists():
            return
        names = sorted(path.name for path in folder.iterdir() if not path.name.startswith(".git"))
        if not names or (CARD in names and _is_ours(folder / CARD)):
            return
    name = CARD if CARD in names else names[0]
    raise InputError(
        f"holds '{name[:80]}' and is no earlier export of vilbench; choose another folder",
        file=folder,
        field="--to",
    )


def _is_ours(card: Path) -> bool:
    """Whether a card's header is one that vilbench wrote."""
    if not card.is_file():
        return False
    with card.open(encoding="utf-8", errors="replace") as file:
        lines = [line.strip() for line in file.read(_HEADER).splitlines()]
    if lines[:1] != ["---"] or "---" not in lines[1:]:
        return False
    return any(line in _MARKS for line in lines[1 : lines.index("---", 1)])


def write_entries(entries: Sequence[Entry], folder: Path) -> None:
    """Writes files below a folder, which is made with its parents; each is replaced whole.

    Raises:
        RunStorageError: It cannot be written.
    """
    with storage_errors(folder):
        for entry in entries:
            path = folder / entry.name
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                if isinstance(entry.source, bytes):
                    file.write(entry.source)
                else:
                    with entry.source.open("rb") as source:
                        shutil.copyfileobj(source, file, 1 << 20)


def left_of(folder: Path, taken: set[Path], known: Mapping[str, str]) -> tuple[LeftOut, ...]:
    """What of a folder stays behind, subfolders as one.

    Args:
        folder: The folder.
        taken: Files of it that are published.
        known: Why things are left out, by their name or by "*.suffix".
    """
    return tuple(_left(folder, taken, known))


def _left(folder: Path, taken: set[Path], known: Mapping[str, str]) -> Iterator[LeftOut]:
    for path in sorted(folder.iterdir()):
        if path in taken:
            continue
        if path.is_dir():
            count = sum(1 for one in path.rglob("*") if one.is_file() and one not in taken)
            if count:
                why = known.get(f"{path.name}/", "no part of it")
                yield LeftOut(f"{path.name}/", f"{why} ({count} files)")
        elif path.suffix.lower() in _PICKLES:
            yield LeftOut(path.name, "may hold code: pickles are not published")
        else:
            why = known.get(path.name) or known.get(f"*{path.suffix}") or "no part of it"
            yield LeftOut(path.name, why)
