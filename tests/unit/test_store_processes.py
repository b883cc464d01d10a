import os
import random
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from store_data import ended, image, in_child, in_memory, manifest, problem, score, solution

from vilbench.errors import RunLockedError, RunMismatchError
from vilbench.store import disk
from vilbench.store.run import Run


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder that syncs fast; see `in_memory`."""
    with in_memory() as folder:
        yield folder


def test_the_second_writer_is_told_who_the_first_is(tmp_path: Path) -> None:
    ready, told = os.pipe()

    def hold() -> None:
        Run.open(tmp_path, manifest())
        os.write(told, b"x")
        time.sleep(60)

    child = in_child(hold)
    os.read(ready, 1)
    try:
        for fresh in (False, True):
            with pytest.raises(RunLockedError, match=f"process {child} "):
                Run.open(tmp_path, manifest(), fresh=fresh)
        with Run.read(tmp_path) as run:
            assert run.problems() == []
    finally:
        os.kill(child, signal.SIGKILL)
        ended(child)
        os.close(ready)
        os.close(told)
    Run.open(tmp_path, manifest()).close()


def test_the_lock_binds_within_a_process_too_and_ends_with_close(tmp_path: Path) -> None:
    with Run.open(tmp_path, manifest()), pytest.raises(RunLockedError, match=str(os.getpid())):
        Run.open(tmp_path, manifest())
    with pytest.raises(RunMismatchError):
        Run.open(tmp_path, manifest(seed=1))
    Run.open(tmp_path, manifest()).close()


def test_a_reader_follows_a_writer(tmp_path: Path) -> None:
    with Run.open(tmp_path, manifest()) as writer, Run.read(tmp_path) as reader:
        writer.add_problems([problem("a")])
        assert [one.id for one in reader.problems()] == ["a"]
        for index in range(50):
            writer.put_solutions("k", [solution("a", index)])
            assert len(reader.solutions("k")["a"]) == index + 1


UNITS = [("a", 0), ("b", 0)]


def work(folder: Path, done: Callable[[str, int], None]) -> None:
    """A small run: two units of two solutions, each scored."""
    with Run.open(folder, manifest()) as run:
        run.add_problems([problem("a", image(1)), problem("b", image(2))])
        for identity, first in UNITS:
            run.put_solutions("k", [solution(identity, first), solution(identity, first + 1)])
            run.put_scores("s", [score(identity, first), score(identity, first + 1)])
            done(identity, first)
        run.write_results('{"rows": [1, 2, 3]}')


def content(folder: Path) -> list[Any]:
    with Run.read(folder) as run:
        problems = run.problems()
        pictures = [[one.read() for one in found.images] for found in problems]
        results = (folder / "results.json").read_text()
        return [problems, pictures, run.solutions("k"), run.scores("s"), run.failures(), results]


def assert_whole(folder: Path) -> set[tuple[str, int]]:
    """Check that a killed run holds whole units only; returns those that are stored."""
    for path in (folder / "images").rglob("*"):
        if path.is_file() and path.suffix != disk.PARTIAL:
            assert sha256(path.read_bytes()).hexdigest() == path.name
    if not (folder / "manifest.json").exists():
        return set()
    with Run.read(folder) as run:
        for one in run.problems():
            assert all(image.read() for image in one.images)
        found = {(one, two.index) for one, pool in run.solutions("k").items() for two in pool}
        scored = set(run.scores("s"))
    for identity, first in UNITS:
        for stored in (found, scored):
            assert ((identity, first) in stored) == ((identity, first + 1) in stored)
    assert scored <= found
    return {unit for unit in UNITS if unit in scored}


def die_at(point: int) -> None:
    """Kill this process before its `point`-th touch of the disk or SQL statement."""
    left = point

    def touch() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, _: tuple[Any, ...]) -> None:
        if event in ("open", "os.rename", "os.remove", "os.mkdir", "fcntl.flock"):
            touch()

    connect = sqlite3.connect

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        connection.set_trace_callback(lambda _: touch())
        return connection

    sync = os.fsync

    def synced(fd: Any) -> None:
        touch()
        sync(fd)

    sqlite3.connect = traced  # type: ignore[assignment]
    os.fsync = synced
    sys.addaudithook(audit)


def tell(pipe: int) -> None:
    os.write(pipe, b"x")


def test_killed_at_every_point_the_run_is_whole_and_resumes(tmp_path: Path) -> None:
    work(tmp_path / "whole", lambda *_: None)
    expected = content(tmp_path / "whole")
    point, status = 0, -signal.SIGKILL
    while status == -signal.SIGKILL:
        point += 1
        folder = tmp_path / str(point)
        acknowledged, told = os.pipe()

        def killed(point: int = point, folder: Path = folder, told: int = told) -> None:
            die_at(point)
            work(folder, lambda *_: tell(told))

        status = ended(in_child(killed))
        os.close(told)
        promised = len(os.read(acknowledged, 100))
        os.close(acknowledged)
        stored = assert_whole(folder) if folder.exists() else set()
        assert stored >= set(UNITS[:promised]), f"killed at {point}"
        work(folder, lambda *_: None)
        assert content(folder) == expected, f"killed at {point}"
    assert status == 0
    assert point > 60


def test_killed_at_random_moments(tmp_path: Path) -> None:
    dice = random.Random(3)
    # So many that some kills come in time however slow the machine is.
    units, kills, status = 240, 0, 1
    indices: list[int] = []
    while status != 0:
        acknowledged, told = os.pipe()

        def write(told: int = told) -> None:
            with Run.open(tmp_path / "run", manifest()) as run:
                run.add_problems([problem("a")])
                stored = len(run.solutions("k").get("a", [])) // 3
                for unit in range(stored, units):
                    run.put_solutions("k", [solution("a", 3 * unit + one) for one in range(3)])
                    tell(told)

        child = in_child(write)
        os.close(told)
        promised = sum(len(os.read(acknowledged, 1)) for _ in range(dice.randint(1, 12)))
        time.sleep(dice.uniform(0, 0.002))
        os.kill(child, signal.SIGKILL)
        status = ended(child)
        assert status in (0, -signal.SIGKILL)
        os.close(acknowledged)
        before = len(indices)
        with Run.read(tmp_path / "run") as run:
            indices = [one.index for one in run.solutions("k")["a"]]
        assert len(indices) % 3 == 0
        assert len(indices) >= before + 3 * promised
        assert indices == list(range(len(indices)))
        kills += status != 0
    assert len(indices) == 3 * units
    assert kills > 2


def test_fresh_killed_half_way_can_be_done_again(tmp_path: Path) -> None:
    point, status = 0, -signal.SIGKILL
    while status == -signal.SIGKILL:
        point += 1
        folder = tmp_path / str(point)
        work(folder, lambda *_: None)
        (folder / "notes.txt").write_text("mine")

        def killed(point: int = point, folder: Path = folder) -> None:
            die_at(point)
            Run.open(folder, manifest(seed=8), fresh=True)

        status = ended(in_child(killed))
        with Run.open(folder, manifest(seed=8), fresh=True) as run:
            assert run.problems() == []
        assert (folder / "notes.txt").read_text() == "mine"
    assert status == 0
    assert point > 20
