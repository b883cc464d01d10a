from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from collections.abc import Sequence

import pytest

from vilbench.problems.puzzles import KINDS, Puzzle, StepCheck, check, draw
from vilbench.problems.puzzles.canvas import Canvas
from vilbench.problems.puzzles.claims import read
from vilbench.problems.puzzles.puzzle import gold_claims, gold_solution, solution, split_of
from vilbench.problems.puzzles.scene import Twin
from vilbench.scorers.judge import PROMPTS
from vilbench.steps import FORMATS
from vilbench.testing import scripted_completion
from vilbench.training.embedded.examples import (
    FORMAT,
    JUDGE,
    WEIGHTS,
    Attempt,
    caption,
    corrupt,
    draw_puzzle,
    find,
    gold,
    judge,
    mark,
    marked,
    solve,
    spoil,
    step_verdict,
    whole_verdict,
)

RIGHT = StepCheck("right", "", "12", repeats=False, sound=True)
LATE = RIGHT._replace(sound=False)
AGAIN = RIGHT._replace(repeats=True)
FALSE = StepCheck("wrong", "false", "12", repeats=False, sound=False)
UNKNOWN = FALSE._replace(truth="")
INHERITED = StepCheck("wrong", "inherited", "13", repeats=False, sound=False)
UNCHECKED = StepCheck("unchecked", "", "", repeats=False, sound=False)


@pytest.fixture(autouse=True)
def no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Canvas, "png", lambda _: b"picture")


def score(reply: str) -> int:
    return PROMPTS["brief"].read(scripted_completion(reply)).score


def steps_of(text: str) -> list[str]:
    return [text[start:end] for start, end in FORMAT.split(text)]


def test_the_stream_asks_as_the_pipeline_does() -> None:
    assert FORMAT is FORMATS["steps-brief"]
    assert JUDGE is PROMPTS["brief"]
    rng = random.Random(1)
    puzzle = draw("machines", "visual", "train", 2)
    assert solve(gold(puzzle, rng)).prompt == FORMAT.ask(puzzle.problem)
    text = gold_solution(puzzle, rng)
    whole = judge(Attempt(puzzle, text), "judge-whole", rng)
    assert whole.prompt == JUDGE.ask_whole(puzzle.problem, text)
    step = judge(Attempt(puzzle, text), "judge-step", rng)
    contexts = [text[: span.end] for span in FORMAT.split(text)]
    assert step.prompt in [JUDGE.ask_step(puzzle.problem, context) for context in contexts]
    assert {whole.content, step.content} == {puzzle.content}


@pytest.mark.parametrize(("family", "twin"), KINDS)
def test_solutions_to_learn_are_right(family: str, twin: Twin) -> None:
    rng = random.Random(2)
    for index in range(20):
        puzzle = draw(family, twin, "train", index)
        example = solve(gold(puzzle, rng))
        assert example.solution is not None and example.solution.text == example.reply
        assert example.solution.right_until == len(example.reply)
        assert {one.value for one in example.solution.marks} == {1}
        assert example.task == "solve" and example.family == family
        found = check(puzzle.problem, steps_of(example.reply))
        assert found and all(step.sound for step in found)
        assert example.reply.endswith(f"\nAnswer: {puzzle.problem.answer}")


@pytest.mark.parametrize(
    ("checks", "place", "expected"),
    [
        ([RIGHT], 0, 5),
        ([RIGHT, RIGHT], 1, 5),
        ([RIGHT, AGAIN], 1, 4),
        ([FALSE, LATE], 1, 3),
        ([FALSE, LATE._replace(repeats=True)], 1, 3),
        ([UNCHECKED], 0, 3),
        ([FALSE, INHERITED], 1, 2),
        ([INHERITED], 0, 2),
        ([FALSE], 0, 1),
        ([RIGHT, UNKNOWN], 1, 1),
        ([], 0, 1),
    ],
)
def test_the_verdict_of_a_step(checks: Sequence[StepCheck], place: int, expected: int) -> None:
    reply = step_verdict(checks, place, "12")
    assert score(reply) == expected
    # The words before the score are the same whatever it is.
    assert reply.startswith("Reasoning: it says 12.\n")


@pytest.fixture(scope="module")
def puzzle() -> Puzzle:
    return draw("angles", "text", "train", 2)


@pytest.mark.parametrize(
    ("count", "faulty", "expected"),
    [
        (6, None, 5),
        (6, 0, 1),
        (6, 1, 1),
        (6, 2, 2),
        (6, 3, 2),
        (6, 4, 3),
        (6, 5, 3),
        (1, 0, 1),
        (2, 1, 2),
        (3, 2, 3),
    ],
)
def test_the_verdict_of_a_whole_solution(count: int, faulty: int | None, expected: int) -> None:
    checks = [RIGHT._replace(sound=faulty is None or k < faulty) for k in range(count)]
    reply = whole_verdict(checks, "hm", "12", "7")
    assert score(reply) == expected
    assert reply.startswith("Reasoning: it says 7.\n")
    if faulty is not None:
        # The right answer all the same.
        assert score(whole_verdict(checks, "hm\nAnswer: 12\n", "12", "12")) == 4


