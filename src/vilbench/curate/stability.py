"""How much a set depends on which solutions happened to be drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vilbench.curate.chooser import Chooser, View
from vilbench.curate.crossfit import Twins
from vilbench.curate.indicator import read
from vilbench.curate.picks import Bools, Floats, Places
from vilbench.curate.records import StabilityCard
from vilbench.curate.versions import resampled, whole
from vilbench.metrics.bootstrap import percentiles


class Stability(NamedTuple):
    """What resamples of the pools say.

    Attributes:
        card: In figures.
        inclusion: Share of the resamples in which a problem is chosen, `[P]`.
    """

    card: StabilityCard
    inclusion: Floats


def stability(
    chooser: Chooser, full: View, chosen: Bools, halves: Sequence[Twins] = ()
) -> Stability:
    """Chooses again on resamples of every pool, with replacement, and on halves.

    A set that does not depend on the draw has a Jaccard index of 1. Sets of luck share no
    more than random sets do where they were chosen on halves; on resamples they share more,
    since a pick is in 63 % of them again. Where indicators are shrunk, their noise is taken
    as that of the pools themselves.

    Args:
        chooser: The rule.
        full: View of the whole pools.
        chosen: The set, `[P]`.
        halves: Sets chosen on halves of the pools.
    """
    rule, material = chooser.rule, chooser.material
    pools = whole(len(material.owner), material.size)
    rng = np.random.default_rng((rule.seed, 2))
    times = np.zeros(len(chosen))
    overlaps = np.zeros(rule.resamples)
    for number in range(rule.resamples):
        drawn = View(read(material, resampled(pools, rng), rule.rule), full.noisy)
        again = chooser.choose(drawn)
        times += again
        overlaps[number] = _jaccard(again, chosen)
    inclusion: Floats = times / rule.resamples
    low, high = percentiles(overlaps[:, None])
    indicator = chooser.indicator(full)
    eligible = chooser.quotas.eligible(indicator, full.reading.cot, chooser.judged(full))
    cuts = [
        (tied, tied & chosen)
        for tied in _at_the_cut(indicator, eligible, chosen, chooser.quotas.source)
    ]
    open_to_all = chooser.judged(full) & chooser.quotas.solvable(full.reading.cot)
    among = int(open_to_all.sum())
    alike = [_jaccard(one, other) for one, other in halves]
    expected = [_expected(int(one.sum()), int(other.sum()), among) for one, other in halves]
    card = StabilityCard(
        resamples=rule.resamples,
        jaccard=round(float(overlaps.mean()), 12),
        jaccard_low=round(float(low[0]), 12),
        jaccard_high=round(float(high[0]), 12),
        inclusion=round(float(inclusion[chosen].mean()) if chosen.any() else 0.0, 12),
        chance=round(_expected(int(chosen.sum()), int(chosen.sum()), among), 12),
        halves=round(float(np.mean(alike)), 12) if alike else None,
        halves_chance=round(float(np.mean(expected)), 12) if expected else None,
        tied=sum(int(tied.sum()) for tied, _ in cuts),
        tied_chosen=sum(int(taken.sum()) for _, taken in cuts),
    )
    return Stability(card, inclusion)


def _jaccard(one: Bools, other: Bools) -> float:
    either = int((one | other).sum())
    return float((one & other).sum() / either) if either else 1.0


def _expected(one: int, other: int, among: int) -> float:
    """Index of random sets of these sizes, by the sizes to expect of what they share."""
    shared = one * other / max(1, among)
    either = one + other - shared
    return min(1.0, shared / either) if either else 1.0


def _at_the_cut(indicator: Floats, eligible: Bools, chosen: Bools, source: Places) -> list[Bools]:
    """For every source that was cut, its problems with the indicator of the last one taken."""
    found = []
    for number in np.unique(source):
        here = (source == number) & eligible
        taken = here & chosen
        if taken.any() and taken.sum() < here.sum():
            cut = indicator[taken].min()
            tied = here & (np.abs(indicator - cut) < 1e-9)
            if (tied & ~chosen).any():
                found.append(tied)
    return found
