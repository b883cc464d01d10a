import math
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import MonkeyPatch
from scipy.stats import binomtest, mannwhitneyu

from vilbench.metrics import (
    Bootstrap,
    Calls,
    Separation,
    best_threshold,
    compare,
    count_verdicts,
    exact_mcnemar,
    mcnemar,
    minimal_detectable_delta,
    pooled_auroc,
    recovered_share,
    within_auroc,
)
from vilbench.testing import make_problem, make_solution

Column = list[list[float]]


def column(*values: float) -> Column:
    return [[value] for value in values]


# --- bootstrap


def test_resamples_are_of_the_right_size_and_seeded() -> None:
    bootstrap = Bootstrap(7, 300, seed=4)
    assert bootstrap.counts.shape == (300, 7)
    assert set(bootstrap.counts.sum(axis=1)) == {7.0}
    np.testing.assert_array_equal(bootstrap.counts, Bootstrap(7, 300, seed=4).counts)
    assert (bootstrap.counts != Bootstrap(7, 300, seed=5).counts).any()
    # Each problem is drawn once on average, with the variance (1 - 1/7) of a binomial.
    np.testing.assert_allclose(bootstrap.counts.mean(axis=0), 1, atol=0.25)
    assert bootstrap.counts.var() == pytest.approx(6 / 7, rel=0.15)


def test_interval_of_a_share_is_near_the_normal_one() -> None:
    values = np.repeat([0.0, 1.0], [300, 100])[:, None]
    mean, low, high = Bootstrap(400).mean_interval(values)
    assert mean[0] == 0.25
    half = 1.96 * math.sqrt(0.25 * 0.75 / 400)
    assert low[0] == pytest.approx(0.25 - half, abs=0.006)
    assert high[0] == pytest.approx(0.25 + half, abs=0.006)


def test_columns_share_the_resamples() -> None:
    generator = np.random.default_rng(0)
    values = generator.random((50, 3))
    bootstrap = Bootstrap(50, 500)
    together = bootstrap.mean_interval(values)
    for at in range(3):
        alone = bootstrap.mean_interval(values[:, at : at + 1])
        np.testing.assert_allclose(alone.low, together.low[at])
        np.testing.assert_allclose(alone.high, together.high[at])
    shifted = bootstrap.paired_interval(values + 0.125, values)
    np.testing.assert_allclose(shifted.low, 0.125)
    np.testing.assert_allclose(shifted.high, 0.125)


@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, 1.0, 1 / 3])
@pytest.mark.parametrize("n", [1, 3, 120])
def test_constant_columns_are_exact(value: float, n: int) -> None:
    estimate = Bootstrap(n, 50).mean_interval([[value]] * n)
    assert (estimate.mean[0], estimate.low[0], estimate.high[0]) == (value, value, value)


def test_few_resamples_do_not_move_the_mean() -> None:
    assert Bootstrap(3, 1).mean_interval(column(0.0, 0.0, 3.0)).mean[0] == 1.0


def test_paired_interval_takes_one_baseline_for_all_columns() -> None:
    bootstrap = Bootstrap(4, 100)
    a = [[1.0, 0.5], [0.0, 0.5], [1.0, 0.0], [1.0, 1.0]]
    b = column(0.5, 0.5, 0.0, 1.0)
    both = bootstrap.paired_interval(a, b)
    np.testing.assert_allclose(both.mean, [0.25, 0.0])
    doubled = bootstrap.paired_interval(a, [[x, x] for (x,) in b])
    np.testing.assert_array_equal(both.low, doubled.low)


@pytest.mark.parametrize(
    "values", [[1.0, 2.0], [[1.0]], [[1.0], [math.nan]], [[math.inf], [0.0]], [[[1.0]], [[2.0]]]]
)
def test_unusable_values_are_refused(values: list[object]) -> None:
    with pytest.raises(ValueError, match=r"shape|problem"):
        Bootstrap(2, 10).mean_interval(values)  # type: ignore[arg-type]


def test_unusable_numbers_are_refused() -> None:
    for n_problems, n_resamples in ((0, 10), (10, 0)):
        with pytest.raises(ValueError, match="cannot draw"):
            Bootstrap(n_problems, n_resamples)
    with pytest.raises(ValueError, match="pair 1 columns with 2"):
        Bootstrap(1, 10).paired_interval([[1.0]], [[1.0, 2.0]])


