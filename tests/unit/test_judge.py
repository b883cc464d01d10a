from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence

import pytest

from vilbench.errors import EngineError
from vilbench.scorers.judge import PROMPTS, JudgePrompt, JudgeScorer
from vilbench.steps import FORMATS, question_parts
from vilbench.testing import (
    ScriptedEngine,
    make_problem,
    make_solution,
    prompt_text,
    scripted_completion,
    tiny_png,
)
from vilbench.types import (
    BytesSource,
    Completion,
    Image,
    Problem,
    Prompt,
    Sampling,
    StepScores,
    Usage,
)

BRIEF = PROMPTS["brief"]
IMAGE = Image.of(BytesSource(tiny_png("red")))
OTHER = Image.of(BytesSource(tiny_png("blue")))
PROBLEM = make_problem(images=(IMAGE,))
TEXT = "I read 2 and 3.\nI add them.\nThe sum is 5."


def values(records: Sequence[StepScores]) -> list[tuple[float | None, ...]]:
    return [record.values for record in records]


# --- asking


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS.keys())
@pytest.mark.parametrize(
    "problem",
    [
        PROBLEM,
        make_problem(),
        make_problem(images=(IMAGE, OTHER)),
        make_problem(question="See <image 2> beside <image 1>.", images=(IMAGE, OTHER)),
        make_problem(answer="B", answer_kind="choice", choices=("4", "5"), images=(IMAGE,)),
        make_problem(question="Which of these holds? <image 1>", images=(IMAGE,)),
        make_problem(question="", images=(IMAGE,)),
    ],
)
def test_every_request_about_a_problem_begins_alike(prompt: JudgePrompt, problem: Problem) -> None:
    shared = question_parts(problem)
    for asked in (
        FORMATS["steps"].ask(problem),
        prompt.ask_whole(problem, TEXT),
        prompt.ask_step(problem, TEXT),
    ):
        assert asked.images == tuple(part for part in shared if isinstance(part, Image))
        begin, last = asked.parts[: len(shared) - 1], asked.parts[len(shared) - 1]
        assert begin == shared[:-1]
        if isinstance(shared[-1], str):
            assert isinstance(last, str)
            assert last.startswith(shared[-1] + "\n")
            assert len(asked.parts) == len(shared)
        else:
            assert last == shared[-1]
            assert len(asked.parts) == len(shared) + 1


def test_the_words_of_the_brief_requests() -> None:
    # The embedded models have learnt these very words.
    assert BRIEF.ask_whole(PROBLEM, TEXT).parts == (
        IMAGE,
        f"How much is 2 + 3?\nSolution:\n{TEXT}\nRate this solution.",
    )
    assert BRIEF.ask_step(PROBLEM, "I read 2 and 3.").parts == (
        IMAGE,
        "How much is 2 + 3?\nSolution:\nI read 2 and 3.\nRate the last step.",
    )
    assert BRIEF.ask_step(make_problem(question="", images=(IMAGE,)), "So 5.").parts == (
        IMAGE,
        "Solution:\nSo 5.\nRate the last step.",
    )
    assert BRIEF.ask_whole(PROBLEM, TEXT).system == ""


def test_the_rubric_names_criteria_and_scale() -> None:
    asked = PROMPTS["rubric"].ask_step(PROBLEM, TEXT)
    for word in ("relevance", "coherence", "accuracy", "clarity", "5 excellent", "1 very poor"):
        assert word in asked.system
    assert prompt_text(asked).count("Overall Score: an integer from 1 to 5") == 1
    one_turn = PROMPTS["one-turn"].ask_step(PROBLEM, TEXT)
    assert one_turn.system == ""
    assert asked.system in str(one_turn.parts[-1])
    whole = PROMPTS["rubric"].ask_whole(PROBLEM, TEXT)
    assert "as a whole" in str(whole.parts[-1]) and "last step" not in str(whole.parts[-1])


# --- the scorer


async def test_orm_asks_for_the_whole_and_prm_for_each_step_in_its_context() -> None:
    engine = ScriptedEngine({"": ["Overall Score: 4"]})
    solution = make_solution(PROBLEM, 3, TEXT)
    (whole,) = await JudgeScorer(engine, "solution", BRIEF, expectation=False).score(
        PROBLEM, [solution]
    )
    assert whole == StepScores(
        problem_id="p0",
        solution_index=3,
        scorer="judge-orm",
        granularity="solution",
        values=(4.0,),
        notes=("",),
        usage=whole.usage,
    )
    assert engine.prompts == [BRIEF.ask_whole(PROBLEM, TEXT)]

    engine = ScriptedEngine({"": ["Overall Score: 4"]})
    (steps,) = await JudgeScorer(engine, "step", BRIEF, expectation=False).score(
        PROBLEM, [solution]
    )
    assert (steps.scorer, steps.granularity) == ("judge-prm", "step")
    assert steps.values == (4.0, 4.0, 4.0)
    first, second, third = engine.prompts
    assert first == BRIEF.ask_step(PROBLEM, "I read 2 and 3.")
    assert second == BRIEF.ask_step(PROBLEM, "I read 2 and 3.\nI add them.")
    assert third == BRIEF.ask_step(PROBLEM, TEXT)


