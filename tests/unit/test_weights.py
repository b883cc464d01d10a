"""Learned scores: what is planted is found, noise gives no gain, and the numbers are right."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from vilbench.selection.attention import CUES, LARGEST, Attended, Attention
from vilbench.selection.features import feature
from vilbench.selection.fitting import (
    Form,
    Lesson,
    Subject,
    accuracy,
    cross_validated,
    fixed,
    forms,
    learn,
)
from vilbench.selection.listwise import listwise
from vilbench.selection.weights import Formula, Learned, Origin, Reading, Term
from vilbench.types import Record

Plant = Callable[[NDArray[np.float64], bool, np.random.Generator], None]


def last_step(values: NDArray[np.float64], right: bool, rng: np.random.Generator) -> None:
    values[-1] = rng.normal(0.7 if right else 0.3, 0.1)


def middle_step(values: NDArray[np.float64], right: bool, rng: np.random.Generator) -> None:
    values[len(values) // 2] = rng.normal(0.7 if right else 0.3, 0.1)


def worst_step(values: NDArray[np.float64], right: bool, rng: np.random.Generator) -> None:
    values[:] = rng.uniform(0.35, 1.0, len(values))
    if not right:
        values[rng.integers(len(values))] = rng.uniform(0.0, 0.45)


def nothing(values: NDArray[np.float64], right: bool, rng: np.random.Generator) -> None:
    del values, right, rng


@cache
def planted(plant: Plant, problems: int = 60, n: int = 8, seed: int = 0) -> Lesson:
    """Solutions of 3, 5 or 7 steps whose values are noise but for what is planted."""
    rng = np.random.default_rng(seed)
    right = rng.random((problems, n)) < 0.4
    pools = []
    for row in right:
        pool = []
        for good in row:
            values = rng.uniform(0.0, 1.0, rng.choice([3, 5, 7]))
            plant(values, bool(good), rng)
            pool.append(tuple(map(float, values)))
        pools.append(pool)
    return Lesson((Subject("prm", "step", (0.0, 1.0), pools),), right)


def form(lesson: Lesson, name: str) -> Form:
    return next(one for one in forms(lesson.subjects) if one.name == name)


def parameters(lesson: Lesson, name: str) -> Attention:
    (term,) = learn(lesson, form(lesson, name)).terms
    assert term.attention is not None
    return term.attention


def held_out(lesson: Lesson, name: str) -> float:
    return float(cross_validated(lesson, form(lesson, name))[:, -1].mean())


def by_rule(lesson: Lesson, *names: str) -> float:
    return float(cross_validated(lesson, fixed(lesson, names))[:, -1].mean())


def test_that_only_the_last_step_matters_is_found() -> None:
    lesson = planted(last_step)
    weights = parameters(lesson, "positions").weights([0.5] * 5)
    assert weights[-1] > 0.6
    assert held_out(lesson, "positions") > by_rule(lesson, "mean") + 0.1
    assert held_out(lesson, "positions") >= by_rule(lesson, "last-1") - 0.05


def test_that_only_the_middle_matters_is_found_where_no_fixed_rule_finds_it() -> None:
    lesson = planted(middle_step)
    weights = parameters(lesson, "positions").weights([0.5] * 5)
    assert max(weights) == weights[2] > 0.4
    best = by_rule(lesson, "mean", "min", "last-1", "last-2", "last-3", "last-4", "first")
    assert held_out(lesson, "positions") > best + 0.1


def test_that_only_the_worst_step_matters_is_found() -> None:
    lesson = planted(worst_step)
    assert parameters(lesson, "attention").low > 0.3
    (term,) = learn(lesson, form(lesson, "power")).terms
    assert float(term.feature.removeprefix("power:")) <= -4
    weights = {one.feature: one.weight for one in learn(lesson, form(lesson, "features")).terms}
    assert weights["min"] > 4 * max(weights["mean"], weights["last-1"])
    for name in ("power", "features"):
        assert held_out(lesson, name) > by_rule(lesson, "mean") + 0.05
        assert held_out(lesson, name) > by_rule(lesson, "min") - 0.05


def test_noise_gives_no_gain() -> None:
    lesson = planted(nothing, problems=60)
    share = lesson.right.mean()
    error = float(np.sqrt(share * (1 - share) / 60))
    for one in forms(lesson.subjects):
        reached = cross_validated(lesson, one)[:, -1].mean()
        assert abs(reached - share) < 3 * error, one.name


def test_what_is_held_out_is_not_seen() -> None:
    lesson = planted(last_step)
    seen = []

    def spy(part: Lesson) -> Formula:
        seen.append({pool[0] for pool in part.subjects[0].values})
        return learn(part, form(part, "features"))

    every = {pool[0] for pool in lesson.subjects[0].values}
    cross_validated(lesson, Form("spy", spy))
    assert len(seen) == 5
    # Every problem is out of at least one fit: of the one that it is judged by.
    assert not set.intersection(*seen)
    assert all(len(every - part) >= len(every) // 5 for part in seen)


def test_a_blend_weighs_who_knows_and_not_who_guesses() -> None:
    good, noise = planted(last_step), planted(nothing, seed=1)
    (steps,) = good.subjects
    whole = [[(values[-1],) for values in pool] for pool in noise.subjects[0].values]
    lesson = Lesson((steps, Subject("orm", "solution", (0.0, 1.0), whole)), good.right)
    weights = {
        (t.scorer, t.feature): t.weight for t in learn(lesson, form(lesson, "features")).terms
    }
    assert weights["prm", "last-1"] > 5 * weights["orm", "value"]
    alone = Lesson((steps,), good.right)
    assert held_out(lesson, "features") > by_rule(alone, "mean") + 0.1


def test_two_that_know_different_things_are_better_together() -> None:
    rng = np.random.default_rng(2)
    right = rng.random((80, 8)) < 0.4
    one, two = (np.where(right, 0.6, 0.4) + rng.normal(0, 0.15, right.shape) for _ in range(2))
    subjects = tuple(
        Subject(name, "solution", None, [[(float(v),) for v in row] for row in values])
        for name, values in (("a", one), ("b", two))
    )
    lesson = Lesson(subjects, right)
    alone = max(
        accuracy(
            Formula(
                readings=(s.reading(),), terms=(Term(scorer=s.scorer, feature="value", weight=1),)
            ),
            Lesson((s,), right),
        )[:, -1].mean()
        for s in subjects
    )
    assert held_out(lesson, "means") > alone + 0.05


@pytest.mark.parametrize("name", ["power", "positions", "changes", "attention", "features"])
def test_order_and_scale_do_not_matter(name: str) -> None:
    lesson = planted(worst_step, problems=20)
    (subject,) = lesson.subjects
    order = np.random.default_rng(1).permutation(20)
    mixed = [[pool[place] for place in range(7, -1, -1)] for pool in subject.values]
    wide = [[tuple(1 + 4 * (value or 0.0) for value in one) for one in pool] for pool in mixed]
    other = Lesson(
        (Subject("prm", "step", (1.0, 5.0), [wide[place] for place in order]),),
        lesson.right[:, ::-1][order],
    )
    mine = learn(lesson, form(lesson, name)).pools({"prm": subject.values})
    same = learn(other, form(other, name)).pools({"prm": other.subjects[0].values})
    back = np.empty((20, 8))
    back[order] = np.array(same)[:, ::-1]
    assert np.allclose(np.array(mine), back, atol=0.02)


def test_missing_verdicts_are_skipped_and_none_is_no_score() -> None:
    lesson = planted(last_step, problems=20)
    gaps = [[(None, *values, None) for values in pool] for pool in lesson.subjects[0].values]
    gaps[0][0] = ()
    gaps[0][1] = (None, None)
    holed = Lesson((Subject("prm", "step", (0.0, 1.0), gaps),), lesson.right)
    for one in forms(holed.subjects):
        scores = learn(holed, one).pools({"prm": gaps})
        assert scores[0][0] is None
        assert scores[0][1] is None
        assert all(score is not None for pool in scores[1:] for score in pool)
    empty = Lesson((Subject("prm", "step", (0.0, 1.0), [[()] * 8] * 20),), lesson.right)
    with pytest.raises(ValueError, match="'prm' has given no value"):
        learn(empty, form(empty, "features"))
    with pytest.raises(ValueError, match="no problem has right and wrong"):
        learn(Lesson(lesson.subjects, np.ones_like(lesson.right)), form(lesson, "features"))
    with pytest.raises(ValueError, match="nothing to weigh"):
        forms((Subject("orm", "solution", None, []),))


def test_a_scorer_that_says_nothing_leaves_the_others_alone() -> None:
    formula = Formula(
        readings=(Reading(scorer="a", low=0, high=1), Reading(scorer="b", low=1, high=5)),
        terms=(
            Term(scorer="a", feature="mean", weight=2, centre=0.5, spread=0.5),
            Term(scorer="b", feature="value", weight=1, centre=0.5, spread=0.25),
        ),
    )
    assert formula.score({"a": (1.0, 0.5), "b": (5,)}) == 1.0 + 2.0
    assert formula.score({"a": (1.0, 0.5)}) == formula.score({"a": (1.0, 0.5), "b": (None,)}) == 1.0
    assert formula.score({}) is None


def test_the_gradient_of_the_loss_is_that_of_finite_differences() -> None:
    rng = np.random.default_rng(0)
    scores, right = rng.normal(0, 3, (5, 6)), rng.random((5, 6)) < 0.5
    right[:, 0], right[:, 1] = True, False
    loss = listwise(scores, right)
    for place in np.ndindex(5, 6):
        step = np.zeros((5, 6))
        step[place] = 1e-6
        slope = (listwise(scores + step, right).value - listwise(scores - step, right).value) / 2e-6
        assert slope == pytest.approx(loss.gradient[place], abs=1e-7)


def test_the_loss_is_the_chance_of_a_right_pick_and_bears_extremes() -> None:
    right = np.array([[True, False, False, True]])
    assert listwise(np.zeros((1, 4)), right).value == pytest.approx(np.log(2))
    far = listwise(np.array([[-800.0, 0.0, 0.0, -900.0]]), right)
    assert far.value == pytest.approx(800 + np.log(2))
    assert np.isfinite(far.gradient).all()
    with pytest.raises(ValueError, match="each with a right and a wrong"):
        listwise(np.zeros((1, 2)), np.array([[True, True]]))


def test_attention_on_arrays_is_attention_on_lists_and_its_gradient_is_right() -> None:
    rng = np.random.default_rng(0)
    solutions: Sequence[Sequence[float | None]] = [
        [0.2, None, 0.9, 0.4],
        [0.7],
        [],
        [None, None],
        [0.1, 0.5, 0.3, 0.8, 0.6],
    ]
    attended = Attended(solutions, CUES)
    given = rng.normal(0, 1, len(CUES))
    means, slopes = attended.means(given)
    attention = Attention(**dict(zip(CUES, given.tolist(), strict=True)))
    for values, mean in zip(solutions, means, strict=True):
        expected = attention(values)
        assert mean == pytest.approx(0.0 if expected is None else expected)
    for column in range(len(CUES)):
        step = 1e-6 * np.eye(len(CUES))[column]
        slope = (attended.means(given + step)[0] - attended.means(given - step)[0]) / 2e-6
        assert slope == pytest.approx(slopes[:, column], abs=1e-7)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_attention_reaches_from_the_mean_to_the_last_and_the_lowest(values: list[float]) -> None:
    tight = pytest.approx
    assert Attention()(values) == tight(sum(values) / len(values))
    assert Attention(last=50)(values) == tight(values[-1], abs=1e-9)
    assert Attention(first=50)(values) == tight(values[0], abs=1e-9)
    low = Attention(low=50)(values)
    assert low is not None
    assert min(values) - 1e-9 <= low <= min(values) + 0.01


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=6), st.floats(-20, 20))
def test_powers_lie_between_the_extremes(values: list[float], exponent: float) -> None:
    found = feature(f"power:{exponent:.3f}")(values)
    assert found is not None
    assert min(values) - 1e-9 <= found <= max(values) + 1e-9
    assert feature("power:1")(values) == pytest.approx(sum(values) / len(values))


def test_features_skip_missing_verdicts() -> None:
    assert feature("steps")([0.5, None, 0.5]) == 2
    assert feature("steps")([None]) is None
    assert feature("log-mean")([1.0, None, 0.0]) == pytest.approx(np.log(1e-3) / 2)
    assert feature("power:-2")([None]) is None
    assert feature("product")([1.5, 0.5, -1.0]) == 0.0
    with pytest.raises(ValueError, match="unknown aggregation"):
        feature("power:x")


def test_records_refuse_what_cannot_be() -> None:
    with pytest.raises(ValidationError, match="is no range"):
        Reading(scorer="a", low=1, high=1)
    with pytest.raises(ValidationError, match="do not go together"):
        Term(scorer="a", feature="attention", weight=1)
    with pytest.raises(ValidationError, match="unknown aggregation"):
        Term(scorer="a", feature="nonsense", weight=1)
    term = Term(scorer="a", feature="mean", weight=1)
    with pytest.raises(ValidationError, match="takes one reading"):
        Formula(readings=(Reading(scorer="b", low=0, high=1),), terms=(term,))


@pytest.mark.parametrize(
    ("record", "given"),
    [
        (Reading, {"scorer": "a", "low": -1.7e308, "high": 1.7e308}),
        (Reading, {"scorer": "a", "low": 0, "high": 1e-300}),
        (Term, {"scorer": "a", "feature": "mean", "weight": 1e308}),
        (Term, {"scorer": "a", "feature": "mean", "weight": 1, "centre": -1e308}),
        (Term, {"scorer": "a", "feature": "mean", "weight": 1, "spread": 1e-308}),
        (Attention, {"last": 1e308}),
    ],
)
def test_numbers_that_overflow_are_refused(record: type[Record], given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        record.model_validate(given)


ENDS = st.sampled_from([-LARGEST, -1.0, 0.0, 1.0, LARGEST])


@given(
    values=st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=5),
    weight=ENDS,
    centre=ENDS,
    spread=st.sampled_from([1 / LARGEST, 1.0, LARGEST]),
    low=ENDS,
    width=st.sampled_from([1 / LARGEST, 1.0, LARGEST]),
    name=st.sampled_from(["mean", "min", "product", "power:-3", "log-mean", "steps", "attention"]),
)
def test_a_score_is_a_number_whatever_a_scorer_says(
    values: list[float | None],
    weight: float,
    centre: float,
    spread: float,
    low: float,
    width: float,
    name: str,
) -> None:
    attention = Attention(last=weight, low=centre, fall=weight) if name == "attention" else None
    term = Term(
        scorer="a", feature=name, weight=weight, centre=centre, spread=spread, attention=attention
    )
    high = min(LARGEST, low + width)
    if high - low < 1 / LARGEST:
        low, high = 0.0, width
    formula = Formula(readings=(Reading(scorer="a", low=low, high=high),), terms=(term, term))
    score = formula.score({"a": values})
    assert (score is None) == all(value is None for value in values)
    assert score is None or math.isfinite(score)


def test_what_was_learned_is_read_back_as_it_was() -> None:
    lesson = planted(last_step, problems=20)
    formula = learn(lesson, form(lesson, "attention"))
    origin = Origin(problem_set="puzzles:dev", n_problems=20, n=8, seed=0)
    one = Learned(readings=formula.readings, terms=formula.terms, form="attention", origin=origin)
    again = Learned.model_validate_json(one.model_dump_json())
    values = {"prm": lesson.subjects[0].values}
    assert again == one
    assert again.pools(values) == formula.pools(values)


def test_an_origin_knows_its_problems_alone_and_among_others() -> None:
    origin = Origin(problem_set="a+puzzles:dev", n_problems=1, n=1, seed=0)
    for name in ("puzzles:dev", "a", "a+puzzles:dev", "b+puzzles:dev", "puzzles:dev+b"):
        assert origin.is_part_of(name)
    assert not origin.is_part_of("puzzles:test")
    assert not origin.is_part_of("b+c")
