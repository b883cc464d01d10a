"""What curating chooses, on planted pools, and what it finds of its own making."""

from __future__ import annotations

import numpy as np
import pytest
from curate_data import noise, plan, problems, take
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vilbench.curate.chooser import Chooser
from vilbench.curate.curation import Curation, curate
from vilbench.curate.indicator import Rule, margin, read, shrunk
from vilbench.curate.material import gather
from vilbench.curate.pairs import Pair, find, groups
from vilbench.curate.picks import Levels, Ordered, Weights
from vilbench.curate.records import GainCard, RuleCard
from vilbench.curate.versions import halves, resampled, whole
from vilbench.errors import InputError
from vilbench.selection import best_of

LIGHT = RuleCard(splits=4, resamples=8)


def pair(name: str) -> Pair:
    return Pair(name, f"{name}-prm/mean", f"{name}-orm")


def gain(curation: Curation, fit: str, contrast: str = "prm-orm", name: str = "all") -> GainCard:
    (found,) = [
        one
        for one in curation.card.gains
        if (one.fit, one.contrast, one.pair) == (fit, contrast, name)
    ]
    return found


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([None, 1.0, 2.0, 2.5, 4.0]), st.booleans()),
        min_size=1,
        max_size=9,
    )
)
def test_picks_are_those_of_best_of(pool: list[tuple[float | None, bool]]) -> None:
    scores, correct = [[score for score, _ in pool]], [[right for _, right in pool]]
    curve = best_of(scores, correct).accuracy[0]
    values = np.array([[np.nan if score is None else score for score in scores[0]]])
    pools = whole(1, len(pool))
    full = Levels.of(values, np.array(correct)).quality(pools)
    assert full[0] == pytest.approx(curve[-1], abs=1e-9)
    every = Ordered.of(values, np.array(correct)).quality(pools)
    assert every[0] == pytest.approx(curve.mean(), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 7))
def test_a_version_is_the_pool_that_it_stands_for(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 3, (1, size)).astype(np.float64)
    correct = rng.random((1, size)) < 0.5
    weights = resampled(whole(1, size), rng)
    assert weights.sum() == size
    drawn = np.repeat(np.arange(size), weights[:, 0])
    expected = best_of([scores[0, drawn].tolist()], [correct[0, drawn].tolist()]).accuracy[0]
    best, every = Levels.of(scores, correct), Ordered.of(scores, correct)
    assert best.quality(weights)[0] == pytest.approx(expected[-1], abs=1e-9)
    assert every.quality(weights)[0] == pytest.approx(expected.mean(), abs=1e-9)


