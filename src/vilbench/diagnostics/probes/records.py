"""What the probes of a reward model found, as `diagnostics.json` keeps it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vilbench.types import Record

Unit = Literal["score", "share", "auroc", "ratio"]
"""What a value is measured in.

- score: the scorer's own scale;
- share: of picks, of solutions, of problems (an accuracy), of a gain; 1 is all of them;
- auroc: an area under the ROC curve, or a difference of two;
- ratio: of two scores, from 0 on without end.
"""


class ProbeFinding(Record):
    """One figure of one probe of one scorer.

    The interval is a 95 % one, clustered by problem; it is None where there is none, as of a
    maximum, or where nothing was scored.

    Attributes:
        probe: Name of the probe, such as "image".
        version: Version of what the variant changes.
        variant: What was done to the input, such as "blank".
        scorer: Name of the scorer.
        method: Its aggregation that scores were made by, as in the tables.
        measure: What was measured; `probes.MEASURES` tells it in a sentence.
        unit: What the value is measured in.
        source: Source of the problems, "all" for all.
        modality: Their modality, "all" for all.
        value: The figure; None where nothing could be compared.
        low: Lower end of the interval.
        high: Upper end.
        n_problems: Problems that it rests on.
        n: Candidates that it rests on.
        missing: Candidates that were to be compared and lack a score, touched or untouched.
        skipped: Drawn candidates that the change says nothing about.
        seed: Seed of the draw and of the changes.
        candidates: Most candidates of a problem.
    """

    probe: str = Field(min_length=1)
    version: int = Field(ge=1)
    variant: str = Field(min_length=1)
    scorer: str = Field(min_length=1)
    method: str = Field(min_length=1)
    measure: str = Field(min_length=1)
    unit: Unit
    source: str = "all"
    modality: str = "all"
    value: float | None = Field(allow_inf_nan=False)
    low: float | None = Field(default=None, allow_inf_nan=False)
    high: float | None = Field(default=None, allow_inf_nan=False)
    n_problems: int = Field(ge=0)
    n: int = Field(ge=0)
    missing: int = Field(default=0, ge=0)
    skipped: int = Field(default=0, ge=0)
    seed: int = Field(ge=0)
    candidates: int = Field(ge=1)
