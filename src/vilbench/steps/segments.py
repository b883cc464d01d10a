"""Segmentations: other ways to cut a stored solution into the steps that are scored.

    marker, newline, sentence, blank-line    the strategies of `split`
    answer-apart    as `marker`, with the trailing answer line as a step of its own
    merged-length   steps of `marker`, a short one joined with those after it until they hold
                    `LENGTH` characters; what is left over joins the last
    merged-change   steps of `marker`, one joined with the step before it where a first scoring
                    moved by less than `CHANGE` of its scale between them
    whole           the solution as one step

No segmentation changes a character. Joined steps keep what stands between them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from vilbench.steps.splitting import answer_line, split
from vilbench.types import Span

LENGTH = 40
"""Characters that a merged step holds at least."""

CHANGE = 0.1
"""Share of the scale; a step that moves a value by less has told little."""

Values = Sequence[float | None]
"""Values of the steps of `marker` on the unit scale; None is no verdict."""

Cut = Callable[[str, Values | None], tuple[Span, ...]]


@dataclass(frozen=True)
class Segmentation:
    """A named way to cut solutions.

    Attributes:
        name: Key in `SEGMENTATIONS`.
        version: Raised whenever it cuts any text at other places.
        cut: Spans of a text, given what a first scoring said of the steps of `marker`.
        by_values: Whether it needs a first scoring.
    """

    name: str
    version: int
    cut: Cut
    by_values: bool = False

    @property
    def fingerprint(self) -> str:
        """Changes with whatever changes a span."""
        numbers = f"{LENGTH} {CHANGE}".encode()
        return f"{self.name}@{self.version}-{hashlib.sha256(numbers).hexdigest()[:8]}"

    def spans(self, text: str, values: Values | None = None) -> tuple[Span, ...]:
        """Steps of a solution, in order and disjoint.

        Args:
            text: The solution, from any model.
            values: What a first scoring said of the steps of `marker`; only for one that is
                `by_values`.

        Raises:
            ValueError: It needs values and has none, or not one for each step.
        """
        if self.by_values and values is None:
            raise ValueError(f"'{self.name}' needs the values of a first scoring")
        return self.cut(text, values)


def _answer_apart(text: str, values: Values | None) -> tuple[Span, ...]:
    spans = split(text, "marker")
    if not spans:
        return spans
    *before, last = spans
    start = answer_line(text[last.start : last.end])
    if start is None:
        return spans
    place = last.start + start
    head = text[last.start : place].rstrip()
    return (*before, Span(last.start, last.start + len(head)), Span(place, last.end))


def _by_length(text: str, values: Values | None) -> tuple[Span, ...]:
    spans = split(text, "marker")
    groups: list[Span] = []
    open_ = False
    for span in spans:
        groups[-1:] = [Span(groups[-1].start, span.end)] if open_ else [*groups[-1:], span]
        open_ = groups[-1].end - groups[-1].start < LENGTH
    if open_ and len(groups) > 1:
        groups[-2:] = [Span(groups[-2].start, groups[-1].end)]
    return tuple(groups)


def _by_change(text: str, values: Values | None) -> tuple[Span, ...]:
    spans = split(text, "marker")
    known = values or ()
    if len(known) != len(spans):
        raise ValueError(f"{len(spans)} steps and {len(known)} values of a first scoring")
    groups: list[Span] = []
    before: float | None = None
    for span, value in zip(spans, known, strict=True):
        still = value is not None and before is not None and abs(value - before) < CHANGE
        groups[-1:] = [Span(groups[-1].start, span.end)] if still else [*groups[-1:], span]
        before = value
    return tuple(groups)


def _whole(text: str, values: Values | None) -> tuple[Span, ...]:
    spans = split(text, "marker")
    return (Span(spans[0].start, spans[-1].end),) if spans else ()


SEGMENTATIONS: Mapping[str, Segmentation] = MappingProxyType(
    {
        one.name: one
        for one in (
            Segmentation("marker", 1, lambda text, _: split(text, "marker")),
            Segmentation("newline", 1, lambda text, _: split(text, "newline")),
            Segmentation("sentence", 1, lambda text, _: split(text, "sentence")),
            Segmentation("blank-line", 1, lambda text, _: split(text, "blank-line")),
            Segmentation("answer-apart", 1, _answer_apart),
            Segmentation("merged-length", 1, _by_length),
            Segmentation("merged-change", 1, _by_change, by_values=True),
            Segmentation("whole", 1, _whole),
        )
    }
)
"""The segmentations that can be named."""
