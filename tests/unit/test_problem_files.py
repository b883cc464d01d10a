import io
import json
import os
import pickle
import time
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vilbench.errors import ImageError, InputError, ProblemError
from vilbench.images import Decoded, decode
from vilbench.problems.files import load_jsonl
from vilbench.problems.sets import ProblemSet

GOOD = {"id": "good", "question": "How many?", "answer": "3"}


def picture(path: Path, mode: str = "RGB", size: tuple[int, int] = (8, 8), **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new(mode, size).save(path, "PNG", **options)
    return path


def written(folder: Path, *rows: Any) -> Path:
    path = folder / "own.jsonl"
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def load(folder: Path, *rows: Any) -> ProblemSet:
    return load_jsonl(written(folder, *rows))


def rejection(folder: Path, row: Any) -> ProblemError | ImageError:
    """The one rejection of a file that has `row` after a good one."""
    found = load(folder, GOOD, row)
    assert [one.id for one in found.problems] == ["good"]
    (error,) = found.rejected
    assert error.file == str(folder / "own.jsonl")
    assert error.row == 2
    return error


def test_a_full_row(tmp_path: Path) -> None:
    picture(tmp_path / "pictures" / "a.png")
    row = {
        "id": 17,
        "source": "exam",
        "question": "Which?",
        "answer": "B",
        "answer_kind": "choice",
        "choices": ["red", 2, 0.5],
        "images": ["pictures/a.png"],
        "category": "colour",
        "modality": "visual-only",
        "precision": 2,
        "unit": "cm",
        "metadata": {"page": [1, None]},
    }
    found = load(tmp_path, row)
    assert (found.name, found.rejected, found.notes) == ("own", (), ())
    (problem,) = found.problems
    dumped = problem.model_dump(exclude={"images"})
    assert dumped == {
        **{key: row[key] for key in dumped},
        "id": "17",
        "choices": ("red", "2", "0.5"),
    }
    assert problem.images[0].read() == (tmp_path / "pictures" / "a.png").read_bytes()
    assert pickle.loads(pickle.dumps(problem)) == problem  # noqa: S301 - our own bytes


def test_defaults(tmp_path: Path) -> None:
    found = load(tmp_path, b"", {"question": "q", "answer": "x", "unit": None, "choices": []})
    (problem,) = found.problems
    assert (problem.id, problem.source) == ("own-2", "own")
    assert (problem.modality, problem.unit, problem.precision) == ("unspecified", None, None)


def test_source_argument_names_the_set_and_rows_without_source(tmp_path: Path) -> None:
    rows = [GOOD, {**GOOD, "id": "b", "source": "exam"}]
    found = load_jsonl(written(tmp_path, *rows), source="mine")
    assert found.name == "mine"
    assert [one.source for one in found.problems] == ["mine", "exam"]


@pytest.mark.parametrize(
    ("answer", "kind", "stored"),
    [
        (3, "number", "3"),
        (0.5, "number", "0.5"),
        ("-1.5e3", "number", "-1.5e3"),
        (" .5 ", "number", " .5 "),
        ("12 cm", "text", "12 cm"),
        ("1.2.3", "text", "1.2.3"),
        ("e5", "text", "e5"),
        ("yes", "text", "yes"),
    ],
)
def test_answer_kind_is_read_off_the_answer(
    tmp_path: Path, answer: Any, kind: str, stored: str
) -> None:
    (problem,) = load(tmp_path, {"question": "q", "answer": answer}).problems
    assert (problem.answer_kind, problem.answer) == (kind, stored)


@pytest.mark.parametrize(
    ("choices", "answer", "letter"),
    [
        (["red", "blue"], "B", "B"),
        (["red", "blue"], "b", "B"),
        (["red", "blue"], "blue", "B"),
        (["red", "blue"], " blue ", "B"),
        ([1, 2, 3], 2, "B"),
        (["a", "b"], "a", "A"),
        (["b", "a"], "a", "B"),
        (["same", "same"], "B", "B"),
        ([f"c{number}" for number in range(26)], "Z", "Z"),
    ],
)
def test_a_choice_is_stored_as_its_letter(
    tmp_path: Path, choices: list[Any], answer: Any, letter: str
) -> None:
    (problem,) = load(tmp_path, {"question": "q", "choices": choices, "answer": answer}).problems
    assert (problem.answer_kind, problem.answer) == ("choice", letter)


def test_a_letter_that_is_also_another_choice_is_noted(tmp_path: Path) -> None:
    found = load(tmp_path, {"question": "q", "choices": ["B", "A"], "answer": "A"})
    assert found.problems[0].answer == "A"
    (note,) = found.notes
    assert "own.jsonl, row 1" in note
    assert "read as a letter" in note


def test_choices_may_stand_in_the_question(tmp_path: Path) -> None:
    row = {"question": "A: x, B: y?", "answer": "b", "answer_kind": "choice"}
    assert load(tmp_path, row).problems[0].answer == "B"


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ({"awnser": "3"}, "awnser", "did you mean 'answer'"),
        ({"zzz": 1}, "zzz", "known: id"),
        ({"answer": None}, "answer", "missing"),
        ({"answer": "  "}, "answer", "empty"),
        ({"answer": ["3"]}, "answer", "text or a number, not a list"),
        ({"answer": True}, "answer", "not true or false"),
        ({"answer": "none", "answer_kind": "number"}, "answer", "no number"),
        ({"question": None}, "question", "missing"),
        ({"question": " \n"}, "question", "no image"),
        ({"question": 5}, "question", "must be text, not a number"),
        ({"id": ""}, "id", "empty"),
        ({"id": 1.5}, "id", "must be text"),
        ({"id": False}, "id", "must be text"),
        ({"id": "good"}, "id", "'good' is already the id of row 1"),
        ({"answer_kind": "chioce"}, "answer_kind", "did you mean 'choice'"),
        ({"choices": "ab"}, "choices", "must be a list, not text"),
        ({"choices": ["a"]}, "choices", "1 choices"),
        ({"choices": ["c"] * 27}, "choices", "27 choices"),
        ({"choices": ["a", {}]}, "choices[1]", "not an object"),
        ({"choices": ["a", " "]}, "choices[1]", "empty"),
        ({"choices": ["a", "b"], "answer": "C"}, "answer", "not among the letters A to B"),
        ({"choices": ["a", "b"], "answer": "red"}, "answer", "not among"),
        ({"choices": ["x", "x"], "answer": "x"}, "answer", "choices A and B"),
        ({"choices": ["3", "4"], "answer_kind": "number"}, "answer_kind", "must be 'choice'"),
        ({"answer": "AB", "answer_kind": "choice"}, "answer", "not among the letters A to Z"),
        ({"modality": "visual"}, "modality", "did you mean 'visual-"),
        ({"precision": -1}, "precision", "integer from 0"),
        ({"precision": 1.0}, "precision", "integer from 0"),
        ({"precision": True}, "precision", "integer from 0"),
        ({"unit": 5}, "unit", "must be text"),
        ({"source": []}, "source", "must be text"),
        ({"metadata": [1]}, "metadata", "must be an object"),
        ({"image": 5}, "image", "must be text"),
        ({"images": "a.png"}, "images", "must be a list"),
        ({"images": [None]}, "images[0]", "must be text, not null"),
        ({"image": "a.png", "images": []}, "image", "one of them"),
    ],
)
def test_a_bad_value_is_set_aside_by_field(
    tmp_path: Path, change: dict[str, Any], field: str, says: str
) -> None:
    error = rejection(tmp_path, {**GOOD, "id": "bad", **change})
    assert isinstance(error, ProblemError)
    assert error.field == field
    assert says in error.message


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"{", "not JSON"),
        (b"nonsense", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"3", "not a JSON object"),
        (b'{"question": "q", "answer": NaN}', "not a finite number"),
        (b'{"question": "q", "answer": 1e999}', "not a finite number"),
        (b'{"question": "q", "question": "r"}', "'question' stands twice"),
        (b'{"question": "\xff", "answer": "1"}', "not UTF-8"),
        (b'{"question": "\\ud800", "answer": "1"}', "surrogate"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"question": "q", "answer": ' + b"9" * 5000 + b"}", "not usable JSON"),
    ],
)
def test_a_line_that_is_no_row_is_set_aside(tmp_path: Path, line: bytes, says: str) -> None:
    assert says in rejection(tmp_path, line).message


