"""Problems that are versions of one another are drawn together, wherever an interval is made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from puzzle_run import PRM, puzzle_run

from vilbench.evaluate.analysis import Plan, analyse
from vilbench.evaluate.slices import slices
from vilbench.metrics import Bootstrap, Separation, compare, minimal_detectable_delta
from vilbench.metrics.calibration import calibration
from vilbench.metrics.correlation import partial_rank
from vilbench.problems.clusters import GROUP, clusters
from vilbench.problems.puzzles import puzzles
from vilbench.testing import make_problem
from vilbench.types import Problem

P = 40
TWICE = np.repeat(np.arange(P), 2)
ONCE, BOTH = Bootstrap(P), Bootstrap(2 * P, clusters=TWICE)


def values(seed: int, columns: int = 3) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.random.default_rng(seed).random((P, columns))


def with_metadata(name: str, source: str = "s", **metadata: object) -> Problem:
    return make_problem(id=name).model_copy(update={"source": source, "metadata": metadata})


def grouped(name: str, group: object) -> Problem:
    return make_problem(id=name).model_copy(update={"metadata": {GROUP: group}})


def test_a_problem_that_is_there_twice_counts_once() -> None:
    one, other = values(0), values(1)
    first, second = (np.repeat(some, 2, axis=0) for some in (one, other))
    for found, expected in (
        (BOTH.mean_interval(first), ONCE.mean_interval(one)),
        (BOTH.ratio_interval(first, second), ONCE.ratio_interval(one, other)),
        (BOTH.paired_interval(first, second), ONCE.paired_interval(one, other)),
        (compare(first, second, BOTH), compare(one, other, ONCE)),
    ):
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-12)
    difference = (one - other)[:, 0]
    least = minimal_detectable_delta(np.repeat(difference, 2).tolist(), clusters=TWICE)
    assert least == pytest.approx(minimal_detectable_delta(difference.tolist()))


def test_calibration_and_ranks_count_it_once_too() -> None:
    rng = np.random.default_rng(2)
    owner = np.repeat(np.arange(P), 5)
    said, noise = rng.random(owner.size), rng.random(owner.size)
    right = rng.random(owner.size) < said**2
    again = np.concatenate([2 * owner, 2 * owner + 1])
    expected = calibration(said, right, owner, ONCE)
    found = calibration(np.tile(said, 2), np.tile(right, 2), again, BOTH)
    for name in (
        "ece",
        "floor",
        "p_value",
        "rms",
        "rms_low",
        "rms_high",
        "brier_low",
        "brier_high",
    ):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), abs=1e-9), name
    np.testing.assert_allclose(found.curve.low, expected.curve.low)
    given = right.astype(np.intp)
    rank = partial_rank(said, said + noise, owner, given, ONCE)
    ranks = partial_rank(np.tile(said, 2), np.tile(said + noise, 2), again, np.tile(given, 2), BOTH)
    assert (ranks.rho, ranks.low, ranks.high, ranks.p_value) == pytest.approx(
        (rank.rho, rank.low, rank.high, rank.p_value)
    )
    assert (ranks.n_problems, ranks.n) == (2 * rank.n_problems, 2 * rank.n)


def test_areas_count_it_once_too() -> None:
    rng = np.random.default_rng(3)
    scores, right = rng.random((P, 6)), rng.random((P, 6)) < 0.5
    one = Separation(scores.tolist(), right.tolist())
    both = Separation(np.repeat(scores, 2, axis=0).tolist(), np.repeat(right, 2, axis=0).tolist())
    mine, theirs = both.within(BOTH), one.within(ONCE)
    assert (mine.low, mine.high) == pytest.approx((theirs.low, theirs.high))


def test_each_problem_is_a_cluster_of_its_own_by_default() -> None:
    plain, named = Bootstrap(7, 50), Bootstrap(7, 50, clusters=[9, 8, 7, 3, 2, 1, 0])
    assert plain.n_clusters == named.n_clusters == 7
    assert (plain.counts.sum(axis=1) == 7).all()
    pairs = Bootstrap(6, 50, clusters=[0, 1, 1, 0, 5, 5])
    assert pairs.n_clusters == 3
    assert (pairs.counts[:, 0] == pairs.counts[:, 3]).all()
    assert (pairs.counts[:, 1] == pairs.counts[:, 2]).all()
    with pytest.raises(ValueError, match="clusters of 2 problems do not match 3"):
        Bootstrap(3, clusters=[0, 1])


def test_intervals_of_twins_hold_the_truth_as_often_as_they_say() -> None:
    held = {"clustered": 0, "alone": 0}
    for seed in range(300):
        rng = np.random.default_rng(seed)
        scene = rng.normal(size=(30, 1)).repeat(2, axis=1)
        shown = (scene + 0.5 * rng.normal(size=(30, 2))).reshape(-1, 1)
        pairs = np.repeat(np.arange(30), 2)
        for name, kin in (("clustered", pairs), ("alone", None)):
            _, low, high = Bootstrap(60, 400, seed, kin).mean_interval(shown)
            held[name] += int(low[0] <= 0.0 <= high[0])
    assert 0.90 <= held["clustered"] / 300 <= 0.98
    assert held["alone"] / 300 < 0.88


def test_two_scenes_prove_nothing_however_many_versions_they_have() -> None:
    won = np.ones((20, 1))
    many = Bootstrap(20, clusters=np.arange(20) % 2)
    assert compare(won, 0 * won, many).p_value[0] == 0.5
    assert compare(won, 0 * won, Bootstrap(20)).p_value[0] < 0.001


def test_twins_and_versions_are_found() -> None:
    drawn = [one.problem for one in puzzles("dev", 27)]
    found = clusters(drawn)
    pairs: dict[int, list[Problem]] = {}
    for problem, number in zip(drawn, found, strict=True):
        pairs.setdefault(number, []).append(problem)
    assert len(pairs) == 15
    for some in pairs.values():
        names = {tuple(one.id.split("-")[::2]) for one in some}
        assert len(names) == 1
        assert len(some) == (1 if some[0].source == "spatial" else 2)


@pytest.mark.parametrize(
    ("problems", "expected"),
    [
        ([with_metadata("a", problem_index="7"), with_metadata("b", problem_index="7")], [0, 0]),
        ([with_metadata("a", problem_index=7), with_metadata("b", "t", problem_index=7)], [0, 1]),
        ([with_metadata("a", problem_index=None), with_metadata("b", problem_index=None)], [0, 1]),
        ([grouped("a", "x"), grouped("b", "x")], [0, 0]),
        ([grouped("a", {"k": [1]}), grouped("b", 1)], [0, 1]),
        ([with_metadata("a", puzzle=2), with_metadata("b", puzzle=2)], [0, 1]),
        ([with_metadata("a"), with_metadata("b"), with_metadata("c")], [0, 1, 2]),
    ],
)
def test_what_belongs_together(problems: Sequence[Problem], expected: list[int]) -> None:
    assert clusters(problems) == expected


def test_slices_draw_twins_together_and_parts_of_one_modality_alone() -> None:
    drawn = [one.problem for one in puzzles("dev", 18)]
    parts = {(one.source, one.modality): one for one in slices(drawn)}
    whole, text = parts["all", "all"].bootstrap, parts["all", "text-dominant"].bootstrap
    assert (whole.n_problems, whole.n_clusters) == (18, 10)
    assert text.n_clusters == text.n_problems == 8


def test_results_of_a_run_rest_on_scenes(tmp_path: Path) -> None:
    with puzzle_run(tmp_path / "run", "test") as run:
        found = analyse(run, Plan(2, (PRM,)))
    rows = {(r.method, r.k, r.source, r.modality): r for r in found.rows}
    whole = rows["prm/last-1", 2, "all", "all"]
    # Four problems that all go one way are two scenes that do.
    assert whole.p_value == 0.5
