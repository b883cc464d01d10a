import math
from itertools import combinations
from statistics import fmean, pstdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vilbench.selection import combine, exponential_weights, z_normalize

finite = st.floats(-1e6, 1e6, allow_subnormal=False)


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
