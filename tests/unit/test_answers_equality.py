"""The process that compares LaTeX: from threads, event loops and forks, killed and missing."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from vilbench.answers import comparison, equality, read, soon
from vilbench.answers.equality import COMPARER, Comparer, Limits
from vilbench.errors import ComparisonError
from vilbench.types import Problem

ROOT_12 = ("2\\sqrt{3}", "\\sqrt{12}")
PROBLEM = Problem(id="p", source="s", question="q", answer="2\\sqrt{3}", answer_kind="expression")


@pytest.fixture(scope="module")
def comparer() -> Iterator[Comparer]:
    comparer = Comparer()
    yield comparer
    comparer.close()


@pytest.mark.parametrize(
    ("gold", "given", "same"),
    [
        (*ROOT_12, True),
        ("2\\sqrt{3}", "\\sqrt{13}", False),
        ("x=3", "3", True),
        ("x=3", "y=3", False),
        ("x<3", "(-\\infty,3)", True),
        ("3", "\\frac{1}{", None),
    ],
)
def test_verdicts(comparer: Comparer, gold: str, given: str, same: bool | None) -> None:
    if same is None:
        assert comparer.same(gold, given) is not True
    else:
        assert comparer.same(gold, given) is same


def test_it_starts_late_and_once_and_remembers() -> None:
    comparer = Comparer(kept=2)
    assert comparer.tally.started == 0
    for _ in range(3):
        assert comparer.same(*ROOT_12)
    assert (comparer.tally.started, comparer.tally.asked) == (1, 1)
    comparer.same("1", "x")
    comparer.same("2", "x")  # the first is forgotten now
    assert comparer.same(*ROOT_12)
    assert (comparer.tally.started, comparer.tally.asked) == (1, 4)
    comparer.close()
    comparer.close()


def test_what_a_comparison_may_use() -> None:
    small = Comparer(Limits(memory=1 << 29, cpu=1.0))
    try:
        assert small.same("1", "\\binom{10^{8}}{10^{7}}") is not True
        assert small.same(*ROOT_12)
        assert small.tally.started == 1
        assert small.tally.longest < 2
    finally:
        small.close()


def test_many_threads_share_one_worker(comparer: Comparer) -> None:
    pairs = [(f"{n}x", f"{n // 2}x+{n - n // 2}x") for n in range(2, 14)]
    pairs += [(f"{n}x", f"{n}x+1") for n in range(2, 14)]
    before = comparer.tally.started
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda pair: comparer.same(*pair), pairs))
    assert found == [True] * 12 + [False] * 12
    assert comparer.tally.started <= max(before, 1)


async def test_an_event_loop_goes_on_meanwhile() -> None:
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(turn())
    reading = await soon(PROBLEM, lambda: read("Answer: $\\sqrt{12}$", PROBLEM))
    task.cancel()
    assert reading.verdict == "correct"
    assert turns > 1
    number = PROBLEM.model_copy(update={"answer": "3", "answer_kind": "number"})
    here = await soon(number, threading.get_ident)
    assert here == threading.get_ident()


def test_a_worker_that_is_killed_is_replaced(comparer: Comparer) -> None:
    assert comparer.same(*ROOT_12)
    for child in psutil.Process().children():
        if "worker.py" in " ".join(child.cmdline()):
            child.send_signal(signal.SIGKILL)
            child.wait()
    assert comparer.same("4x", "3x+x")


def test_it_ends_with_the_program() -> None:
    program = (
        "import psutil\n"
        "from vilbench.answers.equality import COMPARER\n"
        f"assert COMPARER.same{ROOT_12!r}\n"
        "print(psutil.Process().children()[0].pid)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not psutil.pid_exists(int(done.stdout))


def test_no_secrets_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    comparer = Comparer()
    try:
        assert comparer.same(*ROOT_12)
        assert comparer._worker is not None
        assert "secret" not in str(psutil.Process(comparer._worker.pid).environ())
    finally:
        comparer.close()


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "worker.py"
    program.write_text('print(\'{"error": "ModuleNotFoundError: math_verify"}\')')
    monkeypatch.setattr(equality, "_PROGRAM", program)
    monkeypatch.setattr(comparison, "COMPARER", Comparer())
    with pytest.raises(ComparisonError, match=r"math_verify.*math-verify"):
        read("Answer: $\\sqrt{12}$", PROBLEM)
    assert read("Answer: $2\\sqrt{3}$", PROBLEM).verdict == "correct"  # no need of it


def in_another_process(method: str) -> str:
    context = multiprocessing.get_context(method)
    with context.Pool(1) as pool:
        return pool.apply(graded)


def graded() -> str:
    return read("Answer: $\\sqrt{12}$", PROBLEM).verdict


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_in_a_child_process(method: str) -> None:
    assert graded() == "correct"  # the parent has a worker of its own
    assert in_another_process(method) == "correct"
    assert COMPARER.same("6x", "3x+3x")  # and keeps it
