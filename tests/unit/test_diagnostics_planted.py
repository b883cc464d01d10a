"""Every diagnostic finds the defect that was planted, and none on a clean scorer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
import pytest
from planted_data import Planted, World, chance, planted_labels, planted_world
from scipy.stats import kendalltau

from vilbench.diagnostics.agreement import agreement
from vilbench.diagnostics.bias import bias
from vilbench.diagnostics.calibration import Dev, reliability
from vilbench.diagnostics.consistency import consistency
from vilbench.diagnostics.diagnosis import Held, diagnostics
from vilbench.diagnostics.overrating import overrating
from vilbench.diagnostics.records import (
    Agreement,
    Bias,
    Consistency,
    Diagnostics,
    Figure,
    Fit,
    Overrating,
    Reliability,
    Trait,
    Transfer,
)
from vilbench.diagnostics.transfer import transfer
from vilbench.evaluate.analysis import Stored
from vilbench.evaluate.pools import Scale, ScorerPlan
from vilbench.metrics import Bootstrap
from vilbench.store.records import ScoreRef
from vilbench.types import Granularity, StepScores

UNIT = Scale(0.0, 1.0)
AGGREGATIONS = ("last-1", "mean", "min")


@cache
def world() -> World:
    return planted_world(n_problems=150, n=12, seed=6)


@cache
def held(*scorers: Planted, seed: int = 6) -> Held:
    there = world() if seed == 6 else planted_world(n_problems=150, n=12, seed=seed)
    plans = tuple(ScorerPlan(s.name, s.granularity, UNIT, AGGREGATIONS, "mean") for s in scorers)
    values = {s.name: s.values(there) for s in scorers}
    given = Stored("policy", plans, there.aligned(), values)
    return Held.of(given, f"planted:{seed}", planted_labels)


@dataclass(frozen=True)
class Found:
    """Diagnostics one by one, of fewer resamples than a report has."""

    held: Held

    @cached_property
    def _bootstrap(self) -> Bootstrap:
        return Bootstrap(self.held.table.shape[0], 500)

    @cached_property
    def reliability(self) -> list[Reliability]:
        return list(reliability(self.held.table, self.held.scored[0], self._bootstrap))

    @cached_property
    def overrating(self) -> list[Overrating]:
        return list(overrating(self.held.table, self.held.scored[0], self._bootstrap))

    @cached_property
    def bias(self) -> list[Bias]:
        return list(bias(self.held.table, self.held.scored[0], self._bootstrap))

    @cached_property
    def consistency(self) -> list[Consistency]:
        return list(consistency(self.held.table, self.held.scored[0], self._bootstrap))

    @cached_property
    def agreement(self) -> list[Agreement]:
        return list(agreement(self.held.table, self.held.scored, self._bootstrap))

    @cached_property
    def transfer(self) -> list[Transfer]:
        return list(transfer(self.held.table, self.held.scored))


@cache
def found(*scorers: Planted) -> Found:
    return Found(held(*scorers))


def curve(of: Found | Diagnostics, fit: Fit, unit: Granularity = "solution") -> Reliability:
    return next(one for one in of.reliability if (one.fit, one.unit) == (fit, unit))


def rated(of: Found | Diagnostics, unit: Granularity = "solution") -> Overrating:
    return next(one for one in of.overrating if one.unit == unit)


def followed(of: Found | Diagnostics, trait: Trait) -> Bias:
    return next(one for one in of.bias if one.trait == trait)


def ends(one: Figure) -> tuple[float, float]:
    assert one.low is not None and one.high is not None
    return one.low, one.high


def covers(one: Figure, value: float) -> bool:
    low, high = ends(one)
    return low - 1e-9 <= value <= high + 1e-9


def chances() -> np.ndarray:
    return np.array([chance(one.text) for pool in world().pools for one in pool])


def verdicts() -> np.ndarray:
    return np.array([one.verdict == "correct" for pool in world().pools for one in pool])


@pytest.mark.parametrize("unit", ["solution", "step"])
def test_a_clean_scorer_is_calibrated_and_overrates_nothing(unit: Granularity) -> None:
    clean = found(Planted())
    one = curve(clean, "none", unit)
    assert one.p_value is not None and one.p_value > 0.05
    assert covers(one.rms, 0)
    assert covers(rated(clean, unit).excess, 0)
    assert one.missing == 0


@pytest.mark.parametrize("trait", ["characters", "tokens", "steps", "candidate", "step number"])
def test_a_clean_scorer_follows_nothing(trait: Trait) -> None:
    one = followed(found(Planted()), trait)
    assert covers(one.rho, 0)
    assert one.p_value is not None and one.p_value > 0.05
    assert one.n_problems > 100


def test_a_clean_scorer_repeats_itself() -> None:
    clean = found(Planted())
    (same,) = clean.consistency
    assert same.n_groups > 150
    assert (same.unequal.value, same.noise.value, same.widest) == (0.0, 0.0, 0.0)
    assert same.ties.value == same.top_ties.value == 0


def test_on_a_clean_scorer_a_choice_carries_over() -> None:
    clean = found(Planted())
    assert {(one.kind, one.left_out) for one in clean.transfer} == {
        ("source", "maps"),
        ("source", "sums"),
        ("source", "words"),
        ("modality", "text-dominant"),
        ("modality", "visual-dominant"),
    }
    assert all(covers(one.delta, 0) and covers(one.f1_delta, 0) for one in clean.transfer)


@pytest.mark.parametrize("size", [0.5, 2.0])
def test_overconfidence_is_recovered_and_fits_mend_it(size: float) -> None:
    bad = found(Planted(overconfidence=size))
    told = chances()
    logits = np.log(told / (1 - told)) * (1 + size)
    gaps = 1 / (1 + np.exp(-logits)) - told
    given = curve(bad, "none")
    assert given.p_value is not None and given.p_value < 0.01
    assert given.ece == pytest.approx(np.abs(gaps).mean(), abs=0.03)
    assert covers(given.rms, float(np.sqrt((gaps**2).mean())))
    for fit in ("platt", "isotonic"):
        mended = curve(bad, fit)
        assert mended.crossed and mended.fitted_on is None
        assert mended.p_value is not None and mended.p_value > 0.01
        assert mended.ece is not None and given.ece is not None and mended.ece < given.ece
        assert mended.brier.value is not None and given.brier.value is not None
        assert mended.brier.value < given.brier.value


def test_fits_come_from_the_dev_run_where_there_is_one() -> None:
    bad = Planted(overconfidence=2.0)
    other = held(bad, seed=2)
    fitted = diagnostics(held(bad), Dev("planted:2", other.table, other.scored))
    assert fitted.dev_set == "planted:2"
    for fit in ("platt", "isotonic"):
        one = curve(fitted, fit)
        assert (one.fitted_on, one.crossed) == ("planted:2", False)
        raw = curve(fitted, "none").ece
        assert one.ece is not None and raw is not None and one.ece < raw / 2
    # A dev run where the same scores mean the opposite is believed, not the run itself.
    opposite = replace(other.table, right=~other.table.right)
    misled = diagnostics(held(bad), Dev("planted:2", opposite, other.scored))
    ece = curve(misled, "platt").ece
    assert ece is not None and ece > 0.3


def test_scores_without_bounds_are_told_after_a_fit_alone() -> None:
    scorer = Planted(scorer="likelihood")
    given = Stored(
        "policy",
        (ScorerPlan("likelihood", "step", None, ("mean", "last-1"), "mean"),),
        world().aligned(),
        {"likelihood": scorer.values(world())},
    )
    told = diagnostics(Held.of(given, "planted", planted_labels))
    assert {one.fit for one in told.reliability} == {"platt", "isotonic"}
    assert told.overrating == ()
    assert len(told.bias) > 0


@pytest.mark.parametrize("unit", ["solution", "step"])
def test_overrating_is_recovered(unit: Granularity) -> None:
    bad = rated(found(Planted(excess=0.15)), unit)
    planted = np.minimum(1.0, chances() + 0.15) - chances()
    if unit == "solution":
        assert covers(bad.excess, float(planted.mean()))
    assert ends(bad.excess)[0] > 0.05
    assert bad.excess.value == pytest.approx(bad.mean - bad.truth)
    assert bad.truth == pytest.approx(verdicts().mean(), abs=1e-9 if unit == "solution" else 0.05)


def test_saturation_is_recovered() -> None:
    bad = rated(found(Planted(ceiling=0.6)))
    assert bad.ceiling.value == pytest.approx((chances() >= 0.6).mean())
    wrong = ~verdicts()
    assert bad.wrong_above.value == pytest.approx((chances()[wrong] > 0.5).mean())
    assert bad.right_below.value == pytest.approx((chances()[~wrong] < 0.5).mean())
    assert sum(bad.right) == verdicts().sum() and sum(bad.wrong) == wrong.sum()
    clean = rated(found(Planted()))
    assert clean.ceiling.value == pytest.approx((chances() >= 0.975).mean())
    (same,) = found(Planted(ceiling=0.6)).consistency
    assert same.top_ties.value is not None and same.top_ties.value > 0.3


def biased(defect: str, size: float) -> Planted:
    return Planted(length=size) if defect == "length" else Planted(order=size)


@pytest.mark.parametrize(("defect", "trait"), [("length", "characters"), ("order", "candidate")])
def test_bias_grows_with_what_was_planted_and_has_its_sign(defect: str, trait: Trait) -> None:
    sizes = (-0.3, -0.05, 0.05, 0.3)
    read = [followed(found(biased(defect, size)), trait) for size in sizes]
    values = [one.rho.value for one in read]
    assert values == sorted(values, key=float)  # type: ignore[arg-type]
    assert ends(read[0].rho)[1] < 0 < ends(read[-1].rho)[0]
    assert all(one.p_value is not None and one.p_value < 0.01 for one in read)


def test_a_scorer_of_length_alone_follows_it_to_the_end() -> None:
    sole = found(Planted(length=0.1, overconfidence=-1.0))
    assert followed(sole, "characters").rho.value == pytest.approx(1.0, abs=0.01)


def test_position_of_steps_is_recovered() -> None:
    bad = found(Planted(number=-0.4))
    one = followed(bad, "step number")
    assert one.rho.value is not None and ends(one.rho)[1] < -0.1
    assert one.method is None
    # What follows the number of the step follows the number of steps at the last one.
    assert ends(followed(bad, "steps").rho)[1] < 0
    assert covers(followed(bad, "candidate").rho, 0)


def test_copies_are_compared_once_where_the_text_settles_it() -> None:
    table = held(Planted()).table
    distinct = sum(len({one.text for one in pool}) for pool in world().pools)
    lengths, order = (followed(found(Planted()), trait) for trait in ("characters", "candidate"))
    assert lengths.n <= distinct == table.first.sum() < len(table.owner)
    assert order.n > distinct


@pytest.mark.parametrize("size", [0.3, 1.0])
def test_wavering_is_recovered(size: float) -> None:
    bad = found(Planted(wavering=size))
    (one,) = bad.consistency
    assert one.unequal.value == pytest.approx(1.0, abs=0.01)
    assert ends(one.noise)[0] > 0
    # One-way analysis of variance by hand.
    scores = held(Planted(wavering=size)).scored[0].standing
    assert scores is not None
    grid = scores.reshape(150, 12)
    inner = outer = freedom = 0.0
    for row, pool in zip(grid, world().pools, strict=True):
        groups: dict[str, list[float]] = {}
        for score, solution in zip(row, pool, strict=True):
            groups.setdefault(solution.text, []).append(float(score))
        inner += sum(float(np.var(group)) * len(group) for group in groups.values())
        freedom += sum(len(group) - 1 for group in groups.values())
        outer += float(row.var()) * 12
    assert one.noise.value == pytest.approx((inner / freedom) / (outer / (150 * 11)))
    (steady,) = found(Planted(noise=size)).consistency
    assert steady.noise.value == 0.0


def test_noise_grows_with_what_was_planted() -> None:
    values = [found(Planted(wavering=size)).consistency[0].noise.value for size in (0.1, 0.3, 1, 3)]
    assert values == sorted(values, key=float)  # type: ignore[arg-type]
    assert values[0] is not None and values[0] < 0.05
    assert values[-1] is not None and values[-1] > 0.5


def test_ties_are_counted() -> None:
    (one,) = found(Planted(levels=4)).consistency
    tied = pairs = 0
    for pool in world().pools:
        texts = {solution.text: round(chance(solution.text) * 4) for solution in pool}
        scores = list(texts.values())
        pairs += len(scores) * (len(scores) - 1) // 2
        tied += sum(scores[i] == scores[j] for i in range(len(scores)) for j in range(i))
    assert one.ties.value == pytest.approx(tied / pairs)


def test_noise_is_recovered_by_agreement() -> None:
    scorers = (
        Planted(scorer="clean"),
        Planted(scorer="some", noise=0.5),
        Planted(scorer="much", noise=4.0),
    )
    both = found(*scorers).agreement
    pairs = {(one.scorer, one.other): one for one in both}
    near, far = pairs["clean", "some"], pairs["clean", "much"]
    expected = []
    noisy = scorers[1].values(world())
    for pool in world().pools:
        exact = [chance(one.text) for one in pool]
        given = [noisy[ScoreRef(one.problem_id, one.index)].values[-1] for one in pool]
        expected.append(kendalltau(exact, np.array(given, dtype=np.float64))[0])
    assert near.kendall.value == pytest.approx(float(np.mean(expected)), abs=1e-5)
    assert ends(near.kendall)[0] > ends(far.kendall)[1] > 0
    assert near.same_answer.value is not None and far.same_answer.value is not None
    assert near.same_answer.value > far.same_answer.value > far.chance
    against = found(Planted(scorer="clean"), Planted(scorer="rival", overconfidence=-2.0)).agreement
    assert against[0].kendall.value == pytest.approx(-1.0)
    assert against[0].spearman.value == pytest.approx(-1.0)


def test_no_verdict_is_missing_and_not_0() -> None:
    silent = Planted(silent=0.3)
    lost = sum(v.values[0] is None for v in silent.values(world()).values())
    one = curve(found(silent), "none")
    assert (one.missing, one.n) == (lost, 1800 - lost)
    assert one.p_value is not None and one.p_value > 0.05
    nothing = found(Planted(silent=1.0))
    assert not [*nothing.reliability, *nothing.overrating, *nothing.consistency]
    assert all(one.rho.value is None for one in nothing.bias)
    pair = found(Planted(scorer="a"), Planted(scorer="b", silent=1.0)).agreement[0]
    assert pair.kendall.value is None and pair.n_problems == 0


def test_whole_solutions_have_no_steps() -> None:
    orm = found(Planted(scorer="orm", granularity="solution", excess=0.2))
    assert {one.unit for one in orm.reliability} == {"solution"}
    assert orm.transfer == []
    assert {one.method for one in orm.bias} == {"orm"}
    assert ends(rated(orm).excess)[0] > 0.05


def _turned(records: Iterable[StepScores], source: str) -> dict[ScoreRef, StepScores]:
    """Values that are told at the last step, but at the first one in problems of a source."""
    sources = {one.id: one.source for one in world().problems}
    turned = {}
    for one in records:
        told = one.values[0]
        assert told is not None
        values = [0.5] * len(one.values)
        values[0 if sources[one.problem_id] == source else -1] = told
        if sources[one.problem_id] == source:
            values[-1] = 1 - told
        turned[ScoreRef(one.problem_id, one.solution_index)] = one.model_copy(
            update={"values": tuple(values)}
        )
    return turned


def test_a_choice_that_does_not_carry_over_is_told() -> None:
    values = _turned(Planted().values(world()).values(), "maps")
    plan = ScorerPlan("planted", "step", UNIT, ("last-1", "first"), "mean")
    given = Stored("policy", (plan,), world().aligned(), {"planted": values})
    told = diagnostics(Held.of(given, "planted", planted_labels)).transfer
    parts = {one.left_out: one for one in told}
    maps = parts["maps"]
    assert (maps.elsewhere, maps.within) == ("last-1", "first")
    assert ends(maps.delta)[1] < -0.1
    assert maps.p_value < 0.01
    assert parts["sums"].within == "last-1"
    assert maps.accuracy_elsewhere == pytest.approx(
        maps.accuracy_within + (maps.delta.value or 0.0)
    )
