"""What a run has shown: the records of `results.json` (schema version 1)."""

from __future__ import annotations

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
    against `cot`, which picks none. `detectable` is the smallest true difference that these
    problems show with 80 % power at the 5 % level.
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


class Cost(Record):
    """What one stage (`sample` or a scorer's name) cost per problem.

    Tokens are those of the requests, over the problems that hold something. Seconds are on
    the wall, over the `n_timed` problems of starts that came to their end; memory is the most
    of any start. None is "not known". Time and memory differ from one time to the next: they
    are no part of what a run shows, and two equal runs differ in nothing else.
    """

    stage: str
    n_problems: int
    n_solutions: int
    prompt_tokens: float
    completion_tokens: float
    seconds: float | None = None
    n_timed: int = 0
    peak_bytes: int | None = None
    accelerator_bytes: int | None = None
    usd: float | None = Field(default=None, description="by the price of the engine's model")


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
    rejected: tuple[str, ...] = Field(default=(), description="input rows that were set aside")
    notices: tuple[str, ...] = Field(
        default=(), description="what a reader must know before the figures"
    )
    minimal_detectable_delta: float | None = Field(
        description="smallest paired difference from cot that this many problems show with "
        "80 % power at the 5 % level"
    )
