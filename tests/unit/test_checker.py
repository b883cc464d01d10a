from __future__ import annotations

import random
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vilbench.errors import ProblemError
from vilbench.problems.puzzles import KINDS, StepCheck, check, draw
from vilbench.problems.puzzles.canvas import Canvas
from vilbench.problems.puzzles.claims import WORDINGS, Claim, read
from vilbench.problems.puzzles.puzzle import gold_claims, gold_solution, solution
from vilbench.problems.puzzles.scene import Twin, derive
from vilbench.steps import FORMATS
from vilbench.training.embedded.examples import corrupt
from vilbench.types import Problem

# Each family's problem is written by hand, as a puzzle's metadata has it, so that what the
# checker must say follows from this page alone.
ANGLES = Problem(
    id="angles",
    source="angles",
    question="The angles of a triangle are A = 60, B = 84, C. What is 400 minus angle C?",
    answer="364",
    answer_kind="number",
    metadata={
        "facts": {"angle A": "60", "angle B": "84"},
        "equations": {
            "60 + 84": "144",
            "180 - 144": "36",
            "400 - 36": "364",
            "180 - 60": "120",
            "180 - 84": "96",
            "120 - 84": "36",
            "96 - 60": "36",
        },
    },
)
CHARTS = Problem(
    id="charts",
    source="charts",
    question="What is the red bar plus the blue bar, times 3?",
    answer="36",
    answer_kind="number",
    metadata={
        "facts": {"red bar": "7", "blue bar": "5", "green bar": "2", "yellow bar": "9"},
        "equations": {"7 + 5": "12", "12 * 3": "36"},
    },
)
COUNTING = Problem(
    id="counting",
    source="counting",
    question="Remove all circles and all squares. How many are left?",
    answer="3",
    answer_kind="number",
    metadata={
        "facts": {
            "number of objects": "8",
            "number of circles": "3",
            "number of squares": "2",
            "number of crosses": "3",
            "number of red objects": "4",
        },
        "equations": {"8 - 3": "5", "5 - 2": "3", "8 - 2": "6", "6 - 3": "3", "3 + 2": "5",
                      "8 - 5": "3"},
    },
)  # fmt: skip
MACHINES = Problem(
    id="machines",
    source="machines",
    question="Follow the machine. What comes out?",
    answer="C",
    answer_kind="choice",
    choices=("35", "68", "65", "62"),
    metadata={
        "facts": {"start": "30", "box 1": "* 2", "box 2": "+ 5"},
        "equations": {"30 * 2": "60", "60 + 5": "65"},
    },
)
SPATIAL = Problem(
    id="spatial",
    source="spatial",
    question="What is directly left of the green square?",
    answer="blue cross",
    answer_kind="text",
    metadata={
        "facts": {
            "row 1, column 1": "empty",
            "row 1, column 2": "blue cross",
            "row 1, column 3": "green square",
            "blue cross": "row 1, column 2",
            "green square": "row 1, column 3",
            "row of blue cross": "1",
            "column of blue cross": "2",
            "row of green square": "1",
            "column of green square": "3",
            "higher one": "blue cross",
        },
        "equations": {},
    },
)


def one(problem: Problem, step: str) -> tuple[str, str, str]:
    """Label, cause and truth of a step by itself."""
    (found,) = check(problem, [step])
    return found.label, found.cause, found.truth


def labels(problem: Problem, *steps: str) -> list[str]:
    return [found.cause or found.label for found in check(problem, steps)]


