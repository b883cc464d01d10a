import math
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vilbench.selection import AGGREGATIONS, aggregation

NAMES = [*AGGREGATIONS[:-1], "last-1", "last-2", "last-3", "last-30"]

steps = st.lists(st.none() | st.sampled_from([1.0, 2.0, 3.0, 4.0, 5.0]), max_size=9)
finite = st.floats(-1e6, 1e6, allow_subnormal=False)


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
