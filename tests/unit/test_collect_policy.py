"""What is read from a policy's reply, and how a reply that is no use ends its branch."""

from __future__ import annotations

import pytest

from vilbench.collect.policy import Grader, Limits, Policy
from vilbench.search import Continuation, Draw
from vilbench.steps import FORMATS, StepFormat
from vilbench.testing import ScriptedEngine, make_problem, prompt_text
from vilbench.types import Completion, Problem, Prompt, Usage

PROBLEM = make_problem()
"""2 + 3 = 5."""


def policy(
    *replies: str | Completion, limits: Limits | None = None, asked: str = "steps-brief"
) -> Policy:
    engine = ScriptedEngine({"": list(replies)})
    return Policy(engine, FORMATS[asked], 1.0, 1.0, limits or Limits(), seed=7)


async def one(made: Policy, draw: Draw, problem: Problem = PROBLEM) -> Continuation:
    drawn = await made.draw(Grader(problem), draw)
    assert len(drawn.continuations) == draw.count
    return drawn.continuations[0]


async def test_a_whole_solution_is_cut_into_steps_and_graded() -> None:
    made = policy("Step 1: I read 2.\nStep 2: it is 5.\nAnswer: 5")
    found = await one(made, Draw((), 1))
    assert found == Continuation(("Step 1: I read 2.", "Step 2: it is 5.\nAnswer: 5"), True, True)


async def test_a_wrong_answer_and_none_are_not_right() -> None:
    assert (await one(policy("Step 1: 4.\nAnswer: 4"), Draw((), 1))).correct is False
    found = await one(policy("Step 1: I do not know what to do, nor who does."), Draw((), 1))
    assert found.finished
    assert found.correct is False


async def test_it_goes_on_from_a_prefix() -> None:
    asked: list[Prompt] = []

    def reply(prompt: Prompt, index: int) -> str:
        asked.append(prompt)
        return f"Step 2: it is {index}.\nAnswer: 5"

    made = Policy(ScriptedEngine(reply), FORMATS["steps-brief"], 1.0, 1.0, Limits(), 0)
    drawn = await made.draw(Grader(PROBLEM), Draw(("Step 1: I read 2.",), 2, first=3))
    assert asked[0].prefill == "Step 1: I read 2.\n"
    assert "How much is 2 + 3?" in prompt_text(asked[0])
    assert [found.steps for found in drawn.continuations] == [
        ("Step 2: it is 3.\nAnswer: 5",),
        ("Step 2: it is 4.\nAnswer: 5",),
    ]
    assert drawn.usage.completion_tokens > 0


async def test_words_that_go_on_with_the_prefix_are_a_step_of_their_own() -> None:
    found = await one(policy("Answer: 5"), Draw(("Step 1: it is 5.",), 1))
    assert found == Continuation(("Answer: 5",), True, True)


async def test_one_step_is_asked_for_with_a_stop_at_the_next() -> None:
    reply = "Step 2: three more.\nStep 3: it is 5.\nAnswer: 5"
    found = await one(policy(reply), Draw(("Step 1: two.",), 1, length=1))
    assert found == Continuation(("Step 2: three more.",))
    found = await one(policy(reply), Draw(("Step 1: two.",), 1, length=3))
    assert found == Continuation(("Step 2: three more.", "Step 3: it is 5.\nAnswer: 5"), True, True)


async def test_one_step_that_states_the_answer_is_the_last() -> None:
    found = await one(policy("Step 1: it is 5.\nAnswer: 5"), Draw((), 1, length=1))
    assert found == Continuation(("Step 1: it is 5.\nAnswer: 5",), True, True)


async def test_where_no_text_tells_of_the_next_step_the_rest_is_cut_off() -> None:
    made = policy("I read 2. I read 3. It is 5.", asked="direct")
    marked = StepFormat("sentences", 1, "", "sentence")
    made = Policy(made.generator, marked, 1.0, 1.0, Limits(), 0)
    assert (await one(made, Draw((), 1, length=1))) == Continuation(("I read 2.",))


LONG = "Step 2: " + "x" * 10_000


@pytest.mark.parametrize(
    ("reply", "reason", "steps"),
    [
        ("", "empty-step", 0),
        (" \n\t\n ", "empty-step", 0),
        (f"Step 2: two.\n{LONG}\nAnswer: 5", "step-too-long", 2),
        ("Step 2: I read 2.\nAnswer: 5", "", 1),
        ("Step 2: I read 2.\nStep 3: it is 5.", "repeats", 1),
        ("Step 2: three.\nStep 3: three.\nStep 4: three.", "repeats", 2),
        ("Step 2: a.\nStep 3: b.\nStep 4: c.\nStep 5: d.\nAnswer: 5", "too-deep", 4),
        (Completion("Step 2: so it is 5 and", "length"), "unfinished", 1),
        (Completion("Step 2: so it is 5 and", "content_filter"), "content-filter", 1),
        (Completion("", "error"), "policy-failed", 0),
    ],
)
async def test_a_reply_of_no_use_ends_its_branch_with_a_reason(
    reply: str | Completion, reason: str, steps: int
) -> None:
    made = policy(reply, limits=Limits(tokens=100_000, depth=4, step_characters=500))
    found = await one(made, Draw(("Step 1: I read 2.",), 1))
    assert found.reason == reason
    assert len(found.steps) == steps
    assert all(len(step) <= 500 for step in found.steps)
    assert found.finished is (reason == "")