def test_halves_share_no_solution_and_leave_none_out_but_an_odd_one() -> None:
    for size in (2, 5, 24):
        for one, other in halves(30, size, 3, np.random.default_rng(0)):
            assert set(one.sum(axis=0)) == set(other.sum(axis=0)) == {size // 2}
            assert not (one & other).any()
    again = [next(halves(4, 6, 1, np.random.default_rng(7))).one for _ in range(2)]
    assert (again[0] == again[1]).all()


def test_the_indicator_is_the_mean_difference_of_right_picks() -> None:
    correct = np.array([[True, False, False, True]] * 2)
    prm = np.array([[3.0, 1.0, 1.0, 1.0], [1.0, 2.0, 2.0, 2.0]])
    orm = np.array([[1.0, 2.0, 1.0, 1.0], [4.0, 1.0, 1.0, 1.0]])
    same = np.ones((2, 4))
    held = take(problems(2), correct, {"a-prm": prm, "a-orm": orm, "b-prm": same, "b-orm": same})
    reading = read(gather([held], [pair("a"), pair("b")]), whole(2, 4), "difference")
    # The first: right by steps, wrong by the whole. The second: a third of a tie against right.
    assert reading.preference[0].tolist() == pytest.approx([1.0, 1 / 3 - 1])
    assert reading.indicator().tolist() == pytest.approx([0.5, -1 / 3])
    assert reading.indicator(np.array([False, True])).tolist() == [0.0, 0.0]
    assert reading.cot.tolist() == [0.5, 0.5]


def test_other_rules_read_the_same_preference_otherwise() -> None:
    rng = np.random.default_rng(1)
    correct = rng.random((200, 8)) < 0.5
    knows, guesses = correct + rng.random((200, 8)), rng.random((200, 8))
    material = gather(
        [take(problems(200), correct, {"a-prm": knows, "a-orm": guesses})], [pair("a")]
    )
    rules: tuple[Rule, ...] = ("difference", "mean-k", "share", "margin")
    found = {rule: read(material, whole(200, 8), rule).preference[0] for rule in rules}
    assert set(found["share"]) == {0.0, 1.0}
    assert (found["share"] == (found["difference"] > 0)).all()
    mixed = correct.any(axis=1) & ~correct.all(axis=1)
    for rule in rules:
        assert found[rule][mixed].mean() > 0.2, rule
        assert np.abs(found[rule][~mixed]).max() == 0.0, rule
    # Averaged over k, a difference is less noisy.
    assert found["mean-k"][mixed].std() < found["difference"][mixed].std()


def test_the_margin_is_in_standard_deviations_and_skips_what_has_no_verdict() -> None:
    scores = np.array([[1.0, 3.0, np.nan, 3.0], [2.0, 2.0, 2.0, 2.0]])
    correct = np.array([[False, True, False, True], [True, False, True, False]])
    found = margin(scores, correct, whole(2, 4))
    assert found[0] == pytest.approx(2 / np.std([1.0, 3.0, 3.0]))
    assert found[1] == 0.0
    assert margin(10 * scores + 5, correct, whole(2, 4))[0] == pytest.approx(found[0])


def test_noisy_indicators_are_drawn_further_to_the_mean_of_their_source() -> None:
    indicator = np.array([1.0, 1.0, -1.0, -1.0, 5.0])
    noise_ = np.array([0.0, 2.0, 0.5, 0.5, 3.0])
    found = shrunk(indicator, noise_, np.array([0, 0, 0, 0, 1]))
    assert found[0] == 1.0
    assert 0.0 < found[1] < 0.5
    assert -1.0 < found[2] == found[3] < 0.0
    assert found[4] == 5.0  # alone in its source, it is the mean


def planted(**rule: object) -> Curation:
    """Even problems: steps tell right from wrong and wholes do not; odd ones: neither does."""
    count, size = 300, 12
    rng = np.random.default_rng(3)
    correct = rng.random((count, size)) < 0.5
    even = (np.arange(count) % 2 == 0)[:, None]
    scores = {}
    for name in ("a", "b", "c"):
        scores[f"{name}-prm"] = np.where(even, 2.0 * correct, 0.0) + rng.random((count, size))
        scores[f"{name}-orm"] = rng.random((count, size))
    held = take(problems(count), correct, scores)
    return curate([held], [pair(one) for one in "abc"], LIGHT.model_copy(update=rule), "planted")


def test_a_planted_preference_is_found_and_survives_cross_fitting() -> None:
    found = planted()
    even = [int(one.id[1:]) % 2 == 0 for one in found.looked_at if one.fate == "chosen"]
    assert np.mean(even) > 0.6
    for fit in ("scorers", "candidates", "both"):
        one = gain(found, fit)
        assert one.whole == pytest.approx(0.25, abs=0.07)
        assert one.crossfitted_low > one.whole, fit
        assert one.naive > one.crossfitted
        assert one.inflation_low > 0, fit
    assert found.card.stability.jaccard > found.card.stability.chance + 0.2


def test_noise_gains_by_being_chosen_and_nothing_when_held_out() -> None:
    pairs = [pair(f"a{at}") for at in range(3)]
    found = curate([noise(400, 12, 3)], pairs, LIGHT.model_copy(update={"size": 80}), "noise")
    for fit in ("scorers", "candidates", "both"):
        one = gain(found, fit)
        assert one.naive > 0.4
        assert one.crossfitted_low < 0 < one.crossfitted_high, fit
        assert one.inflation_low > 0.3
        assert one.inflation == pytest.approx(one.naive - one.crossfitted)
        over_cot = gain(found, fit, "prm-cot")
        assert over_cot.naive_low > 0.1
        assert over_cot.crossfitted_low < 0 < over_cot.crossfitted_high, fit


def test_scorers_that_share_their_luck_need_other_candidates() -> None:
    """Equal scorers: holding one out removes nothing, other candidates remove it all."""
    rng = np.random.default_rng(5)
    correct = rng.random((400, 12)) < 0.5
    prm, orm = rng.random((400, 12)), rng.random((400, 12))
    scores = {"a-prm": prm, "a-orm": orm, "b-prm": prm, "b-orm": orm}
    found = curate([take(problems(400), correct, scores)], [pair("a"), pair("b")], LIGHT, "twins")
    assert gain(found, "scorers").inflation == pytest.approx(0.0, abs=1e-9)
    one = gain(found, "both")
    assert one.crossfitted_low < 0 < one.crossfitted_high


def test_intervals_of_held_out_noise_hold_zero_nine_times_in_ten() -> None:
    pairs = [pair("a0"), pair("a1")]
    held = 0
    for seed in range(20):
        rule = RuleCard(splits=2, resamples=1, seed=seed)
        one = gain(curate([noise(60, 6, 2, seed)], pairs, rule, "noise"), "both")
        held += one.crossfitted_low <= 0 <= one.crossfitted_high
    assert held >= 17


def test_problems_that_are_never_or_always_solved_are_dropped_and_told() -> None:
    correct = np.array([[False] * 4, [True] * 4, [True, False, False, False]])
    prm = np.array([[4.0, 1.0, 1.0, 1.0]] * 3)
    orm = np.array([[1.0, 4.0, 1.0, 1.0]] * 3)
    scores = {"a-prm": prm, "a-orm": orm}
    rule = LIGHT.model_copy(update={"threshold": None})
    found = curate([take(problems(3), correct, scores)], [pair("a")], rule, "x")
    assert [one.fate for one in found.looked_at] == ["never-solved", "always-solved", "chosen"]
    (source,) = found.card.sources
    assert (source.never_solved, source.always_solved, source.chosen) == (1, 1, 1)
    bounds = rule.model_copy(update={"lowest": 0.3})
    with pytest.raises(InputError, match="2 never solved, 1 always solved, 0 not above"):
        curate([take(problems(3), correct, scores)], [pair("a")], bounds, "x")


def test_quotas_are_kept_and_what_they_lack_is_told() -> None:
    posed = problems(90, ("big", "big", "small"))
    rng = np.random.default_rng(0)
    correct = rng.random((90, 6)) < 0.5
    scores = {"a-prm": correct + rng.random((90, 6)), "a-orm": rng.random((90, 6))}
    held = take(posed, correct, scores)

    def counts(**rule: object) -> dict[str, tuple[int, int]]:
        one = curate([held], [pair("a")], LIGHT.model_copy(update=rule), "x")
        notes.append(one.card.notes)
        return {card.source: (card.chosen, card.wanting) for card in one.card.sources}

    notes: list[tuple[str, ...]] = []
    free = counts()
    assert counts(quotas={"big": 5, "small": 3}) == {"big": (5, 0), "small": (3, 0)}
    short = counts(quotas={"small": 50})
    assert short["big"] == (0, 0)
    assert short["small"] == (free["small"][0], 50 - free["small"][0])
    assert f"small: {50 - free['small'][0]} fewer than the 50 asked for" in notes[-1]
    # What a source cannot fill goes to the others.
    most = free["small"][0] + 4
    shared = counts(size=2 * most)
    assert shared["small"][0] == free["small"][0]
    assert shared["big"][0] == min(free["big"][0], 2 * most - free["small"][0])
    assert sum(one for one, _ in counts(size=7).values()) == 7
    assert sum(one for one, _ in counts(size=7, balance="free").values()) == 7
    with pytest.raises(InputError, match="no source 'huge'; there are big, small"):
        counts(quotas={"huge": 1})


def test_the_highest_indicators_are_taken_and_ties_by_seed_alone() -> None:
    correct = np.array([[True, False, False, True]] * 40)
    best, half = [4.0, 1.0, 1.0, 1.0], [4.0, 4.0, 1.0, 1.0]
    prm = np.array([best if at < 5 else half for at in range(40)])
    orm = np.array([[1.0, 4.0, 1.0, 1.0]] * 40)
    held = take(problems(40), correct, {"a-prm": prm, "a-orm": orm})
    sets = []
    for seed in (0, 0, 1):
        rule = LIGHT.model_copy(update={"size": 12, "seed": seed})
        found = curate([held], [pair("a")], rule, "x")
        sets.append({one.id for one in found.problems})
        assert {f"p{at}" for at in range(5)} <= sets[-1]
        assert (found.card.stability.tied, found.card.stability.tied_chosen) == (35, 7)
    assert sets[0] == sets[1] != sets[2]
    # The order of the problems has no say.
    turned = take(
        problems(40)[::-1], correct, {"a-prm": prm[::-1].copy(), "a-orm": orm[::-1].copy()}
    )
    rule = LIGHT.model_copy(update={"size": 12})
    assert {one.id for one in curate([turned], [pair("a")], rule, "x").problems} == sets[0]


def test_missing_verdicts_are_no_zeros_and_are_told() -> None:
    nan = np.nan
    correct = np.array([[True, False, False]] * 3)
    prm = np.array([[-1.0, nan, nan], [3.0, 1.0, 1.0], [3.0, 1.0, 1.0]])
    orm = np.array([[1.0, 2.0, 1.0], [nan, nan, nan], [1.0, 2.0, 1.0]])
    scores = {"a-prm": prm, "a-orm": orm, "b-prm": prm[[2, 2, 2]], "b-orm": orm[[2, 2, 2]]}
    held = take(problems(3), correct, scores)
    found = curate([held], [pair("a"), pair("b")], LIGHT, "x")
    # A verdict below 0 beats none, so the first one is chosen.
    assert [one.fate for one in found.looked_at] == ["chosen", "unjudged", "chosen"]
    assert found.looked_at[1].by_pair == (None, 1.0)
    assert "a: 1 of 3 pools without a verdict" in found.card.notes
    assert "a: 2 solutions without a verdict by one of its forms" in found.card.notes
    enough = LIGHT.model_copy(update={"min_pairs": 1})
    assert len(curate([held], [pair("a"), pair("b")], enough, "x").problems) == 3


def test_several_runs_are_one_body_of_problems() -> None:
    correct = np.array([[True, False, False, False]] * 2)
    good, bad = np.array([[4.0, 1.0, 1.0, 1.0]] * 2), np.array([[1.0, 4.0, 1.0, 1.0]] * 2)
    posed = problems(3)
    scores = {"a-prm": good, "a-orm": bad}
    first = take(posed[:2], correct, scores, name="first")
    # The second problem again, of another policy, where steps choose worse.
    turned = {"a-prm": bad, "a-orm": good}
    second = take(posed[1:], correct, turned, name="second")
    rule = LIGHT.model_copy(update={"threshold": None})
    found = curate([first, second], [pair("a")], rule, "x")
    assert {one.id: one.indicator for one in found.looked_at} == {"p0": 1.0, "p1": 0.0, "p2": -1.0}
    assert "2 of the chosen problems do not prefer process rewards" in found.card.notes
    # Other problems of the same ids keep apart by the name of their set.
    other = [one.model_copy(update={"question": "Else?"}) for one in posed[:2]]
    third = take(other, correct, scores, problem_set="others")
    found = curate([first, third], [pair("a")], rule, "x")
    assert [one.id for one in found.looked_at] == ["set/p0", "set/p1", "others/p0", "others/p1"]
    with pytest.raises(InputError, match="runs have different problems 'set/p0'"):
        curate([first, take(other, correct, scores)], [pair("a")], rule, "x")


def test_pools_are_cut_to_the_smallest_and_a_run_may_lack_a_scorer() -> None:
    first = noise(20, 8, 2)
    second = noise(20, 6, 1, seed=9)
    rule = LIGHT.model_copy(update={"min_pairs": 1})
    found = curate([first, second], [pair("a0"), pair("a1")], rule, "x")
    assert found.card.n == 6
    assert "pools of different sizes: the first 6 solutions of each are used" in found.card.notes


def test_a_name_for_two_scorers_is_refused() -> None:
    runs = []
    for what in ("x", "y"):
        one = noise(5, 4, 1)
        runs.append(type(one)(one.card, one.stored, {"a0-prm": what, "a0-orm": "z"}))
    with pytest.raises(InputError, match="'a0-prm' is not the same scorer in every run"):
        curate(runs, [pair("a0")], LIGHT, "x")


def test_pairs_are_found_by_their_names() -> None:
    names = ("judge-orm", "judge-prm", "small-orm", "prm", "likelihood", "untrained")
    plans = [plan(name, "solution" if name.endswith("orm") else "step") for name in names]
    plans[4] = type(plans[4])("likelihood", "step", None, ("mean", "last-1"), "mean")
    plans[5] = type(plans[5])("untrained", "step", plans[5].scale, ("last-1",), "mean")
    assert [one.pair for one in find(plans)] == [
        Pair("judge", "judge-prm/mean", "judge-orm"),
        Pair("prm", "prm/mean", "prm/last-1"),
    ]


def test_pairs_that_share_a_scorer_are_one_family() -> None:
    pairs = [pair("a"), Pair("b", "a-prm/last-1", "b-orm"), pair("c"), Pair("d", "e/mean", "c-orm")]
    assert groups(pairs, {}) == [0, 0, 1, 1]
    # The same scorer under two names.
    assert groups([pair("a"), pair("c")], {"a-orm": "x", "c-orm": "x"}) == [0, 0]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (Pair("a", "b-prm/mean", "a0-orm"), "no scorer 'b-prm' has scored; there are a0-prm"),
        (Pair("a", "a0-prm", "a0-orm"), "'a0-prm' scores steps: say how, as in 'a0-prm/mean'"),
        (Pair("a", "a0-prm/mean", "a0-orm/mean"), "'a0-orm' scores whole solutions"),
        (Pair("a", "a0-prm/best", "a0-orm"), "unknown aggregation 'best'"),
    ],
)
def test_forms_that_are_none_are_refused(asked: Pair, told: str) -> None:
    with pytest.raises(InputError, match=told):
        curate([noise(5, 4, 1)], [asked], LIGHT, "x")


