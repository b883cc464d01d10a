import math
import time
from collections.abc import Callable, Sequence
from itertools import combinations
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vilbench.selection import Curve, best_of, majority, oracle, random, weighted_majority


class _Outcome:
    """Of one subset: whether each of the tied choices is right; no choice counts as wrong."""

    def __init__(self, choices: Sequence[float]) -> None:
        self.accuracy = sum(choices) / len(choices) if choices else 0.0
        self.lowest = float(bool(choices) and min(choices) == 1)
        self.highest = float(any(choice > 0 for choice in choices))
        self.tie = float(len(choices) > 1)


def _brute_force(size: int, choose: Callable[[tuple[int, ...]], Sequence[float]]) -> Curve:
    rows: list[list[float]] = [[], [], [], []]
    for k in range(1, size + 1):
        outcomes = [_Outcome(choose(subset)) for subset in combinations(range(size), k)]
        rows[0].append(fmean(outcome.accuracy for outcome in outcomes))
        rows[1].append(fmean(outcome.lowest for outcome in outcomes))
        rows[2].append(fmean(outcome.highest for outcome in outcomes))
        rows[3].append(fmean(outcome.tie for outcome in outcomes))
    return Curve(*(np.array([row]) for row in rows))


def _assert_equal(found: Curve, expected: Curve) -> None:
    for name, one, other in zip(Curve._fields, found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-9, err_msg=name)


pools = st.lists(
    st.tuples(
        st.none() | st.sampled_from([-1.0, 0.0, 2.0]),
        st.booleans(),
        st.none() | st.sampled_from("abc"),
        st.none() | st.sampled_from([0.0, 0.1, 0.2, 0.3, 1.0]),
    ),
    min_size=1,
    max_size=6,
)
Pool = list[tuple[float | None, bool, str | None, float | None]]


@settings(deadline=None)
@given(pools)
def test_best_of_equals_brute_force(pool: Pool) -> None:
    scores, correct = [row[0] for row in pool], [row[1] for row in pool]

    def choose(subset: tuple[int, ...]) -> list[float]:
        ranks = [-math.inf if (score := scores[i]) is None else score for i in subset]
        top = max(ranks)
        return [float(correct[i]) for i, rank in zip(subset, ranks, strict=True) if rank == top]

    _assert_equal(best_of([scores], [correct]), _brute_force(len(pool), choose))


def _vote(pool: Pool, weights: Sequence[float]) -> Callable[[tuple[int, ...]], Sequence[float]]:
    def share(answer: str) -> float:
        return fmean(row[1] for row in pool if row[2] == answer)

    def choose(subset: tuple[int, ...]) -> list[float]:
        tally: dict[str, float] = {}
        for i in subset:
            answer = pool[i][2]
            if answer is not None:
                tally[answer] = round(tally.get(answer, 0.0) + weights[i], 6)
        return [share(answer) for answer in tally if tally[answer] == max(tally.values())]

    return choose


@settings(max_examples=60, deadline=None)
@given(pools)
def test_majority_equals_brute_force(pool: Pool) -> None:
    found = majority([[row[2] for row in pool]], [[row[1] for row in pool]])
    _assert_equal(found, _brute_force(len(pool), _vote(pool, [1.0] * len(pool))))


@settings(max_examples=60, deadline=None)
@given(pools)
def test_weighted_majority_equals_brute_force(pool: Pool) -> None:
    found = weighted_majority(
        [[row[2] for row in pool]], [[row[1] for row in pool]], [[row[3] for row in pool]]
    )
    weights = [row[3] or 0.0 for row in pool]
    _assert_equal(found, _brute_force(len(pool), _vote(pool, weights)))


@settings(max_examples=60, deadline=None)
@given(pools)
def test_oracle_and_random_equal_brute_force(pool: Pool) -> None:
    correct = [row[1] for row in pool]

    def first_right(subset: tuple[int, ...]) -> list[float]:
        return [float(any(correct[i] for i in subset))]

    _assert_equal(oracle([correct]), _brute_force(len(pool), first_right))
    share = fmean(correct)
    np.testing.assert_allclose(random([correct]).accuracy, share)
    assert random([correct]).tie_rate.max() == 0