def test_the_message_names_file_row_and_field(tmp_path: Path) -> None:
    error = rejection(tmp_path, {**GOOD, "id": "b", "precision": "two"})
    assert str(error).startswith(f"{tmp_path / 'own.jsonl'}, row 2, field 'precision': ")


def test_hostile_keys_and_values_are_shown_short_and_escaped(tmp_path: Path) -> None:
    row = {"question": "q", "answer": "\x1b[31m" + "x" * 100_000, "choices": ["a", "b"]}
    error = rejection(tmp_path, row)
    assert "\x1b" not in str(error)
    assert len(error.message) < 300
    error = rejection(tmp_path, {**GOOD, "\x1b[2J" + "y" * 100_000: 1})
    assert "\x1b" not in str(error)
    assert len(str(error)) < 500 + len(str(tmp_path))


def test_a_torn_last_line_is_that_row(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    path.write_bytes(path.read_bytes() + b'{"id": "b", "question": "caf\xc3')
    (error,) = load_jsonl(path).rejected
    assert error.row == 2
    assert "the file ends inside this row" in error.message
    path.write_bytes(json.dumps(GOOD).encode())
    assert load_jsonl(path).rejected == ()


def test_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n\r\n")
    assert len(load_jsonl(path).problems) == 1


def test_separators_of_unicode_end_no_line(tmp_path: Path) -> None:
    row = json.dumps({**GOOD, "question": "a\u2028b\u0085c"}, ensure_ascii=False).encode()
    assert load(tmp_path, row).problems[0].question == "a\u2028b\u0085c"


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_an_empty_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "own.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"own\.jsonl: the file has no rows"):
        load_jsonl(path)


def test_no_usable_row_tells_the_first_reasons(tmp_path: Path) -> None:
    path = written(tmp_path, *[{"question": "q"}] * 5)
    with pytest.raises(InputError) as caught:
        load_jsonl(path)
    assert "no usable row among 5" in str(caught.value)
    assert "row 1, field 'answer': is missing" in str(caught.value)
    assert "and 2 more" in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        load_jsonl(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="directory"):
        load_jsonl(tmp_path)


# Images.


def test_one_image_and_an_empty_question(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (problem,) = load(tmp_path, {"question": "", "answer": "1", "image": "./a.png"}).problems
    assert len(problem.images) == 1


def test_images_keep_their_order_and_may_repeat(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png", size=(9, 9))
    row = {**GOOD, "images": ["b.png", "a.png", "b.png"]}
    (problem,) = load(tmp_path, row).problems
    sizes = [PIL.Image.open(io.BytesIO(one.read())).size for one in problem.images]
    assert sizes == [(9, 9), (8, 8), (9, 9)]


def test_what_was_converted_is_noted_with_its_row(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", "L")
    (note,) = load(tmp_path, GOOD, {"question": "q", "answer": "1", "image": "a.png"}).notes
    assert note == f"{tmp_path / 'own.jsonl'}, row 2: image 'a.png': greyscale converted"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "0 bytes"),
        (b"hello", "not an image"),
        (b"<svg></svg>", "SVG"),
        ("truncated", "truncated"),
        ("1x1", "under 2"),
        ("long", "over 200 times"),
    ],
)
def test_an_image_that_cannot_be_used(tmp_path: Path, data: bytes | str, says: str) -> None:
    path = tmp_path / "a.png"
    if data == "1x1":
        picture(path, size=(1, 1))
    elif data == "long":
        picture(path, size=(1000, 2))
    elif data == "truncated":
        whole = picture(path, size=(64, 64)).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    else:
        assert isinstance(data, bytes)
        path.write_bytes(data)
    error = rejection(tmp_path, {"question": "q", "answer": "1", "images": ["a.png"]})
    assert isinstance(error, ImageError)
    assert error.field == "images[0]"
    assert says in error.message
    assert "'a.png'" in error.message


def test_a_huge_image_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(10**12)  # sparse: takes no room
    error = rejection(tmp_path, {"question": "q", "answer": "1", "image": "a.png"})
    assert "over the limit" in error.message


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("none.png", "no such file"),
        ("folder", "is no plain file"),
        ("pipe", "is no plain file"),
        ("x" * 5000, "too long for a path"),
        ("x" * 300, "name too long"),
        ("", "no path"),
        ("a\0.png", "no path"),
        ("../secret.png", "out of the file's folder"),
        ("folder/../../secret.png", "out of the file's folder"),
        ("link.png", "out of the file's folder"),
        ("linked/secret.png", "out of the file's folder"),
        ("loop", "loop of links"),
        ("/etc/passwd", "absolute"),
        ("C:\\a.png", "absolute"),
        ("C:a.png", "absolute"),
        ("\\\\host\\share\\a.png", "absolute"),
        ("..\\secret.png", "'/'"),
        ("https://example.org/a.png", "URLs"),
        ("file:///etc/passwd", "URLs"),
        ("data:image/png;base64,AAAA", "URLs"),
    ],
)
def test_image_paths_stay_below_the_folder(tmp_path: Path, name: str, says: str) -> None:
    picture(tmp_path / "secret.png")
    folder = tmp_path / "data"
    (folder / "folder").mkdir(parents=True)
    (folder / "link.png").symlink_to("../secret.png")
    (folder / "linked").symlink_to("..")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")
    error = rejection(folder, {"question": "q", "answer": "1", "image": name})
    assert error.field == "image"
    assert says.lower() in error.message.lower()
    assert len(error.message) < 200


