"""The same text with other step boundaries.

A value of steps that depends on where the text was cut rewards a format: a solution gains by
writing one step more or less. Step segmentation is one of the ViLBench paper's open
questions; here only what a scorer makes of it is measured. Scorers of whole solutions see no
boundaries, so that the probe is not for them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from vilbench.diagnostics.probes.variants import Variant, with_spans
from vilbench.types import Problem, Solution, Span

_SENTENCE_END = re.compile(r"(?<=[^\s\d][.!?])\s+|\s*\n\s*")
_BLANK = re.compile(r"\s+")


def _merged(problem: Problem, solution: Solution, rng: random.Random) -> Solution | None:
    """Steps joined two by two; an odd last one stays."""
    steps = solution.steps
    pairs = [steps[start : start + 2] for start in range(0, len(steps), 2)]
    return with_spans(solution, [Span(pair[0].start, pair[-1].end) for pair in pairs])


def _whole(problem: Problem, solution: Solution, rng: random.Random) -> Solution | None:
    if not solution.steps:
        return None
    return with_spans(solution, [Span(solution.steps[0].start, solution.steps[-1].end)])


def _sentences(problem: Problem, solution: Solution, rng: random.Random) -> Solution | None:
    """A step per sentence and line: an answer line becomes a step of its own."""
    return with_spans(
        solution,
        [
            piece
            for span in solution.steps
            for piece in _cut(span, list(_SENTENCE_END.finditer(solution.text, *span)))
        ],
    )


def _halves(problem: Problem, solution: Solution, rng: random.Random) -> Solution | None:
    """Every step cut at the blank nearest to its middle."""
    spans: list[Span] = []
    for span in solution.steps:
        middle = (span.start + span.end) / 2
        blanks = list(_BLANK.finditer(solution.text, *span))
        nearest = min(blanks, key=lambda one: abs(one.start() - middle), default=None)
        spans += _cut(span, [] if nearest is None else [nearest])
    return with_spans(solution, spans)


def _cut(span: Span, gaps: Sequence[re.Match[str]]) -> list[Span]:
    """The parts of a span around gaps, the empty ones left out."""
    starts = [span.start, *(gap.end() for gap in gaps)]
    ends = [*(gap.start() for gap in gaps), span.end]
    return [Span(a, b) for a, b in zip(starts, ends, strict=True) if a < b]


MERGED = Variant("boundaries", "merged", 1, rewrite=_merged)
WHOLE = Variant("boundaries", "whole", 1, rewrite=_whole)
SENTENCES = Variant("boundaries", "sentences", 1, rewrite=_sentences)
HALVES = Variant("boundaries", "halves", 1, rewrite=_halves)
