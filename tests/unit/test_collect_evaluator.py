"""Values of prefixes: who is asked about what, on which scale, and what a failure does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pytest

from vilbench.collect.evaluator import Evaluator, Reading
from vilbench.errors import EngineError
from vilbench.scorers.judge import PROMPTS, JudgeScorer
from vilbench.search import Judge, Judged
from vilbench.testing import ScriptedEngine, TableScorer, make_problem
from vilbench.types import Granularity, Problem, Solution, StepScores, Usage

PROBLEM = make_problem()
STEPS = ("Step 1: I read 2.", "Step 2: I add 3.", "Step 3: it is 5.")


class Told:
    """A scorer that answers by a function of a step's text, and remembers what it was shown."""

    name = fingerprint = "told"

    def __init__(
        self,
        values: Mapping[str, float | None],
        *,
        granularity: Granularity = "step",
        error: str | None = None,
    ) -> None:
        self.values = values
        self.granularity: Granularity = granularity
        self.error = error
        self.shown: list[Solution] = []

    async def score(self, problem: Problem, solutions: Sequence[Solution]) -> list[StepScores]:
        self.shown += solutions
        return [
            StepScores(
                problem_id=problem.id,
                solution_index=one.index,
                scorer=self.name,
                granularity=self.granularity,
                values=tuple(
                    self.values[text]
                    for text in (one.step_texts() if self.granularity == "step" else [one.text])
                ),
                usage=Usage(completion_tokens=3),
                error=self.error,
            )
            for one in solutions
        ]


async def test_the_grade_alone_values_finished_solutions() -> None:
    found = await Evaluator().judge(
        PROBLEM, [Judge(STEPS), Judge(STEPS, 1, True), Judge(STEPS, 3, False)]
    )
    assert [one.judged.values for one in found] == [(None,), (1.0,), (None, None, 0.0)]
    assert all(one.judged.reason == one.error == "" for one in found)


async def test_values_are_brought_to_the_unit_scale() -> None:
    scorer = Told(dict(zip(STEPS, (1.0, 4.0, 9.0), strict=True)))
    made = Evaluator(scorer, low=1, high=5)
    (found,) = await made.judge(PROBLEM, [Judge(STEPS, 3)])
    assert found.judged == Judged((0.0, 0.75, 1.0))
    assert found.usage.completion_tokens == 3


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
async def test_no_verdict_is_no_value(value: float | None) -> None:
    scorer = Told(dict(zip(STEPS, (1.0, value, 1.0), strict=True)))
    (found,) = await Evaluator(scorer).judge(PROBLEM, [Judge(STEPS, 3, True)])
    assert found.judged == Judged((1.0, None, 1.0), "no-verdict")


async def test_weights_hold_at_the_end_of_a_finished_solution_alone() -> None:
    scorer = Told(dict.fromkeys(STEPS, 0.5))
    made = Evaluator(scorer, scorer_weight=1, grade_weight=3)
    found = await made.judge(PROBLEM, [Judge(STEPS, 2, True), Judge(STEPS, 2)])
    assert [one.judged.values for one in found] == [(0.5, 0.875), (0.5, 0.5)]


async def test_an_end_that_only_its_grade_values_is_not_asked_about() -> None:
    scorer = Told(dict.fromkeys(STEPS, 0.5))
    made = Evaluator(scorer, scorer_weight=0, grade_weight=1)
    found = await made.judge(PROBLEM, [Judge(STEPS, 1, False), Judge(STEPS[:2])])
    assert [one.judged.values for one in found] == [(0.0,), (0.5,)]
    assert [one.text for one in scorer.shown] == ["\n".join(STEPS[:2])]


@pytest.mark.parametrize(
    ("reading", "shown"),
    [
        ("all-steps", [("\n".join(STEPS), STEPS)]),
        ("last-steps", [("\n".join(STEPS), STEPS[1:])]),
        ("whole", [("\n".join(STEPS[:2]), STEPS[:2]), ("\n".join(STEPS), STEPS)]),
    ],
)
async def test_what_a_scorer_is_shown(
    reading: Reading, shown: list[tuple[str, tuple[str, ...]]]
) -> None:
    values = {**dict.fromkeys(STEPS, 0.5), **{text: 0.25 for text, _ in shown}}
    scorer = Told(values, granularity="solution" if reading == "whole" else "step")
    (found,) = await Evaluator(scorer, reading).judge(PROBLEM, [Judge(STEPS, 2)])
    assert [(one.text, one.step_texts()) for one in scorer.shown] == shown
    assert found.judged.values == ((0.25, 0.25) if reading == "whole" else (0.5, 0.5))
    assert {(one.answer, one.verdict) for one in scorer.shown} == {(None, "unparsed")}


async def test_a_judge_is_paid_for_the_steps_that_are_asked_for() -> None:
    engine = ScriptedEngine({"": ["Reasoning: fine\nOverall Score: 4"]})
    judge = JudgeScorer(engine, "step", PROMPTS["rubric"], expectation=False)
    made = Evaluator(judge, "last-steps", low=1, high=5)
    found = await made.judge(PROBLEM, [Judge(STEPS[:2]), Judge(STEPS)])
    assert [one.judged.values for one in found] == [(0.75,), (0.75,)]
    assert engine.requests == 2


async def test_requests_of_a_round_are_one_call() -> None:
    scorer = TableScorer("table", "step", {("p0", 0): [0.1], ("p0", 1): [0.2, 0.3]})
    found = await Evaluator(scorer).judge(PROBLEM, [Judge(STEPS[:1]), Judge(STEPS[:2])])
    assert [one.judged.values for one in found] == [(0.1,), (0.3,)]


class Broken(Told):
    async def score(self, problem: Problem, solutions: Sequence[Solution]) -> list[StepScores]:
        raise EngineError("no power")


async def test_a_call_that_fails_ends_with_a_reason() -> None:
    (found,) = await Evaluator(Broken({})).judge(PROBLEM, [Judge(STEPS, 2)])
    assert found.judged == Judged((None, None), "evaluator-failed")
    assert found.error == "no power"


async def test_a_request_that_failed_within_a_call_is_told_from_one_without_a_verdict() -> None:
    scorer = Told({**dict.fromkeys(STEPS, None), STEPS[0]: 0.5}, error="timeout")
    (found,) = await Evaluator(scorer).judge(PROBLEM, [Judge(STEPS, 2)])
    assert found.judged == Judged((None, None), "evaluator-failed")
    assert found.error == "timeout"


class Silent(Told):
    async def score(self, problem: Problem, solutions: Sequence[Solution]) -> list[StepScores]:
        return []


class Terse(Told):
    async def score(self, problem: Problem, solutions: Sequence[Solution]) -> list[StepScores]:
        records = await super().score(problem, solutions)
        return [one.model_copy(update={"values": one.values[:1]}) for one in records]


@pytest.mark.parametrize(
    ("scorer", "told"), [(Silent({}), "0 of 1 requests"), (Terse(dict.fromkeys(STEPS, 1.0)), "1 v")]
)
async def test_an_answer_to_something_else_is_a_failure(scorer: Told, told: str) -> None:
    (found,) = await Evaluator(scorer).judge(PROBLEM, [Judge(STEPS, 2)])
    assert found.judged == Judged((None, None), "evaluator-failed")
    assert told in found.error
