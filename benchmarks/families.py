"""Does a reward model carry over to problems of another kind?

Trained on one family, on all but one, and on all, each is tested on every family: the source
ablation that the paper asks for next. All see equally many solutions of `embedded:small` on
train puzzles, with the exact checker's values, once. They select among 24 solutions of the
same test puzzles.

    python benchmarks/families.py --out build/families
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

from ablation import Row, labelled, select, tables, train

FAMILIES = ("angles", "charts", "counting", "machines", "spatial")


def source(group: list[Row]) -> str:
    """Family of a puzzle's rows."""
    name: str = group[0]["group"].split("-")[0]
    return name


def mixed(groups: list[list[Row]], families: tuple[str, ...], seed: int) -> Iterator[Row]:
    """Rows of some families, a puzzle of each in turn, so that all have equally many."""
    rng = random.Random(seed)
    by_family = {name: [one for one in groups if source(one) == name] for name in families}
    for one in by_family.values():
        rng.shuffle(one)
    for turn in zip(*by_family.values(), strict=False):
        for group in turn:
            yield from group


def main() -> None:
    """Trains, selects, prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--labels", type=Path, help="rows of training.embedded.labels at hand")
    parser.add_argument("--puzzles", type=int, default=10_000)
    parser.add_argument("--solutions", type=int, default=4_000)
    parser.add_argument("--problems", type=int, default=540)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    folder = given.labels or given.out / "labels"
    groups = labelled(folder, given.puzzles)
    mixes: dict[str, tuple[str, ...]] = {"every": FAMILIES}
    mixes |= {name: (name,) for name in FAMILIES}
    mixes |= {f"not-{name}": tuple(one for one in FAMILIES if one != name) for name in FAMILIES}
    for name, families in mixes.items():
        train(given.out, name, mixed(groups, families, seed=1), folder, given.solutions)
    run = select(given.out, tuple(mixes), given.problems)
    print(tables(run, tuple(mixes), "every", "source"))


if __name__ == "__main__":
    main()