async def test_half_a_surrogate_pair_is_replaced() -> None:
    found = await one(policy("Step 1: \ud800 it is 5.\nAnswer: 5"), Draw((), 1))
    assert found == Continuation(("Step 1: ? it is 5.\nAnswer: 5",), True, True)


async def test_a_repeated_sum_is_no_repetition_until_the_third_time() -> None:
    twice = "Step 1: 1 + 1 = 2.\nStep 2: next.\nStep 3: 1 + 1 = 2.\nAnswer: 5"
    assert (await one(policy(twice), Draw((), 1))).finished
    thrice = "Step 1: a.\nStep 2: b.\nStep 3: a.\nStep 4: b.\nStep 5: a.\nStep 6: c."
    found = await one(policy(thrice), Draw((), 1))
    assert found.reason == "repeats"
    assert len(found.steps) == 5


async def test_a_step_that_uses_up_its_tokens_is_too_long() -> None:
    made = policy("Step 1: " + "word " * 50, limits=Limits(step_tokens=10))
    found = await one(made, Draw((), 1, length=1))
    assert found.reason == "step-too-long"


async def test_a_request_that_fails_fails_its_branches() -> None:
    engine = ScriptedEngine({"": ["Step 1: a.\nAnswer: 5"]}, failures={"2 + 3": 1})
    made = Policy(engine, FORMATS["steps-brief"], 1.0, 1.0, Limits(), 0)
    drawn = await made.draw(Grader(PROBLEM), Draw((), 2))
    assert [found.reason for found in drawn.continuations] == ["policy-failed"] * 2
    assert "scripted failure" in drawn.error
    assert (await made.draw(Grader(PROBLEM), Draw((), 2))).error == ""


class _Short(ScriptedEngine):
    async def generate(self, *arguments: object, **named: object) -> list[Completion]:
        return [Completion("Step 1: it is 5.\nAnswer: 5", "stop", Usage(completion_tokens=9))]


async def test_an_answer_in_part_keeps_what_came() -> None:
    made = Policy(_Short({}), FORMATS["steps-brief"], 1.0, 1.0, Limits(), 0)
    drawn = await made.draw(Grader(PROBLEM), Draw((), 3))
    assert [found.reason for found in drawn.continuations] == ["", *["policy-failed"] * 2]
    assert drawn.error == "the policy gave 1 completions, not 3"
    assert drawn.usage.completion_tokens == 9


class _Seeds(ScriptedEngine):
    def __init__(self) -> None:
        super().__init__({"": ["Step 1: a.\nAnswer: 5"]})
        self.seeds: list[int] = []

    async def generate(
        self, prompt: Prompt, n: int, sampling: object, seed: int, *, first: int = 0
    ) -> list[Completion]:
        self.seeds.append(seed)
        return [Completion("Step 1: a.\nAnswer: 5", "stop")] * n


async def test_every_prefix_of_every_problem_has_a_stream_of_its_own() -> None:
    engine = _Seeds()
    made = Policy(engine, FORMATS["steps-brief"], 1.0, 1.0, Limits(), 0)
    other = make_problem(id="p1")
    for problem, draw in (
        (PROBLEM, Draw((), 1)),
        (other, Draw((), 1)),
        (PROBLEM, Draw(("Step 1: a.",), 1)),
        (PROBLEM, Draw(("Step 1: a.",), 1, length=1)),
        (PROBLEM, Draw(("Step  1: a. ",), 1, first=4)),
    ):
        await made.draw(Grader(problem), draw)
    assert len(set(engine.seeds)) == 4
    assert engine.seeds[4] == engine.seeds[2]


def test_the_key_knows_what_changes_a_continuation() -> None:
    made = policy("a")
    others = [
        Policy(made.generator, made.format, 0.5, 1.0, made.limits, 7),
        Policy(made.generator, made.format, 1.0, 1.0, Limits(depth=3), 7),
        Policy(made.generator, made.format, 1.0, 1.0, made.limits, 8),
        Policy(made.generator, FORMATS["steps"], 1.0, 1.0, made.limits, 7),
        policy("b"),
    ]
    assert len({one.fingerprint for one in (made, *others)}) == 6
