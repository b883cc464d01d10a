"""Gains on a chosen set, as chosen by the very picks that are counted, and without them.

A filter that takes problems on which steps happened to pick better than wholes makes a gain
out of luck: on these problems, with these picks, the gain is large even where no scorer knows
anything. So a set is chosen by one part of the evidence and measured on another:

    scorers      chosen by all families of pairs but one, measured on that one, in turn
    candidates   chosen on one half of every pool, measured on the other, both ways, over
                 seeded splits
    both         chosen by the other families on one half, measured on the family on the other

Held-out scorers share the candidates with those that chose, and so their luck with these, as
far as they agree; held-out candidates are free of it, while the scorers are the same. `both`
is what another scorer would gain on other solutions of the same policy. Naive and
cross-fitted gains are compared at the same pool size.

Every figure is a ratio of sums over problems, the gains of the chosen over their number, so
that its bootstrap over problems holds the sets as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from vilbench.curate.chooser import Chooser, View
from vilbench.curate.indicator import Reading
from vilbench.curate.picks import Bools, Floats
from vilbench.curate.records import Contrast, Fit, GainCard
from vilbench.curate.versions import halves
from vilbench.metrics import Bootstrap
from vilbench.metrics.bootstrap import percentiles

CONTRASTS: tuple[Contrast, ...] = ("prm-orm", "prm-cot", "orm-cot")
ALL = "all"


class _Sum(NamedTuple):
    """Gains of chosen problems by contrast `[3, J, P]`, and how often each was chosen `[J, P]`."""

    gained: Floats
    chosen: Floats

    @classmethod
    def empty(cls, pairs: int, problems: int) -> _Sum:
        return cls(np.zeros((3, pairs, problems)), np.zeros((pairs, problems)))

    def add(self, gains: Floats, chosen: Bools, pairs: Bools) -> None:
        """Counts a set for some pairs, where they have judged."""
        self.gained[:, pairs] += gains[:, pairs] * chosen
        self.chosen[pairs] += chosen


class Evidence(NamedTuple):
    """What holding out has found.

    Attributes:
        ledgers: Sums of every way of fitting that the material allows.
        halves: The sets chosen on the halves of each split.
    """

    ledgers: Mapping[Fit, Ledger]
    halves: Sequence[Twins]


class Twins(NamedTuple):
    """Two sets chosen on halves of every pool, each `[P]`."""

    one: Bools
    other: Bools


@dataclass
class Ledger:
    """Sums of a way of fitting.

    Attributes:
        k: Pool size of its picks.
        pairs: `J`.
        problems: `P`.
        sets: Sets that were measured, by one pair each.
        whole: On all problems.
        naive: On sets chosen by the picks that are counted.
        fitted: On sets chosen without them.
    """

    k: int
    pairs: int
    problems: int
    sets: int = 0
    whole: _Sum = field(init=False)
    naive: _Sum = field(init=False)
    fitted: _Sum = field(init=False)

    def __post_init__(self) -> None:
        self.whole, self.naive, self.fitted = (
            _Sum.empty(self.pairs, self.problems) for _ in range(3)
        )


def gains_of(reading: Reading) -> Floats:
    """Differences of accuracies by contrast, pair and problem, `[3, J, P]`."""
    cot = np.broadcast_to(reading.cot, reading.prm.shape)
    found: Floats = np.stack([reading.prm - reading.orm, reading.prm - cot, reading.orm - cot])
    return found


def crossfit(chooser: Chooser, full: View, families: Sequence[int]) -> Evidence:
    """Every way of fitting that the material allows.

    Without a second family of pairs nothing is held out of the scorers; pools of one
    solution have no halves.

    Args:
        chooser: The rule.
        full: View of the whole pools.
        families: Number of each pair's family.
    """
    folds = _folds(families, chooser.rule.folds)
    size, shape = chooser.material.size, full.reading.prm.shape
    ledgers: dict[Fit, Ledger] = {}
    if len(folds) > 1:
        ledger = ledgers["scorers"] = Ledger(size, *shape)
        _direction(ledger, chooser, full, full, folds)
    if size < 2:
        return Evidence(ledgers, ())
    twins = []
    everyone = [np.ones(shape[0], dtype=np.bool_)]
    ledger = ledgers["candidates"] = Ledger(size // 2, *shape)
    crossed = Ledger(size // 2, *shape)
    rng = np.random.default_rng((chooser.rule.seed, 1))
    pools = len(chooser.material.owner)
    for number, split in enumerate(halves(pools, size, chooser.rule.splits, rng)):
        one, other = (chooser.view(part, 2 * number + at) for at, part in enumerate(split))
        twins.append(Twins(chooser.choose(one), chooser.choose(other)))
        for chosen_on, measured_on in ((one, other), (other, one)):
            _direction(ledger, chooser, chosen_on, measured_on, everyone)
            if len(folds) > 1:
                _direction(crossed, chooser, chosen_on, measured_on, folds)
    if len(folds) > 1:
        ledgers["both"] = crossed
    return Evidence(ledgers, twins)


def _folds(families: Sequence[int], count: int | None) -> list[Bools]:
    """Which pairs are held out together, `[J]` each."""
    numbers = np.array(families)
    present = list(dict.fromkeys(families))
    parts = len(present) if count is None else min(count, len(present))
    return [np.isin(numbers, present[part::parts]) for part in range(parts)]


def _direction(
    ledger: Ledger, chooser: Chooser, chosen_on: View, measured_on: View, folds: Sequence[Bools]
) -> None:
    """Adds the sets chosen on one view and measured on another, a fold held out at a time.

    A single fold of all pairs is held out of nothing: its set is chosen by all of them.
    """
    alone = len(folds) == 1
    seen, unseen = gains_of(chosen_on.reading), gains_of(measured_on.reading)
    by_all = chooser.choose(chosen_on)
    judged = chooser.judged(chosen_on)
    for held_out in folds:
        by_others = by_all if alone else chooser.choose(chosen_on, ~held_out)
        known = chosen_on.reading.known
        for place in np.flatnonzero(held_out):
            pair = np.arange(len(known)) == place
            ledger.whole.add(unseen, judged & known[place], pair)
            ledger.naive.add(seen, by_all & known[place], pair)
            ledger.fitted.add(unseen, by_others & known[place], pair)
            ledger.sets += 1


def cards(
    ledgers: Mapping[Fit, Ledger], names: Sequence[str], bootstrap: Bootstrap
) -> list[GainCard]:
    """Gains with their intervals, of all pairs together and of each.

    There is no card where no problem was chosen, as it is or without the evidence: a gain on
    no problem is not 0.

    Args:
        ledgers: Sums.
        names: Of the pairs.
        bootstrap: Resamples of the problems.
    """
    groups = [(name, [at]) for at, name in enumerate(names)]
    if len(names) > 1:
        groups.insert(0, (ALL, list(range(len(names)))))
    return [
        card
        for fit, ledger in ledgers.items()
        for name, pairs in groups
        for card in _cards(name, pairs, fit, ledger, bootstrap)
    ]


def _cards(
    name: str, pairs: list[int], fit: Fit, ledger: Ledger, bootstrap: Bootstrap
) -> list[GainCard]:
    """Every contrast of some pairs; whole, naive and fitted are drawn together."""
    parts = (ledger.whole, ledger.naive, ledger.fitted)
    chosen = np.stack([one.chosen[pairs].sum(axis=0) for one in parts])
    gained = np.stack([one.gained[:, pairs].sum(axis=1) for one in parts], axis=1)
    columns = np.concatenate([chosen[None], gained]).reshape(-1, chosen.shape[1])
    sums = columns.sum(axis=1).reshape(-1, len(parts))
    drawn = (bootstrap.counts @ columns.T).reshape(-1, len(CONTRASTS) + 1, len(parts))
    if not sums[0].all():
        return []
    sets = ledger.sets // ledger.pairs * len(pairs)
    mean_size = round(float(chosen[2].sum()) / sets, 1)
    return [
        _card(
            (name, contrast, fit),
            ledger.k,
            mean_size,
            np.nan_to_num(_ratios(sums[at], sums[0])),
            _ratios(drawn[:, at], drawn[:, 0]),
        )
        for at, contrast in enumerate(CONTRASTS, 1)
    ]


def _card(
    what: tuple[str, Contrast, Fit], k: int, size: float, values: Floats, drawn: Floats
) -> GainCard:
    """A gain.

    Args:
        what: Pair, contrast and fit.
        k: Pool size of its picks.
        size: Mean size of the sets.
        values: Whole, naive and fitted, `[3]`.
        drawn: The same of resampled problems, `[resamples, 3]`; NaN where a set is missed.
    """
    usable = np.isfinite(drawn).all(axis=1)
    # A resample that misses a small set altogether says nothing of it.
    drawn = drawn[usable] if usable.any() else np.zeros((1, 3))
    low, high = percentiles(drawn)
    apart = percentiles(drawn[:, 1:2] - drawn[:, 2:3])
    return GainCard(
        pair=what[0],
        contrast=what[1],
        fit=what[2],
        k=k,
        n_problems=size,
        whole=_rounded(values[0]),
        whole_low=_rounded(low[0]),
        whole_high=_rounded(high[0]),
        naive=_rounded(values[1]),
        naive_low=_rounded(low[1]),
        naive_high=_rounded(high[1]),
        crossfitted=_rounded(values[2]),
        crossfitted_low=_rounded(low[2]),
        crossfitted_high=_rounded(high[2]),
        inflation=_rounded(values[1] - values[2]),
        inflation_low=_rounded(apart.low[0]),
        inflation_high=_rounded(apart.high[0]),
    )


def _ratios(above: Floats, below: Floats) -> Floats:
    found: Floats = np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
    return found


def _rounded(value: float) -> float:
    return round(float(value), 12)
