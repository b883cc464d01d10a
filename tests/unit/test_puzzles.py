from __future__ import annotations

import hashlib
import io
import random
import re
from collections import Counter
from typing import Any, cast, get_args

import numpy as np
import pytest
from PIL import Image as Pillow

from vilbench.answers import read as read_answer
from vilbench.errors import ProblemError
from vilbench.problems.puzzles import FAMILIES, KINDS, Puzzle, Split, draw, puzzles
from vilbench.problems.puzzles.canvas import CELL, CELLS, COLORS, SIDE, Canvas, Cell
from vilbench.problems.puzzles.puzzle import (
    content_key,
    contents,
    gold_claims,
    gold_solution,
    split_of,
)
from vilbench.problems.puzzles.scene import Twin
from vilbench.steps import FORMATS, question_parts
from vilbench.training.embedded.examples import draw_puzzle
from vilbench.training.embedded.recipe import SEED, draw_align, draw_first

SPLITS = cast("tuple[Split, ...]", get_args(Split))


@pytest.fixture
def no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the pictures, which take most of the time; many puzzles need many."""
    monkeypatch.setattr(Canvas, "png", lambda _: b"picture")


def pixels(puzzle: Puzzle) -> np.ndarray[Any, Any]:
    return np.asarray(Pillow.open(io.BytesIO(puzzle.problem.images[0].read())))


def told(puzzle: Puzzle) -> tuple[object, ...]:
    problem = puzzle.problem
    gold = tuple(gold_claims(puzzle.scene))
    return (problem.id, problem.question, problem.answer, problem.choices, gold, puzzle.content)


# Worked by hand from the pictures and questions of the first puzzles of level 2.
GOLDEN = {
    ("angles", "text"): (
        "The angles around a point are A = 78, B = 54, C. What is 400 minus angle C?",
        (),
        ["the angle A is 78.", "the angle B is 54.", "78 + 54 = 132.", "360 - 132 = 228.",
         "400 - 228 = 172."],
        "172",
    ),
    ("angles", "visual"): (
        "The angles around a point are A (left), B (right), C. What is 400 minus angle C?",
        (),
        ["the angle A is 78.", "the angle B is 54.", "78 + 54 = 132.", "360 - 132 = 228.",
         "400 - 228 = 172."],
        "172",
    ),
    ("charts", "text"): (
        "The bars are red 15, blue 2, green 2, yellow 9."
        " What is the yellow bar minus the blue bar, times 3?",
        (),
        ["the yellow bar is 9.", "the blue bar is 2.", "9 - 2 = 7.", "7 * 3 = 21."],
        "21",
    ),
    ("charts", "visual"): (
        "What is the yellow bar minus the blue bar, times 3?",
        (),
        ["the yellow bar is 9.", "the blue bar is 2.", "9 - 2 = 7.", "7 * 3 = 21."],
        "21",
    ),
    ("counting", "text"): (
        "There are 9 objects: 3 circles, 6 crosses."
        " Remove all crosses. Add 6 objects. How many are there?",
        (),
        ["the number of objects is 9.", "the number of crosses is 6.", "9 - 6 = 3.",
         "3 + 6 = 9."],
        "9",
    ),
    ("counting", "visual"): (
        "Remove all crosses. Add 6 objects. How many are there?",
        (),
        ["the number of objects is 9.", "the number of crosses is 6.", "9 - 6 = 3.",
         "3 + 6 = 9."],
        "9",
    ),
    ("machines", "text"): (
        "A machine starts with 32, then - 6, then - 2. What comes out?",
        ("14", "21", "25", "24", "30", "15"),
        ["the start is 32.", "32 - 6 = 26.", "26 - 2 = 24.", "24 is option D."],
        "D",
    ),
    ("machines", "visual"): (
        "Follow the machine. What comes out?",
        ("14", "21", "25", "24", "30", "15"),
        ["the start is 32.", "32 - 6 = 26.", "26 - 2 = 24.", "24 is option D."],
        "D",
    ),
    ("spatial", "visual"): (
        "What is directly above the red square?",
        (),
        ["the red square is row 4, column 4.", "the row 3, column 4 is green square."],
        "green square",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("family", "twin"), KINDS)
def test_golden_examples(family: str, twin: Twin) -> None:
    problem = draw(family, twin, "test", 1).problem
    question, choices, gold, answer = GOLDEN[family, twin]
    assert (problem.question, problem.choices) == (question, choices)
    assert problem.metadata["gold"] == gold
    assert problem.answer == answer
    assert problem.id == f"{family}-{twin}-test-0-1"
    assert (problem.source, problem.category) == (family, "level-2")


def test_one_picture_stays_as_it_is() -> None:
    # Pixels, since another library version may encode them otherwise.
    found = hashlib.sha256(pixels(draw("angles", "visual", "test", 2)).tobytes()).hexdigest()
    assert found.startswith("ec8cb499e682cf55")


@pytest.mark.parametrize(("family", "twin"), KINDS)
def test_a_name_is_a_puzzle(family: str, twin: Twin) -> None:
    for split in SPLITS:
        one, two = (draw(family, twin, split, 4, seed=3) for _ in range(2))
        assert told(one) == told(two)
        assert np.array_equal(pixels(one), pixels(two))
        assert one.problem.images == two.problem.images


@pytest.mark.parametrize(("family", "twin"), KINDS)
def test_another_name_is_another_puzzle(family: str, twin: Twin, no_picture: None) -> None:
    contents = Counter(
        draw(family, twin, split, index, seed).content
        for split in SPLITS
        for seed in (0, 1, 20261)
        for index in range(10)
    )
    # Small families may meet themselves by chance, within a split.
    assert len(contents) > 80


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_pictures(family: str) -> None:
    for puzzle in (draw(family, "visual", "dev", index) for index in range(3)):
        data = puzzle.problem.images[0].read()
        picture = Pillow.open(io.BytesIO(data))
        assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (128, 128))
        assert len(puzzle.problem.images) == 1
        # Light paper, and ink on it.
        values = pixels(puzzle)
        assert np.median(values) >= 230
        assert (values.min(axis=2) < 120).sum() > 20


def shows(puzzle: Puzzle, cell: Cell, text: str) -> bool:
    """Whether the glyphs of `text` stand in a cell, dot by dot."""
    ink = pixels(puzzle).max(axis=2) < 60
    left, top = cell.corner
    place = ink[top : top + CELL, left : left + CELL]
    for character in text:
        canvas = Canvas(random.Random(0))
        canvas.glyphs(0, 0, character, 2, (0, 0, 0))
        stencil = (np.asarray(canvas.image).max(axis=2) < 60)[:14, :10]
        windows = np.lib.stride_tricks.sliding_window_view(place, stencil.shape)
        if not (windows == stencil).all(axis=(2, 3)).any():
            return False
    return True


def test_the_picture_shows_the_numbers_of_the_visual_twin_alone() -> None:
    for index in range(6):
        visual, text = (draw("angles", twin, "test", index) for twin in ("visual", "text"))
        kind = visual.problem.question.split(" are ")[0]
        left, right = {
            "The angles of a triangle": (Cell(4, 1), Cell(4, 4)),
            "The angles on a line": (Cell(3, 1), Cell(3, 4)),
            "The angles around a point": (Cell(2, 1), Cell(2, 4)),
        }[kind]
        for cell, name in ((left, "angle A"), (right, "angle B")):
            assert shows(visual, cell, visual.scene.facts[name])
            assert not shows(text, cell, visual.scene.facts[name])
    for index in range(3):
        visual, text = (draw("machines", twin, "test", index) for twin in ("visual", "text"))
        (row,) = [row for row in (2, 3) if shows(visual, Cell(row, 1), visual.scene.facts["start"])]
        for number in range(1, index + 2):
            box = visual.scene.facts[f"box {number}"].replace(" ", "")
            assert shows(visual, Cell(row, number + 1), box)
            assert not shows(text, Cell(row, number + 1), box)


@pytest.mark.parametrize("family", ["charts", "counting", "spatial"])
def test_the_picture_shows_the_facts(family: str) -> None:
    for index in range(6):
        puzzle = draw(family, "visual", "test", index)
        facts = puzzle.scene.facts
        values = pixels(puzzle).astype(int)
        strong = {
            name: np.linalg.norm(values - np.array(color), axis=2) < 30
            for name, color in COLORS.items()
        }
        for name, mask in strong.items():
            if family == "charts":
                column = mask.sum(axis=0).max()
                assert abs(column - 8 * int(facts[f"{name} bar"])) <= 1
                continue
            cells = [
                Cell(row, column)
                for row in range(1, CELLS + 1)
                for column in range(1, CELLS + 1)
                if centre(mask, Cell(row, column)) > 40
            ]
            if family == "counting":
                assert len(cells) == int(facts[f"number of {name} objects"])
            else:
                assert {cell.words for cell in cells} == {
                    words for words, thing in facts.items()
                    if thing.startswith(f"{name} ") and words.startswith("row ")
                }  # fmt: skip


def centre(mask: np.ndarray[Any, Any], cell: Cell) -> int:
    left, top = cell.corner
    return int(mask[top + 8 : top + CELL - 8, left + 8 : left + CELL - 8].sum())


@pytest.mark.parametrize("family", ["angles", "charts", "counting", "machines"])
def test_twins_are_one_scene_asked_twice(family: str) -> None:
    for index in range(6):
        text, visual = (draw(family, twin, "test", index, seed=2) for twin in ("text", "visual"))
        assert text.content == visual.content
        assert text.scene.facts == visual.scene.facts
        assert gold_claims(text.scene) == gold_claims(visual.scene)
        assert text.problem.answer == visual.problem.answer
        assert text.problem.choices == visual.problem.choices
        assert text.problem.question != visual.problem.question
        assert text.problem.id != visual.problem.id
        assert (text.problem.modality, visual.problem.modality) == (
            "text-dominant",
            "visual-dominant",
        )


@pytest.mark.parametrize("family", ["angles", "charts", "counting", "machines"])
def test_the_text_twin_tells_every_number_that_a_solution_reads(
    family: str, no_picture: None
) -> None:
    for index in range(30):
        puzzle = draw(family, "text", "dev", index)
        # Kinds of objects that are not told of are none.
        numbers = {"0", *re.findall(r"\d+", puzzle.problem.question)}
        for claim in gold_claims(puzzle.scene):
            if claim.kind == "look":
                assert claim.value in numbers
        if family in ("angles", "charts"):
            hidden = puzzle.scene.questions["visual"]
            assert not {c.value for c in gold_claims(puzzle.scene) if c.kind == "look"} & set(
                re.findall(r"= (\d+)", hidden)
            )


@pytest.mark.parametrize("family", [family for family, twin in KINDS if twin == "text"])
@pytest.mark.parametrize("level", [1, 2, 3])
def test_no_text_question_stands_in_two_splits(family: str, level: int, no_picture: None) -> None:
    def asked(split: Split, count: int, seed: int) -> set[str]:
        places = range(level - 1, 3 * count, 3)
        return {draw(family, "text", split, k, seed).problem.question for k in places}

    assert not asked("test", 20, 0) & asked("train", 600, SEED)


@pytest.mark.parametrize(
    ("family", "twin", "split", "message"),
    [
        ("spatial", "text", "test", "no text puzzles of the family 'spatial'"),
        ("mazes", "visual", "test", "no visual puzzles of the family 'mazes'"),
        ("angles", "video", "test", "no video puzzles of the family 'angles'"),
        # Without the check, no content would ever fall into such a split.
        ("angles", "text", "validation", "no split 'validation': take train, dev, test"),
    ],
)
def test_what_there_is_not(family: str, twin: str, split: str, message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        draw(family, cast("Twin", twin), cast("Split", split), 0)


def test_puzzles_take_turns_and_have_unique_ids(no_picture: None) -> None:
    drawn = list(puzzles("test", 200, seed=7))
    assert len(drawn) == 200
    assert len({puzzle.problem.id for puzzle in drawn}) == 200
    kinds = [
        (p.problem.source, "text" if p.problem.modality == "text-dominant" else "visual")
        for p in drawn
    ]
    assert kinds[:18] == list(KINDS) * 2
    levels = Counter(puzzle.problem.category for puzzle in drawn)
    assert levels.keys() == {"level-1", "level-2", "level-3"}
    assert min(levels.values()) > 50
    assert list(puzzles("test", 0)) == []
    # A shorter list is the beginning of a longer one.
    assert [told(p) for p in puzzles("test", 20, seed=7)] == [told(p) for p in drawn[:20]]


def test_levels_ask_for_more_steps(no_picture: None) -> None:
    for family in ("angles", "counting", "charts", "machines"):
        steps = [
            np.mean([len(gold_claims(draw(family, "text", "dev", 3 * k + level).scene))
                     for k in range(15)])
            for level in range(3)
        ]  # fmt: skip
        assert steps == sorted(steps) and steps[0] < steps[2], family
    for index, (fewest, most) in enumerate([(3, 4), (5, 7), (8, 10)]):
        scene = draw("spatial", "visual", "dev", index).scene
        assert fewest <= sum(key.startswith("row of") for key in scene.facts) <= most


def test_choices(no_picture: None) -> None:
    answers: Counter[str] = Counter()
    for index in range(90):
        problem = draw("machines", "visual", "dev", index).problem
        assert problem.answer_kind == "choice"
        assert len(problem.choices) == (4, 6, 10)[index % 3]
        assert len(set(problem.choices)) == len(problem.choices)
        assert all(re.fullmatch(r"\d+", choice) for choice in problem.choices)
        arrived = gold_claims(draw("machines", "visual", "dev", index).scene)[-2].value
        assert problem.choices[ord(problem.answer) - ord("A")] == arrived
        answers[problem.answer] += 1
    # No letter gives itself away.
    assert answers.keys() == set("ABCDEFGHIJ")
    assert max(answers.values()) < 35


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_drawing_ends_and_gives_sane_numbers(family: str) -> None:
    for seed in range(300):
        for level in (1, 2, 3):
            scene = FAMILIES[family](random.Random(seed), level)
            claims = gold_claims(scene)
            assert 2 <= len(claims) <= 7
            for claim in claims:
                if claim.kind == "equation":
                    assert 0 <= int(claim.value) <= 1600
            if scene.answer_kind == "number":
                assert claims[-1].value.isdigit()


@pytest.mark.parametrize(("family", "twin"), KINDS)
def test_the_pipeline_grades_gold_solutions_as_correct(
    family: str, twin: Twin, no_picture: None
) -> None:
    for index in range(12):
        puzzle = draw(family, twin, "dev", index)
        text = gold_solution(puzzle, random.Random(index))
        assert read_answer(text, puzzle.problem).verdict == "correct", text
        steps = FORMATS["steps-brief"].split(text)
        assert len(steps) == len(gold_claims(puzzle.scene))
        assert text[steps[-1].end - len(puzzle.problem.answer) : steps[-1].end] == (
            puzzle.problem.answer
        )
        (image, _) = question_parts(puzzle.problem)
        assert image == puzzle.problem.images[0]


def test_the_content_decides_the_split() -> None:
    shares = Counter(split_of(hashlib.sha256(str(n).encode()).hexdigest()) for n in range(20_000))
    assert shares["test"] / 20_000 == pytest.approx(0.05, abs=0.01)
    assert shares["dev"] / 20_000 == pytest.approx(0.05, abs=0.01)
    scene = FAMILIES["angles"](random.Random(1), 2)
    assert content_key("angles", scene) != content_key("charts", scene)


def test_splits_and_the_training_stream_never_meet(no_picture: None) -> None:
    seen = set(contents("train", 1600))
    rng = random.Random("stream")
    seen |= {draw_puzzle(rng, SEED).content for _ in range(250)}
    seen |= {draw_first(rng, k / 120).content for k in range(120)}
    seen |= {draw_align(rng, k / 120).content for k in range(120)}
    assert len(seen) > 1200
    held_out: dict[Split, set[str]] = {"dev": set(), "test": set()}
    for split, found in held_out.items():
        for seed in (0, SEED):
            found.update(contents(split, 99, seed))
        assert {split_of(content) for content in found} == {split}
    assert {split_of(content) for content in seen} == {"train"}
    assert not held_out["dev"] & held_out["test"]
    assert not seen & (held_out["dev"] | held_out["test"])


def test_contents_are_those_of_the_puzzles(no_picture: None) -> None:
    for split in SPLITS:
        drawn = [puzzle.content for puzzle in puzzles(split, 18, seed=3)]
        assert list(contents(split, 18, seed=3)) == drawn


def test_the_picture_keeps_to_its_lattice() -> None:
    assert (SIDE, CELL, CELLS) == (128, 32, 4)
    assert Cell(2, 3).corner == (64, 32)
    assert Cell(2, 3).words == "row 2, column 3"
    for row in range(1, CELLS + 1):
        for column in range(1, CELLS + 1):
            cell = Cell(row, column)
            for seed in range(5):
                canvas = Canvas(random.Random(seed))
                paper = canvas.image.getpixel((0, 0))
                canvas.shape(cell, "blue", "cross")
                canvas.text(cell, "84")
                drawn = (np.asarray(canvas.image) != np.asarray(paper)).any(axis=2)
                left, top = cell.corner
                inside = drawn[top : top + CELL, left : left + CELL].sum()
                assert inside == drawn.sum() > 0
