"""What a run has shown: the records of `results.json` (schema version 1)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vilbench.types import Granularity, Record


class Row(Record):
    """Accuracy of one selection method at one `k` over one slice of the problems.

    `source` and `modality` are "all" where the slice does not restrict them. Accuracies
    are shares in [0, 1]; `accuracy` is the expectation over random `k`-subsets of each
    pool and over tie-breaking, `accuracy_min` and `accuracy_max` bound the tie-breaking.
    Intervals are 95 % bootstrap intervals, clustered by problem. The deltas and the
    p-value compare with `cot` on the same problems (paired); they are None for `cot`.
    `recovered` is the share of the way from `cot` to `oracle`, with its interval.
    """

    problem_set: str
    source: str
    modality: str
    method: str
    k: int
    n_problems: int
    accuracy: float
    ci_low: float
    ci_high: float
    accuracy_min: float
    accuracy_max: float
    tie_rate: float
    delta_vs_cot: float | None
    delta_low: float | None
    delta_high: float | None
    p_value: float | None
    recovered: float | None = None
    recovered_low: float | None = None
    recovered_high: float | None = None


class Discrimination(Record):
    """How well an aggregated score tells right from wrong solutions.

    `pooled` is the AUROC over all solutions together (it also tells easy problems from
    hard ones); `within` compares only solutions of one problem, over the `n_problems`
    that have both kinds. Intervals are 95 %, clustered by problem.
    """

    method: str
    source: str
    modality: str
    n_problems: int
    pooled: float | None
    pooled_low: float | None
    pooled_high: float | None
    within: float | None
    within_low: float | None
    within_high: float | None


class StepEvidence(Record):
    """How well a scorer's step values tell sound prefixes from others, over one slice.

    A step counts as right if it and all steps before it are right, by labels that do not
    come from a model: the value of a prefix. Steps whose label cannot be told are left out
    (`unchecked`). `pooled` and `within` are as in `Discrimination`, over steps. `same` is
    `pooled` with steps compared only with those of the same number: early steps are right more
    often than late ones, so whatever falls along a solution looks good without it. Macro-F1 is
    there only with a threshold that was chosen on other problems; a step without a verdict
    (`missing`) counts in it as missed. Intervals are 95 %, clustered by problem.
    """

    scorer: str
    source: str
    modality: str
    n_problems: int = Field(description="problems that have labelled steps")
    n_steps: int
    n_right: int
    unchecked: int
    missing: int
    pooled: float | None
    pooled_low: float | None
    pooled_high: float | None
    within: float | None
    within_low: float | None
    within_high: float | None
    n_within: int = Field(description="problems with right and with wrong steps")
    same: float | None = None
    same_low: float | None = None
    same_high: float | None = None
    threshold: float | None = None
    macro_f1: float | None = None
    f1_low: float | None = None
    f1_high: float | None = None
    f1_right: float | None = None
    f1_wrong: float | None = None


class Contrast(Record):
    """Paired comparison of two methods at N over one slice.

    `p_value` is that of the exact McNemar test where both methods pick one solution for
    certain, else that of the paired bootstrap. `mcnemar_p` is that of the exact McNemar test
    with ties between picks broken at random (the median over seeded tie-breakings); None
    against `cot`, which picks none, and where problems have versions, as twins of a puzzle.
    `detectable` is the smallest true difference that these problems show with 80 % power at
    the 5 % level.
    """

    method: str
    against: str
    source: str
    modality: str
    k: int
    n_problems: int
    accuracy: float
    accuracy_against: float
    delta: float
    low: float
    high: float
    p_value: float
    mcnemar_p: float | None
    detectable: float | None


class Chosen(Record):
    """The method of a scorer, and its threshold for steps, as chosen on other problems."""

    scorer: str
    method: str | None
    threshold: float | None
    problem_set: str
    n_problems: int
    n: int
    seed: int


class Histogram(Record):
    """Counts of a scorer's raw values; `edges` has one entry more than `counts`.

    `correct` and `wrong` split the counts by the verdict of the solution scored.
    """

    scorer: str
    granularity: Granularity
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    correct: tuple[int, ...]
    wrong: tuple[int, ...]
    missing: int = Field(description="values that are None: no verdict")


class AnswerShift(Record):
    """Accuracy of a method at N by the rules alone, and with extracted answers; paired.

    The interval is a 95 % one, clustered by problem.
    """

    method: str
    by_rules: float
    with_extraction: float
    delta: float
    low: float
    high: float
    p_value: float


class ExtractionEvidence(Record):
    """What a model that names final answers changes.

    Attributes:
        used: Whether the other figures rest on it; else they are those of the rules alone.
        unparsed: Solutions that the rules could not read.
        asked: Of these, those that the model answered about.
        read: Of these, those whose answer the rules could read in the reply.
        correct: Of these, the right ones.
        quoted: Of those read, answers that stand in the solution word for word; the others
            may be the model's own.
        compared: Solutions that the rules could read and the model was asked about too.
        agreed: Of these, those with the same verdict.
    """

    model: str
    prompt: str
    scope: str
    used: bool
    unparsed: int
    asked: int
    read: int
    correct: int
    quoted: int
    compared: int
    agreed: int
    prompt_tokens: int
    completion_tokens: int
    shifts: tuple[AnswerShift, ...]

    def told(self) -> tuple[str, ...]:
        """It in sentences, the first of which says what the figures rest on."""
        rest = (
            "Answers that the rules could not read are those that"
            if self.used
            else "All figures are by the rules alone; stored apart are answers that"
        )
        shifts = [
            f"{one.method} {100 * one.by_rules:.1f} % by the rules, "
            f"{100 * one.with_extraction:.1f} % with them ({100 * one.delta:+.1f} points "
            f"[{100 * one.low:+.1f}, {100 * one.high:+.1f}])"
            for one in self.shifts
        ]
        lines = [
            f"{rest} {self.model} named: {self.unparsed:,} solutions were unparsed, {self.asked:,} "
            f"were shown to it, {self.read:,} replies could be read, {self.correct:,} of them "
            f"right, {self.quoted:,} word for word in the solution.",
            f"{'; '.join(shifts)}.",
        ]
        if self.compared:
            lines.append(
                f"Of {self.compared:,} solutions that the rules could read, its reply has the same "
                f"verdict for {self.agreed:,}."
            )
        return tuple(lines)


class StageCount(Record):
    """Work and losses of one stage (`sample` or a scorer's name).

    Tokens are those of the requests. How many of them an engine could reuse depends on what
    was asked together, so it is no part of the results.
    """

    stage: str
    units: int
    failed: int
    unparsed: int
    prompt_tokens: int
    completion_tokens: int


CostKind = Literal["sample", "extract", "score", "probe"]
"""What a stage pays for: solutions, answers that a model names, scores, or probes of a scorer."""


class Cost(Record):
    """What one stage cost per problem, and what a scorer's part of it buys.

    Tokens are those of the requests, over the problems that hold something. Seconds are on
    the wall, over the `n_timed` problems of starts that came to their end; memory is the most
    of any start. None is "not known". Time and memory differ from one time to the next: they
    are no part of what a run shows, and two equal runs differ in nothing else.

    Attributes:
        stage: "sample", "extract" or a scorer's name.
        kind: What was paid for; None in results of older versions.
        method: The method that stands for the scorer, `cot` for the sampler.
        accuracy: Its accuracy on all problems, with its interval.
    """

    stage: str
    kind: CostKind | None = None
    n_problems: int
    n_solutions: int
    prompt_tokens: float
    completion_tokens: float
    seconds: float | None = None
    n_timed: int = 0
    peak_bytes: int | None = None
    accelerator_bytes: int | None = None
    usd: float | None = Field(default=None, description="by the price of the engine's model")
    method: str | None = None
    accuracy: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None


class Results(Record):
    """Everything that the table and the report show, derived from a stored run."""

    schema_version: int
    fingerprint: str
    name: str
    problem_set: str
    n_problems: int
    n_solutions: int
    policy: str
    scorers: tuple[str, ...]
    seed: int
    rows: tuple[Row, ...]
    discrimination: tuple[Discrimination, ...]
    histograms: tuple[Histogram, ...]
    counts: tuple[StageCount, ...]
    main: str | None = Field(default=None, description="the scorer that the run is about")
    chosen: tuple[Chosen, ...] = ()
    steps: tuple[StepEvidence, ...] = ()
    contrasts: tuple[Contrast, ...] = ()
    costs: tuple[Cost, ...] = ()
    extraction: ExtractionEvidence | None = None
    rejected: tuple[str, ...] = Field(default=(), description="input rows that were set aside")
    notices: tuple[str, ...] = Field(
        default=(), description="what a reader must know before the figures"
    )
    minimal_detectable_delta: float | None = Field(
        description="smallest paired difference from cot that this many problems show with "
        "80 % power at the 5 % level"
    )
