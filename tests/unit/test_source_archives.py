"""Copies of a public source that are archives: what leads out, is damaged, or grows."""

from __future__ import annotations

import json
import shutil
import stat
import tempfile
import time
import tracemalloc
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
import table_data as data
from source_data import MMSTAR

from vilbench.errors import ImageError, InputError, ProblemError
from vilbench.problems.public import Request, load
from vilbench.problems.rows import ImageName
from vilbench.problems.sets import ProblemSet
from vilbench.problems.storage import Archive
from vilbench.problems.tables import table


@pytest.fixture(autouse=True)
def _nothing_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VILBENCH_DATA", str(tmp_path / "prepared"))


def zipped(tmp_path: Path, *, table: bytes | None = None, **members: bytes) -> Path:
    rows = [{**data.plain(MMSTAR[0]), "image": "images/a.png"}]
    content = table or "".join(json.dumps(row) + "\n" for row in rows).encode()
    return data.archive(
        tmp_path / "all.zip",
        {"rows.jsonl": content, "images/a.png": data.PICTURES[0]}
        | {name.replace("_", "/"): one for name, one in members.items()},
    )


def loaded(path: Path) -> ProblemSet:
    return load(Request("mmstar", path=path))


def test_a_picture_of_an_archive_is_read_when_it_is_needed(tmp_path: Path) -> None:
    (problem,) = loaded(zipped(tmp_path)).problems
    assert problem.images[0].read() == data.PICTURES[0]
    (tmp_path / "all.zip").unlink()
    with pytest.raises(ImageError, match="No such file"):
        problem.images[0].read()


@pytest.mark.parametrize(
    "name", ["../evil.png", "images/../../evil.png", "/etc/passwd", "C:\\evil.png", "..\\evil.png"]
)
def test_an_archive_that_leads_out_is_refused_whole(tmp_path: Path, name: str) -> None:
    path = zipped(tmp_path)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(name, b"x")
    with pytest.raises(InputError, match=r"leads out of the archive|is absolute|has '"):
        loaded(path)
    assert not (tmp_path.parent / "evil.png").exists()


def test_a_link_in_an_archive_is_not_followed(tmp_path: Path) -> None:
    path = zipped(tmp_path, table=json.dumps({**data.plain(MMSTAR[0]), "image": "l.png"}).encode())
    info = zipfile.ZipInfo("l.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(info, "/etc/passwd")
    with pytest.raises(InputError, match=r"'l\.png': not in 'all\.zip'"):
        loaded(path)


def test_a_member_that_is_there_twice(tmp_path: Path) -> None:
    path = zipped(tmp_path)
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate name"):
        file.writestr("images/a.png", data.PICTURES[1])
    with pytest.raises(InputError, match=r"member 'images/a\.png' is there twice"):
        loaded(path)


def test_an_archive_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "all.zip"
    path.write_bytes(b"PK but not really")
    with pytest.raises(InputError, match="no usable zip archive"):
        loaded(path)


def test_an_archive_with_a_damaged_member(tmp_path: Path) -> None:
    path = zipped(tmp_path)
    whole = bytearray(path.read_bytes())
    start = whole.index(data.PICTURES[0][:40])
    whole[start + 60 : start + 64] = b"\0\0\0\0"
    path.write_bytes(whole)
    with pytest.raises(InputError, match=r"'images/a\.png': .*(damaged|CRC)"):
        loaded(path)


def packed(path: Path, members: dict[str, bytes], compression: int, broken: str) -> Path:
    """An archive; of the member `broken` the compressed bytes are overwritten."""
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
        info = file.getinfo(broken)
    whole = bytearray(path.read_bytes())
    start = info.header_offset + 30 + len(broken)
    whole[start : start + info.compress_size] = b"\xff" * info.compress_size
    path.write_bytes(whole)
    return path


@pytest.mark.parametrize(
    "compression",
    [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA],
)
def test_a_damaged_picture_costs_one_row(tmp_path: Path, compression: int) -> None:
    row = data.plain(MMSTAR[0])
    rows = [{**row, "image": "a.png"}, {**row, "index": 7, "image": "b.png"}]
    table = "".join(json.dumps(one) + "\n" for one in rows).encode()
    members = {"a.png": data.PICTURES[0], "b.png": data.PICTURES[1]}
    (tmp_path / "rows.jsonl").write_bytes(table)
    packed(tmp_path / "images.zip", members, compression, "b.png")
    (tmp_path / "other").mkdir()
    inside = tmp_path / "other" / "all.zip"
    packed(inside, {"r.jsonl": table, **members}, compression, "b.png")
    for path in (tmp_path / "rows.jsonl", inside):
        found = loaded(path)
        assert [one.images[0].read() for one in found.problems] == [data.PICTURES[0]]
        (error,) = found.rejected
        assert isinstance(error, ImageError)
        assert (error.row, error.field) == (2, "image")
        assert "'b.png'" in error.message


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_damaged_table_of_an_archive(tmp_path: Path, compression: int) -> None:
    table = (json.dumps(data.plain(MMSTAR[0])) + "\n").encode()
    path = packed(tmp_path / "all.zip", {"r.jsonl": table}, compression, "r.jsonl")
    with pytest.raises(InputError, match=r"all\.zip/r\.jsonl: damaged"):
        loaded(path)


def test_a_bomb_in_an_archive_is_not_unpacked(tmp_path: Path) -> None:
    """A member of 200 MB of zeros in 200 kB; its header may lie about it."""
    path = tmp_path / "all.zip"
    rows = json.dumps({**data.plain(MMSTAR[0]), "image": "bomb.png"}).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("rows.jsonl", rows)
        with file.open("bomb.png", "w") as member:
            for _ in range(60):
                member.write(bytes(1_000_000))
    with pytest.raises(InputError, match="over the limit of 50,000,000 bytes"):
        loaded(path)


def test_a_table_of_an_archive_is_not_held_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "all.zip"
    line = json.dumps({**data.plain(MMSTAR[0]), "image": "a.png", "filler": "x" * 1000}) + "\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rows.jsonl", line * 20_000)
    tracemalloc.start()
    try:
        with Archive(path).opened("rows.jsonl") as file:
            lines = sum(1 for _ in file)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert lines == 20_000
    assert peak < 8_000_000 < len(line) * lines