def test_a_link_within_the_folder_is_fine(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("a.png")
    assert load(tmp_path, {**GOOD, "image": "b.png"}).problems[0].images


def test_a_linked_folder_of_the_file_itself_is_fine(tmp_path: Path) -> None:
    picture(tmp_path / "data" / "a.png")
    written(tmp_path / "data", {**GOOD, "image": "a.png"})
    (tmp_path / "link").symlink_to("data")
    assert load_jsonl(tmp_path / "link" / "own.jsonl").problems


# Any content.

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 30) | st.text("aAB1. /\x00\ud800", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=2),
    max_leaves=5,
)
keys = st.sampled_from(["id", "question", "answer", "answer_kind", "choices", "image", "images"])
rows = st.dictionaries(keys | st.text("abc", max_size=2), json_values, max_size=6)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(rows.map(lambda row: json.dumps(row).encode()) | st.binary(max_size=20), max_size=4)
)
def test_any_rows_load_or_are_set_aside(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    lines = [line.replace(b"\n", b" ") for line in lines]
    path = tmp_path_factory.mktemp("any") / "own.jsonl"
    path.write_bytes(b"\n".join([json.dumps(GOOD).encode(), *lines]) + b"\n")
    found = load_jsonl(path)
    filled = sum(bool(line.strip()) for line in lines)
    assert len(found.problems) + len(found.rejected) == 1 + filled
    assert len({one.id for one in found.problems}) == len(found.problems)
    assert all(one.row is not None and one.row > 1 for one in found.rejected)


@pytest.mark.parametrize(
    "row",
    [
        {"question": "q", "answer": "1" * 100_000},
        {"question": "q", "answer": "1" * 100_000 + "x"},
        {"question": "q" * 100_000, "answer": "." * 100_000},
        {"question": "q", "answer": "x" * 100_000, "choices": ["x" * 99_999, "x" * 100_000]},
        {f"key{number}": 1 for number in range(20_000)},
        {"question": "q", "answer": "1", "image": "a/" * 50_000},
    ],
)
def test_long_values_are_quick(tmp_path: Path, row: dict[str, Any]) -> None:
    path = written(tmp_path, GOOD, row)
    start = time.process_time()
    load_jsonl(path)
    assert time.process_time() - start < 1


def test_a_limit_stops_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "a.png")
    read: list[int] = []

    def counted(data: bytes) -> Decoded:
        read.append(len(data))
        return decode(data)

    monkeypatch.setattr("vilbench.problems.files.decode", counted)
    good = {"question": "?", "answer": "1", "image": "a.png"}
    bad = {"question": "?", "image": "a.png"}
    path = written(tmp_path, good, bad, good, good, bad)
    found = load_jsonl(path, limit=2)
    assert [one.id for one in found.problems] == ["own-1", "own-3"]
    assert [error.row for error in found.rejected] == [2]
    assert len(read) == 3
    assert found.notes == (
        f"{path}: took the first 2 of its problems (limit); the rows from 4 on are not needed",
    )
    whole = load_jsonl(path, limit=3)
    assert [error.row for error in whole.rejected] == [2]
    assert "rows from 5 on" in whole.notes[0]
    assert load_jsonl(written(tmp_path, good, good), limit=2).notes == ()
