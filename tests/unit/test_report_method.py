from __future__ import annotations

import pytest

from vilbench.display.method import Group, Method, method, reading_order


@pytest.mark.parametrize(
    ("text", "group", "scorer", "aggregation"),
    [
        ("cot", Group.COT, "", ""),
        ("random", Group.RANDOM, "", ""),
        ("majority", Group.MAJORITY, "", ""),
        ("oracle", Group.ORACLE, "", ""),
        ("weighted-majority:prm", Group.WEIGHTED, "prm", ""),
        ("weighted-majority:prm/mean", Group.WEIGHTED, "prm", "mean"),
        ("judge-orm", Group.SCORER, "judge-orm", ""),
        ("prm/last-2", Group.SCORER, "prm", "last-2"),
        ("prm/v2/min", Group.SCORER, "prm/v2", "min"),
        ("unknown/max", Group.SCORER, "unknown", "max"),
    ],
)
def test_method_names_are_taken_apart(
    text: str, group: Group, scorer: str, aggregation: str
) -> None:
    m = method(text, ("judge-orm", "prm", "prm/v2"))
    assert (m.group, m.scorer, m.aggregation) == (group, scorer, aggregation)


def test_whether_a_method_averages_the_last_steps() -> None:
    for aggregation, expected in [
        ("last", True),
        ("last-3", True),
        ("lasting", False),
        ("", False),
    ]:
        assert Method("x", Group.SCORER, "s", aggregation).is_last_n is expected


def test_reading_order_is_numeric_and_total() -> None:
    scorers = ("b", "a")
    wanted = [
        *("cot", "random", "majority", "weighted-majority:b", "weighted-majority:a"),
        *("b", "b/mean", "b/min", "b/last-2", "b/last-10", "b/zigzag", "a/mean"),
        *("other/mean", "oracle"),
    ]
    ordered = sorted(set(wanted), key=lambda n: reading_order(method(n, scorers), scorers))
    assert ordered == wanted


def test_a_long_number_is_a_name_and_not_a_number() -> None:
    assert not Method("x", Group.SCORER, "s", "last-" + "9" * 100_000).is_last_n
