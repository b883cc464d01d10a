import math
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from itertools import combinations
from statistics import fmean, pstdev

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vilbench.selection import (
    AGGREGATIONS,
    Curve,
    aggregation,
    best_of,
    combine,
    exponential_weights,
    majority,
    oracle,
    pick,
    random,
    weighted_majority,
    z_normalize,
)

NAMES = [*AGGREGATIONS[:-1], "last-1", "last-2", "last-3", "last-30"]

steps = st.lists(st.none() | st.sampled_from([1.0, 2.0, 3.0, 4.0, 5.0]), max_size=9)
finite = st.floats(-1e6, 1e6, allow_subnormal=False)


# --- aggregation


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mean", 13 / 4),
        ("min", 1.0),
        ("max", 5.0),
        ("product", 60.0),
        ("geometric-mean", 60 ** (1 / 4)),
        ("first", 4.0),
        ("last", 3.0),
        ("last-1", 3.0),
        ("last-2", 3.0),
        ("last-3", 2.0),
        ("last-9", 13 / 4),
        # (1 * 4 + 2 * 5 + 3 * 1 + 5 * 3) / (1 + 2 + 3 + 5)
        ("position-weighted", 32 / 11),
    ],
)
def test_golden_values(name: str, expected: float) -> None:
    # last-2 sees (None, 3), last-3 sees (1, None, 3).
    assert aggregation(name)([4.0, 5.0, 1.0, None, 3.0]) == pytest.approx(expected, rel=1e-11)


def test_first_and_last_do_not_look_for_a_neighbour() -> None:
    values = [None, 2.0, 4.0, None]
    assert aggregation("first")(values) is None
    assert aggregation("last")(values) is None
    assert aggregation("last-1")(values) is None
    assert aggregation("last-2")(values) == 4.0


@pytest.mark.parametrize("name", NAMES)
def test_nothing_present_is_none(name: str) -> None:
    assert aggregation(name)([]) is None
    assert aggregation(name)([None, None]) is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_non_finite_scores_are_refused(name: str, bad: float) -> None:
    with pytest.raises(ValueError, match=f"{name}: the score of step 2"):
        aggregation(name)([1.0, bad, 3.0])


@pytest.mark.parametrize("name", ["mean", "product", "last-2", "position-weighted"])
def test_overflow_is_told(name: str) -> None:
    with pytest.raises(ValueError, match="too large"):
        aggregation(name)([1.7e308, 1.7e308])


@pytest.mark.parametrize("name", ["product", "geometric-mean"])
def test_negative_scores_have_no_product(name: str) -> None:
    with pytest.raises(ValueError, match="at least 0"):
        aggregation(name)([-0.5, 1.0])
    assert aggregation(name)([0.0, 1.0, None]) == 0.0


@pytest.mark.parametrize(
    "name", ["", "median", "last-0", "last--1", "last-", "last-1.5", "Mean", "last-٣", "last-n"]
)
def test_unknown_names_list_the_known_ones(name: str) -> None:
    with pytest.raises(ValueError, match=r"geometric-mean.*position-weighted.*last-n"):
        aggregation(name)


def test_long_names_stay_out_of_the_message() -> None:
    with pytest.raises(ValueError, match="unknown") as caught:
        aggregation("last-" + "1" * 100_000)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", NAMES)
def test_aggregations_are_picklable(name: str) -> None:
    original = aggregation(name)
    again = pickle.loads(pickle.dumps(original))  # noqa: S301
    assert again.name == name
    assert again([1.0, 2.0, None]) == original([1.0, 2.0, None])


@settings(deadline=None)
@given(steps)
def test_averages_lie_between_lowest_and_highest(values: list[float | None]) -> None:
    low, high = aggregation("min")(values), aggregation("max")(values)
    for name in ("mean", "geometric-mean", "position-weighted", "last-3"):
        score = aggregation(name)(values)
        if score is not None:
            assert low is not None
            assert high is not None
            assert low <= score <= high


@settings(deadline=None)
@given(steps, st.integers(1, 4))
def test_repeating_a_score_leaves_an_exact_tie(values: list[float | None], times: int) -> None:
    constant = [4.0] * (len(values) + 1)
    for name in ("mean", "geometric-mean", "position-weighted"):
        assert aggregation(name)(constant) == aggregation(name)(constant * times) == 4.0
    assert aggregation("mean")(values) == aggregation("mean")(values * times)
    assert aggregation("geometric-mean")(values) == aggregation("geometric-mean")(values * times)


@settings(deadline=None)
@given(steps)
def test_skipping_rules_ignore_none_anywhere(values: list[float | None]) -> None:
    present = [value for value in values if value is not None]
    for name in ("mean", "min", "max", "product", "geometric-mean", "last-30"):
        assert aggregation(name)(values) == aggregation(name)(present)


