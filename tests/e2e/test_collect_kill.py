"""Killed at any moment, collecting goes on: the same trees, and no answer is paid for twice."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from vilbench.collect.forest import noted_key
from vilbench.search import TreeRecord
from vilbench.store import trees
from vilbench.store.run import Run

PROGRAM = Path(__file__).with_name("scripted_collect.py")
RULES = ("rest-mcts", "omega")
MOMENTS = 5
"""Kills of each rule, each at a random moment."""


class Whole(NamedTuple):
    """A run that nothing interrupts: its trees, and its requests in their order."""

    trees: list[TreeRecord]
    requests: list[str]


class Stored(NamedTuple):
    """What a killed run holds: requests that are answered, and problems that are done."""

    answered: set[str]
    done: set[str]


def command(rule: str, folder: Path, log: Path, seconds: float) -> list[str]:
    return [sys.executable, str(PROGRAM), rule, str(folder), str(log), str(seconds)]


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def grown(folder: Path) -> list[TreeRecord]:
    with Run.read(folder) as run:
        return [one.tree for one in trees.trees(run, noted_key(run) or "")]


def stored(folder: Path) -> Stored:
    try:
        with Run.read(folder) as run:
            key = noted_key(run) or ""
            calls = trees.calls(run, key)
            answered = {f"{name} {one}" for name, some in calls.items() for one in some}
            return Stored(answered, set(trees.finished(run, key)))
    except Exception as error:  # killed before there was a run
        assert "no run here" in str(error)
        return Stored(set(), set())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Whole]:
    found = {}
    for rule in RULES:
        folder = tmp_path_factory.mktemp(rule)
        log = folder / "log"
        subprocess.run(command(rule, folder / "run", log, 0), check=True, timeout=200)
        asked = lines(log)
        assert len(asked) == len(set(asked)) > 30
        found[rule] = Whole(grown(folder / "run"), asked)
    return found


def killed(rule: str, folder: Path, log: Path, after: int) -> None:
    """Ends the program by force when it has made so many requests, or a little later."""
    process = subprocess.Popen(command(rule, folder, log, 0.005))
    deadline = time.monotonic() + 200
    while len(lines(log)) < after and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()


def check(before: Stored, asked: list[str]) -> None:
    """Nothing that is stored was asked again."""
    assert not before.answered & set(asked)
    assert not before.done & {line.split()[0] for line in asked}


@pytest.mark.parametrize("moment", range(MOMENTS))
@pytest.mark.parametrize("rule", RULES)
def test_killed_at_a_random_moment(
    rule: str, moment: int, whole: dict[str, Whole], tmp_path: Path
) -> None:
    folder, log = tmp_path / "run", tmp_path / "log"
    after = random.Random(f"{rule}/{moment}").randrange(1, len(whole[rule].requests))
    killed(rule, folder, log, after)
    first, before = lines(log), stored(folder)
    log.unlink(missing_ok=True)
    subprocess.run(command(rule, folder, log, 0), check=True, timeout=200)
    second = lines(log)
    check(before, second)
    assert grown(folder) == whole[rule].trees
    assert set(first) | set(second) == set(whole[rule].requests)
    # Asked twice is only what was under way at the kill: four draws, and a round of two trees'.
    assert len(set(first) & set(second)) <= 4 + 2 * 12


@pytest.mark.parametrize("rule", RULES)
def test_killed_again_and_again(rule: str, whole: dict[str, Whole], tmp_path: Path) -> None:
    folder, log = tmp_path / "run", tmp_path / "log"
    before = Stored(set(), set())
    answered: Counter[str] = Counter()
    for _ in range(4):
        killed(rule, folder, log, 25)
        check(before, lines(log))
        after = stored(folder)
        assert before.done <= after.done
        answered.update(after.answered - before.answered)
        before = after
        log.unlink(missing_ok=True)
    subprocess.run(command(rule, folder, log, 0), check=True, timeout=200)
    check(before, lines(log))
    assert grown(folder) == whole[rule].trees
    assert max(answered.values(), default=1) == 1
