"""The commands as processes, on the shipped `embedded:small`: kills, signals, whole runs.

What a command says and refuses is tested within one process, in `tests/unit/test_cli.py`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vilbench.problems.files import load_jsonl

VILBENCH = [sys.executable, "-c", "from vilbench.cli import main; main()"]

RECIPE = """\
name: quick
problems: {source: puzzles, split: dev, limit: 9}
sample:
  engine: {kind: local, model: "embedded:small"}
  format: steps-brief
  n: 4
  max_tokens: 120
scorers:
  - {kind: judge, name: judge-orm, granularity: solution, prompt: brief,
     engine: {kind: local, model: "embedded:small"}}
  - {kind: judge, name: judge-prm, granularity: step, prompt: brief,
     engine: {kind: local, model: "embedded:small"}}
  - {kind: likelihood, format: steps-brief, engine: {kind: local, model: "embedded:small"}}
concurrency: 1
"""


def vilbench(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*VILBENCH, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "quick.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def whole(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without interruption."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    vilbench("run", recipe, "--out", folder)
    return folder


def untimed(folder: Path) -> dict[str, object]:
    """The results without what differs from one time to the next: time and memory."""
    results: dict[str, object] = json.loads((folder / "results.json").read_text())
    costs = results.pop("costs")
    assert isinstance(costs, list)
    results["costs"] = [{key: one[key] for key in ("stage", "prompt_tokens")} for one in costs]
    return results


def test_a_run_leaves_table_results_and_report(whole: Path) -> None:
    results = json.loads((whole / "results.json").read_text())
    assert results["n_problems"] == 9
    methods = {row["method"] for row in results["rows"]}
    assert {"cot", "oracle", "judge-orm", "judge-prm/last-1", "likelihood/mean"} <= methods
    assert (whole / "report.html").read_text().startswith("<!doctype html>")


def test_stages_one_by_one_give_the_same(recipe: Path, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    vilbench("sample", recipe, "--out", folder)
    vilbench("score", folder)
    assert untimed(folder) == untimed(whole)


def test_report_needs_no_model(whole: Path) -> None:
    before = (whole / "results.json").read_bytes()
    program = (
        "import sys; from vilbench.cli import main\n"
        f"sys.argv = ['vilbench', 'report', {str(whole)!r}]\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=100)
    assert (whole / "results.json").read_bytes() == before


def rows(folder: Path, table: str) -> list[tuple[object, ...]]:
    """Names of the stored units with their row numbers; empty while there is no table."""
    try:
        with sqlite3.connect(f"file:{folder / 'run.sqlite'}?mode=ro", uri=True) as connection:
            query = f"SELECT rowid, key, problem_id, sample FROM {table} ORDER BY rowid"  # noqa: S608
            return connection.execute(query).fetchall()
    except sqlite3.OperationalError:
        return []


@pytest.mark.parametrize(("table", "enough"), [("solutions", 20), ("scores", 60)])
def test_killed_and_started_again(
    recipe: Path, whole: Path, tmp_path: Path, table: str, enough: int
) -> None:
    folder = tmp_path / "run"
    command = [*VILBENCH, "run", str(recipe), "--out", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while len(rows(folder, table)) < enough and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {name: rows(folder, name) for name in ("solutions", "scores")}
    assert len(kept[table]) >= enough
    again = vilbench("run", recipe, "--out", folder)
    for name, before in kept.items():
        # What was stored is there still, under the numbers it got then: not written twice.
        assert rows(folder, name)[: len(before)] == before
    stored = re.search(r"sample: 9 problems, (\d+) stored already", again.stdout)
    assert stored is not None
    assert int(stored[1]) == len(kept["solutions"]) // 4
    assert untimed(folder) == untimed(whole)


def test_interrupted_once(recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [*VILBENCH, "run", str(recipe), "--out", str(folder)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Where tests run in the background SIGINT is ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    while len(rows(folder, "solutions")) < 4 and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said.index("stopping: what is under way is finished") < said.index("goes on from there")
    assert "Traceback" not in said


def test_export_reads_back(whole: Path, tmp_path: Path) -> None:
    vilbench("export", whole, "--format", "jsonl", "--to", tmp_path / "out")
    loaded = load_jsonl(tmp_path / "out" / "problems.jsonl")
    assert len(loaded.problems) == 9
    assert not loaded.rejected
    lines = (tmp_path / "out" / "solutions.jsonl").read_text().splitlines()
    assert len(lines) == 36
    assert set(json.loads(lines[0])) == {
        *("problem_id", "index", "text", "steps", "answer", "verdict", "finish_reason", "seed")
    }
    scores = (tmp_path / "out" / "scores.jsonl").read_text().splitlines()
    assert {json.loads(line)["scorer"] for line in scores} == {
        *("judge-orm", "judge-prm", "likelihood")
    }
