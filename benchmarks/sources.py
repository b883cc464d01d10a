"""Where step values come from, and what a reward model makes of them: Best-of-N side by side.

The embedded `base` is trained on equally many solutions with values of the exact checker, of
`search.faults` and plain shares over the same continuations, of OmegaPRM, of ReST-MCTS*, and of
the embedded judge; then all six select among 24 solutions of the same test puzzles. What is
done is not done again. About two hours on two cores; the table is that of `vilbench run`.

    python benchmarks/sources.py --out build/sources
"""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml

from ablation import RECIPE, python, select, vilbench

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


def exported(run: Path, values: str, to: Path, *options: object) -> None:
    """Rows of a collection by a value rule."""
    form = ("--format", "rows", "--labels", "every", "--values", values, "--to", to)
    vilbench("export", run, *form, *options)


def collect(out: Path, puzzles: int) -> None:
    """Rows by every source."""
    rows, spread = out / "rows", ("--spread", 0.15)
    labels = ("--puzzles", puzzles, "--samples", 6, "--made-up", 2)
    python("-m", "vilbench.training.embedded.labels", "--out", rows / "exact", *labels)
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
    recipe = yaml.safe_load(RECIPE)
    rows = str(out / "rows" / source / "rows.jsonl")
    recipe["data"] |= {"train": rows, "limit": 8000}
    path = out / f"train-{source}.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    vilbench("train", path, "--out", out / f"prm-{source}")


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
    select(given.out, SOURCES, given.problems, main="faults")


if __name__ == "__main__":
    main()
