"""Figures of step benchmarks against hand-computed cases and a plain reference."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import numpy as np
import pytest

from vilbench.errors import InputError, RunError
from vilbench.evaluate.stages import note_sampling
from vilbench.metrics import Bootstrap, Calls
from vilbench.stepbench.bench import Bench, Known, Pool, Values, of_run, set_apart, split, with_dev
from vilbench.stepbench.first_error import FirstErrors, Located, best_cut, predicted
from vilbench.stepbench.marks import Mark, content
from vilbench.stepbench.measuring import Measured, Scored, differences, parts
from vilbench.stepbench.records import CutOff
from vilbench.store.manifest import Manifest
from vilbench.store.records import ScoreRef
from vilbench.store.run import Run
from vilbench.testing import make_problem, make_solution
from vilbench.types import StepScores

ValuesOfSteps = Sequence[float | None]


def pool(name: str, subset: str, *marks: Sequence[Mark]) -> Pool:
    problem = make_problem(id=name, question=f"What is {name}?")
    known = tuple(
        Known(ScoreRef(name, index), tuple(one), one.index(-1) if -1 in one else -1)
        for index, one in enumerate(marks)
    )
    return Pool(problem, subset, known)


def scored(pools: Sequence[Pool], *values: Sequence[ValuesOfSteps]) -> Values:
    """Values in the order of pools and solutions; one list per pool."""
    return {
        known.ref: StepScores(
            problem_id=known.ref.problem_id,
            solution_index=known.ref.solution_index,
            scorer="s",
            granularity="step",
            values=tuple(row),
        )
        for one, rows in zip(pools, values, strict=True)
        for known, row in zip(one.solutions, rows, strict=True)
    }


def cut(value: float | None, first: float | None = None) -> CutOff:
    return CutOff(
        scorer="s",
        step=value,
        first_error=value if first is None else first,
        origin="elsewhere",
        n_problems=1,
        n_steps=1,
    )


def measured(
    pools: Sequence[Pool], values: Values, threshold: float | None = 0.5, name: str = "s"
) -> Measured:
    known = None if threshold is None else cut(threshold)
    return Measured(Scored.of(name, pools, values), parts(pools), known)


HAND = [
    pool("a", "MMMU", (1, 1, -1), (1, 0, 1)),
    pool("b", "MathVision", (-1, -1)),
]
HAND_VALUES = scored(HAND, [(0.9, 0.2, 0.1), (0.8, 0.1, 0.7)], [(0.6, 0.3)])


def test_both_overall_figures_by_hand() -> None:
    found = measured(HAND, HAND_VALUES)
    figures = {one.subset: one for one in found.steps()}
    # MMMU: right steps .9 .2 .8 .7 of which three are called right, wrong .1 called wrong.
    mmmu = figures["MMMU"]
    assert (mmmu.n_steps, mmmu.n_wrong, mmmu.unmarked, mmmu.n_solutions) == (5, 1, 1, 2)
    assert mmmu.f1_right == pytest.approx(6 / 7)
    assert mmmu.f1_wrong == pytest.approx(2 / 3)
    # MathVision: two wrong steps, one called right; no right one, so that its F1 is 0.
    vision = figures["MathVision"]
    assert (vision.f1_right, vision.pooled, vision.within) == (0.0, None, None)
    assert vision.f1_wrong == pytest.approx(2 / 3)
    whole = figures["all"]
    # Pooled: right 3 of 4 called 4; wrong 2 of 3 called 3.
    assert whole.macro_f1 == pytest.approx((6 / 8 + 4 / 6) / 2)
    overall = found.overall()
    assert overall.pooled_f1 == whole.macro_f1
    by_steps = (5 * (6 / 7 + 2 / 3) / 2 + 2 * (0 + 2 / 3) / 2) / 7
    assert overall.weighted_f1 == pytest.approx(by_steps)


def test_first_errors_by_hand() -> None:
    found = measured(HAND, HAND_VALUES)
    figures = {one.subset: one for one in found.locations()}
    # The first solution of a: step 1 is below, the error is at 2. The second: the neutral step
    # is below, though nothing is wrong. b: the first wrong step is missed.
    whole = figures["all"]
    assert (whole.n_erroneous, whole.n_correct) == (2, 1)
    assert (whole.erroneous, whole.correct, whole.f1) == (0.0, 0.0, 0.0)
    assert figures["MathVision"].f1 is None
    assert figures["MathVision"].erroneous == 0.0
    lower = Measured(Scored.of("s", HAND, HAND_VALUES), parts(HAND), cut(0.5, 0.15))
    whole = next(iter(lower.locations()))
    # Now the error of a is found; its other solution still has a step of .1.
    assert (whole.erroneous, whole.correct) == (0.5, 0.0)
    overall = lower.overall()
    # The mean is over the subsets with both kinds: MMMU alone.
    assert (overall.location_mean, overall.location_pooled) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((), -1),
        ((0.9, 0.5), -1),
        ((0.9, 0.4, 0.1), 1),
        ((0.4, None), 0),
        ((0.9, None, 0.1), None),
        ((0.9, None), None),
    ],
)
def test_the_first_step_below_the_threshold(values: ValuesOfSteps, expected: int | None) -> None:
    assert predicted(values, 0.5) == expected


def test_a_step_without_a_value_is_missed() -> None:
    pools = [pool("a", "x", (1, -1), (1, 1))]
    found = measured(pools, scored(pools, [(0.9, None), (None, 0.9)]))
    (figure, _) = found.steps()
    assert (figure.missing, figure.n_steps) == (2, 4)
    # Two of three right ones are called right; the wrong one is called nothing.
    assert figure.f1_right == pytest.approx(4 / 5)
    assert figure.f1_wrong == 0.0
    (place, _) = found.locations()
    assert (place.missing, place.erroneous, place.correct, place.f1) == (2, 0.0, 0.0, 0.0)
    nothing = measured(pools, {})
    assert next(iter(nothing.steps())).missing == 4
    assert nothing.overall().pooled_f1 == 0.0


def test_without_a_threshold_there_are_areas_alone() -> None:
    found = measured(HAND, HAND_VALUES, None)
    whole = next(iter(found.steps()))
    assert (whole.macro_f1, list(found.locations())) == (None, [])
    assert whole.pooled is not None
    assert found.overall().weighted_f1 is None


def test_solutions_that_are_not_settled_are_left_out() -> None:
    problem = make_problem(id="u")
    known = (Known(ScoreRef("u", 0), (1, 0), None), Known(ScoreRef("u", 1), (1, 1), -1))
    pools = [Pool(problem, "x", known)]
    found = measured(pools, scored(pools, [(0.9, 0.1), (0.9, 0.9)]))
    (figure, _) = found.locations()
    assert (figure.unsettled, figure.n_correct, figure.correct) == (1, 1, 1.0)


def some_pools(seed: int, size: int = 12) -> tuple[list[Pool], Values]:
    """Pools of up to three solutions with up to four steps, coarse values, and gaps."""
    drawn = random.Random(seed)
    pools, values = [], []
    for number in range(size):
        kinds: tuple[Mark, ...] = (1, 1, -1, 0)
        rows = [
            [drawn.choice(kinds) for _ in range(drawn.randint(1, 4))]
            for _ in range(drawn.randint(1, 3))
        ]
        marks: list[tuple[Mark, ...]] = [tuple(row) for row in rows]
        pools.append(pool(f"p{number}", drawn.choice("xyz"), *marks))
        values.append(
            [
                tuple(
                    None if drawn.random() < 0.1 else round(drawn.random() + 0.2 * mark, 1)
                    for mark in row
                )
                for row in rows
            ]
        )
    return pools, scored(pools, *values)


class Reference:
    """The protocols, plainly: sums over solutions, no array and no shortcut."""

    def __init__(self, pools: Sequence[Pool], values: Values, threshold: float) -> None:
        self.rows = [
            (one.subset, known, values[known.ref].values)
            for one in pools
            for known in one.solutions
        ]
        self.threshold = threshold

    def macro(self, subset: str | None = None) -> float:
        steps = self.steps(subset)
        scores = []
        for kind in (True, False):
            hits = sum(
                r == kind and v is not None and (v >= self.threshold) == kind for r, v in steps
            )
            wanted = sum(r == kind for r, _ in steps)
            called = sum(v is not None and (v >= self.threshold) == kind for _, v in steps)
            scores.append(2 * hits / (wanted + called) if wanted + called else 0.0)
        return mean(scores)

    def weighted(self) -> float:
        sizes = {name: len(self.steps(name)) for name, _, _ in self.rows}
        return sum(self.macro(name) * size for name, size in sizes.items()) / sum(sizes.values())

    def steps(self, subset: str | None = None) -> list[tuple[bool, float | None]]:
        return [
            (mark == 1, value)
            for name, known, values in self.rows
            if subset in (None, name)
            for mark, value in zip(known.marks, values, strict=True)
            if mark != 0
        ]

    def first_error(self, subset: str | None = None) -> float | None:
        hits: dict[bool, list[bool]] = {True: [], False: []}
        for name, known, values in self.rows:
            if subset not in (None, name):
                continue
            guess: int | None = -1
            for place, value in enumerate(values):
                if value is None or value < self.threshold:
                    guess = None if value is None else place
                    break
            hits[known.first_error == -1].append(guess == known.first_error)
        if not hits[True] or not hits[False]:
            return None
        a, b = mean(hits[True]), mean(hits[False])
        return 2 * a * b / (a + b) if a + b else 0.0


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("threshold", [0.35, 0.6])
def test_figures_equal_a_plain_reference(seed: int, threshold: float) -> None:
    pools, values = some_pools(seed)
    found = measured(pools, values, threshold)
    plain = Reference(pools, values, threshold)
    overall = found.overall()
    assert overall.pooled_f1 == pytest.approx(plain.macro())
    assert overall.weighted_f1 == pytest.approx(plain.weighted())
    assert overall.location_pooled == pytest.approx(plain.first_error())
    by_subset = [plain.first_error(one) for one in {name for name, _, _ in plain.rows}]
    usable = [one for one in by_subset if one is not None]
    if usable:
        assert overall.location_mean == pytest.approx(mean(usable))
    for figure in found.steps():
        subset = None if figure.subset == "all" else figure.subset
        assert figure.macro_f1 == pytest.approx(plain.macro(subset))
        pairs = [
            (a > b) + (a == b) / 2
            for right, a in plain.steps(subset)
            for wrong, b in plain.steps(subset)
            if right and not wrong and a is not None and b is not None
        ]
        assert figure.pooled == (pytest.approx(mean(pairs)) if pairs else None)
    for low, value, high in (
        (overall.weighted_low, overall.weighted_f1, overall.weighted_high),
        (overall.location_low, overall.location_pooled, overall.location_high),
    ):
        assert low is not None
        assert value is not None
        assert high is not None
        assert low <= value + 0.1
        assert value - 0.1 <= high


@pytest.mark.parametrize("seed", range(12))
def test_the_chosen_cut_is_the_best_of_all(seed: int) -> None:
    pools, values = some_pools(seed)
    located = [one for row in Scored.of("s", pools, values).located for one in row]
    found = best_cut(located)
    assert found is not None
    tried = [value + shift for one in located for value in one.values if value is not None
             for shift in (-0.05, 0.05)]  # fmt: skip
    plain = [Reference(pools, values, one).first_error() for one in tried]
    assert found.f1 == pytest.approx(max(one for one in plain if one is not None))
    assert Reference(pools, values, found.value).first_error() == pytest.approx(found.f1)


def test_no_cut_without_both_kinds() -> None:
    assert best_cut([Located((0.1,), 0), Located((0.2,), 0)]) is None
    assert best_cut([Located((None,), 0), Located((None,), -1)]) is None
    assert best_cut([]) is None


def test_intervals_resample_problems_and_not_solutions() -> None:
    """Ten copies of a solution in one problem tell no more than one."""
    one = [pool(f"p{k}", "x", (1, -1)) for k in range(8)]
    marks: tuple[Mark, ...] = (1, -1)
    many = [pool(f"p{k}", "x", *[marks] * 10) for k in range(8)]
    rows = [(0.9, 0.1) if k % 2 else (0.1, 0.9) for k in range(8)]
    few = measured(one, scored(one, *[[row] for row in rows])).overall()
    lots = measured(many, scored(many, *[[row] * 10 for row in rows])).overall()
    assert few.pooled_low == pytest.approx(lots.pooled_low)
    assert few.pooled_high == pytest.approx(lots.pooled_high)
    assert few.pooled_high is not None
    assert few.pooled_low is not None
    assert few.pooled_high - few.pooled_low > 0.3


def test_weighted_macro_f1_weighs_by_the_steps_of_each_resample() -> None:
    scores, right = [[0.9], [0.1, 0.9]], [[True], [True, True]]
    calls = Calls(scores, right, 0.5)
    spread = Bootstrap(2, 400)
    found = calls.weighted(spread, [np.array([0]), np.array([1])])
    assert found is not None
    # Wrong steps are lacking: F1 of right is 1 and 2/3, each half of a macro-F1.
    assert found.value == pytest.approx((1 * 0.5 + 2 * (2 / 3) / 2) / 3)
    assert found.low == pytest.approx(1 / 3)
    assert found.high == pytest.approx(0.5)
    assert calls.weighted(spread, []) is None


def test_differences_are_paired_and_zero_against_oneself() -> None:
    pools, values = some_pools(3)
    one, same = measured(pools, values), measured(pools, values, name="t")
    found = list(differences(one, same))
    assert [(d.delta, d.low, d.high) for d in found] == [(0.0, 0.0, 0.0)] * 2
    assert [d.measure for d in found] == ["macro-F1, pooled", "first-error F1, pooled"]


def test_a_part_of_the_problems_is_set_apart_by_content() -> None:
    twins = [pool(f"t{k}", "x", (1, -1)) for k in range(10)]
    again = [Pool(one.problem.model_copy(update={"id": f"again {one.problem.id}"}), "x", ())
             for one in twins]  # fmt: skip
    bench = Bench("b", (*twins, *again))
    found = split(bench, 0.3, seed=1)
    mine, theirs = ({content(one.problem) for one in some} for some in (found.pools, found.dev))
    assert not mine & theirs
    assert len(theirs) == 3
    assert len(found.dev) == 6
    assert split(bench, 0.3, seed=1) == found
    assert {content(one.problem) for one in split(bench, 0.3, seed=2).dev} != theirs
    with pytest.raises(InputError, match="too few"):
        split(Bench("b", tuple(twins[:1])), 0.5, seed=0)


def test_problems_that_are_reported_choose_no_threshold() -> None:
    bench = Bench("b", (pool("a", "x", (1, -1)),))
    other = pool("c", "x", (1, 1))
    found = with_dev(bench, [*bench.pools, other], "dev")
    assert found.dev == (other,)
    assert "1 of 2" in found.notes[-1]
    with pytest.raises(InputError, match="every problem"):
        with_dev(bench, bench.pools, "dev")


def test_a_subset_that_chooses_is_in_no_figure() -> None:
    bench = Bench("b", (pool("a", "gsm8k", (1,)), pool("b", "math", (1,))))
    found = set_apart(bench, "gsm8k")
    assert [one.subset for one in found.pools] == ["math"]
    assert [one.subset for one in found.dev] == ["gsm8k"]
    with pytest.raises(InputError, match="no subset beside others"):
        set_apart(bench, "omnimath")


def test_first_errors_of_a_resample_that_lacks_a_kind_have_no_f1() -> None:
    pools = [[Located((0.1,), 0)], [Located((0.9,), -1)]]
    drawn = FirstErrors(pools, 0.5).drawn(Bootstrap(2, 50))
    assert set(np.unique(drawn[np.isfinite(drawn)])) == {1.0}
    assert np.isnan(drawn).any()


def test_many_small_parts_have_a_mean_without_an_interval() -> None:
    pools = [[Located([0.2], 0)] if place % 2 else [Located([0.9], -1)] for place in range(80)]
    subsets = [np.array([place, place + 1]) for place in range(0, 80, 2)]
    mean_f1 = FirstErrors(pools, 0.5).mean(Bootstrap(80), subsets)
    assert mean_f1 == (1.0, None, None)


@pytest.mark.parametrize(
    ("marks", "first", "told"),
    [
        ([[1, -1]], 1, r"rows: 1 of them, and none is solution 1"),
        ([], 0, r"rows: 0 of them, and none is solution 0"),
        ([[1, -1], [1]], 1, r"rows\[1\]: 1 marks of a solution of 2 steps"),
        ([[1, -1], [1, 1, 1]], 1, r"rows\[1\]: 3 marks of a solution of 2 steps"),
        ([[1, -1], [1, -1]], 2, r"rows\[0\]: the first error is step 2 of 2"),
        ([[1, -1], [1, -1]], -2, r"rows\[0\]: the first error is step -2 of 2"),
    ],
)
def test_metadata_that_do_not_go_with_the_solutions_are_named(
    tmp_path: Path, marks: list[list[Mark]], first: int, told: str
) -> None:
    rows = [{"marks": one, "first_error": first, "policy": "p"} for one in marks]
    metadata = {"stepbench": {"benchmark": "b", "role": "test", "rows": rows}}
    problem = make_problem(id="p0").model_copy(update={"metadata": metadata})
    with Run.open(tmp_path / "run", Manifest.of("r", {}, seed=0, problem_set="x")) as run:
        run.add_problems([problem])
        note_sampling(run, "k", 2, "policy")
        run.put_solutions("k", [make_solution(problem, i, "One.\nTwo.") for i in range(2)])
        with pytest.raises(RunError, match=rf"run: problem 'p0', metadata\.stepbench\.{told}"):
            of_run(run)


def test_metadata_that_go_with_the_solutions_are_taken(tmp_path: Path) -> None:
    known = [([1, -1], 1), ([1, 1], -1)]
    rows = [{"marks": marks, "first_error": first, "policy": "p"} for marks, first in known]
    metadata = {"stepbench": {"benchmark": "b", "role": "test", "rows": rows}}
    problem = make_problem(id="p0").model_copy(update={"metadata": metadata})
    with Run.open(tmp_path / "run", Manifest.of("r", {}, seed=0, problem_set="x")) as run:
        run.add_problems([problem])
        note_sampling(run, "k", 2, "policy")
        run.put_solutions("k", [make_solution(problem, i, "One.\nTwo.") for i in range(2)])
        (pool,) = of_run(run).pools
    assert [one.marks for one in pool.solutions] == [(1, -1), (1, 1)]
    assert [one.first_error for one in pool.solutions] == [1, -1]
