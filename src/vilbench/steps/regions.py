"""Regions of a solution that no cut may tear: code, LaTeX, lists."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

from vilbench.steps.lines import HEADING, Line
from vilbench.types import Span

_FENCE = re.compile(r"(`{3,}|~{3,})(.*)")
_MATH = re.compile(
    r"\\\\|\\\$|\\[\[\]()]|\$\$|\$|\\(?:begin|end)\{([A-Za-z]{1,20}\*?)\}|`[^`\n]*`|\n[^\S\n]*\n"
)
_ITEM = re.compile(r"(?:[-*+•]|\(?\d{1,3}[.)]|\(?[A-Za-z][.)])[^\S\n]+\S")


def shielded(text: str, lines: Sequence[Line]) -> list[Span]:
    """Code and LaTeX of `text`, disjoint and in order."""
    fences = _fences(lines)
    return merged([*fences, *_latex(text, lines, fences)])


def lists(lines: Sequence[Line], regions: Sequence[Span]) -> list[Span]:
    """Runs of two and more list items outside of `regions`, from the first to the last.

    An indented line continues an item. A line that is not indented continues it only when
    another item comes before the next blank line.
    """
    found: list[Span] = []
    first: Line | None = None
    end = items = 0

    def finish() -> None:
        if first is not None and items > 1:
            found.append(Span(first.start, end))

    for line in lines:
        if inside(line.start, regions):
            continue
        fence = _FENCE.match(line.body) is not None
        if line.step is None and _ITEM.match(line.body):
            first = first or line
            items += 1
            end = line.end
        elif first is None or (fence and line.after_blank):
            continue
        elif fence or line.indent >= 2:
            end = line.end
        elif line.after_blank or line.step is not None or HEADING.match(line.body):
            finish()
            first, items = None, 0
    finish()
    return found


def merged(spans: Iterable[Span]) -> list[Span]:
    """The union of `spans`, as disjoint spans in order."""
    union: list[Span] = []
    for start, end in sorted(spans):
        if union and start < union[-1].end:
            union[-1] = Span(union[-1].start, max(end, union[-1].end))
        else:
            union.append(Span(start, end))
    return union


def inside(position: int, spans: Sequence[Span]) -> bool:
    """Whether a cut at `position` would tear one of the disjoint, ordered `spans`."""
    before = bisect_left(spans, (position, -1)) - 1
    return before >= 0 and position < spans[before].end


def _fences(lines: Sequence[Line]) -> list[Span]:
    """Fenced code; an unclosed fence reaches to the end of the text, as in CommonMark."""
    fences: list[Span] = []
    opening: Line | None = None
    mark = ""
    for line in lines:
        match = _FENCE.match(line.body)
        if match is None:
            continue
        if opening is None:
            # Backticks after the opening ones make it inline code.
            if not (match[1][0] == "`" and "`" in match[2]):
                opening, mark = line, match[1]
        elif match[1].startswith(mark) and not match[2].strip():
            fences.append(Span(opening.start, line.end))
            opening = None
    if opening is not None:
        fences.append(Span(opening.start, lines[-1].end))
    return fences


def _latex(text: str, lines: Sequence[Line], fences: Sequence[Span]) -> list[Span]:
    r"""Closed LaTeX and inline code outside of `fences`.

    An opening mark without its partner is plain text. `$..$` and `\(..\)` end with their
    paragraph, `$$..$$` and `\[..\]` at the next "Step k" line: a mark that a model forgot
    must not swallow the rest of its solution. A `$` opens before a non-blank and closes
    after a non-blank that no digit follows (Pandoc's rule), so prices stay text.
    """
    stops = [line.start for line in lines if line.step is not None]
    found: list[Span] = []
    opened: dict[str, int] = {}
    environments: dict[str, list[int]] = {}

    def close(mark: str, end: int) -> None:
        start = opened.pop(mark, None)
        if start is not None and bisect_right(stops, start) == bisect_left(stops, end):
            found.append(Span(start, end))

    for match in _MATH.finditer(text):
        mark, start, end = match[0], match.start(), match.end()
        if inside(start, fences) or mark in ("\\\\", "\\$"):
            continue
        if mark[0] == "\n":
            opened.pop("$", None)
            opened.pop("(", None)
        elif mark[0] == "`":
            found.append(Span(start, end))
        elif match[1]:
            stack = environments.setdefault(match[1], [])
            if mark.startswith("\\begin"):
                stack.append(start)
            elif stack:
                found.append(Span(stack.pop(), end))
        elif mark == "$$":
            if "$$" in opened:
                close("$$", end)
            else:
                opened["$$"] = start
        elif mark == "$":
            closes = not text[start - 1 : start].isspace() and not text[end : end + 1].isdigit()
            if "$" in opened and closes:
                close("$", end)
            elif text[end : end + 1].strip():
                opened["$"] = start
            else:
                opened.pop("$", None)
        elif mark[1] in "[(":
            opened.setdefault(mark[1], start)
        else:
            close("[" if mark[1] == "]" else "(", end)
    return found