def test_a_gain_on_no_problem_is_not_zero() -> None:
    # Only "a" ever prefers steps: without it no problem is above the threshold.
    right = np.array([[True, False]] * 6)
    up, down = right.astype(float), 1.0 - right
    scores = {"a-prm": up, "a-orm": down, "b-prm": up, "b-orm": up}
    found = curate([take(problems(6), right, scores)], [pair("a"), pair("b")], LIGHT, "x")
    assert found.card.problems == 6
    fitted = {(one.fit, one.pair) for one in found.card.gains}
    assert ("scorers", "a") not in fitted
    assert gain(found, "scorers", name="b").crossfitted == 0.0
    (note,) = [one for one in found.card.notes if one.startswith("held out (same solutions")]
    assert note.endswith("no problem is chosen, so there is no gain of a")


def test_one_family_and_one_solution_leave_nothing_to_hold_out() -> None:
    found = curate([noise(60, 4, 1)], [pair("a0")], LIGHT, "x")
    assert {one.fit for one in found.card.gains} == {"candidates"}
    assert "one family of scorers: none can be held out, only candidates are" in found.card.notes
    with pytest.raises(InputError, match=r"never solved, .* always solved"):
        curate([noise(10, 1, 2)], [pair("a0"), pair("a1")], LIGHT, "x")


