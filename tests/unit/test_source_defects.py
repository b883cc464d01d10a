"""What is wrong with a copy of a public source is told by file, row and field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import table_data as data
from corpus_data import A_OKVQA, CLEVR_MATH, GEO170K, MAVIS, SCIENCEQA
from hypothesis import given, settings
from hypothesis import strategies as st
from source_data import (
    MATHVERSE,
    MATHVISTA,
    MATHVISTA_TSV,
    MMMU_STANDARD,
    MMMU_TSV,
    MMMU_VISION,
    MMSTAR,
    MMSTAR_TSV,
    REALWORLDQA,
    VILBENCH,
    mmmu_schema,
)

from vilbench.errors import ImageError, InputError, ProblemError
from vilbench.problems.adapters import find
from vilbench.problems.adapters.source import Identity
from vilbench.problems.cells import Cells, Pictures
from vilbench.problems.public import Request, load
from vilbench.problems.sets import ProblemSet
from vilbench.problems.storage import Folder


@pytest.fixture(autouse=True)
def _nothing_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VILBENCH_DATA", str(tmp_path / "prepared"))


ROWS: dict[str, tuple[data.Rows, str]] = {
    "mmstar": (MMSTAR_TSV[:1], "MMStar.tsv"),
    "mmmu-pro": (MMMU_TSV, "MMMU_Pro_10c.tsv"),
    "mathvista": (MATHVISTA_TSV[:1], "MathVista_MINI.tsv"),
}


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    """JSON lines, whose pictures are files beside them."""
    for number, one in enumerate(data.PICTURES):
        (path.parent / f"{number}.png").write_bytes(one)
    return data.json_lines(path, rows)


GOOD: dict[str, dict[str, Any]] = {
    "mmstar": data.plain(MMSTAR[0]),
    "mmmu-pro": data.plain(MMMU_STANDARD[0]),
    "mathvista": data.plain(MATHVISTA[0]),
    "mathverse": data.plain(MATHVERSE[0]),
    "realworldqa": data.plain(REALWORLDQA[0]),
    "vilbench": data.plain(VILBENCH[0]),
    "a-okvqa": data.plain(A_OKVQA[0]),
    "scienceqa": data.plain(SCIENCEQA[1]),
    "clevr-math": data.plain(CLEVR_MATH[0]),
    "mavis-geometry": data.plain(MAVIS[0]),
    "geoqa170k": {**GEO170K[0], "image": "0.png"},
}
_IDS = {
    "mmstar": "index",
    "mmmu-pro": "id",
    "mathvista": "pid",
    "mathverse": "sample_index",
    "vilbench": "id",
    "a-okvqa": "question_id",
    "mavis-geometry": "id",
}

CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("mmstar", {"answer": "E"}, "answer", "not among the letters A to D"),
    ("mmstar", {"answer": None}, "answer", "missing"),
    ("mmstar", {"question": 5}, "question", "must be text, not a number"),
    ("mmstar", {"image": "none.png"}, "image", "no such file"),
    ("mmstar", {"image": "../0.png"}, "image", "leads out"),
    ("mmstar", {"image": 3}, "image", "must be a picture, not a number"),
    ("mmstar", {"image": {"bytes": None, "path": None}}, "image", "must be a picture, not null"),
    ("mmstar", {"index": None}, "index", "missing"),
    ("mmstar", {"index": True}, "index", "text or a number"),
    ("mmmu-pro", {"options": "A or B"}, "options", "spells no list"),
    ("mmmu-pro", {"options": "{'A': 1}"}, "options", "not a list"),
    ("mmmu-pro", {"options": 4}, "options", "must be a list, not a number"),
    ("mmmu-pro", {"options": "['only']"}, "options", "1 choices"),
    ("mmmu-pro", {"options": "__import__('os').system('true')"}, "options", "spells no list"),
    ("mmmu-pro", {"options": "[" * 50_000}, "options", "spells no list"),
    ("mmmu-pro", {"options": "['a', None]"}, "options[1]", "must be text or a number, not null"),
    ("mmmu-pro", {"options": "['a', ' ']"}, "options[1]", "empty"),
    ("mmmu-pro", {"answer": "K"}, "answer", "not among the letters A to J"),
    ("mmmu-pro", {"image_2": None}, "image_2", "image_3 is not"),
    ("mmmu-pro", {"image_3": None}, "image_3", "'<image 3>' stands in the text"),
    ("mathvista", {"choices": "97 or 102"}, "choices", "spells no list"),
    ("mathvista", {"answer": "98"}, "answer", "text of 0 of the choices"),
    ("mathvista", {"choices": ["102°", "102°"]}, "answer", "text of 2 of the choices"),
    ("mathvista", {"choices": {"A": "97"}}, "choices", "must be a list, not an object"),
    ("mathvista", {"question_type": "essay"}, "question_type", "none of multi_choice"),
    ("mathvista", {"precision": "two"}, "precision", "whole number from 0"),
    ("mathvista", {"precision": -1}, "precision", "whole number from 0, not -1"),
    ("mathvista", {"metadata": "none"}, "metadata", "spells no list or object"),
    (
        "mathvista",
        {"question_type": "free_form", "answer_type": "integer", "answer": "many"},
        "answer",
        "no number",
    ),
    (
        "mathvista",
        {"question_type": "free_form", "answer_type": "list", "answer": "1 and 2"},
        "answer",
        "spells no list",
    ),
    ("mathverse", {"problem_version": "Text"}, "problem_version", "none of Text Only"),
    ("mathverse", {"answer": "E"}, "answer", "not among the letters A to D"),
    ("mathverse", {"image": None}, "image", "though the version is Text Dominant"),
    ("mathverse", {"question": None}, "question", "missing"),
    ("realworldqa", {"answer": "D"}, "answer", "not among the letters A to C"),
    ("realworldqa", {"question": ["q"]}, "question", "must be text, not a list"),
    ("vilbench", {"question": None}, "question", "none of question, query"),
    ("vilbench", {"answer": None}, "answer", "the row has id, dataset"),
    ("vilbench", {"options": "nothing"}, "options", "spells no list"),
    ("a-okvqa", {"correct_choice_idx": 4}, "correct_choice_idx", "not among the 4 choices"),
    ("a-okvqa", {"correct_choice_idx": None}, "correct_choice_idx", "missing"),
    ("scienceqa", {"answer": 1.5}, "answer", "whole number"),
    ("scienceqa", {"choices": "a"}, "choices", "spells no list"),
    ("clevr-math", {"label": None}, "label", "missing"),
    ("mavis-geometry", {"text_en": "q"}, "text_en", "spells no list or object"),
    ("mavis-geometry", {"image_text_lite": None, "image_vision_dominant": None}, "text_en", "no"),
    ("geoqa170k", {"conversations": []}, "conversations", "must be a list, not null"),
    ("geoqa170k", {"conversations": [1]}, "conversations", "1 turns"),
    ("geoqa170k", {"conversations": [{"from": "gpt"}] * 2}, "conversations[0]", "turn of 'human'"),
    (
        "geoqa170k",
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "B"}]},
        "conversations[1].value",
        "no 'Answer:'",
    ),
]


@pytest.mark.parametrize(("name", "change", "field", "says"), CASES)
def test_a_row_that_cannot_be_used(
    tmp_path: Path, name: str, change: dict[str, Any], field: str, says: str
) -> None:
    good = GOOD[name]
    bad = {**good, **({_IDS[name]: "other"} if name in _IDS else {}), **change}
    path = written(tmp_path / "rows.jsonl", [good, bad])
    found = load(Request(name, path=path))
    assert len(found.problems) == 1
    (error,) = found.rejected
    assert (error.file, error.row, error.field) == (str(path), 2, field)
    assert says in error.message
    assert len(error.message) < 400


@pytest.mark.parametrize("name", sorted(_IDS))
def test_an_id_that_is_taken(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "rows.jsonl", [GOOD[name]] * 2)
    (error,) = load(Request(name, path=path)).rejected
    assert (error.row, error.field) == (2, "id")
    assert "already the id of row 1" in error.message


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_column_that_is_missing(tmp_path: Path, name: str) -> None:
    for needed in find(name).columns:
        names = needed.split("|")
        row = {key: str(value) for key, value in GOOD[name].items() if key not in names}
        path = data.tsv(tmp_path / "rows.tsv", [row])
        with pytest.raises(InputError, match="the column is missing; there are") as caught:
            load(Request(name, path=path))
        assert caught.value.field == needed.replace("|", " or ")


def test_a_parquet_column_of_another_type(tmp_path: Path) -> None:
    rows = [{**MMSTAR[0], "question": 5}]
    path = data.parquet(tmp_path / "mmstar.parquet", rows)
    with pytest.raises(InputError, match="no usable row among 1: row 1, field 'question': must be"):
        load(Request("mmstar", path=path))


def test_parquet_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "mmstar.parquet"
    path.write_bytes(b"PAR1 but not really")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        load(Request("mmstar", path=path))


def test_parquet_that_is_damaged_inside(tmp_path: Path) -> None:
    rows = [{**MMSTAR[0], "index": number} for number in range(40)]
    path = data.parquet(tmp_path / "mmstar.parquet", rows)
    whole = bytearray(path.read_bytes())
    # Behind the magic number: the first pages, which the footer knows nothing of.
    whole[4:600] = b"\xff" * 596
    path.write_bytes(whole)
    with pytest.raises(InputError, match=r"is damaged|cannot be read|no usable row"):
        load(Request("mmstar", path=path))


def row_of(tmp_path: Path, **changes: Any) -> ProblemError | ImageError:
    """What is told of a TSV row behind a good one."""
    first = dict(MMSTAR_TSV[0])
    rows = [first, {**first, "index": 7, **changes}]
    (error,) = load(Request("mmstar", path=data.tsv(tmp_path / "MMStar.tsv", rows))).rejected
    assert error.row == 2
    return error


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ("!" * 100, "is no base64"),
        (data.based(data.PICTURES[0])[:-3], "is no base64"),
        (data.based(b"no picture at all" * 9), "not an image of a known format"),
        (data.based(data.PICTURES[0][:2000]), "damaged or truncated"),
        ("17", "neither base64 of a picture nor the index of a row before"),
    ],
)
def test_base64_that_is_broken(tmp_path: Path, image: str, says: str) -> None:
    error = row_of(tmp_path, image=image)
    assert isinstance(error, ImageError)
    assert error.field == "image"
    assert says in error.message


def test_a_row_of_another_length(tmp_path: Path) -> None:
    path = data.tsv(tmp_path / "MMStar.tsv", MMSTAR_TSV)
    path.write_text(path.read_text() + "one\ttwo\n")
    (error,) = load(Request("mmstar", path=path)).rejected
    assert (error.row, error.message) == (3, "2 cells for 10 columns")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"index\tindex\n", "column 'index' is there twice"),
        (b"index\tquestion\timage\tanswer\n\xff\n", "not UTF-8"),
        (b'index\tquestion\timage\tanswer\n1\t"open', "unexpected end of data"),
        (b"index\tquestion\timage\tanswer\n", "no rows"),
    ],
)
def test_a_tsv_file_that_is_none(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "MMStar.tsv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=says):
        load(Request("mmstar", path=path))


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"{", "not JSON"), (b"3", "neither a list nor an object"), (b"[3]", "not a JSON object")],
)
def test_a_json_file_that_is_none(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "testmini.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=says):
        load(Request("mathvista", path=path))


def test_a_shard_that_is_missing(tmp_path: Path) -> None:
    data.parquet(tmp_path / "val-00001-of-00003.parquet", MMSTAR)
    with pytest.raises(InputError, match="'val-00000-of-00003' is missing, part 1 of 3"):
        load(Request("mmstar", path=tmp_path))


def test_a_folder_without_the_files(tmp_path: Path) -> None:
    (tmp_path / "readme.md").write_text("nothing")
    with pytest.raises(InputError, match=r"holds none of testmini-\*\.parquet, testmini\.json"):
        load(Request("mathvista", path=tmp_path))
    with pytest.raises(InputError, match="no such file or folder"):
        load(Request("mathvista", path=tmp_path / "nowhere"))
    with pytest.raises(InputError, match="is none of parquet, tsv"):
        load(Request("mathvista", path=tmp_path / "readme.md"))


def mmmu(path: Path, split: str) -> ProblemSet:
    return load(Request("mmmu-pro", split, path))


def test_mmmu_pro_takes_no_other_configuration(tmp_path: Path) -> None:
    folder = tmp_path / "standard (10 options)"
    rows = MMMU_STANDARD
    data.parquet(folder / "test-00000-of-00001.parquet", rows, mmmu_schema(rows[0]))
    for path in (tmp_path, folder):
        assert len(mmmu(path, "standard-10").problems) == 2
        for split in ("standard-4", "vision"):
            with pytest.raises(InputError, match="holds none of"):
                mmmu(path, split)


def test_mmmu_pro_takes_the_own_one_of_two_tsv_files(tmp_path: Path) -> None:
    asked = MMMU_TSV[0]
    seen = {**asked, "index": "v", "question": "placeholder", "image": data.based(data.PICTURES[2])}
    data.tsv(tmp_path / "MMMU_Pro_10c.tsv", [asked])
    data.tsv(tmp_path / "MMMU_Pro_V.tsv", [seen])
    assert [one.id for one in mmmu(tmp_path, "standard-10").problems] == ["test_Physics_1"]
    assert [one.id for one in mmmu(tmp_path, "vision").problems] == ["v"]
    with pytest.raises(InputError, match="holds none of"):
        mmmu(tmp_path, "standard-4")


@pytest.mark.parametrize(
    ("split", "field", "says"),
    [
        ("standard-4", "options", "10 choices, but the split standard-4 has at most 4"),
        ("vision", "question", "the row is of another split"),
        ("standard-4", "question", "is of the split vision"),
        ("standard-10", "question", "is of the split vision"),
    ],
)
def test_a_row_of_another_mmmu_pro_configuration(
    tmp_path: Path, split: str, field: str, says: str
) -> None:
    seen, asked = data.plain(MMMU_VISION[0]), data.plain(MMMU_STANDARD[1])
    bad = data.plain(MMMU_STANDARD[0])
    if "is of the split vision" in says:
        bad = {**seen, "id": "other"}
    path = written(tmp_path / "any name.jsonl", [seen if split == "vision" else asked, bad])
    found = mmmu(path, split)
    assert len(found.problems) == 1
    (error,) = found.rejected
    assert (error.file, error.row, error.field) == (str(path), 2, field)
    assert says in error.message


def test_splits_and_sources_that_there_are_not() -> None:
    with pytest.raises(InputError, match="did you mean 'mathvista'"):
        load(Request("mathvist"))
    with pytest.raises(InputError, match="there are testmini, test"):
        load(Request("mathvista", "validation"))
    with pytest.raises(InputError, match="answers are not public"):
        load(Request("mathvista", "test"))
    with pytest.raises(InputError, match="no commit of Lin-Chen/MMStar is known here"):
        load(Request("mmstar"))
    with pytest.raises(InputError, match="'main' is no commit"):
        load(Request("mmstar", revision="main"))


# Any content.

_text = st.text("aAB1:.()[]{}',\n\\<image> \x00", max_size=12) | st.sampled_from(
    ["0.png", "A", "multi_choice", "Vision Only", "['a', 'b']", "Choices:\nA: x\nB: y", "../x"]
)
_cells = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 1000) | st.floats() | _text | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    path = tmp_path_factory.mktemp("pictures")
    for number, one in enumerate(data.PICTURES):
        (path / f"{number}.png").write_bytes(one)
    return Folder(path)


@pytest.mark.parametrize("name", sorted(GOOD))
@given(st.data())
@settings(max_examples=120, deadline=None)
def test_any_row_is_taken_or_set_aside(
    folder: Folder, name: str, given_data: st.DataObject
) -> None:
    """Whatever cells hold, nothing but the two errors of rows comes out."""
    found, good = find(name), GOOD[name]
    changed = given_data.draw(st.lists(st.sampled_from(sorted(good)), min_size=1, max_size=3))
    row = {**good, **{key: given_data.draw(_cells) for key in changed}}
    cells = Cells(row, Pictures(folder, encoded=False), [])
    try:
        problem = found.read(cells, Identity(found.title, "default"))
    except (ProblemError, ImageError) as error:
        assert error.field
        assert len(error.message) < 1000
        return
    assert problem.answer
    json.loads(problem.model_dump_json())
