"""How far problems of a run are from independent draws: errors of means by scene and by problem.

    python benchmarks/clusters.py RUN

Prints Markdown: the standard error of each accuracy and each gain over cot if every problem is
taken for a draw of its own, the one where versions of one another are drawn together
(`vilbench.problems.clusters`), and their ratio.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from vilbench import config
from vilbench.cli import job
from vilbench.evaluate.sidebyside import measured
from vilbench.metrics.bootstrap import Floats
from vilbench.problems.clusters import clusters
from vilbench.store.run import Run


def error(values: Floats, cluster: list[int]) -> float:
    """Standard error of the mean where clusters are drawn."""
    summed = np.bincount(cluster, weights=values - values.mean())
    return float(np.sqrt((summed**2).sum())) / len(values)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    given = parser.parse_args()
    with Run.read(given.run) as run:
        found = measured(given.run.name, run, config.plan(job.recipe_of(run)))
    alone, kin = list(range(len(found.problems))), clusters(found.problems)
    print(f"{len(alone):,} problems, {max(kin) + 1:,} clusters\n")
    print("| accuracy | by problem, points | by cluster, points | ratio |\n|:--|--:|--:|--:|")
    at_n = {name: accuracy[:, -1] for name, accuracy in found.accuracy.items()}
    columns = at_n | {f"{name} over cot": one - at_n["cot"] for name, one in at_n.items()}
    del columns["cot over cot"]
    for name, values in columns.items():
        by_problem, by_cluster = error(values, alone), error(values, kin)
        ratio = by_cluster / by_problem
        print(f"| {name} | {100 * by_problem:.2f} | {100 * by_cluster:.2f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
