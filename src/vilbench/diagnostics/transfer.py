"""Generalization from stored values: a choice made on other sources or modalities, tried here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from vilbench.diagnostics.records import Figure, Transfer
from vilbench.diagnostics.table import Bools, Scored, Table
from vilbench.evaluate.slices import ALL, Slice, slices
from vilbench.metrics import Steps, Thresholds, compare, macro_f1
from vilbench.metrics.bootstrap import Floats, percentiles
from vilbench.selection import best_of

_FEWEST = 10
"""Fewest problems of a part that is left out, and of the others."""


class _Called(NamedTuple):
    """What thresholds from elsewhere and from within make of the steps of a part."""

    elsewhere: float
    within: float
    f1_elsewhere: float
    f1_within: float
    delta: Figure


def transfer(table: Table, scorers: Sequence[Scored]) -> Iterator[Transfer]:
    """For every scorer, each source and each modality in turn is left out of its choice.

    Aggregation (best Best-of-N accuracy, the first of equals) and threshold (best macro-F1
    over steps) are chosen on the rest and tried on the part left out, against a choice within
    the part. Leaving one domain out is the protocol of domain generalization (Gulrajani and
    Lopez-Paz 2021). The choice within is made on one half of the part's problems and tried on
    the other, both ways, so that neither side is tried where it was made.

    Values are those of one model: this tells how far the use of a scorer depends on the kind of
    problem, not how far its training does.

    Args:
        table: The pools.
        scorers: The scorers' values.
    """
    parts = [
        part
        for part in slices(table.pools.problems)
        if (part.source == ALL) != (part.modality == ALL)
        and min(len(part.places), table.shape[0] - len(part.places)) >= _FEWEST
    ]
    for scored in scorers:
        if scored.plan.granularity == "solution" or len(scored.scores) < 2 or not parts:
            continue
        accuracies = np.stack(
            [
                best_of(table.pools_of(scores), table.correct).accuracy[:, -1]
                for scores in scored.scores.values()
            ],
            axis=1,
        )
        told = table.step_sound >= 0
        steps = None
        if scored.values is not None and told.any():
            labelled = Steps(
                scored.values[told], table.step_sound[told] == 1, table.step_owner[told]
            )
            steps = Thresholds(labelled, table.shape[0])
        for part in parts:
            yield _transfer(scored, part, accuracies, steps)


def _transfer(
    scored: Scored, part: Slice, accuracies: Floats, steps: Thresholds | None
) -> Transfer:
    inside = np.zeros(len(accuracies), dtype=np.bool_)
    inside[part.places] = True
    halves = _halves(inside)
    names = [method.aggregation or "" for method in scored.plan.methods()]
    elsewhere = _best(accuracies, ~inside)
    there = accuracies[part.places, elsewhere]
    within = np.empty(len(accuracies))
    for half in halves:
        other = inside & ~half
        within[half] = accuracies[half, _best(accuracies, other)]
    found = compare(there[:, None], within[part.places][:, None], part.bootstrap)
    called = None if steps is None else _called(steps, inside, halves, part)
    return Transfer(
        scorer=scored.name,
        kind="source" if part.modality == ALL else "modality",
        left_out=part.source if part.modality == ALL else part.modality,
        n_problems=len(part.places),
        elsewhere=names[elsewhere],
        within=names[_best(accuracies, inside)],
        accuracy_elsewhere=float(there.mean()),
        accuracy_within=float(within[part.places].mean()),
        delta=Figure(
            value=float(found.delta[0]), low=float(found.low[0]), high=float(found.high[0])
        ),
        p_value=float(found.p_value[0]),
        threshold_elsewhere=called and called.elsewhere,
        threshold_within=called and called.within,
        f1_elsewhere=called and called.f1_elsewhere,
        f1_within=called and called.f1_within,
        f1_delta=called.delta if called else Figure(value=None),
    )


def _halves(inside: Bools) -> tuple[Bools, Bools]:
    drawn = np.random.default_rng(0).permutation(np.flatnonzero(inside))
    one = np.zeros_like(inside)
    one[drawn[::2]] = True
    return one, inside & ~one


def _best(accuracies: Floats, among: Bools) -> int:
    return int(np.argmax(np.round(accuracies[among].mean(axis=0), 12)))


def _called(
    steps: Thresholds, inside: Bools, halves: tuple[Bools, Bools], part: Slice
) -> _Called | None:
    elsewhere, within = steps.best(~inside), steps.best(inside)
    if elsewhere is None or within is None:
        return None
    there = steps.counts(elsewhere.value)[part.places]
    here = np.zeros((len(inside), there.shape[1]))
    for half in halves:
        threshold = steps.best(inside & ~half)
        if threshold is None:
            return None
        here[half] = steps.counts(threshold.value)[half]
    here = here[part.places]
    one, other = float(macro_f1(there.sum(axis=0))), float(macro_f1(here.sum(axis=0)))
    counts = part.bootstrap.counts
    low, high = percentiles(macro_f1(counts @ there) - macro_f1(counts @ here))
    delta = Figure(value=one - other, low=float(low), high=float(high))
    return _Called(elsewhere.value, within.value, one, other, delta)
