"""The engine that only counts."""

from __future__ import annotations

import pytest
from prm_data import loaded

from vilbench.engines.lengths import Lengths, by_name
from vilbench.engines.rehearsal import Rehearsal, RehearsedScoring, Solving, Work
from vilbench.images import Size
from vilbench.prm.scoring import PrmScoring, Way
from vilbench.steps import FORMATS
from vilbench.testing import tiny_png
from vilbench.types import BytesSource, Generator, Image, LikelihoodModel, Problem, Prompt, Sampling

IMAGE = Image.of(BytesSource(tiny_png("red", (64, 48))))
PROBLEM = Problem(id="p", source="test", question="How many?", images=(IMAGE,), answer="7")
STEPS = FORMATS["steps"]
ASKED = STEPS.ask(PROBLEM)


def _image(size: Size) -> int:
    return size.width


LENGTHS = Lengths(1.0, _image)


def solver(right: float = 1.0) -> Rehearsal:
    solving = Solving(STEPS, 4, 200, right, {ASKED.parts: PROBLEM})
    return Rehearsal("model", by_name("model"), solving)


def test_it_is_what_it_stands_for() -> None:
    assert isinstance(solver(), Generator)
    assert isinstance(solver(), LikelihoodModel)


@pytest.mark.parametrize(("right", "answer"), [(1.0, "7"), (0.0, "-9876543")])
async def test_solutions_have_steps_and_an_answer(right: float, answer: str) -> None:
    made = await solver(right).generate(ASKED, 3, Sampling(), 0)
    for one in made:
        assert len(STEPS.split(one.text)) == 4
        assert one.text.endswith(f"Answer: {answer}")
        assert one.usage.completion_tokens == pytest.approx(200, rel=0.2)
    assert len({one.text for one in made}) == 3


async def test_a_completion_is_the_same_whatever_is_asked_beside_it() -> None:
    whole = await solver().generate(ASKED, 4, Sampling(), 5)
    part = await solver().generate(ASKED, 2, Sampling(), 5, first=2)
    assert part == whole[2:]


async def test_it_goes_on_from_a_prefix_and_stops_where_told() -> None:
    (whole,) = await solver().generate(ASKED, 1, Sampling(), 0)
    first = whole.text[: STEPS.split(whole.text)[0].end]
    going_on = Prompt(ASKED.parts, prefill=first + "\n")
    (rest,) = await solver().generate(going_on, 1, Sampling(), 1)
    assert rest.text.startswith("Step 2: ")
    (step,) = await solver().generate(going_on, 1, Sampling(stop=("\nStep 3",)), 1)
    assert step.text == rest.text.split("\nStep 3")[0]


async def test_what_a_request_holds_is_counted() -> None:
    engine = Rehearsal("judge", LENGTHS, reply_tokens=20, most_samples=2)
    prompt = Prompt((IMAGE, "0123456789"), system="system")
    await engine.generate(prompt, 5, Sampling(max_tokens=100), 0)
    work = engine.taken()
    each = 6 + 10 + 64 + 4 * 3
    assert work == Work(
        requests=3,
        completions=5,
        prompt_tokens=3 * each,
        cached_tokens=2 * each,
        completion_tokens=5 * 20,
        most_completion_tokens=5 * 100,
        longest_tokens=3 * 20,
        images=3,
    )
    assert engine.work == Work()


async def test_what_a_prompt_begins_with_as_the_one_before_it_may_be_cached() -> None:
    engine = Rehearsal("judge", LENGTHS, reply_tokens=20)
    for text in ("question: one", "question: two", "another"):
        await engine.generate(Prompt((IMAGE, text), system="abc"), 1, Sampling(), 0)
    assert engine.work.cached_tokens == (64 + 3 + len("question: ")) + (64 + 3)
    engine.taken()
    await engine.generate(Prompt((IMAGE, "another"), system="abc"), 1, Sampling(), 0)
    assert engine.work.cached_tokens == 0.0


