"""A rule at work on versions of the pools: what it reads there, and which set it chooses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vilbench.curate.indicator import Reading, read, shrunk
from vilbench.curate.material import Material
from vilbench.curate.picks import Bools, Floats, Weights
from vilbench.curate.quotas import Quotas
from vilbench.curate.records import RuleCard
from vilbench.curate.versions import resampled

_NOISE_DRAWS = 25
"""Resamples of a version that its noise is read from, where indicators are shrunk."""


@dataclass(frozen=True)
class View:
    """A version of the pools, read.

    Attributes:
        reading: What it shows.
        noisy: What resamples of it show, for shrinkage; empty without.
    """

    reading: Reading
    noisy: tuple[Floats, ...] = ()
    """Preferences, each `[J, P]`."""


@dataclass(frozen=True)
class Chooser:
    """Chooses sets from views.

    Attributes:
        material: The pools.
        quotas: Who and how many.
        rule: How.
    """

    material: Material
    quotas: Quotas
    rule: RuleCard

    @classmethod
    def of(cls, material: Material, rule: RuleCard) -> Chooser:
        """A rule over material.

        Raises:
            InputError: It asks for sources that there are not.
        """
        return cls(material, Quotas.of(material.problems, rule), rule)

    def view(self, weights: Weights, stream: int = 0) -> View:
        """A version of the pools, read.

        Args:
            weights: The version, of 0 and 1.
            stream: Of the random numbers for its noise; the same gives the same.
        """
        reading = read(self.material, weights, self.rule.rule)
        if not self.rule.shrinkage:
            return View(reading)
        rng = np.random.default_rng((self.rule.seed, 3, stream))
        draws = (resampled(weights, rng) for _ in range(_NOISE_DRAWS))
        noisy = tuple(read(self.material, draw, self.rule.rule).preference for draw in draws)
        return View(reading, noisy)

    def indicator(self, view: View, pairs: Bools | None = None) -> Floats:
        """The indicator that problems are ranked by, `[P]`.

        Args:
            view: Of the pools.
            pairs: Which pairs count, `[J]`; all by default.
        """
        plain = view.reading.indicator(pairs)
        if not view.noisy:
            return plain
        draws = [view.reading._replace(preference=one).indicator(pairs) for one in view.noisy]
        return shrunk(plain, np.array(draws).var(axis=0, ddof=1), self.quotas.source)

    def judged(self, view: View, pairs: Bools | None = None) -> Bools:
        """Problems that enough pairs have judged, `[P]`; of some pairs, all that are asked."""
        known = view.reading.known
        asked = len(known) if self.rule.min_pairs is None else min(self.rule.min_pairs, len(known))
        count = known.sum(axis=0)
        found: Bools = count >= max(1, asked)
        if pairs is not None:
            found &= (known & pairs[:, None]).any(axis=0)
        return found

    def choose(self, view: View, pairs: Bools | None = None) -> Bools:
        """The set that a view leads to, `[P]`."""
        indicator = self.indicator(view, pairs)
        judged = self.judged(view, pairs)
        return self.quotas.choose(
            indicator, self.quotas.eligible(indicator, view.reading.cot, judged)
        )