@pytest.mark.parametrize("rule", ["mean-k", "share", "margin"])
def test_every_rule_leaves_noise_where_it_is(rule: Rule) -> None:
    how = LIGHT.model_copy(update={"rule": rule, "size": 60, "splits": 2})
    found = curate([noise(200, 10, 2)], [pair("a0"), pair("a1")], how, "x")
    one = gain(found, "both")
    assert one.naive_low > 0.2
    assert one.crossfitted_low < 0 < one.crossfitted_high


def test_shrinkage_finds_nothing_in_noise_and_keeps_what_is_there() -> None:
    how = LIGHT.model_copy(update={"rule": "margin", "shrinkage": True, "splits": 2})
    with pytest.raises(InputError, match=r"no problem can be chosen: .* 200 not above the thresh"):
        curate([noise(200, 10, 2)], [pair("a0"), pair("a1")], how, "x")
    drawn = planted(rule="margin", shrinkage=True, size=100, splits=1, resamples=1)
    assert np.mean([int(one.id[1:]) % 2 == 0 for one in drawn.problems]) > 0.85
    assert gain(drawn, "both").crossfitted_low > 0.3


def test_the_same_seed_gives_the_same_of_everything() -> None:
    def made() -> Curation:
        return curate([noise(80, 6, 2)], [pair("a0"), pair("a1")], LIGHT, "x")

    first, again = made(), made()
    assert first.card.model_dump_json() == again.card.model_dump_json()
    assert first.looked_at == again.looked_at