def test_the_verdict_of_no_solution(puzzle: Puzzle) -> None:
    assert score(whole_verdict([], "", "12", "")) == 1
    for task in ("judge-step", "judge-whole"):
        example = judge(Attempt(puzzle, ""), task, random.Random(0))
        assert score(example.reply) == 1


@pytest.mark.parametrize(("family", "twin"), KINDS)
def test_verdicts_follow_from_the_checker_and_can_be_read(family: str, twin: Twin) -> None:
    rng = random.Random(f"{family}/{twin}")
    scores: dict[str, Counter[int]] = {"judge-step": Counter(), "judge-whole": Counter()}
    for index in range(36):
        puzzle = draw(family, twin, "train", index)
        attempt = corrupt(puzzle, rng) if index % 3 else Attempt(puzzle, gold_solution(puzzle, rng))
        checks = check(puzzle.problem, steps_of(attempt.text))
        whole = judge(attempt, "judge-whole", rng)
        given = score(whole.reply)
        scores["judge-whole"][given] += 1
        assert (given == 5) == all(step.sound for step in checks)
        step = judge(attempt, "judge-step", rng)
        given = score(step.reply)
        scores["judge-step"][given] += 1
        shown = (
            str(step.prompt.parts[-1]).split("Solution:\n")[1].removesuffix("\nRate the last step.")
        )
        this = check(puzzle.problem, steps_of(shown))[-1]
        assert (given >= 4) == this.sound
        assert (given == 1) == (this.cause == "false")
        assert (given == 2) == (this.cause == "inherited")
    for counts in scores.values():
        assert counts[5] > 3 and len(counts) >= 3


@pytest.mark.parametrize(("family", "twin"), KINDS)
def test_made_up_errors(family: str, twin: Twin) -> None:
    rng = random.Random(9)
    places: Counter[int] = Counter()
    for index in range(40):
        puzzle = draw(family, twin, "train", index)
        gold = gold_claims(puzzle.scene)
        attempt = corrupt(puzzle, rng)
        assert attempt.puzzle is puzzle
        claims = [read(step).claims for step in steps_of(attempt.text)]
        assert [len(found) for found in claims] == [1] * len(gold)
        changed = [k for k, (found,) in enumerate(claims) if found != gold[k]]
        if changed:
            places[changed[0]] += 1
            assert f"Answer: {claims[-1][0].value}" in attempt.text
    # Nearly every one has an error, early and late ones.
    assert places.total() > 32
    assert places[0] > 2 and len(places) >= 2


@pytest.mark.parametrize(("family", "twin"), KINDS)
def test_marks_tell_how_far_a_solution_is_right(family: str, twin: Twin) -> None:
    rng = random.Random(11)
    wrong = 0
    for index in range(30):
        attempt = corrupt(draw(family, twin, "train", index), rng)
        text = attempt.text
        spans = FORMAT.split(text)
        checks = check(attempt.puzzle.problem, steps_of(text))
        marks = list(mark(attempt))
        assert all(one.start < one.end for one in marks)
        assert all(one.end <= two.start for one, two in itertools.pairwise(marks))
        first = next((k for k, step in enumerate(checks) if not step.sound), None)
        known = marked(attempt)
        assert solve(attempt).solution == known
        if first is None:
            assert known.right_until == len(text)
            continue
        wrong += 1
        # All right before the first error, nothing of its step learnt, all wrong behind it.
        assert known.right_until == spans[first].start
        for place in range(len(text)):
            value = known.value_at(place)
            if place < spans[first].start:
                assert value == 1
            elif place >= spans[first].end - 1:
                assert value == 0
            else:
                assert value != 1
    assert wrong > 20


def test_nothing_is_known_behind_a_step_that_cannot_be_checked() -> None:
    puzzle = draw("angles", "text", "train", 2)
    claims = gold_claims(puzzle.scene)
    lines = solution(claims, claims[-1].value, [0] * len(claims)).split("\n")
    lines[1] = "Step 2: I wonder."
    known = marked(Attempt(puzzle, "\n".join(lines)))
    assert [one.value for one in known.marks] == [1]
    lines[3] = "Step 4: 1 + 1 = 3."
    known = marked(Attempt(puzzle, "\n".join(lines)))
    assert [one.value for one in known.marks] == [1, *[0] * (len(lines) - 4)]


def test_half_of_the_judged_steps_are_where_it_goes_wrong() -> None:
    puzzle = draw("angles", "text", "train", 2)
    claims = gold_claims(puzzle.scene)
    wrong = [*claims[:4], claims[4]._replace(value="1"), *claims[5:]]
    attempt = Attempt(puzzle, solution(wrong, wrong[-1].value, [0] * len(wrong)))
    rng = random.Random(0)
    scores = Counter(score(judge(attempt, "judge-step", rng).reply) for _ in range(200))
    assert 90 < scores[1] < 150


