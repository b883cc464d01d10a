"""Every adapter on files with the columns that its source has."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import table_data as data
from corpus_data import A_OKVQA, CLEVR_MATH, GEO170K, MAVIS, PROCESS, SCIENCEQA
from source_data import (
    MATHVERSE,
    MATHVERSE_TEXT,
    MATHVISTA,
    MATHVISTA_SCHEMA,
    MATHVISTA_TSV,
    MMMU_STANDARD,
    MMMU_TSV,
    MMMU_VISION,
    MMSTAR,
    MMSTAR_TSV,
    REALWORLDQA,
    VILBENCH,
    mathvista_json,
    mmmu_schema,
)

from vilbench.problems.adapters import SOURCES, find
from vilbench.problems.public import Request, load
from vilbench.problems.sets import ProblemSet
from vilbench.problems.stepwise import visualprocessbench
from vilbench.steps.format import question_parts
from vilbench.training.data import load as training_rows
from vilbench.training.rows import ValueRange
from vilbench.types import Image, Problem


@pytest.fixture(autouse=True)
def _nothing_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VILBENCH_DATA", str(tmp_path / "prepared"))


def read(name: str, path: Path, split: str | None = None) -> tuple[Problem, ...]:
    """The problems of a sound file: nothing is set aside, ids are unique, all can be asked."""
    found = load(Request(name, split, path))
    assert found.rejected == ()
    assert len({problem.id for problem in found.problems}) == len(found.problems)
    for problem in found.problems:
        assert problem.source == find(name).title
        question_parts(problem)
        assert [image.read()[:4] for image in problem.images] == [b"\x89PNG"] * len(problem.images)
        assert pickle.loads(pickle.dumps(problem)) == problem  # noqa: S301 - our own bytes
    return found.problems


def shown(problem: Problem) -> str:
    return "".join(part for part in question_parts(problem) if isinstance(part, str))


def picture(number: int) -> Image:
    from vilbench.types import BytesSource

    return Image.of(BytesSource(data.PICTURES[number]))


def mmstar_checks(problems: tuple[Problem, ...]) -> None:
    first = problems[0]
    assert (first.id, first.answer, first.answer_kind) == ("0", "B", "choice")
    assert first.question == "Which option describes the cat?"
    assert first.choices[:2] == ("It is on the book.", "It is beneath the bed.")
    assert first.images == (picture(0),)
    assert first.category == "coarse perception"
    assert first.metadata["l2_category"] == "image scene and topic"


def test_mmstar(tmp_path: Path) -> None:
    problems = read("mmstar", data.parquet(tmp_path / "mmstar.parquet", MMSTAR))
    mmstar_checks(problems)
    assert problems[0].choices == (*problems[0].choices[:2], "It sleeps", "None")
    assert (problems[1].question, problems[1].choices) == (
        "Find $m\\angle H$",
        ("97", "102", "107"),
    )


def test_mmstar_as_vlmevalkit_has_it(tmp_path: Path) -> None:
    """Choices in columns; the second row's picture is the first one's, by its index."""
    problems = read("mmstar", data.tsv(tmp_path / "MMStar.tsv", MMSTAR_TSV))
    mmstar_checks(problems)
    assert problems[0].choices == ("It is on the book.", "It is beneath the bed.", "3")
    assert problems[1].question == 'With a "quote",\nand a second line?'
    assert problems[1].images == problems[0].images


def test_mmmu_pro_with_ten_choices(tmp_path: Path) -> None:
    """The configuration's folder is found by its name, in shards."""
    folder = tmp_path / "standard (10 options)"
    for place, row in enumerate(MMMU_STANDARD):
        path = folder / f"test-{place:05d}-of-00002.parquet"
        data.parquet(path, [row], mmmu_schema(row))
    data.parquet(tmp_path / "vision" / "test-00000-of-00001.parquet", MMMU_VISION)
    first, second = read("mmmu-pro", tmp_path)
    assert (first.id, first.answer, len(first.choices)) == ("test_Physics_1", "J", 10)
    assert first.choices[2:4] == ("Newton's", "<image 3>")
    assert first.images == (picture(0), picture(1), picture(2))
    parts = question_parts(first)
    assert [part for part in parts if isinstance(part, Image)] == [
        picture(1),
        picture(0),
        picture(2),
    ]
    assert (second.category, second.images) == ("Art", (picture(1),))
    (seen,) = read("mmmu-pro", tmp_path, "vision")
    assert (seen.question, seen.choices, seen.answer) == ("", (), "C")
    assert (seen.modality, seen.answer_kind) == ("visual-only", "choice")
    assert seen.metadata["options"] == ["1 N", "2 N", "3 N"]
    assert shown(seen) == ""


