"""Does a reward model carry over to problems of another kind?

Trained on one family, on all but one, and on all, each is tested on every family: the source
ablation that the paper asks for next. All see equally many solutions of `embedded:small` on
train puzzles, with the exact checker's values, once. They select among 24 solutions of the
same test puzzles.

    python benchmarks/families.py --out build/families
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from ablation import Row, main

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


MIXES = {
    "every": FAMILIES,
    **{name: (name,) for name in FAMILIES},
    **{f"not-{name}": tuple(one for one in FAMILIES if one != name) for name in FAMILIES},
}
"""What each reward model is trained on."""

if __name__ == "__main__":
    main(
        __doc__,
        tuple(MIXES),
        lambda groups, name: mixed(groups, MIXES[name], seed=1),
        by="source",
        solutions=4_000,
    )
