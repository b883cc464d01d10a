"""Killed at any moment, a run goes on: nothing stored is paid for twice, the result is the same."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from vilbench.evaluate.results import Results
from vilbench.evaluate.stages import noted
from vilbench.store.run import Run

PROGRAM = Path(__file__).with_name("scripted_run.py")
UNITS = 8
"""Problems, and so requests of a stage; there are three stages."""


class Work(NamedTuple):
    """Requests that a program made, and what it has stored of them."""

    requests: list[str]
    stored: set[str]


def command(folder: Path, log: Path, seconds: float) -> list[str]:
    return [sys.executable, str(PROGRAM), str(folder), str(log), str(seconds)]


def requests(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def stored_units(folder: Path) -> set[str]:
    """Requests whose whole result is stored."""
    with Run.read(folder) as run:
        begun = noted(run)
        units = {
            f"sample {name} 0 {len(pool)}" for name, pool in run.solutions(begun.sample_key).items()
        }
        for scorer, key in begun.score_keys.items():
            scored = [ref.problem_id for ref in run.scores(key)]
            units |= {f"{scorer} {name} {scored.count(name)}" for name in scored}
        return units


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Results of a run that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    log = folder / "log"
    subprocess.run(command(folder / "run", log, 0), check=True, timeout=120)
    assert len(requests(log)) == len(set(requests(log))) == 3 * UNITS
    return untimed(folder / "run")


def untimed(folder: Path) -> bytes:
    """The results without what differs from one time to the next: time and memory."""
    results = Results.model_validate_json((folder / "results.json").read_bytes())
    tokens = {"seconds": None, "n_timed": 0, "peak_bytes": None, "accelerator_bytes": None}
    costs = tuple(one.model_copy(update=tokens) for one in results.costs)
    return results.model_copy(update={"costs": costs}).model_dump_json().encode()


def killed(folder: Path, log: Path, after: int) -> Work:
    """The work of a program that is killed when it has made so many requests."""
    process = subprocess.Popen(command(folder, log, 0.02))
    deadline = time.monotonic() + 120
    while len(requests(log)) < after and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = Work(requests(log), stored_units(folder))
    log.unlink()
    return done


@pytest.mark.parametrize("after", [1, 5, 11, 18, 23])
def test_killed_once(tmp_path: Path, whole: bytes, after: int) -> None:
    folder, log = tmp_path / "run", tmp_path / "log"
    before = killed(folder, log, after)
    subprocess.run(command(folder, log, 0), check=True, timeout=120)
    again = requests(log)
    assert not before.stored & set(again)
    # What was under way is lost, and nothing else: three problems, or one.
    assert len(before.requests) - len(before.stored) <= (3 if after < UNITS else 1)
    assert len(again) == len(set(again)) == 3 * UNITS - len(before.stored)
    assert untimed(folder) == whole


def test_killed_again_and_again(tmp_path: Path, whole: bytes) -> None:
    folder, log = tmp_path / "run", tmp_path / "log"
    stored: set[str] = set()
    for _ in range(4):
        work = killed(folder, log, 5)
        assert not stored & set(work.requests)
        assert stored <= work.stored
        stored = work.stored
    subprocess.run(command(folder, log, 0), check=True, timeout=120)
    assert not stored & set(requests(log))
    assert untimed(folder) == whole
