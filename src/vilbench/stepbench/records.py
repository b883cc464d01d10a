"""What a step benchmark has shown: the records of `stepbench.json` (schema version 1)."""

from __future__ import annotations

from pydantic import Field

from vilbench.types import Record

ALL = "all"
"""Subset that restricts nothing."""


class CutOff(Record):
    """Thresholds of a scorer, on its own scale, and where they come from.

    Attributes:
        scorer: Its name.
        step: A step counts as right from this value on: the one of the best macro-F1.
        first_error: The same for the first wrong step: the one of the best first-error F1.
        origin: What they were chosen on, in words.
        n_problems: Problems that they were chosen on.
        n_steps: Marked steps of these.
    """

    scorer: str
    step: float | None
    first_error: float | None
    origin: str
    n_problems: int
    n_steps: int


class StepFigures(Record):
    """How well a scorer's values tell right from wrong steps, over a subset.

    `macro_f1` is the mean of the F1 of right and of wrong steps, pooled over the steps of the
    subset; steps that are neither are left out (`unmarked`), and steps without a value
    (`missing`) are missed by the F1 of their kind. `pooled` is the AUROC over all steps together,
    `within` its mean over problems, among the steps of one problem, and `same` is `pooled` with
    steps compared only with those of the same number. Intervals are 95 %, clustered by problem.
    """

    scorer: str
    subset: str
    n_problems: int
    n_solutions: int
    n_steps: int = Field(description="marked as right or wrong")
    n_wrong: int
    unmarked: int
    missing: int
    macro_f1: float | None
    f1_low: float | None
    f1_high: float | None
    f1_right: float | None
    f1_wrong: float | None
    pooled: float | None
    pooled_low: float | None
    pooled_high: float | None
    within: float | None
    within_low: float | None
    within_high: float | None
    n_within: int = Field(description="problems with right and with wrong steps")
    same: float | None
    same_low: float | None
    same_high: float | None


class LocationFigures(Record):
    """How well a scorer finds the first wrong step, over a subset.

    `f1` is the harmonic mean of `erroneous`, the share of solutions with a wrong step whose
    first one is found, and `correct`, the share of those without one where none is found; None
    where a kind of solution is lacking. `unsettled` solutions, of which nobody knows the first
    wrong step, are left out; one with a step without a value before the end of the search counts
    as missed (`missing`).
    """

    scorer: str
    subset: str
    n_erroneous: int
    n_correct: int
    unsettled: int
    missing: int
    f1: float | None
    f1_low: float | None
    f1_high: float | None
    erroneous: float | None
    correct: float | None


class Overall(Record):
    """The figures of a scorer that sum up a benchmark, with 95 % intervals.

    Attributes:
        weighted_f1: Mean of the subsets' macro-F1, weighed by their marked steps.
        pooled_f1: Macro-F1 over the steps of all subsets together.
        location_mean: Mean of the subsets' first-error F1.
        location_pooled: First-error F1 over the solutions of all subsets together.
    """

    scorer: str
    weighted_f1: float | None
    weighted_low: float | None
    weighted_high: float | None
    pooled_f1: float | None
    pooled_low: float | None
    pooled_high: float | None
    location_mean: float | None
    mean_low: float | None
    mean_high: float | None
    location_pooled: float | None
    location_low: float | None
    location_high: float | None


class Difference(Record):
    """A measure of one scorer minus that of another, on the same resampled problems."""

    scorer: str
    against: str
    measure: str
    delta: float
    low: float
    high: float


class PublishedFigure(Record):
    """A figure from the literature, in [0, 1]; not measured here."""

    model: str
    measure: str
    value: float
    source: str


class Stepbench(Record):
    """Everything that `vilbench stepbench` shows of a run.

    Attributes:
        benchmark: What the solutions are, such as "VisualProcessBench".
        n_dev: Problems that thresholds were chosen on and that are in no figure.
    """

    schema_version: int
    fingerprint: str
    name: str
    benchmark: str
    n_problems: int
    n_solutions: int
    n_dev: int
    scorers: tuple[str, ...]
    main: str | None
    cut_offs: tuple[CutOff, ...]
    steps: tuple[StepFigures, ...]
    locations: tuple[LocationFigures, ...]
    overall: tuple[Overall, ...]
    differences: tuple[Difference, ...]
    published: tuple[PublishedFigure, ...] = ()
    rejected: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
