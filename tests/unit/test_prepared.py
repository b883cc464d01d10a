from __future__ import annotations

import os
from pathlib import Path

import pytest
import table_data as data
from corpus_data import SCIENCEQA
from source_data import MATHVERSE, MATHVISTA, MATHVISTA_SCHEMA, MMMU_STANDARD, MMSTAR, REALWORLDQA

from vilbench.errors import ImageError, InputError
from vilbench.problems import own, prepared
from vilbench.problems.public import Request, load, read
from vilbench.problems.sets import ProblemSet


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VILBENCH_DATA", str(tmp_path / "home"))


SETS = {
    "mmstar": MMSTAR,
    "mathverse": MATHVERSE,
    "mmmu-pro": MMMU_STANDARD,
    "mathvista": MATHVISTA,
    "realworldqa": REALWORLDQA,
    "scienceqa": SCIENCEQA,
}


def copy(folder: Path, name: str) -> Path:
    schema = MATHVISTA_SCHEMA if name == "mathvista" else None
    return data.parquet(folder / f"{name}.parquet", SETS[name], schema)


@pytest.mark.parametrize("name", SETS)
def test_a_prepared_set_is_the_source(tmp_path: Path, name: str) -> None:
    whole = read(Request(name, path=copy(tmp_path, name)))
    folder = tmp_path / "ready"
    card = prepared.write(whole, folder, "owner/name", "0" * 40)
    (tmp_path / f"{name}.parquet").unlink()
    found = load(Request(name, path=folder))
    assert found.problems == whole.problems
    assert (found.name, found.notes) == (whole.name, whole.notes)
    assert (card.problems, card.revision) == (len(whole.problems), "0" * 40)
    for mine, its in zip(found.problems, whole.problems, strict=True):
        assert [image.read() for image in mine.images] == [image.read() for image in its.images]
    # It is own data as well.
    assert own.load(folder).problems == whole.problems


def test_what_was_set_aside_is_told_again(tmp_path: Path) -> None:
    rows = [*MMSTAR, {**MMSTAR[0], "index": 9, "answer": "Z"}]
    whole = read(Request("mmstar", path=data.parquet(tmp_path / "m.parquet", rows)))
    prepared.write(whole, tmp_path / "ready", "owner/name", None)
    found = load(Request("mmstar", path=tmp_path / "ready"))
    assert [str(error) for error in found.rejected] == [str(error) for error in whole.rejected]
    assert "row 3, field 'answer'" in str(found.rejected[0])
    assert load(Request("mmstar", path=tmp_path / "ready", limit=1)).rejected == ()


def ready(tmp_path: Path, revision: str | None = None) -> ProblemSet:
    whole = read(Request("mmstar", path=copy(tmp_path, "mmstar")))
    prepared.write(whole, prepared.default_folder(whole.name), "owner/name", revision)
    return whole


def test_it_is_found_where_it_is_put(tmp_path: Path) -> None:
    whole = ready(tmp_path, "a" * 40)
    assert (tmp_path / "home" / "mmstar-val" / "prepared.json").is_file()
    assert load(Request("mmstar")).problems == whole.problems
    assert load(Request("mmstar", revision="a" * 40)).problems == whole.problems
    with pytest.raises(InputError, match=r"was read at a{40}, not at b{40}"):
        load(Request("mmstar", revision="b" * 40))


def test_another_set_is_refused(tmp_path: Path) -> None:
    ready(tmp_path)
    with pytest.raises(InputError, match="is mmstar:val, not realworldqa:test"):
        load(Request("realworldqa", path=tmp_path / "home" / "mmstar-val"))


def test_changed_rows_are_refused(tmp_path: Path) -> None:
    ready(tmp_path)
    path = tmp_path / "home" / "mmstar-val" / "problems.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"B"', b'"A"'))
    with pytest.raises(InputError, match="has been changed since it was prepared"):
        load(Request("mmstar"))


def test_a_changed_picture_is_refused_when_it_is_read(tmp_path: Path) -> None:
    ready(tmp_path)
    folder = tmp_path / "home" / "mmstar-val" / "images"
    for path in folder.iterdir():
        path.write_bytes(data.PICTURES[2])
    (first, *_) = load(Request("mmstar")).problems
    with pytest.raises(ImageError, match="have changed"):
        first.images[0].read()


def test_a_missing_picture_is_told_by_row(tmp_path: Path) -> None:
    whole = ready(tmp_path)
    digest = whole.problems[1].images[0].digest
    (tmp_path / "home" / "mmstar-val" / "images" / f"{digest}.png").unlink()
    (error,) = load(Request("mmstar")).rejected
    assert (error.row, error.field) == (2, "images[0]")


def test_a_damaged_card(tmp_path: Path) -> None:
    ready(tmp_path)
    card = tmp_path / "home" / "mmstar-val" / "prepared.json"
    card.write_text(card.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(InputError, match="is of version 2, not 1"):
        load(Request("mmstar"))
    card.write_text("{}")
    with pytest.raises(InputError, match="is damaged"):
        load(Request("mmstar"))


def test_it_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read(Request("mmstar", path=copy(tmp_path, "mmstar")))
    folder = tmp_path / "data" / "ready"

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        with pytest.raises(InputError, match="No space left"):
            prepared.write(whole, folder, "owner/name", None)
    assert os.listdir(tmp_path / "data") == []  # noqa: PTH208 - hidden ones too
    prepared.write(whole, folder, "owner/name", None)
    prepared.write(whole, folder, "owner/name", "a" * 40)
    assert prepared.card_of(folder).revision == "a" * 40
    assert os.listdir(tmp_path / "data") == ["ready"]  # noqa: PTH208


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    whole = read(Request("mmstar", path=copy(tmp_path, "mmstar")))
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError, match="is there already, and no prepared set"):
        prepared.write(whole, tmp_path / "mine", "owner/name", None)