@settings(deadline=None)
@given(steps)
def test_last_n_of_one_is_last_and_of_all_is_mean(values: list[float | None]) -> None:
    assert aggregation("last-1")(values) == aggregation("last")(values)
    assert aggregation("last-9")(values) == aggregation("mean")(values)


# --- ensemble


def test_z_scores_by_hand() -> None:
    assert z_normalize([1.0, None, 3.0]) == [-1.0, None, 1.0]
    assert z_normalize([0.1, 0.1, 0.1, None]) == [0.0, 0.0, 0.0, None]
    assert z_normalize([None]) == [None]
    assert z_normalize([]) == []
    with pytest.raises(ValueError, match="nan"):
        z_normalize([1.0, math.nan])


@settings(deadline=None)
@given(st.lists(st.none() | finite, max_size=12))
def test_z_scores_are_standard_and_keep_the_order(pool: list[float | None]) -> None:
    scores = z_normalize(pool)
    present = [score for score in scores if score is not None]
    assert [score is None for score in scores] == [score is None for score in pool]
    if len({score for score in pool if score is not None}) > 1 and any(present):
        assert fmean(present) == pytest.approx(0, abs=1e-6)
        assert pstdev(present) == pytest.approx(1, rel=1e-6)
    pairs = [(a, b) for a, b in zip(pool, scores, strict=True) if a is not None and b is not None]
    for (a, x), (b, y) in combinations(pairs, 2):
        assert (x <= y) if a < b else (x >= y)
        if a == b:
            assert x == y


@pytest.mark.parametrize("pool", [[1e308, -1e308, 0.0], [1e-300, 3e-300], [5e-324, 0.0]])
def test_z_scores_of_extreme_scales(pool: list[float]) -> None:
    scores = [score for score in z_normalize(pool) if score is not None]
    assert all(math.isfinite(score) for score in scores)
    assert pstdev(scores) == pytest.approx(1)


def test_combination_by_hand() -> None:
    judge, likelihood = [1.0, 3.0, None, None], [-2.0, -4.0, -2.0, None]
    # z: judge (-1, 1), likelihood (+-: mean -8/3, deviation sqrt(8/9)) = (.7071, -1.4142, .7071)
    root = math.sqrt(0.5)
    combined = combine([judge, likelihood])
    assert combined[:3] == pytest.approx([(root - 1) / 2, (1 - 2 * root) / 2, root])
    assert combined[3] is None
    weighted = combine([judge, likelihood], [3.0, 1.0])
    assert weighted[:3] == pytest.approx([(root - 3) / 4, (3 - 2 * root) / 4, root])
    assert combine([judge, likelihood], [1.0, 0.0]) == [-1.0, 1.0, None, None]


@pytest.mark.parametrize(
    ("pools", "weights"),
    [
        ([], None),
        ([[1.0]], [1.0, 2.0]),
        ([[1.0], [1.0, 2.0]], None),
        ([[1.0]], [-1.0]),
        ([[1.0]], [0.0]),
        ([[1.0]], [math.nan]),
        ([[math.inf]], None),
    ],
)
def test_unusable_combinations_are_refused(
    pools: list[list[float | None]], weights: list[float] | None
) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        combine(pools, weights)


def test_exponential_weights_by_hand() -> None:
    assert exponential_weights([math.log(0.2), None, math.log(0.1)]) == pytest.approx(
        [1.0, None, 0.5]
    )
    assert exponential_weights([None]) == [None]
    assert exponential_weights([-1e6, 0.0]) == [0.0, 1.0]


# --- brute force over all subsets and all ways to break ties


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


# --- properties and golden values of the curves


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


# --- pick


def test_pick() -> None:
    assert pick([1.0, None, 3.0], 0) == 2
    assert pick([None, -1.0], 0) == 1
    assert pick([None, None], 0) is None
    assert pick([], 0) is None
    with pytest.raises(ValueError, match="NaN"):
        pick([1.0, math.nan], 0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_pick_is_seeded(seed: int) -> None:
    scores = [1.0, 4.0, None, 4.0, 4.0]
    assert pick(scores, seed) == pick(scores, seed)
    assert pick(scores, seed) in (1, 3, 4)


def test_pick_spreads_ties_evenly() -> None:
    drawn = [pick([2.0, 2.0, 1.0], seed) for seed in range(400)]
    assert 150 < drawn.count(0) < 250
    assert drawn.count(0) + drawn.count(1) == 400


def test_import_is_light() -> None:
    code = (
        "import sys, vilbench.selection; "
        "print([m for m in ('torch', 'scipy', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