def test_best_of_by_hand() -> None:
    # Scores 1 < 2 = 2; the right ones are the lowest and one of the tied pair.
    found = best_of([[2.0, 1.0, 2.0]], [[True, True, False]])
    np.testing.assert_allclose(found.accuracy, [[2 / 3, (1 + 0 + 1 / 2) / 3, 1 / 2]])
    np.testing.assert_allclose(found.lowest, [[2 / 3, 1 / 3, 0]])
    np.testing.assert_allclose(found.highest, [[2 / 3, 2 / 3, 1]])
    np.testing.assert_allclose(found.tie_rate, [[0, 1 / 3, 1]])


def test_a_missing_verdict_ranks_below_every_score() -> None:
    found = best_of([[None, -5.0]], [[True, False]])
    np.testing.assert_allclose(found.accuracy, [[0.5, 0.0]])
    nothing = best_of([[None, None]], [[True, False]])
    np.testing.assert_allclose(nothing.accuracy, [[0.5, 0.5]])
    np.testing.assert_allclose(nothing.tie_rate, [[0.0, 1.0]])


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 24).flatmap(
        lambda size: st.tuples(
            st.lists(st.none() | st.integers(1, 5), min_size=size, max_size=size),
            st.lists(st.booleans(), min_size=size, max_size=size),
        )
    )
)
def test_curves_are_shares_in_order(pool: tuple[list[int | None], list[bool]]) -> None:
    scores = [[None if score is None else float(score) for score in pool[0]]]
    correct = [pool[1]]
    names = [[None if score is None else str(score) for score in pool[0]]]
    top = oracle(correct).accuracy
    for found in (
        best_of(scores, correct),
        majority(names, correct),
        weighted_majority(names, correct, scores, draws=50),
    ):
        assert np.all(found.lowest <= found.accuracy)
        assert np.all(found.accuracy <= found.highest)
        assert all(np.all((array >= 0) & (array <= 1)) for array in found)
    chosen = best_of(scores, correct)
    assert np.all(chosen.highest <= top + 1e-11)
    assert chosen.accuracy[0, 0] == pytest.approx(fmean(pool[1]))
    assert np.all(chosen.lowest >= 1 - oracle([[not good for good in pool[1]]]).accuracy - 1e-11)


def test_sure_things_are_exact() -> None:
    random_scores = np.random.default_rng(0).random((3, 24)).tolist()
    for good in (True, False):
        correct = [[good] * 24] * 3
        for found in (best_of(random_scores, correct), random(correct), oracle(correct)):
            assert set(found.accuracy.flat) == {float(good)}
        named = majority([["a", "b"] * 12] * 3, correct)
        assert set(named.accuracy.flat) == {float(good)}


def test_pools_do_not_touch_each_other() -> None:
    generator = np.random.default_rng(1)
    scores = generator.integers(1, 6, (7, 9)).astype(float).tolist()
    correct = (generator.random((7, 9)) < 0.4).tolist()
    names = generator.integers(0, 3, (7, 9)).astype(str).tolist()
    together, alone = best_of(scores, correct), best_of(scores[4:5], correct[4:5])
    for all_rows, one_row in zip(together, alone, strict=True):
        np.testing.assert_array_equal(all_rows[4:5], one_row)
    for method in (
        majority(names, correct).accuracy[4] - majority(names[4:5], correct[4:5]).accuracy[0],
        weighted_majority(names, correct, scores).accuracy[4]
        - weighted_majority(names[4:5], correct[4:5], scores[4:5]).accuracy[0],
    ):
        assert not method.any()


def test_large_pools_neither_overflow_nor_lose_precision() -> None:
    size = 256
    scores = [[float(i) for i in range(size)]]
    correct = [[i == size - 1 for i in range(size)]]
    expected = np.arange(1, size + 1) / size
    # The one right solution is in a k-subset, and then the best, with probability k / N.
    np.testing.assert_allclose(best_of(scores, correct).accuracy[0], expected, rtol=1e-9)
    np.testing.assert_allclose(oracle(correct).accuracy[0], expected, rtol=1e-9)
    half = [[i % 2 == 0 for i in range(size)]]
    assert oracle(half).accuracy[0, 1] == pytest.approx(1 - (128 * 127) / (256 * 255))
    names: list[list[str | None]] = [["yes" if i % 2 == 0 else "no" for i in range(size)]]
    vote = majority(names, half)
    # Two equally frequent answers: even chances for every k, ties for even k alone.
    np.testing.assert_allclose(vote.accuracy, 0.5, atol=1e-9)
    assert vote.tie_rate[0, 0] == vote.tie_rate[0, 2] == 0
    assert vote.tie_rate[0, 1] == pytest.approx(128 * 128 * 2 / (256 * 255))
    assert vote.tie_rate[0, -1] == 1


