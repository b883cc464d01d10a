import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from store_data import ended, image, in_child, in_memory, manifest, openings, problem, solution

from vilbench.errors import ImageError, RunError, RunStorageError
from vilbench.store.run import Run


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder that syncs fast; see `in_memory`."""
    with in_memory() as folder:
        yield folder


@pytest.mark.parametrize("start", [0, 40, 4096])
def test_a_corrupt_database(tmp_path: Path, start: int) -> None:
    with Run.open(tmp_path, manifest()) as run:
        run.add_problems([problem(f"p{number}") for number in range(200)])
    path = tmp_path / "run.sqlite"
    data = path.read_bytes()
    path.write_bytes(data[:start] + b"\xa5" * (len(data) - start))
    for go in openings(tmp_path):
        with pytest.raises(RunError) as caught:
            go().problems()
        assert str(tmp_path) in str(caught.value)
        assert isinstance(caught.value, RunStorageError) or "another program" in str(caught.value)


def test_a_damaged_record(tmp_path: Path) -> None:
    with Run.open(tmp_path, manifest()) as run:
        run.add_problems([problem("a")])
    with sqlite3.connect(tmp_path / "run.sqlite") as connection:
        connection.execute("UPDATE problems SET record = '{\"id\": '")
    connection.close()
    with Run.read(tmp_path) as run, pytest.raises(RunStorageError, match="Problem is damaged"):
        run.problems()


def test_a_full_disk_keeps_whole_units_and_the_run_usable(tmp_path: Path) -> None:
    with Run.open(tmp_path, manifest()) as run:
        run.add_problems([problem("a")])
        pages = run._connection.execute("PRAGMA page_count").fetchone()[0]
        run._connection.execute(f"PRAGMA max_page_count={pages + 20}")
        stored = 0
        with pytest.raises(RunStorageError, match="disk is full"):
            for unit in range(1000):
                run.put_solutions("k", [solution("a", 2 * unit + one, "x" * 900) for one in (0, 1)])
                stored += 2
        assert stored > 0
        assert len(run.solutions("k")["a"]) == stored
        run._connection.execute("PRAGMA max_page_count=100000")
        run.put_solutions("k", [solution("a", stored), solution("a", stored + 1)])
    with Run.read(tmp_path) as run:
        assert len(run.solutions("k")["a"]) == stored + 2


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permissions"),
        (errno.EIO, "cannot be used"),
    ],
)
def test_errors_of_the_disk_are_told_and_leave_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, says: str
) -> None:
    def fail(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(RunStorageError, match=says) as caught:
            Run.open(tmp_path, manifest())
        assert str(tmp_path) in str(caught.value)
    assert not list(tmp_path.glob("manifest*"))
    with Run.open(tmp_path, manifest()) as run:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            with pytest.raises(RunStorageError, match=says):
                run.add_problems([problem("a", image(1))])
            with pytest.raises(RunStorageError, match=says):
                run.write_results("{}")
        assert run.problems() == []
        assert list(tmp_path.rglob("*.partial")) == []
        assert [path for path in (tmp_path / "images").rglob("*") if path.is_file()] == []
        assert not (tmp_path / "results.json").exists()
        run.add_problems([problem("a", image(1))])
        assert run.problems()[0].images[0].read() == image(1).read()


def test_a_read_only_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(RunStorageError, match="read-only"):
        Run.open(tmp_path / "run", manifest())


@pytest.fixture
def unprivileged() -> Iterator[Callable[[Path], None]]:
    """Makes a folder read-only; root takes another user's id, as permissions bind it not."""
    was = os.geteuid()
    closed: list[Path] = []

    def close(folder: Path) -> None:
        for path in [*folder.rglob("*"), folder]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        closed.append(folder)
        if was == 0:
            os.seteuid(65534)

    yield close
    os.seteuid(was)
    for folder in closed:
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755)


@pytest.mark.parametrize("state", ["closed", "killed", "killed, index lost"])
def test_reading_from_a_read_only_folder(
    tmp_path: Path, unprivileged: Callable[[Path], None], state: str
) -> None:
    folder = tmp_path / "run"

    def write() -> None:
        run = Run.open(folder, manifest())
        run.add_problems([problem("a", image(1))])
        run.put_solutions("k", [solution("a")])
        if state == "closed":
            run.close()

    assert ended(in_child(write)) == 0
    assert (folder / "run.sqlite-wal").exists() == (state != "closed")
    if state == "killed, index lost":
        (folder / "run.sqlite-shm").unlink()
    unprivileged(folder)
    with Run.read(folder) as run:
        assert run.problems()[0].images[0].read() == image(1).read()
        assert run.solutions("k") == {"a": [solution("a")]}
    with pytest.raises(RunStorageError, match="permissions"):
        Run.open(folder, manifest())


def test_creating_in_a_read_only_folder(
    tmp_path: Path, unprivileged: Callable[[Path], None]
) -> None:
    unprivileged(tmp_path)
    with pytest.raises(RunStorageError, match="permissions"):
        Run.open(tmp_path / "run", manifest())
    with pytest.raises(RunStorageError, match="permissions"):
        Run.open(tmp_path, manifest())


def test_a_damaged_image_is_noticed_and_mended(tmp_path: Path) -> None:
    with Run.open(tmp_path, manifest()) as run:
        run.add_problems([problem("a", image(1))])
        digest = image(1).digest
        path = tmp_path / "images" / digest[:2] / digest
        path.write_bytes(path.read_bytes()[:20])
        with pytest.raises(ImageError, match="changed"):
            run.problems()[0].images[0].read()
        run.add_problems([problem("a", image(1))])
        assert run.problems()[0].images[0].read() == image(1).read()
