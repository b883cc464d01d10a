"""The figures of a step benchmark: pure functions of marks and values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vilbench.metrics import Bootstrap, Calls, Separation, Stratified, best_threshold
from vilbench.metrics.bootstrap import Floats, percentiles
from vilbench.problems.clusters import clusters
from vilbench.stepbench.bench import Pool, Values
from vilbench.stepbench.first_error import FirstErrors, Located, best_cut, predicted
from vilbench.stepbench.records import (
    ALL,
    CutOff,
    Difference,
    LocationFigures,
    Overall,
    StepFigures,
)


@dataclass(frozen=True)
class Part:
    """Pools that are reported together.

    Attributes:
        subset: Its name, "all" for all of them.
        places: Of its pools.
        bootstrap: Resamples of them.
    """

    subset: str
    places: NDArray[np.intp]
    bootstrap: Bootstrap


def parts(pools: Sequence[Pool]) -> list[Part]:
    """All pools, then those of each subset in the order in which they come."""
    subsets = [pool.subset for pool in pools]
    kin = np.array(clusters([pool.problem for pool in pools]), dtype=np.intp)
    found = [Part(ALL, np.arange(len(pools)), Bootstrap(len(pools), clusters=kin))]
    for subset in dict.fromkeys(subsets):
        places = np.array([place for place, one in enumerate(subsets) if one == subset])
        found.append(Part(subset, places, Bootstrap(len(places), clusters=kin[places])))
    return found


@dataclass(frozen=True)
class Scored:
    """A scorer's values beside the marks, by problem; lists of the same shape `[P][*]`.

    Attributes:
        name: The scorer's.
        values: Of the marked steps; None is no verdict.
        right: Whether they are right.
        numbers: Of each step within its solution.
        located: Solutions whose first wrong step is settled, with all their values.
        unmarked: Steps that are neither right nor wrong, `[P]`.
        unsettled: Solutions whose first wrong step is not settled, `[P]`.
    """

    name: str
    values: Sequence[Sequence[float | None]]
    right: Sequence[Sequence[bool]]
    numbers: Sequence[Sequence[int]]
    located: Sequence[Sequence[Located]]
    unmarked: Sequence[int]
    unsettled: Sequence[int]

    @classmethod
    def of(cls, name: str, pools: Sequence[Pool], scores: Values) -> Scored:
        """What a step scorer says of the pools; what it did not score is no verdict."""
        values: list[list[float | None]] = []
        right: list[list[bool]] = []
        numbers: list[list[int]] = []
        located: list[list[Located]] = []
        unmarked, unsettled = [0] * len(pools), [0] * len(pools)
        for place, pool in enumerate(pools):
            for row in (values, right, numbers, located):
                row.append([])
            for one in pool.solutions:
                record = scores.get(one.ref)
                given = record.values if record else (None,) * len(one.marks)
                if one.first_error is None:
                    unsettled[place] += 1
                else:
                    located[place].append(Located(given, one.first_error))
                for number, (value, mark) in enumerate(zip(given, one.marks, strict=True)):
                    if mark == 0:
                        unmarked[place] += 1
                    else:
                        values[place].append(value)
                        right[place].append(mark == 1)
                        numbers[place].append(number)
        return cls(name, values, right, numbers, located, unmarked, unsettled)

    def cut_off(self, origin: str) -> CutOff:
        """The best thresholds on these pools, which must not be reported."""
        steps = [value for pool in self.values for value in pool]
        step = best_threshold(steps, [mark for pool in self.right for mark in pool])
        cut = best_cut([one for pool in self.located for one in pool])
        return CutOff(
            scorer=self.name,
            step=None if step is None else float(f"{step.value:.6g}"),
            first_error=None if cut is None else float(f"{cut.value:.6g}"),
            origin=origin,
            n_problems=len(self.values),
            n_steps=len(steps),
        )


class Measured:
    """A scorer on the pools that are reported, at its thresholds.

    Args:
        scored: Its values.
        some: The parts to report, the first of which is all of them.
        cut_off: Its thresholds; None leaves out what needs them.
    """

    def __init__(self, scored: Scored, some: Sequence[Part], cut_off: CutOff | None) -> None:
        self.scored = scored
        self.parts = some
        step = cut_off.step if cut_off else None
        first = cut_off.first_error if cut_off else None
        self._first = first
        self.calls = None if step is None else Calls(scored.values, scored.right, step)
        self.errors = None if first is None else FirstErrors(scored.located, first)

    def steps(self) -> Iterator[StepFigures]:
        """Figures over steps, for every part with a marked step."""
        scored = self.scored
        separation = Separation(scored.values, scored.right)
        level = Stratified(scored.values, scored.right, scored.numbers)
        for part in self.parts:
            right = [scored.right[place] for place in part.places]
            n_steps = sum(map(len, right))
            if not n_steps:
                continue
            within = separation.within(part.bootstrap, part.places)
            pooled = separation.pooled(part.bootstrap, part.places)
            same = level.pooled(part.bootstrap, part.places)
            f1 = self.calls and self.calls.macro_f1(part.bootstrap, part.places)
            yield StepFigures(
                scorer=scored.name,
                subset=part.subset,
                n_problems=sum(bool(one) for one in right),
                n_solutions=sum(
                    len(scored.located[place]) + scored.unsettled[place] for place in part.places
                ),
                n_steps=n_steps,
                n_wrong=n_steps - sum(map(sum, right)),
                unmarked=sum(scored.unmarked[place] for place in part.places),
                missing=within.missing,
                macro_f1=f1 and f1.value,
                f1_low=f1 and f1.low,
                f1_high=f1 and f1.high,
                f1_right=f1 and f1.right,
                f1_wrong=f1 and f1.wrong,
                pooled=pooled.value,
                pooled_low=pooled.low,
                pooled_high=pooled.high,
                within=within.value,
                within_low=within.low,
                within_high=within.high,
                n_within=within.n_problems,
                same=same.value,
                same_low=same.low,
                same_high=same.high,
            )

    def locations(self) -> Iterator[LocationFigures]:
        """Figures of first wrong steps, for every part with a settled solution."""
        for part in self.parts:
            some = [one for place in part.places for one in self.scored.located[place]]
            if self.errors is None or self._first is None or not some:
                continue
            found = self.errors.f1(part.bootstrap, part.places)
            yield LocationFigures(
                scorer=self.scored.name,
                subset=part.subset,
                n_erroneous=found.n_erroneous,
                n_correct=found.n_correct,
                unsettled=sum(self.scored.unsettled[place] for place in part.places),
                missing=sum(predicted(one.values, self._first) is None for one in some),
                f1=found.value,
                f1_low=found.low,
                f1_high=found.high,
                erroneous=found.erroneous,
                correct=found.correct,
            )

    def overall(self) -> Overall:
        """Both definitions of both measures over all subsets."""
        whole, *rest = self.parts
        places = [part.places for part in rest]
        weighted = self.calls and self.calls.weighted(whole.bootstrap, places)
        pooled = self.calls and self.calls.macro_f1(whole.bootstrap)
        mean = self.errors and self.errors.mean(whole.bootstrap, places)
        located = self.errors and self.errors.f1(whole.bootstrap)
        return Overall(
            scorer=self.scored.name,
            weighted_f1=weighted and weighted.value,
            weighted_low=weighted and weighted.low,
            weighted_high=weighted and weighted.high,
            pooled_f1=pooled and pooled.value,
            pooled_low=pooled and pooled.low,
            pooled_high=pooled and pooled.high,
            location_mean=mean and mean.value,
            mean_low=mean and mean.low,
            mean_high=mean and mean.high,
            location_pooled=located and located.value,
            location_low=located and located.low,
            location_high=located and located.high,
        )


def differences(one: Measured, other: Measured) -> Iterator[Difference]:
    """What a scorer has over another, paired by problem, by each measure that both have."""
    bootstrap = one.parts[0].bootstrap
    if one.calls and other.calls:
        a, b = (each.macro_f1(bootstrap) for each in (one.calls, other.calls))
        drawn = one.calls.drawn(bootstrap) - other.calls.drawn(bootstrap)
        if a and b:
            yield _difference(one, other, "macro-F1, pooled", a.value - b.value, drawn)
    if one.errors and other.errors:
        first, second = (each.f1(bootstrap).value for each in (one.errors, other.errors))
        drawn = one.errors.drawn(bootstrap) - other.errors.drawn(bootstrap)
        if first is not None and second is not None:
            yield _difference(one, other, "first-error F1, pooled", first - second, drawn)


def _difference(
    one: Measured, other: Measured, measure: str, delta: float, drawn: Floats
) -> Difference:
    low, high = percentiles(drawn[np.isfinite(drawn)])
    return Difference(
        scorer=one.scored.name,
        against=other.scored.name,
        measure=measure,
        delta=delta,
        low=float(low),
        high=float(high),
    )
