"""Votes weighed by scores of a linear head, which knows no bounds."""

from __future__ import annotations

import math

import pytest

from vilbench.evaluate.pools import Pools, Scale, ScorerPlan
from vilbench.selection import weighted_majority
from vilbench.store.records import ScoreRef
from vilbench.testing import make_problem, make_solution
from vilbench.types import StepScores

PROBLEM = make_problem()
POOL = [make_solution(PROBLEM, k, f"The sum is {k}.") for k in range(4)]


def weights(scale: Scale | None, *values: float | None) -> list[float | None]:
    stored = {
        ScoreRef(PROBLEM.id, k): StepScores(
            problem_id=PROBLEM.id,
            solution_index=k,
            scorer="prm",
            granularity="step",
            values=(value,),
        )
        for k, value in enumerate(values)
    }
    pools = Pools.of([PROBLEM], {PROBLEM.id: POOL}, 4)
    (row,) = pools.weights(ScorerPlan("prm", "step", scale, ("mean",), "mean"), stored)
    return row


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        (Scale(0, 1), [0.0, 0.25, 1.0, None]),
        (Scale(-1, 1), [0.5, 1.25, 2.0, None]),
        (Scale(1, 5), [1.0, 1.0, 1.5, None]),
        # Without bounds, exponentials over the best.
        (None, [math.exp(-2.0), math.exp(-1.25), 1.0, None]),
    ],
)
def test_a_score_beyond_a_bound_weighs_as_the_bound(
    scale: Scale | None, expected: list[float | None]
) -> None:
    assert weights(scale, -0.5, 0.25, 1.5, None) == pytest.approx(expected)


def test_votes_that_all_weigh_nothing_are_a_tie() -> None:
    row = weights(Scale(0, 1), -0.5, -0.25, -1.5, -2.0)
    curve = weighted_majority([["a", "b", "c", "d"]], [[True, False, False, False]], [row])
    assert curve.accuracy[0, -1] == pytest.approx(0.25)
