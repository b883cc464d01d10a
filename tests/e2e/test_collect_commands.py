"""`vilbench collect` as a process, on the shipped models: whole, killed, and gone on with."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vilbench.collect.forest import noted_key
from vilbench.search import TreeRecord
from vilbench.store import trees
from vilbench.store.run import Run

VILBENCH = [sys.executable, "-c", "from vilbench.cli import main; main()"]
ALONE = {**os.environ, "OMP_NUM_THREADS": "1"}

# One tree at a time and nothing recalled, so that nothing hangs on what else a model was asked.
RECIPE = """\
name: quick
problems: {source: puzzles, split: train, limit: 6}
policy:
  engine: {kind: local, model: "embedded:small", recall: false}
  format: steps-brief
  max_tokens: 120
  step_tokens: 50
  max_depth: 10
search: {rule: rest-mcts, rounds: 3, leaves: 2, ahead: null, enough: null, keep_ahead: true}
evaluator:
  scorer:
    {kind: judge, name: judge, granularity: step, prompt: brief,
     engine: {kind: local, model: "embedded:small", recall: false}}
  grade_weight: 1.0
width: {trees: 1}
"""


def collected(folder: Path) -> list[TreeRecord]:
    with Run.read(folder) as run:
        return [one.tree for one in trees.trees(run, noted_key(run) or "")]


def collect(recipe: Path, folder: Path) -> str:
    done = subprocess.run(
        [*VILBENCH, "collect", str(recipe), "--out", str(folder), "--plain"],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env=ALONE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def answered(folder: Path) -> int:
    """Answers that are stored of unfinished trees, and finished trees; 0 without a database."""
    try:
        with sqlite3.connect(f"file:{folder / 'run.sqlite'}?mode=ro", uri=True) as connection:
            (calls,) = connection.execute("SELECT count(*) FROM calls").fetchone()
            (grown,) = connection.execute("SELECT count(*) FROM trees").fetchone()
            return int(calls) + 10 * int(grown)
    except sqlite3.OperationalError:
        return 0


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "quick.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def whole(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> list[TreeRecord]:
    """The trees of a run without interruption."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    said = collect(recipe, folder)
    assert "trees: 6 of 6 problems" in said
    return collected(folder)


def test_models_solve_and_judge(whole: list[TreeRecord]) -> None:
    nodes = [node for tree in whole for node in tree.nodes]
    assert any(node.correct for node in nodes)
    judged = {node.judged for node in nodes if node.judged is not None}
    assert len(judged) > 5
    assert all(node.step.startswith(("Step", "Answer")) for node in nodes if node.node)


def test_killed_and_started_again(recipe: Path, whole: list[TreeRecord], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [*VILBENCH, "collect", str(recipe), "--out", str(folder)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ALONE
    )
    deadline = time.monotonic() + 200
    while answered(folder) < 24 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = collected(folder)
    assert len(kept) < len(whole)
    said = collect(recipe, folder)
    assert f"collect: 6 problems, {len(kept)} stored already" in said
    assert collected(folder) == whole
