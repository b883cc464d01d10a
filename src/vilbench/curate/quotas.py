"""From indicators to a set: who may be chosen, how many of each source, and who is."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vilbench.curate.picks import Bools, Floats, Places
from vilbench.curate.records import RuleCard
from vilbench.errors import InputError
from vilbench.types import Problem


@dataclass(frozen=True)
class Quotas:
    """Chooses problems by indicators, again and again over the same problems.

    Attributes:
        names: Sources, in the order of their first problem.
        source: Number of each problem's source, `[P]`.
        tie: Rank of each problem among all, drawn by the seed, `[P]`: equal indicators are
            taken in this order, whatever else there is.
        rule: Who may be chosen, and how many.
    """

    names: tuple[str, ...]
    source: Places
    tie: Places
    rule: RuleCard

    @classmethod
    def of(cls, problems: Sequence[Problem], rule: RuleCard) -> Quotas:
        """The sources of problems.

        Raises:
            InputError: A quota is for a source that there is not, or below 0.
        """
        names = tuple(dict.fromkeys(problem.source for problem in problems))
        for name, quota in rule.quotas.items():
            if name not in names:
                raise InputError(
                    f"there is no source '{name}'; there are {', '.join(names)}", field="quotas"
                )
            if quota < 0:
                raise InputError(f"'{name}': {quota} is below 0", field="quotas")
        numbers = {name: number for number, name in enumerate(names)}
        drawn = sorted(range(len(problems)), key=lambda at: _rank(rule.seed, problems[at].id))
        tie = np.empty(len(problems), dtype=np.intp)
        tie[drawn] = np.arange(len(problems))
        source = np.array([numbers[problem.source] for problem in problems], dtype=np.intp)
        return cls(names, source, tie, rule)

    def solvable(self, passed: Floats) -> Bools:
        """Problems whose share of right solutions is within the bounds, `[P]`."""
        return (passed > self.rule.lowest + 1e-9) & (passed < self.rule.highest - 1e-9)

    def eligible(self, indicator: Floats, passed: Floats, judged: Bools) -> Bools:
        """Problems that may be chosen, `[P]`."""
        found = judged & self.solvable(passed)
        if self.rule.threshold is not None:
            found &= indicator > self.rule.threshold + 1e-9
        return found

    def limits(self, supply: Places) -> list[int | None]:
        """Most problems of each source; None for no limit.

        An even share that a source cannot fill goes to the others; what does not divide goes
        to the sources with the most left, the first of equals.

        Args:
            supply: Problems of each source that may be chosen.
        """
        if self.rule.quotas:
            return [self.rule.quotas.get(name, 0) for name in self.names]
        if self.rule.size is None or self.rule.balance == "free":
            return [None] * len(self.names)
        left, given = self.rule.size, [0] * len(self.names)
        while left > 0:
            open_ones = [at for at in range(len(given)) if given[at] < supply[at]]
            if not open_ones:
                break
            share = left // len(open_ones)
            if share == 0:
                open_ones.sort(key=lambda at: given[at] - int(supply[at]))
                open_ones, share = open_ones[:left], 1
            for at in open_ones:
                more = min(share, int(supply[at]) - given[at])
                given[at] += more
                left -= more
        return list(given)

    def asked(self) -> list[int | None]:
        """What each source was asked for, before its supply is known; None for no number."""
        if self.rule.quotas:
            return [self.rule.quotas.get(name, 0) for name in self.names]
        if self.rule.size is None or self.rule.balance == "free":
            return [None] * len(self.names)
        share, rest = divmod(self.rule.size, len(self.names))
        return [share + (at < rest) for at in range(len(self.names))]

    def choose(self, indicator: Floats, eligible: Bools) -> Bools:
        """The chosen problems, `[P]`: those of the highest indicators within the limits."""
        supply = np.bincount(self.source[eligible], minlength=len(self.names))
        limits = self.limits(supply)
        chosen = np.zeros(len(indicator), dtype=np.bool_)
        ranked = np.lexsort((self.tie, -indicator))
        ranked = ranked[eligible[ranked]]
        for number, limit in enumerate(limits):
            of_it = ranked[self.source[ranked] == number]
            chosen[of_it if limit is None else of_it[:limit]] = True
        if self.rule.size is not None and not self.rule.quotas and self.rule.balance == "free":
            chosen[ranked[self.rule.size :]] = False
        return chosen


def _rank(seed: int, identity: str) -> bytes:
    return hashlib.sha256(f"vilbench-curate/{seed}/{identity}".encode()).digest()