def test_an_image_that_cannot_be_read_counts_for_something() -> None:
    engine = Rehearsal("judge", LENGTHS)
    assert engine.of_prompt(Prompt((Image(digest="0" * 64),))) == 1024 + 4 * 2


@pytest.mark.parametrize(
    ("way", "tokens"),
    [
        # A prompt of 3 and 8 around it; steps of 2 and 4 and of 2 and 5, with their ends.
        ("tree", 11 + 2 + 4 + 5),
        ("shared", 11 + 2 + 4 + 2 + 5),
        ("per-candidate", 2 * 11 + 2 + 4 + 2 + 5),
        ("per-prefix", 4 * 11 + 2 + 2 + 4 + 2 + 2 + 5),
    ],
)
def test_reward_models_read_by_their_way(way: str, tokens: int) -> None:
    engine = Rehearsal("prm", LENGTHS)
    scored = RehearsedScoring(engine, way).score(("abc",), [("a", "bcd"), ("a", "bcde")])
    assert engine.work.prompt_tokens == pytest.approx(tokens)
    assert (engine.work.requests, engine.work.completions) == (1, 2)
    assert [len(one) for one in scored.values] == [2, 2]
    assert scored.lengths == (17, 18)


@pytest.mark.parametrize(("way", "cached"), [("tree", 11), ("shared", 11), ("per-candidate", 0)])
def test_a_question_is_computed_once_where_it_is_remembered(way: str, cached: int) -> None:
    """The prompt has 3 tokens and 8 around it, the step 2 and its end."""
    engine = Rehearsal("prm", LENGTHS)
    scoring = RehearsedScoring(engine, way)
    assert scoring.score(("abc",), [("de",)]).computed == (11 + 3,)
    assert scoring.score(("xyz",), [("de",)]).computed == (11 + 3,)
    assert engine.taken().cached_tokens == 0
    # It is known though another came in between, and whatever was counted of it before.
    again = scoring.score(("abc",), [("fg",), ("hi",)])
    work = engine.taken()
    assert work.cached_tokens == cached
    assert work.prompt_tokens - work.cached_tokens == sum(again.computed)
    assert sum(again.computed) == (11 if way == "per-candidate" else 0) + 11 - cached + 2 * 3
    assert again.lengths == (14, 14)


def test_steps_are_computed_once_where_they_are_recalled() -> None:
    """Three rounds of a search; a step has as many tokens as letters, and its end."""
    engine = Rehearsal("prm", LENGTHS)
    rounds: list[list[tuple[str, ...]]] = [
        [("a",), ("bc",)],
        [("a", "d"), ("a", "ef")],
        [("a", "ef", "g"), ("h",)],
    ]

    def read(recall: bool) -> list[int]:
        scoring = RehearsedScoring(engine, recall=recall)
        tokens = []
        for asked in rounds:
            scoring.score(("abc",), asked)
            work = engine.taken()
            tokens.append(round(work.prompt_tokens - work.cached_tokens))
        return tokens

    assert read(True) == [11 + 2 + 3, 2 + 3, 2 + 2]
    assert read(False) == [11 + 2 + 3, 2 + 2 + 3, 2 + 3 + 2 + 2]


@pytest.mark.parametrize("way", ["per-prefix", "per-candidate", "shared", "tree"])
def test_a_second_call_saves_what_it_saves_the_real_one(way: Way) -> None:
    parts, candidates = ("How many circles?",), [("left", "so"), ("right",)]
    real = PrmScoring(loaded(), way)
    asked = real.encoder.encode(parts, ()).prompt.ids
    engine = Rehearsal("prm", LENGTHS)
    sizes = ((real, len(asked)), (RehearsedScoring(engine, way), engine.of_prompt(Prompt(parts))))
    for scoring, prompt in sizes:
        first, again = (sum(scoring.score(parts, candidates).computed) for _ in range(2))
        assert first - again == (prompt if way in ("shared", "tree") else 0)


def test_work_adds_up_and_multiplies() -> None:
    one = Work(1, 2, 3, 4, 5, 6, 7, 8)
    assert one + one == one.times(2) == Work(2, 4, 6, 8, 10, 12, 14, 16)
