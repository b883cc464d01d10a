"""Trees to training rows: time and memory over the number of problems.

    python benchmarks/export.py --problems 100 1000 10000

Trees of 40 steps are made and stored, then exported with all filters that need no second run.
Every export runs in a process of its own; seconds are those of the processor, and memory is
the peak of that process above what it holds when everything is imported.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from vilbench.collect.data import DataConfig
from vilbench.collect.export import export
from vilbench.collect.filters import FilterConfig
from vilbench.search import NodeRecord, TreeRecord
from vilbench.store import trees
from vilbench.store.manifest import Manifest
from vilbench.store.records import Spent
from vilbench.store.run import Run
from vilbench.testing import make_problem

STEPS = 40
FILTERS = FilterConfig(
    solved="drop", min_visits=1, min_rollouts=2, near_duplicates=0.8, balance=1.0
)


def grown(problem_id: str, seed: int) -> TreeRecord:
    """A tree of `STEPS` steps with estimates by eight continuations."""
    rng = random.Random(seed)
    nodes = [NodeRecord(node=0, rollouts=8, right=4)]
    inner = [0]
    for number in range(1, STEPS + 1):
        parent = rng.choice(inner)
        finished = number > 8 and rng.random() < 0.4
        words = " ".join(rng.choices("so we see that the sum of all bars is".split(), k=9))  # noqa: SIM905
        right = rng.randint(0, 8)
        nodes.append(
            NodeRecord(
                node=number,
                parent=parent,
                step=f"Step {number}: {words} {rng.randint(1, 99)}.",
                finished=finished,
                correct=rng.random() < 0.5 if finished else None,
                visits=8,
                rollouts=0 if finished else 8,
                right=0 if finished else right,
            )
        )
        if not finished:
            inner.append(number)
    return TreeRecord(problem_id=problem_id, rule="rollouts", seed=0, nodes=tuple(nodes))


def store(folder: Path, count: int) -> None:
    """A run with as many trees."""
    with Run.open(folder, Manifest.of("bench", {}, seed=0, problem_set="made")) as run:
        names = [f"p{number}" for number in range(count)]
        run.add_problems([make_problem(id=name) for name in names])
        for start in range(0, count, 100):
            made = [grown(name, start + k) for k, name in enumerate(names[start : start + 100])]
            trees.put(run, "k", [], [trees.Grown(one, Spent()) for one in made])


def once(folder: Path, form: str) -> dict[str, float]:
    """One export, in this process."""
    before = peak()
    began = time.process_time()
    with Run.read(folder / "run") as run:
        summary = export(run, folder / "out", form, DataConfig(filters=FILTERS))
    seconds = time.process_time() - began
    return {
        "seconds": seconds,
        "steps": summary.nodes,
        "rows": summary.rows,
        "megabytes": (peak() - before) / 1024,
    }


def peak() -> int:
    """Most memory that this process has held, in KiB; `ru_maxrss` counts its parent's, too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--format", default="rows")
    parser.add_argument("--once", type=Path, help="export this folder's run, told as JSON")
    given = parser.parse_args()
    if given.once:
        print(json.dumps(once(given.once, given.format)))
        return
    print(f"{'problems':>9} {'steps':>8} {'rows':>8} {'seconds':>8} {'steps/s':>9} {'MB':>6}")
    for count in given.problems:
        with tempfile.TemporaryDirectory() as folder:
            store(Path(folder) / "run", count)
            command = [sys.executable, __file__, "--once", folder, "--format", given.format]
            done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
        told = json.loads(done.stdout)
        rate = told["steps"] / told["seconds"]
        print(
            f"{count:>9,} {told['steps']:>8,} {told['rows']:>8,} {told['seconds']:>8.2f} "
            f"{rate:>9,.0f} {told['megabytes']:>6.0f}"
        )


if __name__ == "__main__":
    main()