def test_mmmu_pro_as_vlmevalkit_has_it(tmp_path: Path) -> None:
    (problem,) = read("mmmu-pro", data.tsv(tmp_path / "MMMU_Pro_10c.tsv", MMMU_TSV))
    assert problem.images == (picture(0), picture(1))
    assert (problem.choices, problem.answer) == (("1", "2", "3"), "C")


def mathvista_checks(choice: Problem, number: Problem) -> None:
    assert (choice.id, choice.answer, choice.answer_kind) == ("1", "B", "choice")
    assert choice.choices == ("97", "102°", "107")
    assert choice.question == "Find the angle."
    assert choice.category == "geometry problem solving"
    assert choice.images == (picture(0),)
    assert (number.answer, number.answer_kind) == ("1.2", "number")


def test_mathvista(tmp_path: Path) -> None:
    path = tmp_path / "data" / "testmini-00000-of-00001-725687bf7a18d64b.parquet"
    data.parquet(path, MATHVISTA, MATHVISTA_SCHEMA)
    data.parquet(tmp_path / "data" / "test-00000-of-00001.parquet", MATHVISTA[:1])
    choice, length, count, numbers = read("mathvista", tmp_path)
    mathvista_checks(choice, length)
    assert (length.precision, length.unit) == (1, "m")
    assert (count.answer_kind, count.precision) == ("number", 0)
    assert (numbers.answer_kind, numbers.answer) == ("list", "[0, 8]")
    assert choice.metadata["skills"] == ["geometry reasoning", "arithmetic reasoning"]
    assert numbers.images == choice.images


@pytest.mark.parametrize("zipped", [False, True])
def test_mathvista_as_its_authors_have_it(tmp_path: Path, *, zipped: bool) -> None:
    """JSON beside `images.zip`, or all of it in one archive."""
    pictures = {f"images/{k + 1}.jpg": one for k, one in enumerate(data.PICTURES)}
    table = json.dumps(mathvista_json()).encode()
    if zipped:
        path = data.archive(tmp_path / "all.zip", {"MathVista/testmini.json": table, **pictures})
    else:
        path = tmp_path
        (tmp_path / "testmini.json").write_bytes(table)
        data.archive(tmp_path / "images.zip", pictures)
    choice, length, *_ = read("mathvista", path)
    mathvista_checks(choice, length)


def test_mathvista_as_vlmevalkit_has_it(tmp_path: Path) -> None:
    choice, length = read("mathvista", data.tsv(tmp_path / "M.tsv", MATHVISTA_TSV))
    mathvista_checks(choice, length)
    assert length.question == "How long is it? (Unit: m)"


def test_mathverse(tmp_path: Path) -> None:
    data.parquet(tmp_path / "testmini.parquet", MATHVERSE)
    data.parquet(tmp_path / "testmini_text_only.parquet", MATHVERSE_TEXT)
    problems = read("mathverse", tmp_path)
    assert [problem.modality for problem in problems[:5]] == [
        "text-dominant",
        "text-lite",
        "visual-intensive",
        "visual-dominant",
        "visual-only",
    ]
    first = problems[0]
    assert (first.question, first.answer) == ("As shown, find the angle.", "B")
    assert first.choices == ("65°", "55°", "45°", "35°")
    assert (first.category, first.metadata["subfield"]) == ("Plane Geometry", "Angle")
    several = problems[3]
    assert (several.answer_kind, several.answer) == ("choices", "A,C")
    seen = problems[4]
    assert (shown(seen), seen.answer_kind, seen.answer) == ("", "choice", "B")
    free = problems[5]
    assert (free.answer_kind, free.choices) == ("expression", ())
    # The gold answer is the text of the third choice.
    assert problems[6].answer == "C"
    (text,) = read("mathverse", tmp_path, "text-only")
    assert (text.modality, text.images, len(text.choices)) == ("text-only", (), 4)