# --- comparison


@pytest.mark.parametrize(
    ("b", "c", "expected"),
    # 2 * P(X <= 1 | 6, 1/2) = 2 * 7/64; 2 * 1/1024; ties and nothing to tell apart: 1.
    [(5, 1, 14 / 64), (0, 10, 2 / 1024), (3, 3, 1.0), (0, 0, 1.0), (1, 0, 1.0)],
)
def test_mcnemar_by_hand(b: int, c: int, expected: float) -> None:
    assert exact_mcnemar(b, c) == pytest.approx(expected)
    assert exact_mcnemar(c, b) == exact_mcnemar(b, c)


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_binomial_test(b: int, c: int) -> None:
    found = exact_mcnemar(b, c)
    assert 0 < found <= 1
    if b + c:
        assert found == pytest.approx(binomtest(b, b + c).pvalue, rel=1e-9)


def test_mcnemar_refuses_negative_counts() -> None:
    with pytest.raises(ValueError, match="negative"):
        exact_mcnemar(-1, 2)


def test_compare_takes_mcnemar_for_certain_picks_only() -> None:
    right = np.array([1.0] * 8 + [0.0] * 4)
    other = np.array([1.0] * 2 + [0.0] * 10)
    bootstrap = Bootstrap(12)
    fractional = np.array([0.5] * 8 + [0.25] * 4)
    found = compare(np.stack([right, fractional], axis=1), other[:, None], bootstrap)
    assert found.delta[0] == pytest.approx(0.5)
    # Six problems gained, none lost: 2 / 2^6.
    assert found.p_value[0] == pytest.approx(2 / 64)
    np.testing.assert_array_equal(
        found.p_value[1:], bootstrap.paired_p_value(fractional[:, None], other[:, None])
    )
    assert found.low[0] < found.delta[0] < found.high[0]


def test_no_difference_has_the_p_value_one() -> None:
    values = np.random.default_rng(0).random((20, 1))
    found = compare(values, values, Bootstrap(20))
    assert (found.delta[0], found.low[0], found.high[0], found.p_value[0]) == (0, 0, 0, 1)


def test_p_value_is_never_zero_and_needs_problems_to_be_small() -> None:
    sure = Bootstrap(60, 999).paired_p_value([[0.9]] * 60, [[0.1]] * 60)
    assert sure[0] == pytest.approx(1 / 1000)
    for n, expected in ((1, 1.0), (2, 0.5), (5, 1 / 16)):
        p_value = Bootstrap(n).paired_p_value([[0.9]] * n, [[0.1]] * n)[0]
        assert p_value == pytest.approx(expected)
    # Nine problems that agree add nothing.
    assert Bootstrap(10).paired_p_value(column(0.7, *[0.2] * 9), column(*[0.2] * 10))[0] == 1.0


def test_paired_p_value_is_symmetric_and_near_the_normal_one() -> None:
    generator = np.random.default_rng(5)
    a, b = generator.random((400, 1)), generator.random((400, 1))
    b -= 0.04 + (b.mean() - a.mean())
    bootstrap = Bootstrap(400, 8000)
    p_value = bootstrap.paired_p_value(a, b)[0]
    assert p_value == bootstrap.paired_p_value(b, a)[0]
    z = (a - b).mean() / ((a - b).std(ddof=1) / 20)
    assert p_value == pytest.approx(math.erfc(abs(z) / math.sqrt(2)), abs=0.02)


def test_p_values_are_uniform_where_nothing_differs() -> None:
    generator = np.random.default_rng(6)
    a, b = generator.random((40, 500)), generator.random((40, 500))
    p_values = Bootstrap(40, 400).paired_p_value(a, b)
    assert 0.025 < (p_values < 0.05).mean() < 0.09
    assert 0.4 < (p_values < 0.5).mean() < 0.6


def test_minimal_detectable_delta_by_hand() -> None:
    # Standard deviation 1 of (-1, 0, 1); (1.959964 + 0.841621) / sqrt(n).
    assert minimal_detectable_delta([-1.0, 0.0, 1.0]) == pytest.approx(2.801585 / math.sqrt(3))
    assert minimal_detectable_delta([-1.0, 0.0, 1.0], n=100) == pytest.approx(0.2801585)
    higher = minimal_detectable_delta([-1.0, 0.0, 1.0], power=0.9, alpha=0.01)
    assert higher == pytest.approx((2.575829 + 1.281552) / math.sqrt(3))
    assert minimal_detectable_delta([]) is None
    assert minimal_detectable_delta([0.3]) is None
    assert minimal_detectable_delta([0.1, 0.1, 0.1]) is None


