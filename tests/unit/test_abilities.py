"""Models as solvers and as scorers, over planted worlds."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from planted_data import Planted, World, planted_labels, planted_world

from vilbench.diagnostics.abilities import Abilities, RunPart, abilities
from vilbench.diagnostics.diagnosis import Held
from vilbench.evaluate.analysis import Stored
from vilbench.evaluate.pools import Scale, ScorerPlan


@cache
def drawn(seed: int) -> World:
    return planted_world(120, 8, seed)


def part(name: str, solver: str, world: World, models: dict[str, Planted]) -> RunPart:
    plans = tuple(
        ScorerPlan(s.name, "step", Scale(0, 1), ("last-1",), "mean") for s in models.values()
    )
    values = {s.name: s.values(world) for s in models.values()}
    held = Held.of(Stored(solver, plans, world.aligned(), values), "planted", planted_labels)
    by_scorer = {scorer.name: model for model, scorer in models.items()}
    return RunPart(name, held, solver, by_scorer, dict.fromkeys(by_scorer, "judge of steps"))


def failing(world: World, share: float) -> World:
    """The same problems solved less often: every so many right solutions become wrong."""
    random = np.random.default_rng(0)
    pools = tuple(
        tuple(
            one.model_copy(update={"verdict": "wrong"})
            if one.verdict == "correct" and random.random() < share
            else one
            for one in pool
        )
        for pool in world.pools
    )
    return World(world.problems, pools)


def found(better_noise: float, worse_noise: float) -> Abilities:
    judges = {
        "better": Planted(scorer="b", noise=better_noise),
        "worse": Planted(scorer="w", noise=worse_noise),
    }
    return abilities(
        [
            part("judged", "worse", failing(drawn(2), 0.5), judges),
            part("solved", "better", drawn(2), {}),
        ]
    )


@pytest.mark.parametrize(
    ("better_noise", "worse_noise", "order", "tau"),
    [(0.0, 9.0, "better", 1.0), (9.0, 0.0, "worse", -1.0), (0.2, 0.2, "unclear", None)],
)
def test_the_better_solver_is_held_against_the_other_as_a_scorer(
    better_noise: float, worse_noise: float, order: str, tau: float | None
) -> None:
    result = found(better_noise, worse_noise)
    (pair,) = result.pairs
    assert (pair.solver, pair.other, pair.n_problems) == ("better", "worse", 120)
    assert pair.ahead.low is not None and pair.ahead.low > 0.1
    assert pair.as_scorer == order
    (ranking,) = result.rankings
    assert ranking.models == ("worse", "better")
    if tau is not None:
        assert (ranking.gain, ranking.within) == (tau, tau)
    by_model = {one.model: one for one in result.judging}
    gains = [by_model[model].gain.value for model in ("better", "worse")]
    assert gains[0] is not None and gains[1] is not None
    assert pair.gain.value == pytest.approx(gains[0] - gains[1])


def test_accuracies_as_solvers() -> None:
    result = found(0.0, 1.0)
    accuracy = {one.model: one.accuracy.value for one in result.solvers}
    right = np.mean([one.verdict == "correct" for pool in drawn(2).pools for one in pool])
    assert accuracy["better"] == pytest.approx(right)
    assert accuracy["worse"] == pytest.approx(right / 2, abs=0.05)


def test_models_that_did_not_solve_are_not_ranked() -> None:
    judges = {"a": Planted(scorer="a"), "b": Planted(scorer="b", noise=1.0)}
    result = abilities([part("judged", "other", drawn(2), judges)])
    assert len(result.judging) == 2
    assert not [*result.pairs, *result.rankings]


def test_other_problems_are_not_compared() -> None:
    judges = {"better": Planted(scorer="b"), "worse": Planted(scorer="w", noise=3.0)}
    world = drawn(3)
    elsewhere = World(
        tuple(one.model_copy(update={"id": f"x{one.id}"}) for one in world.problems),
        tuple(
            tuple(one.model_copy(update={"problem_id": f"x{one.problem_id}"}) for one in pool)
            for pool in world.pools
        ),
    )
    parts = [part("judged", "worse", drawn(2), judges), part("solved", "better", elsewhere, {})]
    result = abilities(parts)
    assert result.pairs == ()
    assert result.rankings == ()
    assert {one.model for one in result.solvers} == {"better", "worse"}
