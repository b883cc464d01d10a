"""Lines of a solution, and what tells of a line that it begins a step or a section."""

from __future__ import annotations

import re
from typing import NamedTuple

_NUMBER_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_STEP = re.compile(
    r"(?:[-*+•>][^\S\n]+)?(?P<hash>#{1,6}[^\S\n]*)?(?:\d{1,3}[.)][^\S\n]+)?"
    r"(?P<bold>\*\*|__|\*|_)?[^\S\n]*step[^\S\n]*\#?"
    rf"(?P<number>\d{{1,3}}|{'|'.join(_NUMBER_WORDS)})(?![^\W_]|/|\.\d)(?P<rest>[^\n]{{0,8}})",
    re.IGNORECASE,
)
_STEP_END = re.compile(r"[^\S\n]*(?:\*\*|__|\*|_)?[^\S\n]*(?:[:：.)(\-–—]|$)")
HEADING = re.compile(r"(#{1,6})[^\S\n]+\S")


class Line(NamedTuple):
    """A line that is not blank.

    Attributes:
        start: Position of its first character that is not whitespace.
        indent: Characters of whitespace before that.
        body: The line without surrounding whitespace.
        after_blank: Whether a blank line stands before it.
        step: The k of a "Step k" marker that begins it.
    """

    start: int
    indent: int
    body: str
    after_blank: bool
    step: int | None

    @property
    def end(self) -> int:
        """Position after its last character that is not whitespace."""
        return self.start + len(self.body)


def split_lines(text: str) -> list[Line]:
    """The lines of `text` that are not blank."""
    lines, position, after_blank = [], 0, False
    for line in text.split("\n"):
        body = line.strip()
        if body:
            indent = len(line) - len(line.lstrip())
            lines.append(Line(position + indent, indent, body, after_blank, _step_number(body)))
        after_blank = not body
        position += len(line) + 1
    return lines


def _step_number(body: str) -> int | None:
    match = _STEP.match(body)
    if match is None:
        return None
    if not (match["hash"] or match["bold"]) and not _STEP_END.match(match["rest"]):
        return None
    number = match["number"].lower()
    return int(number) if number.isdigit() else _NUMBER_WORDS.index(number) + 1


def is_heading(line: str) -> bool:
    """Whether a line is a heading: "### title", or bold from end to end."""
    return bool(HEADING.match(line)) or (
        len(line) > 4 and line[:2] == line[-2:] == "**" and "**" not in line[2:-2]
    )
