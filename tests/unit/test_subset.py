from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vilbench.errors import InputError
from vilbench.problems.sets import ProblemSet
from vilbench.problems.subset import Draw, Limit, parse, taken
from vilbench.types import Problem


def problems(*sizes: int) -> ProblemSet:
    """Categories "c0", "c1" ... of these sizes, one after the other."""
    categories = [f"c{place}" for place, size in enumerate(sizes) for _ in range(size)]
    return ProblemSet(
        "set",
        tuple(
            Problem(id=f"p{k}", source="s", question="q", answer="1", category=category)
            for k, category in enumerate(categories)
        ),
    )


def ids(found: ProblemSet) -> list[str]:
    return [problem.id for problem in found.problems]


@pytest.mark.parametrize(
    ("value", "limit"),
    [
        (5, Limit(count=5)),
        ("5", Limit(count=5)),
        (" 12 ", Limit(count=12)),
        ("10-20", Limit(places=(10, 20))),
        ("7-7", Limit(places=(7, 7))),
        (0.25, Limit(share=0.25)),
        ("0.25", Limit(share=0.25)),
        ("25%", Limit(share=0.25)),
        ("0.5%", Limit(share=0.005)),
    ],
)
def test_a_limit(value: float | str, limit: Limit) -> None:
    assert parse(value) == limit


@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        "0",
        "",
        "x",
        "5-",
        "-5",
        "20-10",
        "0-5",
        1.0,
        1.5,
        "1.5",
        "100%",
        "0%",
        "nan",
        "inf",
        True,
    ],
)
def test_what_is_no_limit(value: float | str) -> None:
    with pytest.raises(ValueError, match=r"a count|a range|no range"):
        parse(value)


def test_counts_shares_and_ranges() -> None:
    whole = problems(10)
    assert ids(taken(whole, Limit(count=3))) == ["p0", "p1", "p2"]
    assert ids(taken(whole, Limit(share=0.25))) == ["p0", "p1", "p2"]
    assert ids(taken(whole, Limit(share=0.3))) == ["p0", "p1", "p2"]
    assert ids(taken(whole, Limit(places=(9, 20)))) == ["p8", "p9"]
    assert taken(whole, None) is whole
    assert taken(whole, Limit(count=10)) is whole
    found = taken(whole, Limit(places=(2, 3)))
    assert found.notes == ("set: 2 of 10 problems, from place 2 on",)
    with pytest.raises(InputError, match="begins behind the last of 10"):
        taken(whole, Limit(places=(11, 12)))


def test_named_problems() -> None:
    whole = problems(10)
    assert ids(taken(whole, None, ids=("p7", "p2"))) == ["p2", "p7"]
    assert ids(taken(whole, Limit(count=1), ids=("p7", "p2"))) == ["p2"]
    with pytest.raises(InputError, match="set has no problem 'x', 'y'"):
        taken(whole, None, ids=("p1", "x", "y"))


def test_a_draw_depends_on_its_seed_alone() -> None:
    whole = problems(50)
    found = [ids(taken(whole, Limit(count=10), draw="random", seed=s)) for s in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    assert found[0] == sorted(found[0], key=lambda one: int(one[1:]))
    turned = ProblemSet("set", whole.problems[::-1])
    assert set(ids(taken(turned, Limit(count=10), draw="random"))) == set(found[0])


def test_a_stratified_draw_has_as_many_of_each_as_there_are() -> None:
    found = taken(problems(60, 30, 10), Limit(share=0.1), draw="category", seed=3)
    assert Counter(problem.category for problem in found.problems) == {"c0": 6, "c1": 3, "c2": 1}
    assert found.notes == ("set: 10 of 100 problems, drawn by category with seed 3",)


def test_a_range_cannot_be_drawn() -> None:
    with pytest.raises(InputError, match="cannot be drawn"):
        taken(problems(5), Limit(places=(1, 2)), draw="random")


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    counts=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    draw=st.sampled_from(["random", "category"]),
    seed=st.integers(0, 3),
)
@settings(max_examples=60, deadline=None)
def test_draws_are_nested_and_near_their_shares(
    sizes: list[int], counts: tuple[int, int], draw: Draw, seed: int
) -> None:
    whole = problems(*sizes)
    small, large = (
        taken(whole, Limit(count=count), draw=draw, seed=seed) for count in sorted(counts)
    )
    assert set(ids(small)) <= set(ids(large))
    assert len(small.problems) == min(*counts, sum(sizes))
    if draw == "category":
        for place, size in enumerate(sizes):
            share = len(large.problems) * size / sum(sizes)
            of_it = sum(problem.category == f"c{place}" for problem in large.problems)
            assert abs(of_it - share) < len(sizes)