async def test_what_a_step_is_worth_depends_on_its_request() -> None:
    engine = ScriptedEngine(
        {
            "I read 2 and 3.\nRate": ["Reasoning: so it is.\nOverall Score: 5"],
            "I add them.\nRate": ["Reasoning: hm.\nOverall Score: 2"],
            "The sum is 5.\nRate": ["cannot say"],
        }
    )
    (found,) = await JudgeScorer(engine, "step", BRIEF, expectation=False, name="j").score(
        PROBLEM, [make_solution(PROBLEM, text=TEXT)]
    )
    assert found.scorer == "j"
    assert found.values == (5.0, 2.0, None)
    assert found.notes == (
        "Reasoning: so it is.",
        "Reasoning: hm.",
        "no verdict (no score in the reply): cannot say",
    )


async def test_the_judge_is_asked_at_temperature_zero_with_alternatives_when_needed() -> None:
    asked: list[Sampling] = []

    class Listening(ScriptedEngine):
        async def generate(
            self, prompt: Prompt, n: int, sampling: Sampling, seed: int, *, first: int = 0
        ) -> list[Completion]:
            asked.append(sampling)
            return await super().generate(prompt, n, sampling, seed, first=first)

    for expectation in (True, False):
        judge = JudgeScorer(
            Listening({"": ["Score: 4"]}), "solution", BRIEF, expectation=expectation
        )
        await judge.score(PROBLEM, [make_solution(PROBLEM)])
    assert [one.temperature for one in asked] == [0.0, 0.0]
    assert [one.top_logprobs for one in asked] == [20, 0]
    assert {one.max_tokens for one in asked} == {BRIEF.max_tokens}


async def test_expectation_tells_apart_what_the_integer_ties() -> None:
    script = {
        "sum is 5": [scripted_completion("Score: 4", {"4": {"4": -0.1, "5": -2.0}})],
        "sum is 6": [scripted_completion("Score: 4", {"4": {"4": -0.1, "3": -2.0}})],
    }
    pool = [make_solution(PROBLEM, k, f"The sum is {5 + k}.") for k in range(2)]
    integer = JudgeScorer(ScriptedEngine(script), "solution", BRIEF, expectation=False)
    assert values(await integer.score(PROBLEM, pool)) == [(4.0,), (4.0,)]
    expected = JudgeScorer(ScriptedEngine(script), "solution", BRIEF, expectation=True)
    (one,), (two,) = values(await expected.score(PROBLEM, pool))
    assert one is not None and two is not None
    assert 4 < one < 5 and 3 < two < 4


async def test_missing_log_probabilities_are_no_verdict_and_never_the_integer() -> None:
    judge = JudgeScorer(
        ScriptedEngine({"": [scripted_completion("Score: 4")]}), "step", BRIEF, expectation=True
    )
    (found,) = await judge.score(PROBLEM, [make_solution(PROBLEM, text=TEXT)])
    assert found.values == (None, None, None)
    assert found.notes == ("no verdict (no log-probabilities of the score): Score: 4",) * 3


async def test_requests_that_are_alike_are_asked_and_counted_once() -> None:
    engine = ScriptedEngine({"": ["Reasoning: ok.\nOverall Score: 4"]})
    texts = ["I read 2 and 3.\nI add them.\nThe sum is 5.",
             "I read 2 and 3.\nI add them.\nThe sum is 6.",
             "I read 2 and 3.\nI add them.\nThe sum is 5."]  # fmt: skip
    pool = [make_solution(PROBLEM, k, text) for k, text in enumerate(texts)]
    found = await JudgeScorer(engine, "step", BRIEF, expectation=False).score(PROBLEM, pool)
    assert engine.requests == 4  # two shared beginnings, two ends
    assert values(found) == [(4.0,) * 3] * 3
    assert [record.solution_index for record in found] == [0, 1, 2]

    alone = ScriptedEngine({"": ["Reasoning: ok.\nOverall Score: 4"]})
    paid = Usage()
    for prompt in engine.prompts:
        (completion,) = await alone.generate(prompt, 1, Sampling(), 0)
        paid += completion.usage
    assert sum((record.usage for record in found), Usage()) == paid
    assert found[1].usage.completion_tokens * 3 == found[0].usage.completion_tokens
    assert found[2].usage == Usage()


