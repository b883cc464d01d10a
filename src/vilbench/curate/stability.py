"""How much a set depends on which solutions happened to be drawn."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vilbench.curate.chooser import Chooser, View
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


def stability(chooser: Chooser, full: View, chosen: Bools) -> Stability:
    """Chooses again on resamples of every pool, with replacement.

    A set of noise would share with it no more than random sets do (`chance`); a set that
    does not depend on the draw has a Jaccard index of 1. Where indicators are shrunk, their
    noise is taken as that of the pools themselves.

    Args:
        chooser: The rule.
        full: View of the whole pools.
        chosen: The set, `[P]`.
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
        either = int((again | chosen).sum())
        overlaps[number] = (again & chosen).sum() / either if either else 1.0
    inclusion: Floats = times / rule.resamples
    low, high = percentiles(overlaps[:, None])
    indicator = chooser.indicator(full)
    eligible = chooser.quotas.eligible(indicator, full.reading.cot, chooser.judged(full))
    cuts = [
        (tied, tied & chosen)
        for tied in _at_the_cut(indicator, eligible, chosen, chooser.quotas.source)
    ]
    open_to_all = chooser.judged(full) & chooser.quotas.solvable(full.reading.cot)
    share = chosen.sum() / max(1, int(open_to_all.sum()))
    card = StabilityCard(
        resamples=rule.resamples,
        jaccard=round(float(overlaps.mean()), 12),
        jaccard_low=round(float(low[0]), 12),
        jaccard_high=round(float(high[0]), 12),
        inclusion=round(float(inclusion[chosen].mean()) if chosen.any() else 0.0, 12),
        # Two random subsets of a share s have about s * s in common, and 2 s - s * s together.
        chance=round(float(share / (2 - share)), 12),
        tied=sum(int(tied.sum()) for tied, _ in cuts),
        tied_chosen=sum(int(taken.sum()) for _, taken in cuts),
    )
    return Stability(card, inclusion)


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
