"""The loop as a process on the shipped models: from puzzles to what a reward model is good for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vilbench.cli import main

VILBENCH = [sys.executable, "-c", "from vilbench.cli import main; main()"]

COLLECT = """\
name: collect
seed: 1
problems: {source: puzzles, split: train, limit: 12}
policy:
  engine: {kind: local, model: "embedded:small"}
  format: steps-brief
  max_tokens: 100
search: {rule: rollouts, solutions: 4, rollouts: 1}
"""
TRAIN = """\
name: train
model: "embedded:base"
format: steps-brief
fit_head: 2
data: {train: replaced, dev_share: 0.3}
optimizer: {learning_rate: 1.0e-4}
steps: 2
epochs: 1
save_every: 1
"""
RUN = """\
name: run
problems: {source: puzzles, split: dev, limit: 9}
sample:
  engine: {kind: local, model: "embedded:small"}
  format: steps-brief
  n: 4
  max_tokens: 100
scorers:
  - {kind: likelihood, format: steps-brief, engine: {kind: local, model: "embedded:small"}}
  - {kind: prm, model: "embedded:vilprm"}
main: prm
concurrency: 1
"""
LOOP = """\
name: loop
collect: {recipe: collect.yaml}
data: {values: faults, rows: {spread: 0.15, labels: every}}
train: train.yaml
dev: {recipe: run.yaml}
test: {recipe: run.yaml, changes: {problems.split: test, problems.limit: 9}}
"""


def loop(folder: Path, *, code: int = 0) -> str:
    done = subprocess.run(
        [*VILBENCH, "loop", "loop.yaml", "--out", "out", "--plain"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_from_puzzles_to_a_report_and_not_twice(tmp_path: Path) -> None:
    texts = {"collect": COLLECT, "train": TRAIN, "run": RUN, "loop": LOOP}
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    told = loop(tmp_path)
    out = tmp_path / "out"
    results = json.loads((out / "test" / "results.json").read_text(encoding="utf-8"))
    methods = {row["method"] for row in results["rows"]}
    assert {"cot", "oracle", "likelihood/mean", "prm/last-1"} <= methods
    rows = (out / "rows" / "rows.jsonl").read_text(encoding="utf-8")
    values = [value for line in rows.splitlines() for value in json.loads(line)["values"]]
    assert all(0 <= value <= 1 for value in values)
    # Inferred, not shares of one continuation, which are 0 or 1.
    assert any(0.01 < value < 0.99 for value in values)
    assert "head fitted to" in told
    assert "chosen on puzzles:dev: prm/" in told
    commands = (out / "test" / "report.html").read_text(encoding="utf-8")
    assert "vilbench loop loop.yaml" in commands
    weights = (out / "train" / "prm" / "model.safetensors").read_bytes()

    again = loop(tmp_path)
    assert "head fitted to" not in again
    assert "collect: 12 problems, 12 stored already" in again
    assert (out / "rows" / "rows.jsonl").read_text(encoding="utf-8") == rows
    assert (out / "train" / "prm" / "model.safetensors").read_bytes() == weights
    repeated = json.loads((out / "test" / "results.json").read_text(encoding="utf-8"))
    assert repeated["rows"] == results["rows"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("scorer: orm", "run.yaml, field 'scorers': the recipe has no reward model 'orm'"),
        ("dev: {recipe: run.yaml, changes: {problems.split: test}}", "field 'dev': takes puzzles"),
        ("collect: {recipe: collect.yaml, changes: {problems.split: test}}", "field 'collect'"),
        ("data: {filters: {consensus: 0.5}}", "needs a second collection"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_paid(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: str,
    told: str,
) -> None:
    key = change.partition(":")[0]
    lines = [line for line in LOOP.splitlines() if not line.startswith(f"{key}:")]
    changed = "\n".join([*lines, change, ""])
    for name, text in {"collect": COLLECT, "train": TRAIN, "run": RUN, "loop": changed}.items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["vilbench", "loop", "loop.yaml", "--out", "out", "--plain"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