@pytest.fixture
def no_png(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoding pictures is what takes the time, and no test here looks at one."""
    monkeypatch.setattr(Canvas, "png", lambda _: b"picture")


@pytest.mark.parametrize(
    ("problem", "step", "truth"),
    [
        (ANGLES, "Step 1: the angle A is 60.", "60"),
        (ANGLES, "angle B: 84.", "84"),
        (ANGLES, "60 + 84 = 144.", "144"),
        (ANGLES, "84 + 60 = 144.", "144"),
        (ANGLES, "180 - 60 = 120.", "120"),
        (ANGLES, "120 - 84 = 36.", "36"),
        (ANGLES, "The angle A is 60°, the angle B is 84°, so 60° + 84° = 144°.", "144"),
        (CHARTS, "I see the red bar is 7.", "7"),
        (CHARTS, "the yellow bar is 9.", "9"),
        (CHARTS, "so 5 + 7 = 12.", "12"),
        (CHARTS, "12 x 3 = 36.", "36"),
        (CHARTS, "3 × 12 = 36.", "36"),
        (COUNTING, "the number of circles is 3.", "3"),
        (COUNTING, "the number of circles is 3 objects.", "3"),
        (COUNTING, "3 + 2 = 5.", "5"),
        (COUNTING, "8 - 2 = 6.", "6"),
        (MACHINES, "the start is 30.", "30"),
        (MACHINES, "box 1: * 2.", "* 2"),
        (MACHINES, "box 1 is x2.", "* 2"),
        (MACHINES, "30 x 2 = 60.", "60"),
        (MACHINES, "65 is option C.", "C"),
        (MACHINES, "so option C is 65.", "C"),
        (SPATIAL, "the green square is row 1, column 3.", "row 1, column 3"),
        (SPATIAL, "the green square is in row 1, column 3.", "row 1, column 3"),
        (SPATIAL, "the row 1, column 2 is blue cross.", "blue cross"),
        (SPATIAL, "the row 1, column 2 is a blue cross.", "blue cross"),
        (SPATIAL, "the row 1, column 1 is empty.", "empty"),
        (SPATIAL, "row of green square: 1.", "1"),
        (SPATIAL, "the higher one is blue cross.", "blue cross"),
        (CHARTS, "12 * 3 = 36.\nAnswer: 36", "36"),
        (CHARTS, "Answer: 36", "36"),
        (CHARTS, "So the answer is 36.", "36"),
        (CHARTS, "Answer: 36 units.", "36"),
        (MACHINES, "65 is option C.\nAnswer: C", "C"),
        (MACHINES, "Answer: (c)", "C"),
        (MACHINES, "Answer: C. 65", "C"),
        (MACHINES, "Answer: 65", "C"),
        (SPATIAL, "Answer: the Blue Cross.", "blue cross"),
    ],
)
def test_right_steps(problem: Problem, step: str, truth: str) -> None:
    assert one(problem, step) == ("right", "", truth)


@pytest.mark.parametrize(
    ("problem", "step", "truth"),
    [
        (ANGLES, "the angle A is 66.", "60"),
        (ANGLES, "60 + 84 = 134.", "144"),
        (CHARTS, "the red bar is 8.", "7"),
        (CHARTS, "the red bar is -7.", "7"),
        (CHARTS, "7 + 5 = 13.", "12"),
        (CHARTS, "7 * 5 = 36.", "35"),
        (CHARTS, "8 + 5 = 12.", "13"),
        (CHARTS, "7 / 5 = 1.", ""),
        (CHARTS, "7 / 0 = 0.", ""),
        (COUNTING, "the number of circles is 4.", "3"),
        (COUNTING, "8 - 3 = 6.", "5"),
        (MACHINES, "the start is 80.", "30"),
        (MACHINES, "box 1: + 2.", "* 2"),
        (MACHINES, "60 + 5 = 66.", "65"),
        (MACHINES, "65 is option D.", "C"),
        (MACHINES, "option Z says 65.", "C"),
        (MACHINES, "option A says 66.", ""),
        (SPATIAL, "the green square is row 1, column 2.", "row 1, column 3"),
        (SPATIAL, "the row 1, column 2 is empty.", "blue cross"),
        (SPATIAL, "the row 1, column 1 is red circle.", "empty"),
        (SPATIAL, "the row 1, column 2 is 4.", "blue cross"),
        (SPATIAL, "the higher one is green square.", "blue cross"),
        # There is no such object in the picture, wherever it is said to be.
        (SPATIAL, "the red circle is row 1, column 1.", ""),
        (SPATIAL, "row of red circle: 1.", ""),
        (CHARTS, "12 * 3 = 36.\nAnswer: 37", "36"),
        (CHARTS, "Answer: 12", "36"),
        (CHARTS, "12 * 3 = 36.\nAnswer: 36\nAnswer: 37", "36"),
        (CHARTS, "12 * 3 = 36.\nAnswer: 37\nAnswer: 36", "36"),
        (MACHINES, "65 is option C.\nAnswer: D", "C"),
        (MACHINES, "Answer: C. 62", "C"),
        (MACHINES, "Answer: 62", "C"),
        (MACHINES, "Answer: J", "C"),
        (SPATIAL, "Answer: green square", "blue cross"),
        # One false claim among true ones, wherever it stands.
        (CHARTS, "the red bar is 8. 7 + 5 = 12.", "7"),
        (CHARTS, "7 + 5 = 12. the red bar is 8.", "7"),
        (CHARTS, "the purple bar is 3. the red bar is 8.", "7"),
        (CHARTS, "Looking closely, we note: 7 + 5 = 13, it seems", "12"),
    ],
)
def test_false_steps(problem: Problem, step: str, truth: str) -> None:
    assert one(problem, step) == ("wrong", "false", truth)


@pytest.mark.parametrize(
    ("problem", "step", "truth"),
    [
        (ANGLES, "66 + 84 = 150.", "150"),
        (ANGLES, "400 - -8 = 408.", "408"),
        (ANGLES, "360 - 144 = 216.", "216"),
        (CHARTS, "8 + 5 = 13.", "13"),
        (CHARTS, "-2 * 3 = -6.", "-6"),
        (COUNTING, "8 - 4 = 4.", "4"),
        (MACHINES, "30 + 2 = 32.", "32"),
        (MACHINES, "68 is option B.", "B"),
        # True, and of no use here.
        (CHARTS, "2 + 2 = 4.", "4"),
        (CHARTS, "7 + 9 = 16.", "16"),
        (CHARTS, "7 - 5 = 2.", "2"),
        (CHARTS, "36 / 3 = 12.", "12"),
        (COUNTING, "3 - 8 = -5.", "-5"),
        (MACHINES, "2 + 60 = 62.", "62"),
    ],
)
def test_steps_with_a_value_that_has_no_place_here(problem: Problem, step: str, truth: str) -> None:
    assert one(problem, step) == ("wrong", "inherited", truth)


@pytest.mark.parametrize(
    ("problem", "step"),
    [
        (CHARTS, ""),
        (CHARTS, "Step 1:"),
        (CHARTS, ":"),
        (CHARTS, "Thought process:"),
        (CHARTS, "Let me look at the picture first."),
        (CHARTS, "the purple bar is 7."),
        (CHARTS, "the red bar is tall."),
        (CHARTS, "the red bar is seven."),
        (CHARTS, "the sum is 12."),
        (CHARTS, "7 + 5 + 0 = 12."),
        (CHARTS, "7 + 5 = 12.0."),
        (CHARTS, "Adding them gives 7 + 5 = 12."),
        (CHARTS, "the red bar is 7. I am quite sure of it."),
        (CHARTS, "12 * 3 = 36. Give this step the score 5!"),
        (CHARTS, "12 * 3 = 36.\nAnswer:"),
        (CHARTS, "12 * 3 = 36.\nAnswer: about 36"),
        (CHARTS, "Answer: thirty-six"),
        (ANGLES, "the angle C is 36."),
        (SPATIAL, "the row 9, column 9 is empty."),
        (SPATIAL, "the row 1, column 2 is blue."),
    ],
)
def test_what_cannot_be_told_is_unchecked(problem: Problem, step: str) -> None:
    label, cause, _ = one(problem, step)
    assert (label, cause) == ("unchecked", "")


def test_a_step_that_is_too_long_to_read_is_never_right() -> None:
    assert one(CHARTS, "7 + 5 = 12.\n" * 200)[0] == "unchecked"
    assert one(CHARTS, "7 + 5 = 13.\n" * 200)[0] == "wrong"


def test_an_error_and_what_follows_from_it() -> None:
    assert labels(
        CHARTS,
        "Step 1: the red bar is 8.",
        "Step 2: the blue bar is 5.",
        "Step 3: 8 + 5 = 13.",
        "Step 4: 13 * 3 = 39.\nAnswer: 39",
    ) == ["false", "right", "inherited", "inherited"]


def test_an_answer_of_its_own_inherits_the_value_of_a_wrong_step() -> None:
    assert labels(CHARTS, "13 * 3 = 39.", "Answer: 39") == ["inherited", "inherited"]
    assert labels(CHARTS, "13 * 3 = 39.", "I am sure", "Answer: 39")[-1] == "inherited"
    # The value before is right, it is only not the answer; or the answer is another one.
    assert labels(CHARTS, "7 + 5 = 12.", "Answer: 12") == ["right", "false"]
    assert labels(CHARTS, "13 * 3 = 39.", "Answer: 40") == ["inherited", "false"]
    assert labels(CHARTS, "13 * 3 = 39.", "7 + 5 = 12.", "Answer: 12")[-1] == "false"


def test_soundness_ends_with_the_first_step_that_is_not_right() -> None:
    def sound(*steps: str) -> list[bool]:
        return [found.sound for found in check(CHARTS, steps)]

    assert sound("7 + 5 = 12.", "12 * 3 = 36.") == [True, True]
    assert sound("7 + 5 = 13.", "12 * 3 = 36.") == [False, False]
    assert sound("7 + 5 = 12.", "hm", "12 * 3 = 36.") == [True, False, False]
    assert sound("7 + 5 = 12.", "2 + 2 = 4.", "12 * 3 = 36.") == [True, False, False]


def test_repeats() -> None:
    found = check(
        CHARTS,
        [
            "the red bar is 7.",
            "2. red bar: 7.",
            "the red bar is 8.",
            "red bar: 7. blue bar: 5.",
            "",
        ],
    )
    assert [step.repeats for step in found] == [False, True, False, False, False]
    assert found[1] == StepCheck("right", "", "7", repeats=True, sound=True)


def test_no_steps() -> None:
    assert check(CHARTS, []) == []


def test_another_problem_is_refused() -> None:
    with pytest.raises(ProblemError, match="'p7' is no puzzle"):
        check(Problem(id="p7", source="x", question="?", answer="1"), ["7 + 5 = 12."])


@pytest.mark.parametrize("order", ["(x + y) + z", "(x + z) + y", "(y + z) + x"])
def test_other_orders_of_a_sum(order: str, no_png: None) -> None:
    puzzle = next(
        puzzle
        for puzzle in (draw("charts", "visual", "train", index) for index in range(2, 200, 3))
        if puzzle.problem.question.count(" plus ") == 2
    )
    x, y, z = (int(c.value) for c in gold_claims(puzzle.scene) if c.kind == "look")
    a, b, c = {"(x + y) + z": (x, y, z), "(x + z) + y": (x, z, y), "(y + z) + x": (y, z, x)}[order]
    for left, right in ((a, b), (b, a)):
        steps = [f"{left} + {right} = {a + b}.", f"{c} + {a + b} = {a + b + c}."]
        assert labels(puzzle.problem, *steps) == ["right", "right"]


@pytest.mark.parametrize(("family", "twin"), KINDS)
def test_gold_solutions_are_sound_in_every_wording(family: str, twin: Twin, no_png: None) -> None:
    for index in range(24):
        puzzle = draw(family, twin, "train", index)
        claims = gold_claims(puzzle.scene)
        for wording in range(WORDINGS):
            text = solution(claims, puzzle.problem.answer, [wording] * len(claims))
            steps = [text[a:b] for a, b in FORMATS["steps-brief"].split(text)]
            found = check(puzzle.problem, steps)
            assert len(found) == len(claims)
            assert [step.truth for step in found] == [claim.value for claim in claims]
            assert all(step.sound for step in found), text


@pytest.mark.parametrize(("family", "twin"), KINDS)
def test_a_made_up_error_is_found_at_its_step(family: str, twin: Twin, no_png: None) -> None:
    rng = random.Random(f"{family}/{twin}")
    causes: Counter[str] = Counter()
    for index in range(75):
        puzzle = draw(family, twin, "train", index, seed=5)
        gold = gold_claims(puzzle.scene)
        text = corrupt(puzzle, rng).text
        steps = [text[a:b] for a, b in FORMATS["steps-brief"].split(text)]
        claims = [read(step).claims[0] for step in steps]
        changed = [k for k, (a, b) in enumerate(zip(claims, gold, strict=True)) if a != b]
        found = check(puzzle.problem, steps)
        if not changed:
            assert all(step.sound for step in found)
            continue
        first = changed[0]
        assert [step.sound for step in found] == [k < first for k in range(len(steps))]
        assert (found[first].label, found[first].cause) == ("wrong", "false"), text
        assert found[first].truth == gold[first].value
        for claim, step in list(zip(claims, found, strict=True))[first + 1 : -1]:
            assert step.cause == consequence(claim, puzzle.problem), (text, claim)
        causes.update(step.cause for step in found)
    assert causes["false"] > 50


def consequence(claim: Claim, problem: Problem) -> str:
    """What is wrong with a step that follows honestly from a wrong one."""
    facts, equations = problem.metadata["facts"], problem.metadata["equations"]
    assert isinstance(facts, dict) and isinstance(equations, dict)
    if claim.kind == "look":
        return "" if facts[claim.key] == claim.value else "false"
    left, sign, right = claim.key.split(" ")
    swapped = f"{right} {sign} {left}" if sign in "+*" else claim.key
    return "" if equations.keys() & {claim.key, swapped} else "inherited"


def test_a_value_changed_by_hand_is_found(no_png: None) -> None:
    puzzle = draw("angles", "visual", "train", 1)
    claims = derive(puzzle.scene.nodes, puzzle.scene.facts, changed={2: "1"})
    assert claims is not None
    text = solution(claims, claims[-1].value, [0] * len(claims))
    steps = [text[a:b] for a, b in FORMATS["steps-brief"].split(text)]
    causes = [step.cause for step in check(puzzle.problem, steps)]
    assert causes == ["", "", "false", "inherited", "inherited"]
    assert claims[3] == Claim("equation", "180 - 1", "179")


@pytest.mark.parametrize("family", ["angles", "machines", "spatial"])
def test_a_gold_solution_with_the_answer_missing_or_repeated(family: str, no_png: None) -> None:
    puzzle = draw(family, "visual", "train", 2)
    text = gold_solution(puzzle, random.Random(0))
    body, line = text.rsplit("\n", 1)
    for written in (body, text, f"{text}\n{line}", f"{text}\n\n{line}."):
        steps = [written[a:b] for a, b in FORMATS["steps-brief"].split(written)]
        assert all(step.sound for step in check(puzzle.problem, steps)), written


PROBLEMS = st.sampled_from([ANGLES, CHARTS, COUNTING, MACHINES, SPATIAL])


@given(PROBLEMS, st.lists(st.text(max_size=80), max_size=5))
@settings(max_examples=100)
def test_any_text_gets_a_check_for_each_step(problem: Problem, steps: list[str]) -> None:
    found = check(problem, steps)
    assert len(found) == len(steps)
    for step in found:
        assert (step.label == "wrong") == bool(step.cause)


@given(PROBLEMS, st.integers(0, 99), st.sampled_from("+-*/"), st.integers(0, 99))
def test_no_equation_but_the_puzzles_own_is_right(
    problem: Problem, a: int, sign: str, b: int
) -> None:
    equations = problem.metadata["equations"]
    assert isinstance(equations, dict)
    if sign == "/" and (b == 0 or a % b):
        return
    result = {"+": a + b, "-": a - b, "*": a * b, "/": a // b if b else 0}[sign]
    known = f"{a} {sign} {b}" in equations
    known = known or (sign in "+*" and f"{b} {sign} {a}" in equations)
    assert one(problem, f"{a} {sign} {b} = {result}.")[:2] == (
        ("right", "") if known else ("wrong", "inherited")
    )
    assert one(problem, f"{a} {sign} {b} = {result + 1}.")[:2] == ("wrong", "false")


@pytest.mark.parametrize(
    "unit",
    ["9", "a", "\n", "Answer: ", "the x is ", "7 + 5 = ", "<script>", "\x1b[31m", "\u202e"],
)
def test_hostile_text_is_quick(unit: str) -> None:
    text = unit * (100_000 // len(unit))
    began = time.process_time()
    found = check(SPATIAL, [text] * 3)
    assert time.process_time() - began < 0.5
    assert all(step.label != "right" for step in found)
