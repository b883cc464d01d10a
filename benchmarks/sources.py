"""Where step values come from, and what a reward model makes of them: Best-of-N side by side.

The embedded `base` is trained on equally many solutions with values of the exact checker, of
`search.faults` and plain shares over the same continuations, of OmegaPRM, of ReST-MCTS*, and of
the embedded judge; then all six select among 24 solutions of the same test puzzles. What is
done is not done again. About two hours on two cores; the table is that of `vilbench run`.

    python benchmarks/sources.py --out build/sources
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

SOURCES = ("exact", "faults", "rollouts", "omega", "rest", "judge")

OMEGA = """\
name: omega
seed: 1
problems: {source: puzzles, split: train, limit: 1000}
policy:
  engine: {kind: local, model: "embedded:small"}
  format: steps-brief
  max_tokens: 160
  step_characters: 400
  max_depth: 16
search: {rule: omega, solutions: 8, rollouts: 8, searches: 8}
width: {trees: 16, policy: 64}
"""

TRAIN = """\
name: source
seed: 0
model: "embedded:base"
format: steps-brief
head_bias: true
fit_head: 100
data: {train: rows, dev_share: 0.05, limit: 8000}
loss: {kind: mse, dense: 1.0, language: 0.2, surprise: 1.0, language_on: correct-solutions}
optimizer: {kind: muon, learning_rate: 2.0e-4, warmup: 0.03}
batch: {solutions: 32, siblings: 8, tokens: 8192}
select: {metric: within-auroc, every: 1000}
epochs: 1
store: bfloat16
save_every: 500
log_every: 50
"""


def vilbench(*arguments: object) -> None:
    """Runs a command, and stops at the first that fails."""
    _python("-c", "from vilbench.cli import main; main()", *arguments)


def _python(*arguments: object) -> None:
    command = [sys.executable, *map(str, arguments)]
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    subprocess.run(command, check=True, env=environment)  # noqa: S603


def exported(run: Path, values: str, to: Path, *options: object) -> None:
    """Rows of a collection by a value rule."""
    form = ("--format", "rows", "--labels", "every", "--values", values, "--to", to)
    vilbench("export", run, *form, *options)


def collect(out: Path, puzzles: int) -> None:
    """Rows by every source."""
    rows, spread = out / "rows", ("--spread", 0.15)
    labels = ("--puzzles", puzzles, "--samples", 6, "--made-up", 2)
    _python("-m", "vilbench.training.embedded.labels", "--out", rows / "exact", *labels)
    whole = (*spread, "--chains", "finished")
    vilbench("collect", "embedded-rollouts", "--limit", puzzles, "--out", out / "rollouts")
    for values in ("faults", "rollouts"):
        exported(out / "rollouts", values, rows / values, *whole)
    (out / "omega.yaml").write_text(OMEGA, encoding="utf-8")
    vilbench("collect", out / "omega.yaml", "--out", out / "omega")
    exported(out / "omega", "omega-filled", rows / "omega", *spread)
    vilbench("collect", "embedded-collect", "--limit", 300, "--out", out / "rest")
    exported(out / "rest", "rest", rows / "rest")
    exported(out / "rest", "judge", rows / "judge", *spread)


def train(out: Path, source: str) -> None:
    """The reward model of a source."""
    recipe = yaml.safe_load(TRAIN)
    recipe["data"]["train"] = str(out / "rows" / source / "rows.jsonl")
    path = out / f"train-{source}.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    vilbench("train", path, "--out", out / f"prm-{source}")


def compare(out: Path, sources: Sequence[str], problems: int) -> None:
    """All of them on the same solutions."""
    from vilbench import config

    recipe = config.load("embedded").model_dump(mode="json")
    recipe["problems"]["limit"] = problems
    recipe["main"] = "faults"
    recipe["scorers"] = [
        {"kind": "prm", "name": source, "model": str(out / f"prm-{source}" / "prm")}
        for source in sources
    ]
    path = out / "compare.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    vilbench("run", path, "--out", out / "compare", "--plain")


def main() -> None:
    """Collects, trains, compares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--puzzles", type=int, default=3360)
    parser.add_argument("--problems", type=int, default=270)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    collect(given.out, given.puzzles)
    for source in SOURCES:
        train(given.out, source)
    compare(given.out, SOURCES, given.problems)


if __name__ == "__main__":
    main()