def test_minimal_detectable_delta_is_detected_as_often_as_promised() -> None:
    generator = np.random.default_rng(7)
    delta = minimal_detectable_delta([-1.0, 0.0, 1.0], n=50)
    assert delta is not None
    differences = generator.normal(delta, 1.0, (50, 2000))
    z = differences.mean(axis=0) / (differences.std(axis=0, ddof=1) / math.sqrt(50))
    assert (z > 1.96).mean() == pytest.approx(0.8, abs=0.04)


def test_unusable_plans_are_refused() -> None:
    for n, power, alpha in ((0, 0.8, 0.05), (5, 1.0, 0.05), (5, 0.8, 0.0)):
        with pytest.raises(ValueError, match="unusable plan"):
            minimal_detectable_delta([0.0, 1.0], n=n, power=power, alpha=alpha)
    with pytest.raises(ValueError, match="NaN"):
        minimal_detectable_delta([0.0, math.nan])


def test_recovered_share() -> None:
    assert recovered_share(0.6, 0.5, 0.9) == pytest.approx(0.25)
    assert recovered_share(0.4, 0.5, 0.9) == pytest.approx(-0.25)
    assert recovered_share(0.9, 0.5, 0.9) == 1
    assert recovered_share(0.5, 0.5, 0.5) is None
    assert recovered_share(0.3, 0.1 + 0.2, 0.3) is None


# --- AUROC


def test_auroc_by_hand() -> None:
    scores: list[list[float | None]] = [[3.0, 1.0, 2.0, None], [5.0, 5.0], [9.0, None]]
    correct = [[True, False, True, True], [True, False], [True, False]]
    bootstrap = Bootstrap(3)
    within = within_auroc(scores, correct, bootstrap)
    # Problem 0: both right ones win, 1. Problem 1: a tie, 1/2. Problem 2 lacks a wrong one.
    assert within.value == pytest.approx(0.75)
    assert (within.n_problems, within.missing) == (2, 2)
    assert (within.low, within.high) == (0.5, 1.0)
    pooled = pooled_auroc(scores, correct, bootstrap)
    # Right 3, 2, 5, 9 against wrong 1, 5: (1+0) + (1+0) + (1+.5) + (1+1) of 8.
    assert pooled.value == pytest.approx(5.5 / 8)
    assert (pooled.n_problems, pooled.missing) == (3, 2)


def test_pooled_sees_easy_problems_and_within_does_not() -> None:
    # Every score names its problem alone, and problem 1 is easy.
    scores = [[1.0] * 4, [2.0] * 4]
    correct = [[True, False, False, False], [True, True, True, False]]
    assert within_auroc(scores, correct, Bootstrap(2)).value == 0.5
    assert pooled_auroc(scores, correct, Bootstrap(2)).value == pytest.approx(
        # Right 1, 2, 2, 2 and wrong 1, 1, 1, 2.
        (3 * 0.5 + 3 * (3 + 0.5)) / 16
    )


@pytest.mark.parametrize("good", [True, False])
def test_one_kind_alone_has_no_auroc(good: bool) -> None:
    scores: list[list[float | None]] = [[1.0, 2.0], [3.0, None]]
    correct = [[good, good]] * 2
    for function in (within_auroc, pooled_auroc):
        found = function(scores, correct, Bootstrap(2))
        assert found == (None, None, None, 0, 1)


