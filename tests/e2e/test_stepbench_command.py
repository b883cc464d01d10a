"""`vilbench stepbench` as a process: the embedded reward model on files of the real schemas."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from vilbench.evaluate.stages import noted
from vilbench.problems.puzzles import puzzles
from vilbench.problems.puzzles.checker import check
from vilbench.problems.puzzles.claims import word
from vilbench.problems.puzzles.puzzle import gold_claims
from vilbench.store.records import ScoreRef
from vilbench.store.run import Run
from vilbench.types import StepScores

VILBENCH = [sys.executable, "-c", "from vilbench.cli import main; main()"]
PROBLEMS = 6
_LABELS = {"right": 1, "wrong": -1, "unchecked": 0}


def started(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*VILBENCH, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def vilbench(*arguments: object, code: int = 0) -> str:
    process = started(*arguments)
    said, _ = process.communicate(timeout=250)
    assert process.returncode == code, said
    return said


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two solutions of each of some puzzles, labelled by the checker, and the shipped model."""
    folder = tmp_path_factory.mktemp("marked")
    (folder / "images").mkdir()
    rows: list[dict[str, Any]] = []
    for number, puzzle in enumerate(puzzles("dev", PROBLEMS)):
        name = f"images/{number}.png"
        (folder / name).write_bytes(puzzle.problem.images[0].read())
        right = [word(claim, 0) for claim in gold_claims(puzzle.scene)]
        wrong = [right[0], "So 99 + 99 = 7.", *right[1:], "That is all there is to say."]
        for policy, steps in (("one", right), ("two", wrong)):
            labels = [_LABELS[one.label] for one in check(puzzle.problem, steps)]
            response = {"steps": steps, "process_correctness": labels}
            rows.append(
                {
                    "image": [name],
                    "question": puzzle.problem.question,
                    "answer": puzzle.problem.answer,
                    "response": response,
                    "policy_model": policy,
                    "data_source": puzzle.problem.source,
                }
            )
    rows.append({**rows[0], "response": {"steps": [], "process_correctness": []}})
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / "marked.yaml"
    path.write_text(
        "name: marked\n"
        f"benchmark: {{kind: visualprocessbench, path: {folder}}}\n"
        "threshold: {kind: split, share: 0.3, seed: 1}\n"
        'scorers: [{kind: prm, model: "embedded:vilprm"}]\n'
        "max_failures: 0.1\n"
    )
    return path


def scores(folder: Path) -> dict[ScoreRef, StepScores]:
    with Run.read(folder) as run:
        (key,) = noted(run).score_keys.values()
        return run.scores(key)


def test_killed_it_goes_on_and_pays_once(recipe: Path, tmp_path: Path) -> None:
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    said = vilbench("stepbench", recipe, "--out", whole, "--plain")
    assert "published, not measured here" in said
    assert "GPT-4o: macro-F1 60.3" in said
    assert "row 13, field 'response.steps': there is no step" in said
    process = started("stepbench", recipe, "--out", torn, "--plain")
    deadline = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if scores(torn):
                break
        except Exception:
            time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = scores(torn)
    assert before
    again = vilbench("stepbench", recipe, "--out", torn, "--plain")
    assert f"prm: {PROBLEMS} problems, {len(before) // 2} stored already" in again
    assert {ref: scores(torn)[ref] for ref in before} == before
    assert (torn / "stepbench.json").read_bytes() == (whole / "stepbench.json").read_bytes()
    found = json.loads((whole / "stepbench.json").read_text())
    assert (found["benchmark"], found["n_problems"] + found["n_dev"]) == (
        *("VisualProcessBench", PROBLEMS),
    )
    (overall,) = found["overall"]
    assert overall["pooled_f1"] is not None
    # The shipped model sees that 99 + 99 is not 7: beside other second steps it stands low.
    assert found["steps"][0]["same"] > 0.7
    assert {one["subset"] for one in found["steps"]} > {"all", "angles"}


def test_another_recipe_is_refused(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    vilbench("stepbench", recipe, "--out", out, "--plain", "--limit", 4, "--split", 0.5)
    said = vilbench("stepbench", recipe, "--out", out, "--plain", code=2)
    assert "another recipe" in said
    said = vilbench("stepbench", out, code=2)
    assert "give that recipe" in said
    said = vilbench("stepbench", recipe, "--dry-run", "--limit", 4)
    assert "2 problems, 4 solutions" in said
