"""What was chosen for a scorer on problems that are not reported."""

from __future__ import annotations

from pydantic import Field

from vilbench.types import Record


class Choice(Record):
    """How a scorer is used on other problems, chosen on a run over a dev split.

    `vilbench choose` makes it, a recipe holds it. It is never applied to the problem set
    that it was made on.

    Attributes:
        aggregation: The most accurate one of the scorer's list at Best-of-N, the first of
            equals; None for a scorer of whole solutions.
        threshold: Values of at least this call a step right, on the scorer's own scale: the
            one of the best macro-F1; None where no step could be checked.
        problem_set: What it was chosen on, such as "puzzles:dev".
        n_problems: Number of its problems.
        n: Solutions of each of them.
        seed: Seed of the run that it was chosen on.
        fingerprint: Fingerprint of that run, "" where it is not known.
    """

    aggregation: str | None = None
    threshold: float | None = Field(default=None, allow_inf_nan=False)
    problem_set: str = Field(min_length=1)
    n_problems: int = Field(ge=1)
    n: int = Field(ge=1)
    seed: int = Field(ge=0)
    fingerprint: str = ""