def test_a_set_is_as_stable_as_the_scorers_are_sure() -> None:
    rng = np.random.default_rng(0)
    correct = np.tile([True, True, True, True, False, False, False, False], (40, 1))
    sure = {"a-prm": correct.astype(np.float64), "a-orm": (~correct).astype(np.float64)}
    rule = LIGHT.model_copy(update={"size": 40})
    found = curate([take(problems(40), correct, sure)], [pair("a")], rule, "x")
    assert found.card.stability.jaccard > 0.97
    unsure = {"a-prm": rng.random((40, 8)), "a-orm": rng.random((40, 8))}
    found = curate([take(problems(40), correct, unsure)], [pair("a")], rule, "x")
    assert found.card.stability.jaccard < 0.8


def test_halves_of_noise_agree_by_chance_alone() -> None:
    rule = LIGHT.model_copy(update={"size": 100})
    held = curate([noise(400, 12, 2)], [pair("a0"), pair("a1")], rule, "x").card.stability
    assert held.halves is not None
    assert held.halves == pytest.approx(held.halves_chance, abs=0.04)
    # Resamples have the same solutions again, and so their luck.
    assert held.jaccard > held.chance + 0.1
    sure = planted(size=100).card.stability
    assert sure.halves is not None and sure.halves_chance is not None
    assert sure.halves > sure.halves_chance + 0.05


def test_work_is_a_pass_over_the_pools_for_each_version(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    original = Levels.quality

    def counting(self: Levels, weights: Weights) -> NDArray[np.float64]:
        counted.append(weights.shape[1])
        return original(self, weights)

    monkeypatch.setattr(Levels, "quality", counting)
    curate([noise(50, 6, 3)], [pair(f"a{at}") for at in range(3)], LIGHT, "x")
    # Two forms of three pairs: the pools, two halves of each split, and every resample.
    assert len(counted) == 2 * 3 * (1 + 2 * LIGHT.splits + LIGHT.resamples)
    assert set(counted) == {50}


def test_chooser_holds_a_pair_out_of_the_indicator() -> None:
    material = gather([noise(30, 6, 2)], [pair("a0"), pair("a1")])
    chooser = Chooser.of(material, LIGHT)
    view = chooser.view(whole(30, 6))
    alone = chooser.choose(view, np.array([True, False]))
    only = Chooser.of(gather([noise(30, 6, 2)], [pair("a0")]), LIGHT)
    assert (alone == only.choose(only.view(whole(30, 6)))).all()
