"""Pieces of cards: Markdown that no name or text of a model can leave its place in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import yaml

_MARKUP = re.compile(r"([\\`*_{}\[\]<>|#])")


def header(data: Mapping[str, Any]) -> Iterator[str]:
    """The YAML between two rules that the hub reads first; keys that are None stay out."""
    kept = {key: value for key, value in data.items() if value is not None}
    yield "---"
    yield yaml.safe_dump(kept, sort_keys=False, allow_unicode=True).rstrip()
    yield "---"
    yield ""


def plain(text: str) -> str:
    """Text as one line that is no markup, in a cell of a table or outside of one."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()
) -> Iterator[str]:
    """A table.

    Args:
        columns: Headings; may be empty texts.
        rows: Cells as plain text, a row as long as `columns`.
        numbers: Places of columns of numbers, which are set to the right.
    """
    yield f"| {' | '.join(columns)} |"
    yield (
        "|" + "|".join("--:" if place in numbers else "---" for place in range(len(columns))) + "|"
    )
    for row in rows:
        yield f"| {' | '.join(plain(cell) for cell in row)} |"
    yield ""


def fenced(language: str, text: str) -> Iterator[str]:
    """A block of code, whatever the text holds."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    yield f"{fence}{language}"
    yield text.rstrip("\n")
    yield fence
    yield ""