def test_mathverse_as_vlmevalkit_has_it(tmp_path: Path) -> None:
    """Objects are Python's text, pictures are base64, and an empty question is an empty cell."""
    rows = [
        {
            **row,
            "index": number,
            "image": data.based(data.PICTURES[0]),
            "metadata": str(row["metadata"]),
        }
        for number, row in enumerate(MATHVERSE)
    ]
    path = data.tsv(tmp_path / "MathVerse_MINI.tsv", rows)
    problems = read("mathverse", path)
    assert problems[0].category == "Plane Geometry"
    assert (problems[4].modality, shown(problems[4])) == ("visual-only", "")
    assert {problem.images for problem in problems} == {(picture(0),)}


def test_nothing_of_a_vision_only_question_is_shown(tmp_path: Path) -> None:
    """Some copies have the question in the column that should be empty."""
    row = {**MATHVERSE[4], "question": MATHVERSE[0]["question"]}
    (seen,) = read("mathverse", data.parquet(tmp_path / "testmini.parquet", [row]))
    assert (shown(seen), seen.choices) == ("", ())


def test_realworldqa(tmp_path: Path) -> None:
    path = data.parquet(tmp_path / "data" / "test-00000-of-00001.parquet", REALWORLDQA)
    choice, number, word = read("realworldqa", path.parent.parent)
    assert choice.question == "Which way does the wheel face?"
    assert (choice.choices, choice.answer) == (("Left", "Straight", "Right"), "B")
    assert (number.question, number.answer_kind) == ("How many cars?", "number")
    assert (word.answer, word.answer_kind, word.choices) == ("Yes", "text", ())
    assert [one.id for one in (choice, number)] == ["realworldqa-1", "realworldqa-2"]


def test_vilbench_finds_its_columns_by_a_table_of_names(tmp_path: Path) -> None:
    one, two = read("vilbench", data.parquet(tmp_path / "test.parquet", VILBENCH))
    assert (one.category, one.choices, one.answer) == ("MathVista", ("97", "102"), "B")
    assert (two.category, two.answer_kind, two.images) == ("RealWorldQA", "number", (picture(1),))


def test_columns_of_another_name(tmp_path: Path) -> None:
    rows = [
        {("asked" if key == "question" else key): value for key, value in row.items()}
        for row in VILBENCH
    ]
    path = data.parquet(tmp_path / "test.parquet", rows)
    found = load(Request("vilbench", path=path, columns={"question": "asked"}))
    assert [problem.question for problem in found.problems] == [
        "Find the angle.",
        "How many cars?",
    ]


def test_sources_of_training(tmp_path: Path) -> None:
    (knows,) = read("a-okvqa", data.parquet(tmp_path / "train-0.parquet", A_OKVQA))
    assert (knows.answer, knows.choices[3]) == ("D", "cab")
    plain, seen = read("scienceqa", data.parquet(tmp_path / "train-1.parquet", SCIENCEQA))
    assert (plain.modality, plain.images, plain.answer) == ("text-only", (), "A")
    assert (seen.question, seen.answer) == ("Look at the figure.\nWhat follows?", "B")
    (count,) = read("clevr-math", data.parquet(tmp_path / "train-2.parquet", CLEVR_MATH))
    assert (count.answer, count.answer_kind, count.category) == ("4", "number", "subtraction")
    (length,) = read("mavis-geometry", data.parquet(tmp_path / "3.parquet", MAVIS))
    assert (length.question, length.answer, length.modality) == (
        "How long is AB?",
        "C",
        "text-lite",
    )
    data.json_lines(tmp_path / "qa_tuning.jsonl", GEO170K)
    data.archive(tmp_path / "images.zip", {"geo3k/train/74/img_diagram.png": data.PICTURES[0]})
    (angle,) = read("geoqa170k", tmp_path)
    assert (angle.question, angle.choices) == ("Find x.", ("30", "45", "60", "90"))
    assert (angle.answer, angle.metadata["solution"]) == ("B", "The triangle is right.")


