"""A run, the problems chosen from it, and a run over these, as processes on shipped models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

VILBENCH = [sys.executable, "-c", "from vilbench.cli import main; main()"]

RECIPE = """\
name: quick
problems: {source: puzzles, split: dev, limit: 6}
sample:
  engine: {kind: local, model: "embedded:small"}
  format: steps-brief
  n: 3
  max_tokens: 120
scorers:
  - {kind: prm, model: "embedded:vilprm"}
concurrency: 1
"""


def vilbench(*arguments: object) -> str:
    done = subprocess.run(
        [*VILBENCH, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_curated_set_feeds_a_run(tmp_path: Path) -> None:
    recipe, first, chosen, second = (
        tmp_path / name for name in ("quick.yaml", "first", "chosen", "second")
    )
    recipe.write_text(RECIPE)
    vilbench("run", recipe, "--out", first, "--plain")
    vilbench("curate", first, "--threshold", "none", "--size", 3, "--out", chosen)
    told = vilbench("run", recipe, "--problems", chosen, "--seed", 1, "--out", second, "--plain")
    assert "warning: prm helped to choose the problems of chosen" in told
    results = json.loads((second / "results.json").read_text())
    ids = [json.loads(line)["id"] for line in (chosen / "problems.jsonl").read_text().splitlines()]
    assert results["n_problems"] == len(ids) > 0
    assert len(results["notices"]) == 1
    # The same problems, their pictures included, and steps that the checker still knows.
    assert any(row["n_steps"] for row in results["steps"])
