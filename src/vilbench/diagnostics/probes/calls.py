"""The same input asked again: in another batch, beside other neighbours, in another order.

A scorer that answers alike whatever else it is asked with differs by rounding alone. Judges
behind servers do not (batched kernels, sampling in spite of temperature 0), and one that
compares candidates or leaks from one to the next moves with their order. Calls of a judge's
protocol: ViLBench, section on VLLMs as reward models; that scores change with the batch is a
known fault of served models (Thinking Machines, "Defeating nondeterminism in LLM inference").
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from vilbench.diagnostics.probes.variants import Variant
from vilbench.types import Solution


def _reversed(solutions: Sequence[Solution], rng: random.Random) -> list[Sequence[Solution]]:
    return [list(reversed(solutions))]


def _shuffled(solutions: Sequence[Solution], rng: random.Random) -> list[Sequence[Solution]]:
    order = list(solutions)
    # Neither the order as it was nor its reverse, which has a variant of its own.
    for _ in range(16):
        rng.shuffle(order)
        if order not in (list(solutions), list(reversed(solutions))):
            break
    return [order]


def _apart(solutions: Sequence[Solution], rng: random.Random) -> list[Sequence[Solution]]:
    order = list(solutions)
    rng.shuffle(order)
    middle = (len(order) + 1) // 2
    return [order[:middle], order[middle:]]


AGAIN = Variant("rescoring", "again", 1)
"""The drawn candidates in one call, in their order: other neighbours than when they were stored."""

APART = Variant("rescoring", "apart", 1, arrange=_apart)
"""In two calls of half of them each, drawn at random."""

REVERSED = Variant("order", "reversed", 1, arrange=_reversed)
SHUFFLED = Variant("order", "shuffled", 1, arrange=_shuffled)
