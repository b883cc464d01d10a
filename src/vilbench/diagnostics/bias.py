"""Length and position bias: scores that follow what says nothing about being right."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vilbench.diagnostics.records import Bias, Figure, Trait
from vilbench.diagnostics.table import Bools, Places, Scored, Table
from vilbench.metrics import Bootstrap
from vilbench.metrics.bootstrap import Floats
from vilbench.metrics.correlation import PartialRank, partial_rank


def bias(table: Table, scored: Scored, bootstrap: Bootstrap) -> Iterator[Bias]:
    """What a scorer's scores follow, within problems, given right or wrong.

    Partial rank correlations (`metrics.correlation.partial_rank`) of the standing method's
    scores with the length in characters, in tokens and in steps, and with the place of the
    candidate in its pool; of every other method's with the number of steps, which is what
    aggregations treat differently; and of the values of steps with the number of the step,
    given whether the step ends a sound prefix. Equal texts of a problem count once in all that
    the text settles, and so do equal beginnings.

    "Given right or wrong" keeps apart what can be kept apart by a verdict: if of the wrong
    solutions the long ones are further from being right, a good scorer follows that too.

    Args:
        table: The pools.
        scored: The scorer's values.
        bootstrap: Resamples of the problems.
    """
    lengths: dict[Trait, Places] = {
        "characters": table.characters,
        "tokens": table.tokens,
        "steps": table.steps,
    }
    given = table.right.astype(np.intp)
    for method, scores in scored.scores.items():
        known = ~np.isnan(scores)
        stands = scored.method is not None and method == scored.method.name
        for trait, length in lengths.items():
            if (stands or trait == "steps") and length.any():
                rows = known & table.first
                yield _bias(
                    scored, method, trait, scores, length, table.owner, given, rows, bootstrap
                )
        if stands:
            yield _bias(
                scored,
                method,
                "candidate",
                scores,
                table.index,
                table.owner,
                given,
                known,
                bootstrap,
            )
    if scored.values is not None:
        rows = ~np.isnan(scored.values) & table.step_first & (table.step_sound >= 0)
        if rows.any():
            yield _bias(
                scored,
                None,
                "step number",
                scored.values,
                table.step_number,
                table.step_owner,
                table.step_sound,
                rows,
                bootstrap,
            )


def _bias(
    scored: Scored,
    method: str | None,
    trait: Trait,
    scores: Floats,
    followed: Places,
    owner: Places,
    given: Places,
    rows: Bools,
    bootstrap: Bootstrap,
) -> Bias:
    found: PartialRank = partial_rank(
        scores[rows], followed[rows].astype(np.float64), owner[rows], given[rows], bootstrap
    )
    return Bias(
        scorer=scored.name,
        method=method,
        trait=trait,
        rho=Figure(value=found.rho, low=found.low, high=found.high),
        p_value=found.p_value,
        n_problems=found.n_problems,
        n=found.n,
    )
