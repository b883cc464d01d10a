"""Own problems in CSV, TSV, Parquet, archives and folders, as they are in JSON lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import table_data as data

from vilbench.errors import ImageError, InputError, ProblemError
from vilbench.problems import own
from vilbench.problems.files import load_jsonl
from vilbench.types import Problem

ROWS: list[dict[str, Any]] = [
    {
        "id": "a",
        "question": "Which?",
        "answer": "blue, dark",
        "choices": ["red", "blue, dark"],
        "images": ["img/0.png", "img/1.png"],
        "category": "colours",
        "metadata": {"page": 3, "tags": ["x"]},
    },
    {
        "id": "b",
        "question": 'How "long",\nin cm?',
        "answer": "12.5",
        "precision": 1,
        "unit": "cm",
        "modality": "visual-only",
    },
]


def pictures(folder: Path) -> None:
    (folder / "img").mkdir(parents=True)
    for number, one in enumerate(data.PICTURES):
        (folder / "img" / f"{number}.png").write_bytes(one)


def spelled(row: dict[str, Any]) -> dict[str, Any]:
    """A row for CSV: what is no text is spelled as JSON."""
    return {
        key: json.dumps(value) if isinstance(value, list | dict) else value
        for key, value in row.items()
    }


def expected(folder: Path) -> tuple[Problem, ...]:
    path = data.json_lines(folder / "reference.jsonl", ROWS)
    found = load_jsonl(path, source="own").problems
    path.unlink()
    return found


SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("question", pa.string()),
        ("answer", pa.string()),
        ("choices", pa.list_(pa.string())),
        ("images", pa.list_(pa.string())),
        ("category", pa.string()),
        ("metadata", pa.string()),
        ("precision", pa.int64()),
        ("unit", pa.string()),
        ("modality", pa.string()),
    ]
)


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "json"])
def test_every_format_says_the_same(tmp_path: Path, kind: str) -> None:
    pictures(tmp_path)
    path = tmp_path / f"own.{kind}"
    if kind == "parquet":
        data.parquet(path, [{**r, "metadata": spelled(r).get("metadata")} for r in ROWS], SCHEMA)
    elif kind == "json":
        path.write_text(json.dumps(ROWS))
    else:
        dialect = "excel" if kind == "csv" else "excel-tab"
        data.tsv(path, [spelled(row) for row in ROWS], dialect=dialect)
    found = own.load(path)
    assert (found.name, found.rejected) == ("own", ())
    assert found.problems == expected(tmp_path)
    assert [len(problem.images) for problem in found.problems] == [2, 0]


def test_parquet_with_pictures_inside(tmp_path: Path) -> None:
    rows = [
        {"question": "Which?", "answer": 3, "image": data.feature(data.PICTURES[0], "a.png")},
        {"question": "What?", "answer": 4, "image": None},
    ]
    found = own.load(data.parquet(tmp_path / "own.parquet", rows))
    one, two = found.problems
    assert (one.id, one.answer, one.answer_kind) == ("own-1", "3", "number")
    assert [image.read() for image in one.images] == [data.PICTURES[0]]
    assert two.images == ()


def test_parquet_with_several_pictures_inside(tmp_path: Path) -> None:
    pictures_of = [data.feature(one) for one in data.PICTURES[:2]]
    rows = [{"question": "Which?", "answer": "x", "images": pictures_of}]
    (problem,) = own.load(data.parquet(tmp_path / "own.parquet", rows)).problems
    assert [image.read() for image in problem.images] == list(data.PICTURES[:2])


def test_an_archive_of_everything(tmp_path: Path) -> None:
    table = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    members = {f"set/img/{k}.png": one for k, one in enumerate(data.PICTURES)}
    path = data.archive(tmp_path / "own.zip", {"set/problems.jsonl": table, **members})
    pictures(tmp_path)
    assert own.load(path).problems == expected(tmp_path)


def test_a_folder_as_the_hub_has_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    pictures(folder)
    rows = [{"file_name": "img/0.png", "question": "Which?", "answer": "x"}]
    data.tsv(folder / "metadata.csv", rows, dialect="excel")
    (problem,) = own.load(folder).problems
    assert problem.images[0].read() == data.PICTURES[0]


def test_shards_of_a_folder_are_one_set(tmp_path: Path) -> None:
    for number in range(2):
        rows = [{"question": "q", "answer": str(number)}]
        data.parquet(tmp_path / "own" / f"train-{number:05d}-of-00002.parquet", rows)
    found = own.load(tmp_path / "own")
    assert [problem.answer for problem in found.problems] == ["0", "1"]
    assert [problem.id for problem in found.problems] == ["own-1", "own-2"]


def test_columns_of_another_name(tmp_path: Path) -> None:
    rows = [{"prompt": "q", "label": "3", "question": "not this one"}]
    path = data.tsv(tmp_path / "own.csv", rows, dialect="excel")
    (problem,) = own.load(path, columns={"question": "prompt", "answer": "label"}).problems
    assert (problem.question, problem.answer) == ("q", "3")


def test_a_limit_ends_the_reading(tmp_path: Path) -> None:
    rows = [{"question": "q", "answer": str(number)} for number in range(4)]
    path = data.tsv(tmp_path / "own.csv", rows, dialect="excel")
    found = own.load(path, limit=2)
    assert len(found.problems) == 2
    assert found.notes == (
        f"{path}: took the first 2 of its problems (limit); the rows from 3 on are not needed",
    )


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ({"answer": ""}, "answer", "missing"),
        ({"choices": "red, blue"}, "choices", "spells no list"),
        ({"choices": '{"A": "red"}'}, "choices", "not a list"),
        ({"choices": '["red", "blue"]', "answer": "C"}, "answer", "not among the letters"),
        ({"metadata": "[1]"}, "metadata", "must be an object"),
        ({"precision": "1.5"}, "precision", "whole number"),
        ({"modality": "visual"}, "modality", "did you mean"),
        ({"answer_kind": "number", "answer": "none"}, "answer", "no number"),
        ({"images": '["none.png"]'}, "images[0]", "no such file"),
        ({"images": '["../0.png"]'}, "images[0]", "leads out"),
        ({"images": "img/0.png", "image": "img/0.png"}, "image", "give one of them"),
        ({"id": "good"}, "id", "already the id of row 1"),
    ],
)
def test_a_bad_cell_is_set_aside_by_field(
    tmp_path: Path, change: dict[str, str], field: str, says: str
) -> None:
    pictures(tmp_path)
    good = dict.fromkeys(
        ("choices", "metadata", "precision", "modality", "answer_kind", "images", "image"), ""
    )
    good |= {"id": "good", "question": "q", "answer": "3"}
    rows = [good, {**good, "id": "bad", **change}]
    path = data.tsv(tmp_path / "own.csv", rows, dialect="excel")
    (error,) = own.load(path).rejected
    assert isinstance(error, ProblemError | ImageError)
    assert (error.file, error.row, error.field) == (str(path), 2, field)
    assert says in error.message


def test_columns_that_are_unknown_or_missing(tmp_path: Path) -> None:
    path = data.tsv(tmp_path / "own.csv", [{"questoin": "q", "answer": "3"}], dialect="excel")
    with pytest.raises(InputError, match="did you mean 'question'"):
        own.load(path)
    path = data.tsv(tmp_path / "own.csv", [{"question": "q"}], dialect="excel")
    with pytest.raises(InputError, match="field 'answer': the column is missing"):
        own.load(path)


@pytest.mark.parametrize(
    ("source", "verdict"),
    [("a.csv", True), ("a.JSONL", True), ("a.zip", True), ("mathvista", False), ("puzzles", False)],
)
def test_what_is_a_path(source: str, verdict: bool) -> None:
    assert own.is_own(source) is verdict


def test_several_letters_of_own_data(tmp_path: Path) -> None:
    rows = [
        {"question": "q", "choices": ["a", "b", "c"], "answer": one, "answer_kind": "choices"}
        for one in ("C and A", "AC", "(A, C)", "A,A", "D", "")
    ]
    found = load_jsonl(data.json_lines(tmp_path / "own.jsonl", rows))
    assert [problem.answer for problem in found.problems] == ["A,C"] * 3
    assert [error.row for error in found.rejected] == [4, 5, 6]


def test_the_examples_of_the_docs(tmp_path: Path) -> None:
    """The same two problems, as JSON lines and as CSV."""
    page = (Path(__file__).parents[2] / "docs" / "own-data.md").read_text(encoding="utf-8")
    (tmp_path / "img").mkdir()
    for name in ("dogs.jpg", "a.png"):
        (tmp_path / "img" / name).write_bytes(data.PICTURES[0])
    found = []
    for language, suffix in (("json", "jsonl"), ("csv", "csv")):
        path = tmp_path / f"own.{suffix}"
        path.write_text(page.partition(f"```{language}\n")[2].partition("```")[0])
        loaded = own.load(path)
        assert loaded.rejected == ()
        found.append(loaded.problems)
    assert found[0] == found[1]
    assert [len(problem.images) for problem in found[0]] == [1, 1]
