"""Values of prefixes: by a `StepScorer`, by the grade of finished answers, or by both.

Values are in [0, 1] and rounded to four places, so that a search hardly ever depends on which
requests shared a batch of a local model.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from vilbench.errors import EngineError, InputError
from vilbench.search import Judge, Judged
from vilbench.types import Problem, Solution, Span, StepScorer, StepScores, Usage

_PLACES = 4
FAILED, SILENT = "evaluator-failed", "no-verdict"
"""Why a value is missing: the request failed, or the reply had no verdict."""

Reading = Literal["all-steps", "last-steps", "whole"]
"""What a scorer is shown of a prefix whose last steps are asked for: all of its steps, where
one pass gives all values; those steps alone, where each is paid for and its prefix is read
from the solution's text; or each prefix as a solution of its own."""


@dataclass(frozen=True)
class Valued:
    """What came of a `Judge`; `error` where the request failed, else ""."""

    judged: Judged
    usage: Usage = field(default_factory=Usage)
    error: str = ""


@dataclass(frozen=True)
class Evaluator:
    """How prefixes are valued.

    Attributes:
        scorer: Values every prefix; None leaves unfinished ones without a value.
        reading: How the scorer is asked.
        low: Its value that counts as 0.
        high: Its value that counts as 1; what lies beyond counts as the bound.
        scorer_weight: Of its value at the end of a finished solution.
        grade_weight: Of the grade there, which is 1 for a right answer and 0 for another.
        joint: What stands between two steps of a text.
    """

    scorer: StepScorer | None = None
    reading: Reading = "all-steps"
    low: float = 0.0
    high: float = 1.0
    scorer_weight: float = 1.0
    grade_weight: float = 0.0
    joint: str = "\n"

    @property
    def fingerprint(self) -> str:
        """Changes with whatever changes a value."""
        scorer = self.scorer.fingerprint if self.scorer else "none"
        numbers = (self.low, self.high, self.scorer_weight, self.grade_weight)
        said = (scorer, self.reading, repr(numbers), self.joint)
        return hashlib.sha256("\0".join(said).encode()).hexdigest()

    async def judge(self, problem: Problem, requests: Sequence[Judge]) -> list[Valued]:
        """Values of prefixes of one problem, in one call of the scorer."""
        found = {place: _graded(one) for place, one in enumerate(requests) if self.is_free(one)}
        asked = {i: one for i, one in enumerate(requests) if i not in found}
        if self.scorer is not None and asked:
            valued = await self._scored(self.scorer, problem, list(asked.values()))
            found |= dict(zip(asked, valued, strict=True))
        return [found[place] for place in range(len(requests))]

    def is_free(self, request: Judge) -> bool:
        """Whether the grade alone, or nothing, values a prefix: no model is asked."""
        graded = request.count == 1 and request.correct is not None and self.scorer_weight == 0
        return self.scorer is None or graded

    async def _scored(
        self, scorer: StepScorer, problem: Problem, requests: Sequence[Judge]
    ) -> list[Valued]:
        asked = [self._solutions(problem, one) for one in requests]
        solutions = [
            one.model_copy(update={"index": place})
            for place, one in enumerate(one for some in asked for one in some)
        ]
        try:
            records = await scorer.score(problem, solutions)
        except (EngineError, InputError) as failure:
            return [_failed(one, str(failure) or type(failure).__name__) for one in requests]
        if len(records) != len(solutions):
            told = f"the evaluator answered {len(records)} of {len(solutions)} requests"
            return [_failed(one, told) for one in requests]
        found, taken = [], 0
        for request, some in zip(requests, asked, strict=True):
            found.append(self._valued(request, records[taken : taken + len(some)]))
            taken += len(some)
        return found

    def _solutions(self, problem: Problem, request: Judge) -> list[Solution]:
        if self.reading == "whole":
            ends = range(len(request.steps) - request.count + 1, len(request.steps) + 1)
            return [self._solution(problem, request.steps[:end]) for end in ends]
        kept = request.count if self.reading == "last-steps" else len(request.steps)
        return [self._solution(problem, request.steps, kept)]

    def _solution(
        self, problem: Problem, steps: tuple[str, ...], kept: int | None = None
    ) -> Solution:
        """A prefix as the scorer sees it: it is never told whether the answer is right."""
        spans, start = [], 0
        for step in steps:
            spans.append(Span(start, start + len(step)))
            start += len(step) + len(self.joint)
        return Solution(
            problem_id=problem.id,
            index=0,
            text=self.joint.join(steps),
            steps=tuple(spans[-kept:] if kept else spans),
            answer=None,
            verdict="unparsed",
            finish_reason="stop",
        )

    def _valued(self, request: Judge, records: Sequence[StepScores]) -> Valued:
        native = [value for record in records for value in record.values][-request.count :]
        error = next((record.error for record in records if record.error is not None), "")
        usage = sum((record.usage for record in records), Usage())
        if len(native) < request.count:
            told = f"the evaluator gave {len(native)} values, not {request.count}"
            return Valued(_failed(request, told).judged, usage, told)
        values = [self._scaled(value) for value in native]
        if values[-1] is not None and request.correct is not None:
            total = self.scorer_weight + self.grade_weight
            mean = self.scorer_weight * values[-1] + self.grade_weight * request.correct
            values[-1] = round(mean / total, _PLACES)
        reason = "" if None not in values else FAILED if error else SILENT
        return Valued(Judged(tuple(values), reason), usage, error)

    def _scaled(self, value: float | None) -> float | None:
        if value is None or not math.isfinite(value):
            return None
        share = (value - self.low) / (self.high - self.low)
        return round(min(max(share, 0.0), 1.0), _PLACES)


def _graded(request: Judge) -> Valued:
    last = None if request.correct is None else float(request.correct)
    return Valued(Judged((*[None] * (request.count - 1), last)))


def _failed(request: Judge, error: str) -> Valued:
    return Valued(Judged((None,) * request.count, FAILED), Usage(), error)
