"""Starts of steps by their explicit markers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import dropwhile

from vilbench.steps.lines import HEADING, Line, is_heading
from vilbench.steps.regions import inside
from vilbench.types import Span

_INLINE_STEP = re.compile(
    r"(?<=[.!?;)\]$])[^\S\n]+(?=\*{0,2}step[^\S\n]?(\d{1,3}):)", re.IGNORECASE
)
_NUMBER = re.compile(
    r"(?P<hash>#{1,6}[^\S\n]*)?(?P<bold>\*\*|__)?\(?(?P<number>\d{1,2})(?P<style>[.)])"
    r"(?:\*\*|__)?(?=[\s*$\\]|$)"
)
_CLOSING_TITLE = re.compile(
    r"(?:the\s)?(?:final\s)?(?:answer|conclusion|result|summary)\b", re.IGNORECASE
)
_DECORATION = "#*_> \t\r\n"


def marked(text: str, lines: Sequence[Line], regions: Sequence[Span]) -> list[int]:
    """Starts of the steps by their markers; empty when the text has none."""
    open_lines = [line for line in lines if not inside(line.start, regions)]
    marks = (
        _step_marks(text, open_lines, regions)
        or _heading_marks(open_lines)
        or _number_marks(open_lines)
    )
    if marks and not _is_bare_heading(text[: marks[0]]):
        marks[0] = 0
    return marks


def _is_bare_heading(preamble: str) -> bool:
    for line in preamble.split("\n"):
        words = line.strip()
        short = len(words) <= 40 and len(words.split()) <= 3
        if words and not is_heading(words) and not (short and words.endswith((":", "："))):
            return False
    return True


def _closes(line: Line) -> bool:
    return _CLOSING_TITLE.match(line.body.lstrip(_DECORATION)) is not None


def _step_marks(text: str, lines: Sequence[Line], regions: Sequence[Span]) -> list[int]:
    """Starts of "Step k" markers, and of headings of their level between them."""
    found: dict[int, int] = {}
    level = 0
    for line in lines:
        if line.step is not None:
            found[line.start] = line.step
            heading = HEADING.match(line.body)
            level = max(level, len(heading[1]) if heading else 0)
    line_starts = set(found)
    for match in _INLINE_STEP.finditer(text):
        if not inside(match.end(), regions):
            found.setdefault(match.end(), int(match[1]))
    marks: list[int] = []
    last = highest = 0
    for start, number in sorted(found.items()):
        likely = {last + 1, highest + 1}
        if start in line_starts:
            likely |= {last, last + 2, 1}
        if number in likely or (not marks and start in line_starts):
            marks.append(start)
            last, highest = number, max(number, highest)
    if marks and level:
        titles = [
            line.start
            for line in lines
            if (heading := HEADING.match(line.body))
            and len(heading[1]) <= level
            and line.start > marks[0]
            and line.start not in found
            and not _closes(line)
        ]
        marks = sorted({*marks, *titles})
    return marks


def _heading_marks(lines: Sequence[Line]) -> list[int]:
    """Starts of the headings of the shallowest level that has two, and of those above it."""
    titles = [
        (line.start, len(heading[1]))
        for line in lines
        if (heading := HEADING.match(line.body)) and not _closes(line)
    ]
    counts = Counter(depth for _, depth in titles)
    level = min((depth for depth, count in counts.items() if count > 1), default=0)
    # What is above that level before it begins is the title of the whole, no step.
    steps = dropwhile(lambda title: title[1] != level, titles)
    return [start for start, depth in steps if depth <= level]


def _number_marks(lines: Sequence[Line]) -> list[int]:
    """Starts of the items of the outermost numbered list; it may go on from an earlier text.

    A list that begins anew at 1 is nested in the open item until the outer numbering goes
    on. What tells lists apart is indentation and style ("1." or "1)", bold, heading).
    """
    marks: list[int] = []
    levels: list[tuple[tuple[int, str, bool, bool], int]] = []  # (kind, last number)
    for line in lines:
        match = _NUMBER.match(line.body)
        if match is None:
            continue
        kind = (line.indent, match["style"], bool(match["bold"]), bool(match["hash"]))
        number = int(match["number"])
        for depth in reversed(range(len(levels))):
            if levels[depth] == (kind, number - 1):
                levels[depth:] = [(kind, number)]
                if depth == 0:
                    marks.append(line.start)
                break
        else:
            if not levels and (number == 1 or line is lines[0]):
                levels.append((kind, number))
                marks.append(line.start)
            elif levels and number == 1:
                # A second list of a kind replaces the first: the stack stays small.
                levels[1:] = [level for level in levels[1:] if level[0] != kind]
                levels.append((kind, 1))
    # A lone number in the middle is a line that wraps at "1. ".
    return marks if len(marks) > 1 or marks[:1] == [lines[0].start] else []
