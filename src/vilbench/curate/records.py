"""What is stored of a curated set: how it was chosen, and what that did to its gains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from vilbench.types import SCHEMA_VERSION, Record

Fate = Literal[
    "chosen", "unjudged", "never-solved", "always-solved", "not-preferred", "below-the-cut"
]
"""What became of a problem, the first that applies after "chosen"."""

Fit = Literal["scorers", "candidates", "both"]
"""What a gain is measured on that the choice has not seen: scorers, solutions, or both."""

Contrast = Literal["prm-orm", "prm-cot", "orm-cot"]
"""Which accuracies are compared: Best-of-N by PRM and ORM form, and the samples' mean."""


class RunCard(Record):
    """A run that problems were chosen from.

    Attributes:
        n: Solutions of each problem.
    """

    fingerprint: str
    name: str
    problem_set: str
    policy: str
    seed: int
    n: int
    created: str


class PairCard(Record):
    """A pair of forms; the fingerprints say what its scorers were, "" where it is not known."""

    name: str
    prm: str
    orm: str
    prm_fingerprint: str = ""
    orm_fingerprint: str = ""


class RuleCard(Record):
    """How problems were chosen.

    Attributes:
        rule: The preference (`indicator`).
        shrinkage: Whether noisy indicators were drawn towards the mean of their source.
        threshold: Only problems whose indicator is above; None for any.
        size: Most problems in all; None for no limit.
        balance: Whether sources share the size evenly, or the highest indicators win.
        quotas: Most problems of a source; they stand in for `size` where given.
        lowest: Only problems of which more than this share of the solutions is right.
        highest: ... and less than this.
        min_pairs: Pairs that must have judged a problem.
        seed: Breaks ties of the indicator, splits pools and draws resamples.
        splits: Random splits of the pools into halves.
        resamples: Resamples of the pools, for the stability.
        folds: Families of pairs that are held out in turn; None for each on its own.
    """

    rule: Literal["difference", "mean-k", "share", "margin"] = "difference"
    shrinkage: bool = False
    threshold: float | None = 0.0
    size: int | None = Field(default=None, ge=1)
    balance: Literal["equal", "free"] = "equal"
    quotas: Mapping[str, int] = Field(default_factory=dict)
    lowest: float = Field(default=0.0, ge=0, lt=1)
    highest: float = Field(default=1.0, gt=0, le=1)
    min_pairs: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)
    splits: int = Field(default=20, ge=1, le=1000)
    resamples: int = Field(default=100, ge=1, le=10_000)
    folds: int | None = Field(default=None, ge=2)


class SourceCard(Record):
    """Problems of a source: how many, what became of them, and what was asked for.

    Attributes:
        quota: Most that were to be taken; None for no limit.
        wanting: How many fewer than that there were to take.
    """

    source: str
    problems: int
    chosen: int
    unjudged: int
    never_solved: int
    always_solved: int
    not_preferred: int
    below_the_cut: int
    quota: int | None
    wanting: int


class ProblemCard(Record):
    """A problem that was looked at.

    Attributes:
        pass_rate: Share of its solutions that are right.
        indicator: Its preference for process rewards.
        by_pair: The same by each pair, in their order; None where one has not judged it.
        inclusion: Share of the resamples of the pools in which it is chosen.
    """

    id: str
    source: str
    modality: str
    fate: Fate
    pass_rate: float
    indicator: float
    by_pair: tuple[float | None, ...]
    inclusion: float


class GainCard(Record):
    """A difference of accuracies on the chosen problems, as chosen by and without its data.

    Intervals are 95 %, by resampled problems, with the sets held as they are.

    Attributes:
        pair: Name of a pair, or "all" for the mean over them.
        k: Solutions that a pick is made from.
        n_problems: Mean size of the sets.
        whole: On all problems that could have been chosen or not.
        naive: On problems that were chosen by these very picks.
        crossfitted: On problems that were chosen without them.
        inflation: Naive minus cross-fitted.
    """

    pair: str
    contrast: Contrast
    fit: Fit
    k: int
    n_problems: float
    whole: float
    whole_low: float
    whole_high: float
    naive: float
    naive_low: float
    naive_high: float
    crossfitted: float
    crossfitted_low: float
    crossfitted_high: float
    inflation: float
    inflation_low: float
    inflation_high: float


class StabilityCard(Record):
    """How much the set depends on which solutions were drawn.

    A resample with replacement has most of a pool's solutions again, so that even a set of
    luck is chosen again in part; halves have none in common, and luck does not repeat there.

    Attributes:
        jaccard: Mean over resamples of the pools: problems in both sets over problems in
            either.
        jaccard_low: 2.5th percentile over the resamples.
        jaccard_high: 97.5th.
        inclusion: Mean over the chosen problems of their chance to be chosen again.
        chance: The Jaccard index to expect of two sets of this size that are drawn at random
            from the problems that are judged and neither too easy nor too hard.
        halves: Mean Jaccard index of the sets chosen on the two halves of all pools; None
            without halves.
        halves_chance: The index to expect of random sets of their sizes.
        tied: Problems whose indicator equals the lowest chosen one, all sources together.
        tied_chosen: Those of them that the seed chose.
    """

    resamples: int
    jaccard: float
    jaccard_low: float
    jaccard_high: float
    inclusion: float
    chance: float
    halves: float | None
    halves_chance: float | None
    tied: int
    tied_chosen: int


class Curated(Record):
    """A curated set: `curated.json`.

    Attributes:
        fingerprint: SHA-256 of runs, pairs and rule: the same where the set must be the same.
        problems: How many were chosen.
        problem_sets: Names of the sets that they come from.
        n: Solutions of each pool that were used.
        notes: What a reader should know.
    """

    schema_version: int = SCHEMA_VERSION
    name: str
    fingerprint: str
    problems: int
    problem_sets: tuple[str, ...]
    n: int
    runs: tuple[RunCard, ...]
    pairs: tuple[PairCard, ...]
    rule: RuleCard
    sources: tuple[SourceCard, ...]
    gains: tuple[GainCard, ...]
    stability: StabilityCard
    notes: tuple[str, ...] = ()