def test_visualprocessbench(tmp_path: Path) -> None:
    data.json_lines(tmp_path / "test.jsonl", PROCESS)
    data.archive(tmp_path / "images.zip", {"images/MMMU/1.png": data.PICTURES[0]})
    found = visualprocessbench(tmp_path)
    one, two = found.solutions
    assert (one.steps, one.labels) == (("It is red.", "So B.", "Done."), (1, -1, 0))
    assert (one.policy, one.problem.category, one.problem.question) == (
        "GPT-4o",
        "MMMU",
        "What is it?",
    )
    # The card declares a list of pictures and a single one.
    assert one.problem.images == two.problem.images == (picture(0),)
    assert found.notes == (f"{tmp_path}: 2 rows; VisualProcessBench is known to have 2,866",)


def test_labels_without_a_wrong_step_are_told(tmp_path: Path) -> None:
    row = {
        **PROCESS[0],
        "image": [],
        "response": {"steps": ["a", "b"], "process_correctness": [1, 0]},
    }
    found = visualprocessbench(data.json_lines(tmp_path / "test.jsonl", [row]))
    assert "no label is -1" in found.notes[-1]


@pytest.mark.parametrize(
    ("response", "field"),
    [
        (None, "response"),
        ({"steps": [], "process_correctness": []}, "response.steps"),
        ({"steps": ["a"], "process_correctness": [1, 1]}, "response.process_correctness"),
        ({"steps": ["a"], "process_correctness": "1"}, "response.process_correctness"),
        ({"steps": ["a"], "process_correctness": [2]}, "response.process_correctness[0]"),
        ({"steps": ["a"], "process_correctness": [True]}, "response.process_correctness[0]"),
        ({"steps": ["a", " "], "process_correctness": [1, 1]}, "response.steps[1]"),
    ],
)
def test_labels_that_cannot_be_used(tmp_path: Path, response: Any, field: str) -> None:
    bad = {**PROCESS[1], "image": [], "response": response}
    good = {**PROCESS[1], "image": []}
    found = visualprocessbench(data.json_lines(tmp_path / "test.jsonl", [good, bad]))
    (error,) = found.rejected
    assert (error.row, error.field) == (2, field)


def test_how_many_rows_a_source_is_known_to_have(tmp_path: Path) -> None:
    found: ProblemSet = load(Request("mmstar", path=data.parquet(tmp_path / "m.parquet", MMSTAR)))
    assert found.notes == (
        f"{tmp_path / 'm.parquet'}: 2 rows; MMStar, val, is known to have 1,500",
    )


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_says_what_it_is(name: str) -> None:
    found = find(name)
    assert found.title
    assert "/" in found.repository
    assert found.about
    assert all(part.files for part in found.parts.values())


def test_training_data_reads_its_pictures_from_the_archive(tmp_path: Path) -> None:
    """ViLReward-73K comes as a JSON list and `images.zip`."""
    entries = [
        {"image_path": "images/1.png", "question": "q", "process": text, "value": value}
        for text, value in (("Step 1: a", 0.5), ("Step 1: a\nStep 2: b", 1.0))
    ]
    (tmp_path / "train.json").write_text(json.dumps(entries))
    data.archive(tmp_path / "images.zip", {"images/1.png": data.PICTURES[0]})
    found = training_rows(tmp_path / "train.json", ValueRange(0.0, 1.0), kind="vilreward")
    (row,) = found.rows
    assert row.values == (0.5, 1.0)
    assert [image.read() for image in row.images] == [data.PICTURES[0]]


def test_the_list_of_an_archive_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may name 100,000 pictures."""
    opened = []

    class Counted(zipfile.ZipFile):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            opened.append(arguments)
            super().__init__(*arguments, **options)

    names = [f"images/{number}.png" for number in range(30)]
    data.archive(tmp_path / "images.zip", dict.fromkeys(names, data.PICTURES[0]))
    rows = [{**MMSTAR[0], "index": k, "image": name} for k, name in enumerate(names)]
    path = data.json_lines(tmp_path / "rows.jsonl", rows)
    monkeypatch.setattr(zipfile, "ZipFile", Counted)
    found = load(Request("mmstar", path=path))
    assert all(problem.images[0].read() == data.PICTURES[0] for problem in found.problems)
    assert len(found.problems) == 30
    # One for the check of its members, one for the pictures.
    assert len(opened) == 2
