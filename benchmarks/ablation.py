"""Reward models that differ in their training rows alone, side by side on the same solutions."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

RECIPE = """\
name: ablation
seed: 0
model: "embedded:base"
format: steps-brief
head_bias: true
fit_head: 100
data: {train: rows, dev_share: 0.05}
loss: {kind: mse, dense: 1.0, language: 0.2, surprise: 1.0, language_on: correct-solutions}
optimizer: {kind: muon, learning_rate: 2.0e-4, warmup: 0.03}
batch: {solutions: 32, siblings: 8, tokens: 8192}
select: {metric: within-auroc, every: 1000}
epochs: 1
store: bfloat16
save_every: 500
log_every: 50
"""

METHOD = "mean"
"""The aggregation of all tables, settled before any of them was seen."""

Row = dict[str, Any]


def python(*arguments: object) -> None:
    """Runs Python with one thread, and stops at the first that fails."""
    command = [sys.executable, *map(str, arguments)]
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    subprocess.run(command, check=True, env=environment)  # noqa: S603


def vilbench(*arguments: object) -> None:
    """Runs a command of the suite."""
    python("-c", "from vilbench.cli import main; main()", *arguments)


def main(
    about: str,
    ways: Sequence[str],
    rows: Callable[[list[list[Row]], str], Iterable[Row]],
    by: str,
    solutions: int,
) -> None:
    """Trains a reward model each way, lets all select, prints the tables; the first is the basis.

    Args:
        about: What the program is, for its help.
        ways: Names of the reward models.
        rows: Training rows of a way, from the labelled rows by puzzle.
        by: What makes the columns of the tables, "source" or "modality".
        solutions: How many rows each is trained on, if the command does not say.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--labels", type=Path, help="rows of training.embedded.labels at hand")
    parser.add_argument("--puzzles", type=int, default=10_000)
    parser.add_argument("--solutions", type=int, default=solutions)
    parser.add_argument("--problems", type=int, default=540)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    folder = given.labels or given.out / "labels"
    groups = labelled(folder, given.puzzles)
    for way in ways:
        train(given.out, way, rows(groups, way), folder, given.solutions)
    print(tables(select(given.out, ways, given.problems), ways, ways[0], by))


def labelled(folder: Path, puzzles: int) -> list[list[Row]]:
    """The checker's rows of train puzzles, by puzzle: six solutions of `small`, two made up."""
    path = folder / "rows.jsonl"
    if not path.exists():
        given = ("--out", folder, "--puzzles", puzzles, "--samples", 6, "--made-up", 2)
        python("-m", "vilbench.training.embedded.labels", *given)
    groups: dict[str, list[Row]] = {}
    for line in path.read_text(encoding="ascii").splitlines():
        row = json.loads(line)
        groups.setdefault(row["group"], []).append(row)
    return list(groups.values())


def train(out: Path, name: str, rows: Iterable[Row], images: Path, limit: int) -> None:
    """The reward model that `limit` rows give; nothing is done again."""
    folder = out / f"prm-{name}"
    if (folder / "prm").exists():
        return
    path = out / "rows" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = list(rows)[:limit]
    if len(kept) < limit:
        raise SystemExit(f"{name}: {len(kept)} rows, {limit} are needed: label more puzzles")
    path.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="ascii")
    recipe = yaml.safe_load(RECIPE)
    recipe["data"] |= {"train": str(path), "images": str(images)}
    config = out / f"train-{name}.yaml"
    config.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    vilbench("train", config, "--out", folder, "--plain")


def select(out: Path, names: Sequence[str], problems: int, main: str | None = None) -> Path:
    """A run in which all of them select among the same solutions of test puzzles."""
    from vilbench import config

    recipe = config.load("embedded").model_dump(mode="json")
    recipe["problems"]["limit"] = problems
    recipe["main"] = main
    recipe["scorers"] = [
        {"kind": "prm", "name": name, "model": str(out / f"prm-{name}" / "prm")} for name in names
    ]
    path = out / "compare.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    run = out / "compare"
    vilbench("run", path, "--out", run, "--plain")
    return run


class Part(NamedTuple):
    """A slice of the problems for a column of a table."""

    label: str
    places: list[int]


def tables(run: Path, names: Sequence[str], against: str, by: str) -> str:
    """Markdown: gain over cot, AUROC within problems, and the paired difference from one model.

    Args:
        run: The run.
        names: Its scorers, a line each.
        against: The scorer of the paired differences.
        by: What makes the columns, "source" or "modality".
    """
    import numpy as np

    from vilbench import config
    from vilbench.cli import job
    from vilbench.evaluate.analysis import stored
    from vilbench.metrics import Bootstrap, Separation, compare
    from vilbench.problems.clusters import clusters
    from vilbench.selection import best_of, random
    from vilbench.store.run import Run

    with Run.read(run) as opened:
        found = stored(opened, config.plan(job.recipe_of(opened)))
    pools, correct = found.pools, found.pools.correct()
    kinds = [getattr(problem, by) for problem in pools.problems]
    parts = [Part("all", list(range(len(kinds))))]
    parts += [
        Part(kind, [place for place, one in enumerate(kinds) if one == kind])
        for kind in dict.fromkeys(kinds)
    ]
    kin = np.array(clusters(pools.problems))
    scores = {
        scorer.name: pools.scores(scorer, found.values[scorer.name])[f"{scorer.name}/{METHOD}"]
        for scorer in found.scorers
    }
    accuracy = {name: best_of(given, correct).accuracy[:, -1:] for name, given in scores.items()}
    cot = random(correct).accuracy[:, -1:]
    blocks: dict[str, list[list[str]]] = {
        f"Best-of-{len(correct[0])} by `{METHOD}`, points over cot": [],
        "AUROC within problems": [],
        f"points over `{against}`, paired": [],
    }
    gain, within, paired = blocks.values()
    for name in names:
        separation = Separation(scores[name], correct)
        lines: tuple[list[str], ...] = ([], [], [])
        for part in parts:
            places = np.array(part.places)
            bootstrap = Bootstrap(len(places), clusters=kin[places])
            pairs = ((cot, lines[0]), (accuracy[against], lines[2]))
            for reference, line in pairs:
                one = compare(accuracy[name][places], reference[places], bootstrap)
                line.append(_points(one.delta[0], one.low[0], one.high[0]))
            area = separation.within(bootstrap, places)
            line = lines[1]
            if area.value is None:
                line.append("")
            else:
                line.append(f"{area.value:.2f} [{area.low:.2f}, {area.high:.2f}]")
        gain.append([name, *lines[0]])
        within.append([name, *lines[1]])
        paired.append([name, *lines[2]])
    header = ["trained on", *(f"{part.label} ({len(part.places)})" for part in parts)]
    return "\n".join(_markdown(title, header, lines) for title, lines in blocks.items())


def _points(delta: float, low: float, high: float) -> str:
    return f"{100 * delta:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def _markdown(title: str, header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["|:--|" + "--:|" * (len(header) - 1)]
    told = [f"| {' | '.join(line)} |" for line in (header, *lines)]
    return "\n".join(["", f"**{title}**", "", told[0], *rule, *told[1:], ""])
