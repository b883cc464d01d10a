"""What is off with the scorers of a run: the records of `diagnostics.json`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vilbench.diagnostics.probes.records import ProbeFinding
from vilbench.types import Granularity, Record

Fit = Literal["none", "platt", "isotonic"]
"""How scores were made chances of being right."""

Trait = Literal["characters", "tokens", "steps", "candidate", "step number"]
"""What a score may follow though it says nothing about being right."""


class Figure(Record):
    """A number with its 95 % interval, clustered by problem; None where it cannot be told."""

    value: float | None = Field(allow_inf_nan=False)
    low: float | None = Field(default=None, allow_inf_nan=False)
    high: float | None = Field(default=None, allow_inf_nan=False)


class Bin(Record):
    """One bin of a reliability curve: what was said, and how much of it was right."""

    said: float = Field(description="mean of the values of the bin, in [0, 1]")
    right: float = Field(description="share of them that is right")
    low: float
    high: float
    n: int


class Reliability(Record):
    """Whether the values of a scorer are chances of being right.

    Attributes:
        scorer: Its name.
        method: The method that made scores of solutions; None for the values of steps.
        unit: What is right or wrong: a solution by its verdict, a step by whether it ends a
            sound prefix.
        fit: How scores became chances; "none" is the scorer's own scale brought to [0, 1].
        fitted_on: Problem set of the fit; None without one.
        crossed: The fit was made on other problems of this run, fold by fold.
        n_problems: Problems with scored solutions or labelled steps.
        n: Scores.
        missing: Solutions or steps without one.
        base: Share that is right.
        ece: Expected calibration error over bins of equal mass.
        floor: The error that a scorer without any would show on so many problems.
        p_value: How often such a scorer would show as large an error.
        rms: Root mean square of the error over bins, freed of what chance adds.
        brier: Mean squared error of the values as chances.
        brier_base: The same of the share that is right, said of everything.
        bins: The curve, from low to high.
    """

    scorer: str
    method: str | None
    unit: Granularity
    fit: Fit
    fitted_on: str | None = None
    crossed: bool = False
    n_problems: int
    n: int
    missing: int
    base: float | None
    ece: float | None
    floor: float | None
    p_value: float | None
    rms: Figure
    brier: Figure
    brier_base: float | None
    bins: tuple[Bin, ...]


class Overrating(Record):
    """How far a scorer's values are above what they stand for, on [0, 1].

    Attributes:
        scorer: Its name.
        method: The method that made scores of solutions; None for the values of steps.
        unit: What is scored.
        n: Scores.
        mean: Mean of the values.
        truth: Share that is right.
        excess: Mean of the values minus that share.
        ceiling: Share of the values at the top of the scale.
        floor: Share of the values at the bottom of the scale.
        wrong_above: Share of wrong ones above the middle of the scale.
        right_below: Share of right ones below the middle of the scale.
        right: Counts of right ones in equal bins over the scale.
        wrong: Counts of wrong ones.
    """

    scorer: str
    method: str | None
    unit: Granularity
    n: int
    mean: float
    truth: float
    excess: Figure
    ceiling: Figure
    floor: Figure
    wrong_above: Figure
    right_below: Figure
    right: tuple[int, ...]
    wrong: tuple[int, ...]


class Bias(Record):
    """Whether scores follow something that says nothing about being right.

    Attributes:
        scorer: Its name.
        method: The method that made scores of solutions; None for the values of steps.
        trait: What they may follow.
        rho: Partial rank correlation, within problems, given right or wrong.
        p_value: Of "it is 0", by flipping the signs of whole problems.
        n_problems: Problems that tell something.
        n: Solutions or steps that are compared.
    """

    scorer: str
    method: str | None
    trait: Trait
    rho: Figure
    p_value: float | None
    n_problems: int
    n: int


class Agreement(Record):
    """How alike two scorers rank the solutions of a problem.

    Attributes:
        scorer: The one.
        other: The other.
        method: The one's method.
        other_method: The other's.
        kendall: Mean over problems of Kendall's tau-b.
        spearman: Mean over problems of Spearman's rho.
        n_problems: Problems that both tell solutions of apart.
        same_answer: How often both pick solutions of the same answer, ties broken at random.
        chance: How often two random picks have the same answer.
    """

    scorer: str
    other: str
    method: str
    other_method: str
    kendall: Figure
    spearman: Figure
    n_problems: int
    same_answer: Figure
    chance: float


class Transfer(Record):
    """What was chosen on all other sources or modalities, tried on the one left out.

    Attributes:
        scorer: Its name.
        kind: Whether a source or a modality was left out.
        left_out: Which.
        n_problems: Its problems.
        elsewhere: Aggregation that is best on the others.
        within: Aggregation that is best on the part itself, all of its problems seen.
        accuracy_elsewhere: Best-of-N accuracy on the part by the others' choice.
        accuracy_within: The same by a choice within the part, made on the other half of its
            problems.
        delta: The first minus the second, paired.
        p_value: Of "no difference".
        threshold_elsewhere: Threshold for steps that is best on the others.
        threshold_within: Threshold that is best on the part itself.
        f1_elsewhere: Macro-F1 over the part's steps by the others' threshold.
        f1_within: The same by a threshold from the other half of the part.
        f1_delta: The first minus the second.
    """

    scorer: str
    kind: Literal["source", "modality"]
    left_out: str
    n_problems: int
    elsewhere: str
    within: str
    accuracy_elsewhere: float
    accuracy_within: float
    delta: Figure
    p_value: float
    threshold_elsewhere: float | None = None
    threshold_within: float | None = None
    f1_elsewhere: float | None = None
    f1_within: float | None = None
    f1_delta: Figure = Figure(value=None)


class Consistency(Record):
    """Whether equal solutions get equal scores, and how many different ones do.

    Attributes:
        scorer: Its name.
        method: Its method.
        n_groups: Groups of equal solutions of a problem, scored more than once.
        n_repeated: Solutions in them.
        unequal: Share of the groups whose scores differ.
        spread: Mean over groups of highest minus lowest score, on the scale of `noise`.
        widest: The largest of these.
        noise: Variance within groups over the variance within problems: 0 where equal
            solutions score alike, 1 where they are no more alike than any others.
        ties: Share of the pairs of different solutions of a problem that score alike.
        top_ties: Share of the problems where different solutions share the best score.
    """

    scorer: str
    method: str
    n_groups: int
    n_repeated: int
    unequal: Figure
    spread: float | None
    widest: float | None
    noise: Figure
    ties: Figure
    top_ties: Figure


class Diagnostics(Record):
    """All diagnostics of a run; those that scored anew are `probes`."""

    schema_version: int
    fingerprint: str
    problem_set: str
    scorers: tuple[str, ...]
    n_problems: int
    n_solutions: int
    dev_set: str | None = Field(default=None, description="problem set of the fits, if given")
    reliability: tuple[Reliability, ...] = ()
    overrating: tuple[Overrating, ...] = ()
    bias: tuple[Bias, ...] = ()
    agreement: tuple[Agreement, ...] = ()
    transfer: tuple[Transfer, ...] = ()
    consistency: tuple[Consistency, ...] = ()
    probes: tuple[ProbeFinding, ...] = ()