async def test_nothing_to_score() -> None:
    engine = ScriptedEngine({})
    judge = JudgeScorer(engine, "step", BRIEF)
    assert await judge.score(PROBLEM, []) == []
    (found,) = await judge.score(PROBLEM, [make_solution(PROBLEM, text="")])
    assert found.values == ()
    assert engine.requests == 0


async def test_a_failed_request_takes_its_value_and_no_other() -> None:
    engine = ScriptedEngine({"": ["Overall Score: 4"]}, failures={"sum is 7": 1})
    judge = JudgeScorer(engine, "solution", BRIEF, expectation=False)
    pool = [make_solution(PROBLEM, k, f"The sum is {k}.") for k in range(20)]
    found = await judge.score(PROBLEM, pool)
    assert values(found) == [(None,) if k == 7 else (4.0,) for k in range(20)]
    failed = found[7]
    assert failed.error == "scripted failure 1 of 1 for 'sum is 7'"
    assert failed.notes == (f"no verdict (the request failed): {failed.error}",)
    assert failed.usage == Usage()
    assert [record.error for record in found if record is not failed] == [None] * 19
    # Asked again it goes through.
    assert values(await judge.score(PROBLEM, pool)) == [(4.0,)] * 20


async def test_a_failed_step_that_solutions_share_is_missing_in_each() -> None:
    engine = ScriptedEngine({"": ["Overall Score: 4"]}, failures={"I add them.\nRate": 1})
    judge = JudgeScorer(engine, "step", BRIEF, expectation=False)
    texts = [TEXT, TEXT.replace("is 5", "is 6"), "I read 2 and 3.\nNothing follows."]
    found = await judge.score(PROBLEM, [make_solution(PROBLEM, k, t) for k, t in enumerate(texts)])
    assert values(found) == [(4.0, None, 4.0), (4.0, None, 4.0), (4.0, 4.0)]
    assert [record.error is None for record in found] == [False, False, True]


async def test_when_every_request_fails_it_is_one_error() -> None:
    engine = ScriptedEngine({"": ["Overall Score: 4"]}, failures={"sum": 99})
    judge = JudgeScorer(engine, "solution", BRIEF, expectation=False)
    pool = [make_solution(PROBLEM, k, f"The sum is {k}.") for k in range(5)]
    with pytest.raises(EngineError, match="scripted failure 1 of 99"):
        await judge.score(PROBLEM, pool)


async def test_a_fault_of_the_program_is_not_hidden_behind_a_failed_request() -> None:
    engine = ScriptedEngine({"sum": ["Overall Score: 4"]}, failures={"sum is 0": 1})
    judge = JudgeScorer(engine, "solution", BRIEF, expectation=False)
    pool = [make_solution(PROBLEM, k, text) for k, text in enumerate(["The sum is 0.", "hm"])]
    with pytest.raises(LookupError):
        await judge.score(PROBLEM, pool)


async def test_cancelling_reaches_every_request() -> None:
    engine = ScriptedEngine({"": ["Overall Score: 4"]}, latency=30.0)
    judge = JudgeScorer(engine, "step", BRIEF)
    before = asyncio.all_tasks()
    task = asyncio.ensure_future(judge.score(PROBLEM, [make_solution(PROBLEM, text=TEXT)]))
    await asyncio.sleep(0.01)
    assert engine.most_in_flight == 3
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == before


def test_the_fingerprint_changes_with_whatever_changes_the_values() -> None:
    def fingerprint(
        words: JudgePrompt = BRIEF, *, engine: str = "a", step: bool = True, expected: bool = True
    ) -> str:
        generator = ScriptedEngine({}, name=engine)
        granularity = "step" if step else "solution"
        return JudgeScorer(generator, granularity, words, expectation=expected).fingerprint  # type: ignore[arg-type]

    changed = dataclasses.replace
    prints = [
        fingerprint(),
        fingerprint(engine="b"),
        fingerprint(step=False),
        fingerprint(expected=False),
        fingerprint(PROMPTS["rubric"]),
        fingerprint(changed(BRIEF, version=2)),
        fingerprint(changed(BRIEF, rubric="Judge.")),
        fingerprint(changed(BRIEF, whole="Rate it.")),
        fingerprint(changed(BRIEF, step="Rate it.")),
        fingerprint(changed(BRIEF, heading="Steps:")),
        fingerprint(changed(BRIEF, max_tokens=97)),
        # The same letters in other places.
        fingerprint(changed(BRIEF, heading="Solution", rubric=":")),
    ]
    assert len(set(prints)) == len(prints)
    assert fingerprint() == fingerprint()
    named = JudgeScorer(ScriptedEngine({}, name="a"), "step", BRIEF, name="x")
    assert named.fingerprint == fingerprint()
