"""Killed with -9 at any moment, a probe goes on: no stored call is paid for twice."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from scripted_probe import PLAN

from vilbench.diagnostics.probes import ProbeFinding, findings
from vilbench.store.run import Run

PROGRAM = Path(__file__).with_name("scripted_probe.py")


def command(folder: Path, seconds: float) -> list[str]:
    return [sys.executable, str(PROGRAM), str(folder), str(folder.parent / "log"), str(seconds)]


def requests(folder: Path) -> list[str]:
    log = folder.parent / "log"
    return log.read_text().splitlines() if log.exists() else []


def read(folder: Path) -> tuple[ProbeFinding, ...]:
    with Run.read(folder) as run:
        return findings(run, PLAN)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    subprocess.run(command(folder, 0), check=True, timeout=120)
    return folder


@pytest.mark.parametrize("after", [5, 20, 40])
def test_a_killed_probe_goes_on(tmp_path: Path, whole: Path, after: int) -> None:
    folder = tmp_path / "run"
    process = subprocess.Popen(command(folder, 0.02))
    deadline = time.monotonic() + 120
    while len(requests(folder)) < after and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    paid = Counter(requests(folder))
    assert sum(paid.values()) < len(requests(whole))
    subprocess.run(command(folder, 0), check=True, timeout=120)
    # The call that was under way when the kill came was not stored, and only it is made again.
    again = Counter(requests(folder)) - Counter(requests(whole))
    assert sum(again.values()) <= 1
    assert not Counter(requests(whole)) - Counter(requests(folder))
    assert read(folder) == read(whole)
