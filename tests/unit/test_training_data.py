"""Training rows from files: what is read, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import engine_data as data
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vilbench.errors import ImageError, InputError, ProblemError
from vilbench.training import parquet
from vilbench.training.data import TrainingSet, load
from vilbench.training.rows import Mark, ValueRange

SPAN = ValueRange(0.0, 1.0)
ROW: dict[str, Any] = {
    "question": "How many?",
    "images": ["a.png"],
    "steps": ["One circle.", " Two of them. "],
    "values": [1, None],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, number in (("a.png", 1), ("b.png", 2)):
        (tmp_path / name).write_bytes(data.picture(number).read())
    (tmp_path / "empty.png").touch()
    (tmp_path / "cut.png").write_bytes(data.picture(1).read()[:80])
    (tmp_path / "text.png").write_text("no picture")
    return tmp_path


def lines(folder: Path, *rows: Any, name: str = "rows.jsonl") -> Path:
    path = folder / name
    told = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_text("".join(line + "\n" for line in told))
    return path


def test_a_row_is_read_as_it_stands(folder: Path) -> None:
    marks = [[[0, 3, 1], [3, 11, 0.5]], None]
    found = load(lines(folder, ROW | {"choices": ["x", "y"], "marks": marks}), SPAN)
    (row,) = found.rows
    assert row.id == "rows-1"
    assert row.parts[1] == "How many?\nA. x\nB. y"
    assert row.images == (data.picture(1),)
    assert row.steps == ("One circle.", " Two of them. ")
    assert row.values == (1.0, None)
    assert row.marks == ((Mark(0, 3, 1.0), Mark(3, 11, 0.5)), ())
    assert found.rejected == ()


def test_siblings_share_a_group(folder: Path) -> None:
    other = ROW | {"images": ["b.png"]}
    named = ROW | {"group": 7}
    found = load(lines(folder, ROW, ROW, other, named, other | {"group": 7}), SPAN)
    groups = [row.group for row in found.rows]
    assert groups[0] == groups[1] and len({*groups}) == 3
    assert groups[3] == groups[4]


FAULTS = [
    ({"values": [1.5, None]}, "values[0]", "outside of 0 to 1"),
    ({"values": [1, -0.1]}, "values[1]", "outside"),
    ({"values": [1]}, "values", "1 values for 2 steps"),
    ({"values": [None, None]}, "values", "no step is labelled"),
    ({"values": None}, "values", "is missing"),
    ({"values": ["1", None]}, "values[0]", "must be a number"),
    ({"values": [True, None]}, "values[0]", "must be a number"),
    ({"steps": []}, "steps", "there is no step"),
    ({"steps": ["a", 2]}, "steps[1]", "must be text"),
    ({"question": "", "images": []}, "question", "is empty"),
    ({"question": None}, "question", "is missing"),
    ({"marks": [[]]}, "marks", "1 lists for 2 steps"),
    ({"marks": [[[0, 12, 1]], []]}, "marks[0][0]", "no range of a text of 11 characters"),
    ({"marks": [[[3, 3, 1]], []]}, "marks[0][0]", "no range"),
    ({"marks": [[[0, 3, 2]], []]}, "marks[0][0]", "outside"),
    ({"marks": [[[0, 3, 1], [2, 5, 1]], []]}, "marks[0]", "overlap"),
    ({"marks": [[[0.5, 3, 1]], []]}, "marks[0][0]", "integers"),
    ({"images": ["none.png"]}, "images[0]", "no such file"),
    ({"images": ["empty.png"]}, "images[0]", "0 bytes"),
    ({"images": ["cut.png"]}, "images[0]", "truncated"),
    ({"images": ["text.png"]}, "images[0]", "not an image"),
    ({"images": ["../a.png"]}, "images[0]", "leads out"),
    ({"images": ["http://a/b.png"]}, "images[0]", "URLs are not read"),
    ({"vlaues": []}, "vlaues", "did you mean 'values'"),
    ({"group": ""}, "group", "must be text or an integer"),
]


@pytest.mark.parametrize(
    ("change", "field", "told"), FAULTS, ids=[f"{f[1]}-{f[2]}" for f in FAULTS]
)
def test_a_fault_names_file_row_and_field(
    folder: Path, change: dict[str, Any], field: str, told: str
) -> None:
    path = lines(folder, ROW, ROW | change)
    with pytest.raises(InputError, match="1 of 2 rows cannot be used") as caught:
        load(path, SPAN)
    assert str(path) in str(caught.value)
    assert f"row 2, field '{field}': " in str(caught.value) and told in str(caught.value)
    (rejected,) = load(path, SPAN, most_bad=0.5).rejected
    assert isinstance(rejected, ProblemError | ImageError)
    assert (rejected.file, rejected.row, rejected.field) == (str(path), 2, field)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none(folder: Path, number: str) -> None:
    line = json.dumps(ROW).replace("[1, null]", f"[1, {number}]")
    with pytest.raises(InputError, match=r"field 'values\[1\]': .* is not a finite number"):
        load(lines(folder, ROW, line), SPAN)


def test_a_row_cut_short_and_twice_the_same_id(folder: Path) -> None:
    path = lines(folder, ROW | {"id": "x"}, ROW | {"id": "x"}, ROW)
    path.write_text(path.read_text() + json.dumps(ROW)[:50])
    found = load(path, SPAN, most_bad=0.5)
    assert [row.id for row in found.rows] == ["x", "rows-3"]
    assert [error.row for error in found.rejected] == [2, 4]
    assert "already the id of row 1" in str(found.rejected[0])
    assert "the file ends inside this row" in str(found.rejected[1])


def test_bad_rows_up_to_a_share(folder: Path) -> None:
    path = lines(folder, *[ROW] * 9, ROW | {"values": [2, 0]})
    assert len(load(path, SPAN, most_bad=0.1).rows) == 9
    with pytest.raises(InputError, match=r"1 of 10 rows cannot be used, more than 9.0%"):
        load(path, SPAN, most_bad=0.09)
    bad = lines(folder, ROW | {"values": [2, 0]})
    with pytest.raises(InputError, match="1 of 1 rows"):
        load(bad, SPAN, most_bad=1.0)


def test_files_that_are_none(folder: Path) -> None:
    for name, told in (("none.jsonl", "No such file"), ("none.parquet", "No such file")):
        with pytest.raises(InputError, match=told):
            load(folder / name, SPAN)
    (folder / "x.jsonl").write_text("\n")
    with pytest.raises(InputError, match="no rows"):
        load(folder / "x.jsonl", SPAN)
    (folder / "x.parquet").write_text("PAR1 and no more")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        load(folder / "x.parquet", SPAN)


def test_the_digest_follows_file_and_images(folder: Path) -> None:
    path = lines(folder, ROW)
    first = load(path, SPAN).digest
    assert load(path, SPAN).digest == first
    (folder / "a.png").write_bytes(data.picture(5).read())
    changed = load(path, SPAN).digest
    path.write_text(json.dumps(ROW | {"values": [0, None]}))
    assert len({first, changed, load(path, SPAN).digest}) == 3


def same(one: TrainingSet, other: TrainingSet) -> None:
    strip = [(row.group, row.parts, row.steps, row.values, row.marks) for row in one.rows]
    assert strip == [(r.group, r.parts, r.steps, r.values, r.marks) for r in other.rows]


def test_parquet_holds_the_same_rows(folder: Path) -> None:
    rows = [ROW | {"marks": [[[0, 3, 1]], []]}, ROW | {"images": None, "group": "g"}]
    known = load(lines(folder, *rows), SPAN)
    parquet.write(folder / "rows.parquet", rows)
    found = load(folder / "rows.parquet", SPAN)
    same(known, found)
    assert found.rows[0].values == (1.0, None)  # a null is no 0


@pytest.mark.parametrize("form", ["bytes", "struct", "one"])
def test_parquet_may_hold_the_pictures(folder: Path, form: str) -> None:
    known = load(lines(folder, ROW), SPAN)
    picture: Any = data.picture(1).read()
    if form != "bytes":
        picture = {"bytes": picture, "path": None}
    row: dict[str, Any] = {key: ROW[key] for key in ("question", "steps", "values")}
    row |= {"image": picture} if form == "one" else {"images": [picture]}
    pq.write_table(pa.Table.from_pylist([row]), folder / "rows.parquet")
    same(known, load(folder / "rows.parquet", SPAN))


def test_parquet_faults_name_the_column(folder: Path) -> None:
    path = folder / "rows.parquet"
    for row, field, told in (
        (ROW | {"values": ["1", "2"]}, "values", r"is list<.*string>, not list<"),
        (ROW | {"answer": "3"}, "answer", "unknown column"),
    ):
        pq.write_table(pa.Table.from_pylist([row]), path)
        with pytest.raises(InputError, match=told) as caught:
            load(path, SPAN)
        assert (caught.value.file, caught.value.field) == (str(path), field)
    rows = [ROW, ROW | {"values": [float("nan"), 1.0]}, ROW | {"images": ["none.png"]}]
    pq.write_table(pa.Table.from_pylist(rows), path)
    found = load(path, SPAN, most_bad=0.9)
    assert [(error.row, error.field) for error in found.rejected] == [
        (2, "values[0]"),
        (3, "images[0]"),
    ]


def entry(process: str, value: float | None, image: str = "a.png") -> dict[str, Any]:
    return {
        "image_path": image,
        "question": "<image>\nHow many?",
        "process": process,
        "value": value,
    }


def test_vilreward_prefixes_become_solutions(folder: Path) -> None:
    entries = [
        entry("Step 1: two.\nStep 2: three.", 0.5),
        entry("Step 1: two.", 0.25),
        entry("Step 1: two.\nStep 2: four.", 0.0),
        entry("Step 1: two.\nStep 2: three.\nStep 3: so.\nStep 4: five.", 1.0),
        entry("Step 1: two", 0.1),
        entry("Step 1: twofold.", 0.7, "b.png"),
    ]
    path = folder / "train.json"
    path.write_text(json.dumps(entries))
    rows = load(path, SPAN, kind="vilreward").rows
    told = {tuple(step.strip() for step in row.steps): row.values for row in rows}
    assert told == {
        ("Step 1: two",): (0.1,),
        ("Step 1: two.", "Step 2: four."): (0.25, 0.0),
        ("Step 1: two.", "Step 2: three.", "Step 3: so.", "Step 4: five."): (
            *(None, 0.5),
            *(None, 1.0),
        ),
        ("Step 1: twofold.",): (0.7,),
    }
    assert {row.parts[1] for row in rows} == {"How many?"}
    assert len({row.group for row in rows}) == 2
    labels = sum(value is not None for row in rows for value in row.values)
    assert labels == len(entries)  # every entry counts once


def test_vilreward_faults(folder: Path) -> None:
    entries = [
        entry("Step 1: two.", 0.5),
        entry("Step 1: two.", 0.6),
        entry("", 0.5),
        entry("x", 2.0),
        entry("x", None),
        entry("y", 1.0, "none.png"),
        {"question": "?"},
        3,
    ]
    path = folder / "train.json"
    path.write_text(json.dumps(entries))
    found = load(path, SPAN, kind="vilreward", most_bad=0.9)
    assert len(found.rows) == 1
    assert {(error.row, error.field) for error in found.rejected} == {
        (2, "value"),
        (3, "process"),
        (4, "value"),
        (5, "value"),
        (6, "image_path"),
        (7, "image_path"),
        (8, None),
    }
    path.write_text("[{")
    with pytest.raises(InputError, match="not JSON"):
        load(path, SPAN, kind="vilreward")


def test_visualprm_in_both_forms(folder: Path) -> None:
    raw = {
        "image": "a.png",
        "question": "<image>\nHow many?",
        "answer": "2",
        "response": "One. Two.",
        "steps_with_score": [
            {"step": "One.", "score": 0.75, "num_mc_correct": 12, "num_mc_total": 16},
            {"step": "Two.", "score": None, "num_mc_correct": 0, "num_mc_total": 0},
        ],
    }
    turns = [
        ("system", "Judge the steps."),
        ("human", "### Question:\n<image>\nHow many?\n\n### Solution Process:\nOne."),
        ("gpt", "+"),
        ("human", "Two."),
        ("gpt", "-"),
    ]
    conversations = [{"from": who, "value": text} for who, text in turns]
    converted = {"id": 0, "image": "a.png", "conversations": conversations}
    rows = load(lines(folder, raw, converted), SPAN, kind="visualprm").rows
    assert [row.steps for row in rows] == [("One.", "Two.")] * 2
    assert [row.values for row in rows] == [(0.75, None), (1.0, 0.0)]
    assert rows[0].parts == rows[1].parts == (data.picture(1), "How many?")
    assert rows[0].group == rows[1].group
    other = [dict(turn) for turn in conversations]
    other[2]["value"] = "?"
    faults = [
        raw | {"steps_with_score": [{"step": "x", "score": 3}]},
        raw | {"image": "none.png"},
        {"image": "a.png", "conversations": other},
        {"image": "a.png", "conversations": conversations[:-1]},
        {"image": "a.png", "conversations": conversations[3:]},
    ]
    found = load(lines(folder, raw, *faults), SPAN, kind="visualprm", most_bad=0.9)
    assert [error.field for error in found.rejected] == [
        "steps_with_score[0].score",
        "image",
        "conversations[2].value",
        "conversations",
        "conversations[0].value",
    ]


def test_images_may_lie_elsewhere_and_rows_may_be_limited(folder: Path) -> None:
    away = folder / "away"
    away.mkdir()
    path = lines(away, ROW, ROW | {"images": ["none.png"]})
    assert len(load(path, SPAN, folder=folder, limit=1).rows) == 1