@given(
    st.lists(
        st.lists(st.tuples(st.none() | st.sampled_from([1.0, 2.0, 3.0]), st.booleans())),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=60, deadline=None)
def test_pooled_auroc_is_the_rank_sum(pools: list[list[tuple[float | None, bool]]]) -> None:
    scores = [[score for score, _ in pool] for pool in pools]
    correct = [[good for _, good in pool] for pool in pools]
    found = pooled_auroc(scores, correct, Bootstrap(len(pools), 20))
    flat = [row for pool in pools for row in pool]
    right = [score for score, good in flat if good and score is not None]
    wrong = [score for score, good in flat if not good and score is not None]
    if right and wrong:
        expected = mannwhitneyu(right, wrong).statistic / (len(right) * len(wrong))
        assert found.value == pytest.approx(expected)
    else:
        assert found.value is None
    negated = [[None if score is None else -score for score in pool] for pool in scores]
    mirrored = pooled_auroc(negated, correct, Bootstrap(len(pools), 20))
    assert mirrored.value == (None if found.value is None else pytest.approx(1 - found.value))


def test_intervals_equal_those_of_resampled_data() -> None:
    generator = np.random.default_rng(8)
    scores = generator.integers(1, 6, (9, 4)).astype(float).tolist()
    correct = (generator.random((9, 4)) < 0.5).tolist()
    bootstrap = Bootstrap(9, 200)
    for function in (within_auroc, pooled_auroc):
        drawn = []
        for counts in bootstrap.counts.astype(int):
            rows = np.repeat(np.arange(9), counts)
            again = function(
                [scores[row] for row in rows], [correct[row] for row in rows], Bootstrap(9, 1)
            )
            drawn.append(again.value)
        found = function(scores, correct, bootstrap)
        values = [value for value in drawn if value is not None]
        assert [found.low, found.high] == pytest.approx(np.quantile(values, [0.025, 0.975]))


def test_parts_of_the_problems_have_the_auroc_of_their_own(monkeypatch: MonkeyPatch) -> None:
    generator = np.random.default_rng(3)
    scores = [generator.integers(0, 9, size).astype(float).tolist() for size in (5, 0, 9, 3, 7)]
    correct = [(generator.random(len(pool)) < 0.5).tolist() for pool in scores]
    # However few running counts fit into memory.
    monkeypatch.setattr("vilbench.metrics.auroc._BLOCK", 50)
    separation = Separation(scores, correct)
    places, bootstrap = np.array([0, 2, 4]), Bootstrap(3)
    some = ([scores[place] for place in places], [correct[place] for place in places], bootstrap)
    assert separation.within(bootstrap, places) == within_auroc(*some)
    assert separation.pooled(bootstrap, places) == pooled_auroc(*some)
    with pytest.raises(ValueError, match="of 3 problems does not match 5"):
        separation.within(bootstrap)


def test_areas_are_those_of_every_problem() -> None:
    random = np.random.default_rng(0)
    pools = [random.integers(0, 4, size=size).astype(float) for size in (7, 0, 1, 5, 9)]
    scores = [[None if random.random() < 0.2 else float(v) for v in pool] for pool in pools]
    correct = [[bool(one) for one in random.random(len(pool)) < 0.4] for pool in pools]
    found = Separation(scores, correct).areas()
    for area, values, right in zip(found, scores, correct, strict=True):
        known = [(v, r) for v, r in zip(values, right, strict=True) if v is not None]
        won = [
            float(a > b) + 0.5 * float(a == b) for a, x in known for b, y in known if x and not y
        ]
        assert area == (pytest.approx(np.mean(won)) if won else pytest.approx(np.nan, nan_ok=True))
    expected = within_auroc(scores, correct, Bootstrap(5, 10))
    assert np.nanmean(found) == pytest.approx(expected.value)
    assert (~np.isnan(found)).sum() == expected.n_problems > 1


# --- right or wrong by a threshold


def test_macro_f1_by_hand() -> None:
    scores: list[list[float | None]] = [[0.9, 0.4, 0.5], [0.1, None, 0.7]]
    correct = [[True, True, False], [False, True, False]]
    found = Calls(scores, correct, 0.5).macro_f1(Bootstrap(2))
    assert found is not None
    # Called right: .9, .5, .7, of which one is; to find are 3. Called wrong: .4, .1.
    assert found.right == pytest.approx(2 * 1 / (3 + 3))
    assert found.wrong == pytest.approx(2 * 1 / (3 + 2))
    assert found.value == pytest.approx((found.right + found.wrong) / 2)
    first = Calls(scores, correct, 0.5).macro_f1(Bootstrap(1), np.array([0]))
    second = Calls(scores[1:], correct[1:], 0.5).macro_f1(Bootstrap(1))
    assert first is not None and second is not None
    # A resample has the one, the other, or both.
    ways = (first.value, second.value, found.value)
    assert (found.low, found.high) == (min(ways), max(ways))
    assert Calls([[]], [[]], 0.5).macro_f1(Bootstrap(1)) is None


@given(
    st.lists(
        st.tuples(st.none() | st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.booleans()),
        min_size=1,
        max_size=12,
    )
)
@settings(max_examples=60, deadline=None)
def test_the_best_threshold_is_the_best_of_all(steps: list[tuple[float | None, bool]]) -> None:
    scores, correct = [score for score, _ in steps], [good for _, good in steps]
    found = best_threshold(scores, correct)
    if all(score is None for score in scores):
        assert found is None
        return
    assert found is not None

    def reached(threshold: float) -> float:
        made = Calls([scores], [correct], threshold).macro_f1(Bootstrap(1, 1))
        assert made is not None
        return made.value

    assert found.macro_f1 == pytest.approx(reached(found.value))
    assert found.macro_f1 == pytest.approx(max(map(reached, (0.0, 0.1, 0.3, 0.7, 1.1))))


# --- ties and ratios


def test_mcnemar_with_ties_lies_between_its_extremes() -> None:
    one, other = np.repeat([1.0, 0.0, 0.5], [12, 3, 6]), np.repeat([0.0, 1.0, 0.0], [12, 3, 6])
    assert mcnemar(one[:15], other[:15]) == exact_mcnemar(12, 3)
    assert exact_mcnemar(18, 3) < mcnemar(one, other) < exact_mcnemar(12, 3)
    assert mcnemar(one, other) == mcnemar(one, other)
    with pytest.raises(ValueError, match="pair"):
        mcnemar(one, other[:3])


def test_ratios_are_resampled_together() -> None:
    generator = np.random.default_rng(4)
    above, below = generator.random((2, 15, 2))
    below[:, 1] = 0
    below[0, 1] = above[0, 1] = 1
    bootstrap = Bootstrap(15, 300)
    low, high = bootstrap.ratio_interval(above, below)
    drawn = (bootstrap.counts @ above[:, 0]) / (bootstrap.counts @ below[:, 0])
    assert [low[0], high[0]] == pytest.approx(np.quantile(drawn, [0.025, 0.975]))
    # Resamples without the one problem that has a denominator are left out.
    assert 1 <= low[1] < high[1] < np.inf
    assert np.isnan(bootstrap.ratio_interval(above, np.zeros((15, 2))).low).all()


def test_clustering_widens_the_pooled_interval() -> None:
    # All solutions of a problem are alike: 30 problems are worth 30 solutions, not 720.
    generator = np.random.default_rng(9)
    score = generator.random(30)
    good = generator.random(30) < 0.5
    clustered = pooled_auroc(
        [[value] * 24 for value in score], [[bool(ok)] * 24 for ok in good], Bootstrap(30)
    )
    single = pooled_auroc([[value] for value in score], [[bool(ok)] for ok in good], Bootstrap(30))
    assert clustered == pytest.approx(single)


@pytest.mark.parametrize(
    ("scores", "correct", "n"),
    [
        ([[1.0]], [[True], [False]], 1),
        ([[1.0]], [[True]], 2),
        ([[1.0]], [[True, False]], 1),
        ([[math.nan]], [[True]], 1),
    ],
)
def test_mismatches_are_refused(scores: Column, correct: list[list[bool]], n: int) -> None:
    for function in (within_auroc, pooled_auroc):
        with pytest.raises(ValueError, match="problem"):
            function(scores, correct, Bootstrap(n, 10))


def test_statistics_are_fast() -> None:
    generator = np.random.default_rng(10)
    scores = generator.random((500, 24)).tolist()
    correct = (generator.random((500, 24)) < 0.5).tolist()
    bootstrap = Bootstrap(500)
    begin = time.process_time()
    within = within_auroc(scores, correct, bootstrap)
    pooled = pooled_auroc(scores, correct, bootstrap)
    assert time.process_time() - begin < 4
    for found in (within, pooled):
        assert found.low is not None
        assert found.high is not None
        assert found.low < 0.5 < found.high
        assert found.high - found.low < 0.05


# --- counts


def test_verdicts_are_counted() -> None:
    problem = make_problem()
    solutions = [
        make_solution(problem, 0, answer="5"),
        make_solution(problem, 1, answer="6"),
        make_solution(problem, 2),
        make_solution(problem, 3),
        make_solution(problem, 4, verdict="failed"),
    ]
    assert count_verdicts(solutions) == (1, 1, 2, 1)
    assert count_verdicts([]) == (0, 0, 0, 0)


def test_import_leaves_scipy_for_later() -> None:
    code = "import sys, vilbench.metrics; print('scipy' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"
