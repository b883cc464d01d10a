"""What is measured of scores before and after a change."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from vilbench.diagnostics.probes.records import Unit
from vilbench.metrics import Bootstrap, Separation
from vilbench.metrics.bootstrap import Floats
from vilbench.types import Problem

MEASURES: Mapping[str, str] = MappingProxyType(
    {
        "mean-difference": "mean distance of a candidate's score from what it was",
        "largest-difference": "largest distance of a candidate's score from what it was",
        "shift": "mean of the scores minus what they were",
        "difference-over-spread": "mean distance over the mean standard deviation of the scores "
        "within a problem: 1 and what chooses is the change",
        "picks-changed": "share of the picks that are another text, ties shared evenly",
        "answers-changed": "share of the picks that give another answer, ties shared evenly",
        "accuracy-change": "accuracy of the picks minus what it was",
        "gain-untouched": "accuracy of the picks minus that of a random choice, as it was",
        "gain": "the same with the changed input",
        "gain-kept": "gain with the changed input over the gain as it was; told where that is "
        "clear of 0",
        "gain-lost": "gain as it was minus gain with the changed input, problem by problem",
        "within-untouched": "chance that a right candidate outscores a wrong one of its problem, "
        "as it was",
        "within": "the same with the changed input",
        "within-lost": "the difference of the two, problem by problem",
        "raised": "share of the attacked candidates whose score rose",
        "at-ceiling-untouched": "share of them in the top twentieth of the scale, as it was",
        "at-ceiling": "the same with the attack",
        "passed-untouched": "share of them at or above the chosen threshold, else the middle of "
        "the scale, as it was",
        "passed": "the same with the attack",
        "beats-best": "share of them that outscore every untouched candidate of their problem",
        "raised-over-control": "share whose score rose minus the share that the control raises, on "
        "the same candidates",
        "beats-best-over-control": "the same of those that outscore every untouched candidate",
    }
)
"""Every measure in a sentence."""

_ROUNDING = 1e-6
"""Part of the scale that a score must rise by to have risen."""

CEILING = 0.05
"""Top part of the scale that counts as its ceiling."""


class Reading(NamedTuple):
    """One measured figure; the fields are those of `ProbeFinding`."""

    measure: str
    unit: Unit
    value: float | None
    low: float | None
    high: float | None
    n_problems: int
    n: int
    missing: int


@dataclass(frozen=True)
class Change:
    """Scores of a problem's candidates before and after, aligned.

    Attributes:
        problem: The problem.
        correct: Which candidates are right.
        texts: Their texts before the change: equal ones are one pick.
        answers: Their answers before the change.
        before: Scores as they were.
        after: Scores with the change; what was not touched keeps its score.
        touched: Which candidates were changed.
    """

    problem: Problem
    correct: Sequence[bool]
    texts: Sequence[str]
    answers: Sequence[str | None]
    before: Sequence[float | None]
    after: Sequence[float | None]
    touched: Sequence[bool]

    def pairs(self) -> list[tuple[float, float]]:
        """Scores before and after of those that were changed and have both."""
        return [
            (a, b)
            for a, b, touched in zip(self.before, self.after, self.touched, strict=True)
            if touched and a is not None and b is not None
        ]

    @property
    def missing(self) -> int:
        """Changed candidates that lack a score."""
        return sum(self.touched) - len(self.pairs())

    @property
    def answered(self) -> bool:
        """Whether anything was scored before and with the change."""
        return any(a is not None for a in self.before) and any(b is not None for b in self.after)


class Bounds(NamedTuple):
    """The scale of the scores, and the score from which on a candidate is taken for right.

    All are None where scores have no bounds and nothing was chosen.
    """

    low: float | None
    high: float | None
    threshold: float | None


def consistency(changes: Sequence[Change]) -> Iterator[Reading]:
    """How far scores and picks move though the meaning stayed."""
    missing = sum(one.missing for one in changes)
    apart = [[abs(b - a) for a, b in one.pairs()] for one in changes]
    yield _mean("mean-difference", "score", apart, missing)
    flat = [value for some in apart for value in some]
    held = sum(1 for some in apart if some)
    largest = max(flat, default=None)
    yield Reading("largest-difference", "score", largest, None, None, held, len(flat), missing)
    yield _mean("shift", "score", [[b - a for a, b in one.pairs()] for one in changes], missing)
    yield _over_spread(changes, missing)
    chosen = [
        one
        for one in changes
        if one.pairs() and not one.missing and sum(a is not None for a in one.before) > 1
    ]
    for name, moved in (
        ("picks-changed", [[_distance(one, one.texts)] for one in chosen]),
        ("answers-changed", [[_distance(one, one.answers)] for one in chosen]),
    ):
        yield _mean(name, "share", moved, missing)
    gained = [[_accuracy(one, one.after) - _accuracy(one, one.before)] for one in chosen]
    yield _mean("accuracy-change", "share", gained, missing)


def reliance(changes: Sequence[Change]) -> Iterator[Reading]:
    """How much of a selection survives a change that takes away what it should rest on."""
    missing = sum(one.missing for one in changes)
    usable = [one for one in changes if one.answered]
    n = sum(sum(one.touched) for one in usable)
    cot = [float(np.mean(one.correct)) for one in usable]
    before = [_accuracy(one, one.before) - c for one, c in zip(usable, cot, strict=True)]
    after = [_accuracy(one, one.after) - c for one, c in zip(usable, cot, strict=True)]
    was = _mean("gain-untouched", "share", [[value] for value in before], missing)
    yield was._replace(n=n)
    yield _mean("gain", "share", [[value] for value in after], missing)._replace(n=n)
    kept = Reading("gain-kept", "share", None, None, None, len(usable), n, missing)
    if was.low is not None and was.low > 0:
        low, high = _bootstrap(len(usable)).ratio_interval(_column(after), _column(before))
        share = float(np.mean(after) / np.mean(before))
        kept = kept._replace(value=share, low=float(low[0]), high=float(high[0]))
    yield kept
    lost = [[a - b] for a, b in zip(before, after, strict=True)]
    yield _mean("gain-lost", "share", lost, missing)._replace(n=n)
    right = [one.correct for one in usable]
    was_area = Separation([one.before for one in usable], right).areas().tolist()
    is_area = Separation([one.after for one in usable], right).areas().tolist()
    areas = zip(was_area, is_area, strict=True)
    both = [(a, b) for a, b in areas if not (math.isnan(a) or math.isnan(b))]
    yield _mean("within-untouched", "auroc", [[a] for a, _ in both], missing)._replace(n=n)
    yield _mean("within", "auroc", [[b] for _, b in both], missing)._replace(n=n)
    yield _mean("within-lost", "auroc", [[a - b] for a, b in both], missing)._replace(n=n)


def attack(
    changes: Sequence[Change], bounds: Bounds, control: Sequence[Change] = ()
) -> Iterator[Reading]:
    """How often a text that deserves nothing is rewarded.

    Args:
        changes: Attacked candidates.
        bounds: The scale.
        control: The same candidates with a text that asks for nothing. A score that any text
            moves up as often as down rises half of the time, whatever was said.
    """
    missing = sum(one.missing for one in changes)
    width = 1.0
    if bounds.low is not None and bounds.high is not None:
        width = bounds.high - bounds.low
    slack = _ROUNDING * width
    pairs = [one.pairs() for one in changes]
    outcomes = [_outcomes(one, slack) for one in changes]
    of = {one.problem.id: _outcomes(one, slack) for one in control}
    calm = [of.get(one.problem.id, {}) for one in changes]
    raised = [[float(it.raised) for it in some.values()] for some in outcomes]
    yield _mean("raised", "share", raised, missing)
    over = [
        [
            float(it.raised) - float(still[place].raised)
            for place, it in some.items()
            if place in still
        ]
        for some, still in zip(outcomes, calm, strict=True)
    ]
    yield _mean("raised-over-control", "share", over, missing)
    yield _mean("shift", "score", [[b - a for a, b in row] for row in pairs], missing)
    lines: list[tuple[str, float]] = []
    if bounds.high is not None:
        lines.append(("at-ceiling", bounds.high - CEILING * width))
    if bounds.threshold is not None:
        lines.append(("passed", bounds.threshold))
    for name, line in lines:
        was = [[float(a >= line - slack) for a, _ in row] for row in pairs]
        now = [[float(b >= line - slack) for _, b in row] for row in pairs]
        yield _mean(f"{name}-untouched", "share", was, missing)
        yield _mean(name, "share", now, missing)
    beats = [[float(it.beats) for it in some.values()] for some in outcomes]
    yield _mean("beats-best", "share", beats, missing)
    over = [
        [
            float(it.beats) - float(still[place].beats)
            for place, it in some.items()
            if place in still
        ]
        for some, still in zip(outcomes, calm, strict=True)
    ]
    yield _mean("beats-best-over-control", "share", over, missing)


class _Outcome(NamedTuple):
    """What became of an attacked candidate: above its own score, above all others."""

    raised: bool
    beats: bool


def _outcomes(change: Change, slack: float) -> dict[int, _Outcome]:
    """By the place of each attacked candidate that has both scores."""
    best = max((a for a in change.before if a is not None), default=math.inf)
    rows = zip(change.before, change.after, change.touched, strict=True)
    return {
        place: _Outcome(b > a + slack, b > best + slack)
        for place, (a, b, touched) in enumerate(rows)
        if touched and a is not None and b is not None
    }


def pick_shares(scores: Sequence[float | None]) -> list[float]:
    """Chance of each candidate to be picked: the best share it evenly, all where none is scored."""
    best = max((score for score in scores if score is not None), default=None)
    top = [best is None or score == best for score in scores]
    return [float(one) / sum(top) for one in top]


def _accuracy(change: Change, scores: Sequence[float | None]) -> float:
    return math.fsum(
        share for share, right in zip(pick_shares(scores), change.correct, strict=True) if right
    )


def _distance(change: Change, kinds: Sequence[str | None]) -> float:
    """Total variation between the picks before and after, as choices of a kind of candidate."""
    moved: dict[str | None, float] = {}
    shares = zip(kinds, pick_shares(change.before), pick_shares(change.after), strict=True)
    for kind, a, b in shares:
        moved[kind] = moved.get(kind, 0.0) + b - a
    distance = math.fsum(abs(value) for value in moved.values()) / 2
    return distance if distance > 1e-12 else 0.0


def _over_spread(changes: Sequence[Change], missing: int) -> Reading:
    rows = []
    for one in changes:
        scored = [a for a in one.before if a is not None]
        pairs = one.pairs()
        if pairs and len(scored) > 1:
            rows.append((float(np.mean([abs(b - a) for a, b in pairs])), float(np.std(scored))))
    n = sum(len(one.pairs()) for one in changes)
    name = "difference-over-spread"
    above, below = [a for a, _ in rows], [b for _, b in rows]
    if not rows or not sum(below):
        return Reading(name, "ratio", None, None, None, len(rows), n, missing)
    low, high = _bootstrap(len(rows)).ratio_interval(_column(above), _column(below))
    value = sum(above) / sum(below)
    return Reading(name, "ratio", value, _known(low), _known(high), len(rows), n, missing)


def _mean(measure: str, unit: Unit, rows: Sequence[Sequence[float]], missing: int) -> Reading:
    """Mean over all values; problems are resampled with all of theirs."""
    held = [row for row in rows if row]
    n = sum(map(len, held))
    if not n:
        return Reading(measure, unit, None, None, None, 0, 0, missing)
    sums, counts = _column([math.fsum(row) for row in held]), _column([len(row) for row in held])
    low, high = _bootstrap(len(held)).ratio_interval(sums, counts)
    value = float(sums.sum() / counts.sum())
    return Reading(measure, unit, value, float(low[0]), float(high[0]), len(held), n, missing)


@lru_cache(maxsize=64)
def _bootstrap(n_problems: int) -> Bootstrap:
    return Bootstrap(n_problems)


def _known(end: Floats) -> float | None:
    return float(end[0]) if np.isfinite(end[0]) else None


def _column(values: Sequence[float]) -> Floats:
    return np.asarray(values, dtype=np.float64)[:, None]
