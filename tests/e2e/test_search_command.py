"""`vilbench search` as a process: found, gone on with for nothing, reported and scored anew."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

VILBENCH = [sys.executable, "-c", "from vilbench.cli import main; main()"]
ALONE = {**os.environ, "OMP_NUM_THREADS": "1"}


def vilbench(*arguments: object, code: int = 0) -> str:
    command = [*VILBENCH, *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=280, check=False, env=ALONE
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_search_is_a_run_like_any_other(tmp_path: Path) -> None:
    run = tmp_path / "run"
    asked = ("search", "embedded-search", "--limit", 4, "--beams", 2, "--widths", 2, "--out", run)
    said = vilbench(*asked, "--plain")
    assert "trees: 4 of 4 problems" in said
    results = json.loads((run / "results.json").read_text())
    assert results["policy"] == "small, beam 2 x 2"
    assert (results["n_problems"], results["n_solutions"], results["main"]) == (4, 1, "prm")
    again = vilbench(*asked, "--plain")
    assert "search: 4 problems, 4 stored already" in again
    assert "collect:" not in said + again
    assert re.search("^evaluator: [1-9][0-9]* prefixes, [1-9][0-9]* tokens", said, re.M)
    assert "report" in vilbench("report", run, "--plain")
    assert json.loads((run / "results.json").read_text())["rows"] == results["rows"]
    other = vilbench(*asked[:-2], "--beams", 3, "--out", run, code=2)
    assert "--fresh" in other


def test_what_it_would_cost_and_wrong_schedules() -> None:
    assert "no model is asked" in vilbench("search", "embedded-search", "--limit", 2, "--dry-run")
    assert "--beams" in vilbench("search", "embedded-search", "--beams", "4,x", code=2)
    assert "--out" in vilbench("search", "embedded-search", code=2)
