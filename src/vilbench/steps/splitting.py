"""The strategies: which positions of a solution begin a step."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from vilbench.steps.lines import Line, is_heading, split_lines
from vilbench.steps.markers import marked
from vilbench.steps.regions import inside, lists, merged, shielded
from vilbench.steps.sentences import sentences
from vilbench.types import Span

Strategy = Literal["marker", "blank-line", "newline", "sentence"]

_ANSWER = re.compile(
    r"(?:(?:so|thus|therefore|hence|and)\b,?\s{1,4})?(?:the\s{1,4})?(?:(?:final|correct)\s{1,4})?"
    r"answer\b(?:[*_\s]{0,4}(?:is\b|[:：=])|[*_]*\s*?$)|(?:\$+|\\[\[(])?\s*\\boxed\b",
    re.IGNORECASE | re.MULTILINE,
)
_DECORATION = "#*_> \t\r\n"


def split(text: str, strategy: Strategy, max_steps: int | None = None) -> tuple[Span, ...]:
    """Spans of the steps of `text`.

    They are in order, disjoint, and neither begin nor end with whitespace. Together they
    hold every character that is not whitespace, except for a bare heading before the first
    marker. Blank text has no steps.

    Args:
        text: A solution, from any model.
        strategy: How to cut; see the module's docstring.
        max_steps: Merge neighbours evenly down to this many steps: the numbers of steps
            in two groups differ by at most one, the larger groups come first.

    Raises:
        ValueError: `max_steps` is below 1.
    """
    if max_steps is not None and max_steps < 1:
        raise ValueError(f"max_steps must be at least 1, got {max_steps}")
    lines = split_lines(text)
    if not lines:
        return ()
    regions = shielded(text, lines)
    starts = marked(text, lines, regions) if strategy == "marker" else []
    if not starts:
        regions = merged([*regions, *lists(lines, regions)])
        candidates = _candidates(text, lines, strategy)
        starts = _joined(text, [start for start in candidates if not inside(start, regions)])
    spans = _trimmed(text, starts)
    if max_steps is None or len(spans) <= max_steps:
        return spans
    return _evenly(spans, max_steps)


def answer_line(text: str) -> int | None:
    """Where the trailing answer line of a step begins; None where it has none, or nothing else."""
    start = text.rstrip().rfind("\n") + 1
    line = text[start : start + 200].lstrip(_DECORATION)
    return start if start and _ANSWER.match(line) else None


def _trimmed(text: str, starts: Sequence[int]) -> tuple[Span, ...]:
    """The pieces from each start to the next, without surrounding and blank ones."""
    spans = []
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        piece = text[start:end]
        left = len(piece) - len(piece.lstrip())
        if left < len(piece):
            spans.append(Span(start + left, start + len(piece.rstrip())))
    return tuple(spans)


def _evenly(spans: Sequence[Span], groups: int) -> tuple[Span, ...]:
    size, larger = divmod(len(spans), groups)
    merged, first = [], 0
    for group in range(groups):
        last = first + size + (group < larger) - 1
        merged.append(Span(spans[first].start, spans[last].end))
        first = last + 1
    return tuple(merged)


def _candidates(text: str, lines: Sequence[Line], strategy: Strategy) -> list[int]:
    """Starts of lines, of sentences, or else of paragraphs, in order."""
    starts = {lines[0].start}
    starts.update(line.start for line in lines if line.after_blank or strategy == "newline")
    if strategy == "sentence":
        starts.update(sentences(text))
    return sorted(starts)


def _joined(text: str, starts: Sequence[int]) -> list[int]:
    """`starts` without those that would cut off a heading, a lead-in or the answer."""
    kept: list[int] = []
    for start in starts:
        if not kept or not _leads(text[max(0, start - 400) : start]):
            kept.append(start)
    if len(kept) > 1 and _ANSWER.match(text[kept[-1] : kept[-1] + 200].lstrip(_DECORATION)):
        kept.pop()
    return kept


def _leads(before: str) -> bool:
    """Whether `before` needs what follows: it ends in a heading or in a colon."""
    line = before.rstrip().rpartition("\n")[2].strip()
    return line.endswith((":", "：", ":**")) or is_heading(line)