def test_majority_by_hand() -> None:
    answers = [["a", "a", "b", None]]
    correct = [[True, True, False, False]]
    found = majority(answers, correct)
    # k=1: a, a, b, none. k=2: aa, ab, ab tie, a-, a-, b-. k=3: aab, aa-, ab- tie twice.
    np.testing.assert_allclose(found.accuracy, [[2 / 4, (3 + 2 / 2) / 6, (2 + 2 / 2) / 4, 1]])
    np.testing.assert_allclose(found.lowest, [[2 / 4, 3 / 6, 2 / 4, 1]])
    np.testing.assert_allclose(found.highest, [[2 / 4, 5 / 6, 1, 1]])
    np.testing.assert_allclose(found.tie_rate, [[0, 2 / 6, 2 / 4, 0]])


def test_nobody_votes() -> None:
    for found in (
        majority([[None, None]], [[False, True]]),
        weighted_majority([[None, None]], [[False, True]], [[1.0, 2.0]]),
    ):
        assert not any(array.any() for array in found)


def test_weights_change_the_outcome() -> None:
    answers = [["a", "b", "b"]]
    correct = [[True, False, False]]
    assert majority(answers, correct).accuracy[0, -1] == 0
    assert weighted_majority(answers, correct, [[3.0, 1.0, 1.0]]).accuracy[0, -1] == 1
    tied = weighted_majority(answers, correct, [[0.3, 0.1, 0.2]])
    assert (tied.accuracy[0, -1], tied.tie_rate[0, -1]) == (0.5, 1.0)


def test_drawn_subsets_agree_with_exact_counts() -> None:
    generator = np.random.default_rng(2)
    answers = generator.choice(["a", "b", "c", "d"], (20, 24), p=[0.4, 0.3, 0.2, 0.1]).tolist()
    correct = [[answer == "a" for answer in pool] for pool in answers]
    exact = majority(answers, correct)
    drawn = weighted_majority(answers, correct, [[1.0] * 24] * 20, draws=2000)
    for name, one, other in zip(Curve._fields, drawn, exact, strict=True):
        assert np.abs(one - other).max() < 5 * 0.5 / math.sqrt(2000), name
        assert np.abs(one.mean(axis=0) - other.mean(axis=0)).max() < 0.02, name
        np.testing.assert_allclose(one[:, [0, 1, 22, 23]], other[:, [0, 1, 22, 23]], atol=1e-9)
    again = weighted_majority(answers, correct, [[1.0] * 24] * 20, draws=2000)
    np.testing.assert_array_equal(again.accuracy, drawn.accuracy)
    other_seed = weighted_majority(answers, correct, [[1.0] * 24] * 20, draws=2000, seed=1)
    assert (other_seed.accuracy != drawn.accuracy).any()


@pytest.mark.parametrize(
    "call",
    [
        lambda: best_of([], []),
        lambda: best_of([[]], [[]]),
        lambda: best_of([[1.0], [1.0, 2.0]], [[True], [True, False]]),
        lambda: best_of([[1.0]], [[True, False]]),
        lambda: best_of([[1.0], [1.0]], [[True]]),
        lambda: best_of([[math.nan]], [[True]]),
        lambda: majority([["a"]], [[True, False]]),
        lambda: majority([["a"] * 1001], [[True] * 1001]),
        lambda: weighted_majority([["a"]], [[True]], [[-0.1]]),
        lambda: weighted_majority([["a"]], [[True]], [[math.inf]]),
        lambda: weighted_majority([["a"]], [[True]], [[1.0]], draws=0),
        lambda: oracle([]),
        lambda: random([[]]),
    ],
)
def test_unusable_pools_are_refused(call: Callable[[], Curve]) -> None:
    with pytest.raises(ValueError, match=r"pool|draws"):
        call()


def test_bad_scores_are_located() -> None:
    with pytest.raises(ValueError, match="pool 1, solution 0: the score is nan"):
        best_of([[1.0, 2.0], [math.nan, 1.0]], [[True, False]] * 2)


def test_votes_and_best_of_are_fast() -> None:
    generator = np.random.default_rng(3)
    answers = generator.integers(0, 12, (120, 24)).astype(str).tolist()
    correct = [[answer == "0" for answer in pool] for pool in answers]
    scores = generator.random((120, 24)).tolist()
    begin = time.process_time()
    best_of(scores, correct)
    majority(answers, correct)
    weighted_majority(answers, correct, scores)
    assert time.process_time() - begin < 6