def test_an_attempt_in_any_words_can_be_judged(puzzle: Puzzle) -> None:
    rng = random.Random(4)
    claims = gold_claims(puzzle.scene)
    texts = [
        "I do not know.",
        "Answer: 7",
        solution(claims[:2], "1", [0, 1]),
        "Step 1: \nStep 2: ",
        "Overall Score: 5",
        "\u202e<b>" * 20,
    ]
    for text in texts:
        assert score(judge(Attempt(puzzle, text), "judge-step", rng).reply) in range(1, 6)
        assert score(judge(Attempt(puzzle, text), "judge-whole", rng).reply) in range(1, 4)


def test_captions_tell_the_facts() -> None:
    rng = random.Random(5)
    for index in range(12):
        charts = draw("charts", "visual", "train", index)
        shown = caption(charts, rng)
        assert shown is not None
        bars = [bar.split(" ") for bar in shown.reply.split(", ")]
        assert {f"{color} bar": value for color, value in bars} == charts.scene.facts

        spatial = draw("spatial", "visual", "train", index)
        shown = caption(spatial, rng)
        assert shown is not None
        row = re.search(r"List row (\d)\.", str(shown.prompt.parts[-1]))
        assert row is not None
        cells = [spatial.scene.facts[f"row {row[1]}, column {k}"] for k in range(1, 5)]
        assert shown.reply == ", ".join(cells)

        counting = draw("counting", "visual", "train", index)
        shown = caption(counting, rng)
        assert shown is not None
        asked = str(shown.prompt.parts[-1]).removeprefix("Count: ").removesuffix(".").split(", ")
        facts = counting.scene.facts
        assert shown.reply == ", ".join(facts[f"number of {name}"] for name in asked)

        angles = draw("angles", "visual", "train", index)
        shown = caption(angles, rng)
        assert shown is not None
        assert shown.reply == ", ".join(angles.scene.facts.values())
        assert shown.prompt.images == angles.problem.images


def test_there_is_no_caption_for_a_picture_that_shows_nothing() -> None:
    for family in ("angles", "machines"):
        assert caption(draw(family, "text", "train", 0), random.Random(0)) is None


def test_training_puzzles_are_of_every_kind_and_of_the_train_split() -> None:
    rng = random.Random(6)
    drawn = [draw_puzzle(rng, 20261) for _ in range(300)]
    kinds = Counter((p.problem.source, p.problem.modality == "text-dominant") for p in drawn)
    assert len(kinds) == len(KINDS) == len(WEIGHTS)
    assert {split_of(puzzle.content) for puzzle in drawn} == {"train"}
    assert len({p.problem.category for p in drawn}) == 3
    assert [p.problem.id for p in drawn[:3]] == [
        draw_puzzle(again, 20261).problem.id for again in [random.Random(6)] for _ in range(3)
    ]


def test_the_solution_to_judge_is_marked_as_far_as_it_is_shown() -> None:
    rng = random.Random(5)
    attempt = corrupt(draw("angles", "text", "train", 2), rng)
    whole = judge(attempt, "judge-whole", rng).solution
    assert whole == marked(attempt)
    for _ in range(20):
        example = judge(attempt, "judge-step", rng)
        shown = example.solution
        assert shown is not None and attempt.text.startswith(shown.text)
        assert shown == marked(attempt._replace(text=shown.text))
        assert shown.text in str(example.prompt.parts[-1])


def test_options_are_found_by_what_they_say() -> None:
    rng = random.Random(6)
    puzzle = draw("machines", "visual", "train", 2)
    said = dict(zip("ABCDEFGHIJ", puzzle.problem.choices, strict=False))
    wordings = set()
    for _ in range(20):
        example = find(puzzle, rng)
        shown = str(example.prompt.parts[-1])
        assert all(f"{letter}. {choice}\n" in shown for letter, choice in said.items())
        asked = shown.rsplit("Find ", 1)[1].removesuffix(".").split(", ")
        assert len(set(asked)) == min(5, len(said))
        claims = [read(part).claims[0] for part in example.reply.split(", ")]
        assert [claim.key for claim in claims] == asked
        assert all(said[claim.value] == claim.key for claim in claims)
        wordings.add(example.reply.startswith("option"))
    assert wordings == {True, False}


def test_spoilt_texts_have_other_values_in_the_same_places() -> None:
    rng = random.Random(7)
    changed = total = 0
    for family, twin in KINDS:
        puzzle = draw(family, twin, "train", 2)
        example = solve(gold(puzzle, rng))
        spoilt = spoil(example, rng)
        assert spoilt.prompt == example.prompt
        assert spoilt.solution is not None and spoilt.solution.text == spoilt.reply
        assert spoilt.solution.right_until == 0 and not spoilt.solution.marks
        same = re.compile(r"[a-z]+|[A-J0-9]")
        one, two = same.findall(example.reply), same.findall(spoilt.reply)
        assert len(one) == len(two)
        assert same.sub("", example.reply) == same.sub("", spoilt.reply)
        differ = [pair for pair in zip(one, two, strict=True) if pair[0] != pair[1]]
        for before, after in differ:
            assert before.isdigit() == after.isdigit() and before.isupper() == after.isupper()
        changed += len(differ)
        total += sum(word.isdigit() for word in one)
    # Nine of ten digits drawn are other ones.
    assert 0.15 < changed / total < 0.45