@pytest.mark.parametrize(
    "name", ["rows.parquet", "rows.tsv", "rows.csv", "rows.jsonl", "rows.json"]
)
def test_every_table_is_read_of_an_archive(tmp_path: Path, name: str) -> None:
    path, row = tmp_path / name, {"index": "1", "question": "Why?"}
    if path.suffix == ".parquet":
        data.parquet(path, [row])
    elif path.suffix in (".tsv", ".csv"):
        data.tsv(path, [row], dialect="excel" if path.suffix == ".csv" else "excel-tab")
    else:
        path.write_text(json.dumps(row if path.suffix == ".jsonl" else [row]) + "\n")
    archive = data.archive(tmp_path / "all.zip", {name: path.read_bytes()})
    assert [line.read() for line in table(Archive(archive), name).lines] == [row]


def test_a_table_that_grows_like_a_bomb_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("rows.jsonl", bytes(60_000_000))
    monkeypatch.setattr(tempfile, "TemporaryFile", None)
    with pytest.raises(InputError, match=r"rows\.jsonl: 60,000,000 bytes packed into .* a bomb"):
        loaded(path)


def test_a_table_that_the_disk_has_no_place_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def usage(folder: str) -> Any:
        return SimpleNamespace(free=10)

    path = zipped(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", usage)
    with pytest.raises(InputError, match=r"rows\.jsonl: .* do not fit into"):
        loaded(path)


def test_paths_of_rows_stay_in_the_archive(tmp_path: Path) -> None:
    rows = json.dumps({**data.plain(MMSTAR[0]), "image": "../../etc/passwd"}).encode()
    with pytest.raises(InputError, match="leads out of the archive"):
        loaded(zipped(tmp_path, table=rows))


def test_pictures_of_an_archive_beside_the_table(tmp_path: Path) -> None:
    """A base name that two members share names neither."""
    data.json_lines(tmp_path / "rows.jsonl", [{**data.plain(MMSTAR[0]), "image": "x/a.png"}])
    data.archive(tmp_path / "images.zip", {"one/x/a.png": data.PICTURES[0]})
    assert len(loaded(tmp_path / "rows.jsonl").problems) == 1
    data.archive(
        tmp_path / "images.zip", {f"{n}/x/a.png": data.PICTURES[0] for n in ("one", "two")}
    )
    with pytest.raises(InputError, match="no such file"):
        loaded(tmp_path / "rows.jsonl")


@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("one/x/a.png", "one/x/a.png"),
        ("x/a.png", None),  # of two members
        ("y/a.png", "one/y/a.png"),
        ("/y/a.png", None),
        ("more/one/y/a.png", "one/y/a.png"),
        ("b.png", "b.png"),
        ("more/b.png", "b.png"),
        ("a.png", None),
        ("xx/a.png", None),
        (".png", None),
        ("one/yy/a.png", None),
        # The path ends with two members: which one is meant?
        ("deep/z/c.png", None),
        ("y/" * 40_000 + "b.png", None),
    ],
)
def test_which_member_a_path_names(tmp_path: Path, name: str, member: str | None) -> None:
    names = ["one/x/a.png", "two/x/a.png", "one/y/a.png", "b.png", "z/c.png", "c.png"]
    path = data.archive(tmp_path / "images.zip", {one: one.encode() for one in names})
    archive = Archive(path)
    assert archive.has(name) == (member is not None)
    notes: list[str] = []
    with pytest.raises((ImageError, ProblemError)) as caught:
        archive.picture(ImageName("image", name), notes)
    # The members are no pictures: one that is found is told as such.
    assert ("not in" in str(caught.value) or "absolute" in str(caught.value)) == (member is None)


def test_many_members_of_one_base_name(tmp_path: Path) -> None:
    """Pictures of many folders are called alike; each is found by its own ones."""
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as file:
        for number in range(8000):
            file.writestr(f"all/{number}/image.png", b"")
    archive = Archive(path)
    begun = time.process_time()
    assert all(archive.has(f"{number}/image.png") for number in range(8000))
    assert not any(archive.has(f"{number}/none/image.png") for number in range(8000))
    assert time.process_time() - begun < 5


def test_a_remote_file_cannot_name_files_of_this_machine(tmp_path: Path) -> None:
    """Parquet of strangers may hold paths in place of bytes."""
    secret = tmp_path / "secret.png"
    secret.write_bytes(data.PICTURES[0])
    kinds = pa.schema([("index", pa.int64()), ("question", pa.string()), ("answer", pa.string())])
    rows = [{**MMSTAR[0], "image": {"bytes": None, "path": str(secret)}}]
    schema = kinds.append(pa.field("image", data.IMAGE))
    path = data.parquet(tmp_path / "copy" / "mmstar.parquet", rows, schema)
    with pytest.raises(InputError, match="is absolute"):
        loaded(path)
