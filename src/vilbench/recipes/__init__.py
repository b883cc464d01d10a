"""Shipped recipes, one YAML file per experiment, in a folder for each command but `run`."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, NamedTuple

SUFFIXES: Final = (".yaml", ".yml")
_COMMANDS: Final = (
    *(("run", "", ""), ("run", "paper", "paper/")),
    *(("collect", "collect", ""), ("train", "training", ""), ("loop", "loop", "")),
    ("search", "search", ""),
    ("stepbench", "stepbench", ""),
    ("curate", "curate", ""),
)
"""Command, folder, and what stands before the file's stem in a recipe's name."""


class Shipped(NamedTuple):
    """A recipe of the package.

    Attributes:
        name: As commands take it.
        command: That takes it.
        file: Its YAML.
    """

    name: str
    command: str
    file: Traversable

    @property
    def about(self) -> str:
        """What it is: the first sentence of the comment that it begins with."""
        words: list[str] = []
        with self.file.open("r", encoding="utf-8") as lines:
            for line in lines:
                if not line.startswith("#"):
                    break
                words.append(line.removeprefix("#").strip())
        text = " ".join(words)
        return text.split(". ", 1)[0].removesuffix(".")


def shipped(command: str | None = None) -> tuple[Shipped, ...]:
    """The recipes of a command, or all; by command, then by name."""
    return tuple(found for found in _all() if command in (None, found.command))


def _all() -> Iterator[Shipped]:
    root = files(__name__)
    for command, folder, before in _COMMANDS:
        room = root.joinpath(folder) if folder else root
        if not room.is_dir():
            continue
        for item in sorted(room.iterdir(), key=lambda one: one.name):
            stem, dot, suffix = item.name.rpartition(".")
            if dot + suffix in SUFFIXES:
                yield Shipped(before + stem, command, item)


def listed(*commands: str) -> str:
    """A line for each recipe of the commands, for help texts: its name, and what it is."""
    found = [one for command in commands for one in shipped(command)]
    width = max(len(one.name) for one in found)
    lines = [f"  {one.name:<{width}}  {one.about}" for one in found]
    # A backspace keeps click from filling the lines as one paragraph.
    return "\n".join(["\b", "Shipped recipes:", *(shorten(line) for line in lines)])


def shorten(line: str, width: int = 78) -> str:
    """The line without the words that are too much."""
    if len(line) <= width:
        return line
    return line[: width - 3].rpartition(" ")[0].rstrip(",;:") + " ..."
