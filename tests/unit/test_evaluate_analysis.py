"""Rows, counts and histograms of hand-made runs, against plain enumeration."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vilbench.errors import RunError
from vilbench.evaluate.analysis import Plan, analyse
from vilbench.evaluate.pools import Method, Scale, ScorerPlan
from vilbench.evaluate.results import Histogram, Results, Row
from vilbench.evaluate.stages import note_sampling, note_scoring
from vilbench.store.manifest import Manifest
from vilbench.store.run import Run
from vilbench.testing import make_problem, make_solution
from vilbench.types import Problem, StepScores, Usage, Verdict

JUDGE = ScorerPlan("judge", "solution", Scale(1, 5), (), "mean")
STEPS = ScorerPlan("steps", "step", Scale(1, 5), ("mean", "min", "product", "last-1"), "min")
LIKELIHOOD = ScorerPlan("likelihood", "step", None, ("mean",), "mean")


class Told(NamedTuple):
    """One solution of a hand-made pool: its answer, and the values of each scorer."""

    answer: str | None
    values: Mapping[str, tuple[float | None, ...]] = {}

    @property
    def right(self) -> bool:
        return self.answer == "5"


def judged(answer: str, value: float) -> Told:
    return Told(answer, {"judge": (value,)})


def analysed(
    folder: Path,
    pools: Sequence[Sequence[Told]],
    scorers: Sequence[ScorerPlan] = (),
    problems: Sequence[Problem] | None = None,
    n: int | None = None,
) -> Results:
    """A run with these pools, each solution of two steps, and its results."""
    problems = problems or [make_problem(id=f"p{place}") for place in range(len(pools))]
    manifest = Manifest.of("hand", {}, seed=3, problem_set="sums")
    with Run.open(folder, manifest, fresh=True) as run:
        run.add_problems(problems)
        size = n or max(len(pool) for pool in pools)
        note_sampling(run, "drawn", size, "policy")
        for scorer in scorers:
            note_scoring(run, scorer.name, scorer.name, "drawn")
        for problem, pool in zip(problems, pools, strict=True):
            text = "one step\nanother"
            drawn = [
                make_solution(
                    problem, index, text, answer=told.answer, usage=Usage(prompt_tokens=1)
                )
                for index, told in enumerate(pool)
            ]
            run.put_solutions("drawn", drawn)
            for scorer in scorers:
                records = [
                    StepScores(
                        problem_id=problem.id,
                        solution_index=index,
                        scorer=scorer.name,
                        granularity=scorer.granularity,
                        values=told.values[scorer.name],
                        usage=Usage(completion_tokens=2),
                    )
                    for index, told in enumerate(pool)
                    if scorer.name in told.values
                ]
                run.put_scores(scorer.name, records)
        return analyse(run, Plan(size, tuple(scorers)))


def rows(results: Results, method: str, source: str = "all", modality: str = "all") -> list[Row]:
    """A method's rows of a slice, by k."""
    place = (method, source, modality)
    found = [row for row in results.rows if (row.method, row.source, row.modality) == place]
    return sorted(found, key=lambda row: row.k)


def enumerated(pool: Sequence[Told], k: int, weigh: Mapping[int, Fraction | None]) -> Fraction:
    """Accuracy of the best-weighed of a random `k`-subset, by looking at every subset."""
    total = Fraction(0)
    subsets = list(combinations(range(len(pool)), k))
    for subset in subsets:
        known = [weight for one in subset if (weight := weigh[one]) is not None]
        best = [one for one in subset if not known or weigh[one] == max(known)]
        total += Fraction(sum(pool[one].right for one in best), len(best))
    return total / len(subsets)


def voted(pool: Sequence[Told], k: int, weigh: Mapping[int, Fraction]) -> Fraction:
    """Accuracy of the weighted majority in a random `k`-subset, by looking at every subset."""
    total = Fraction(0)
    subsets = list(combinations(range(len(pool)), k))
    for subset in subsets:
        votes: dict[str, Fraction] = {}
        for one in subset:
            answer = pool[one].answer
            if answer is not None:
                votes[answer] = votes.get(answer, Fraction(0)) + weigh[one]
        if votes:
            best = [answer for answer in votes if votes[answer] == max(votes.values())]
            total += Fraction(sum(answer == "5" for answer in best), len(best))
    return total / len(subsets)


TOLD = st.builds(
    Told,
    st.sampled_from(["5", "4", "6", None]),
    st.fixed_dictionaries(
        {
            "judge": st.tuples(st.sampled_from([1.0, 3.0, 5.0, None])),
            "steps": st.tuples(*[st.sampled_from([1.0, 2.0, 4.0, None])] * 2),
        }
    ),
)


@settings(max_examples=12)
@given(pools=st.lists(st.lists(TOLD, min_size=4, max_size=4), min_size=1, max_size=3))
def test_every_method_equals_its_enumeration_for_every_k(
    tmp_path_factory: pytest.TempPathFactory, pools: list[list[Told]]
) -> None:
    results = analysed(tmp_path_factory.mktemp("run"), pools, [JUDGE, STEPS])

    def whole(told: Told) -> Fraction | None:
        (value,) = told.values["judge"]
        return None if value is None else Fraction(value)

    def lowest(told: Told) -> Fraction | None:
        return min((Fraction(v) for v in told.values["steps"] if v is not None), default=None)

    def product(told: Told) -> Fraction | None:
        units = [Fraction(v - 1) / 4 for v in told.values["steps"] if v is not None]
        one = Fraction(1)
        for unit in units:
            one *= unit
        return one if units else None

    def none(told: Told) -> None:
        return None

    def right(told: Told) -> Fraction:
        return Fraction(told.right)

    ways = {
        "judge": whole,
        "steps/min": lowest,
        "steps/product": product,
        "random": none,
        "cot": none,
        "oracle": right,
    }
    votes: dict[str, Callable[[Told], Fraction]] = {
        "majority": lambda told: Fraction(1),
        "weighted-majority:judge": lambda told: whole(told) or Fraction(0),
        "weighted-majority:steps": lambda told: lowest(told) or Fraction(0),
    }
    for k in (1, 2, 3, 4):
        for method, way in ways.items():
            shares = [
                enumerated(pool, k, {i: way(t) for i, t in enumerate(pool)}) for pool in pools
            ]
            expected = float(sum(shares) / len(shares))
            assert rows(results, method)[k - 1].accuracy == pytest.approx(expected), (method, k)
        for method, vote in votes.items():
            shares = [voted(pool, k, {i: vote(t) for i, t in enumerate(pool)}) for pool in pools]
            expected = float(sum(shares) / len(shares))
            assert rows(results, method)[k - 1].accuracy == pytest.approx(expected), (method, k)


def test_likelihoods_weigh_votes_by_their_exponential(tmp_path: Path) -> None:
    # Two votes of -3 for the wrong answer weigh 2 e^-3, one of -2 for the right one e^-2.
    pool = [
        Told("4", {"likelihood": (-3.0, -3.0)}),
        Told("4", {"likelihood": (-3.0, -3.0)}),
        Told("5", {"likelihood": (-2.0, -2.0)}),
    ]
    results = analysed(tmp_path, [pool], [LIKELIHOOD])
    assert rows(results, "majority")[-1].accuracy == 0.0
    assert rows(results, "weighted-majority:likelihood")[-1].accuracy == 1.0


def test_tie_breaking_spans_a_range(tmp_path: Path) -> None:
    pool = [
        Told("5", {"judge": (4.0,)}),
        Told("4", {"judge": (4.0,)}),
        Told("4", {"judge": (1.0,)}),
    ]
    last = rows(analysed(tmp_path, [pool], [JUDGE]), "judge")[-1]
    assert (last.accuracy, last.accuracy_min, last.accuracy_max, last.tie_rate) == (0.5, 0, 1, 1)


def test_a_scorer_without_any_verdict_chooses_at_random_and_says_so(tmp_path: Path) -> None:
    pool = [
        Told("5", {"judge": (None,), "steps": (None, None)}),
        Told("4", {"judge": (None,), "steps": (None, None)}),
    ]
    results = analysed(tmp_path, [pool], [JUDGE, STEPS])
    for method in ("judge", "steps/mean", "steps/product"):
        last = rows(results, method)[-1]
        assert (last.accuracy, last.accuracy_min, last.accuracy_max) == (0.5, 0.0, 1.0)
        assert last.tie_rate == 1.0
    assert {(one.within, one.pooled, one.n_problems) for one in results.discrimination} == {
        (None, None, 0)
    }
    counts = {count.stage: count for count in results.counts}
    assert (counts["judge"].unparsed, counts["judge"].failed) == (2, 0)
    assert (counts["steps"].unparsed, counts["steps"].units) == (4, 2)
    assert [histogram.missing for histogram in results.histograms] == [2, 4]


def test_one_problem_with_one_solution(tmp_path: Path) -> None:
    results = analysed(tmp_path, [[Told("5", {"judge": (3.0,)})]], [JUDGE])
    methods = ("cot", "random", "majority", "weighted-majority:judge", "judge", "oracle")
    assert {row.method: row.accuracy for row in results.rows} == dict.fromkeys(methods, 1.0)
    assert {row.k for row in results.rows} == {1}
    assert results.minimal_detectable_delta is None
    assert rows(results, "judge")[0].recovered is None
    assert rows(results, "judge")[0].p_value == 1.0


def test_without_scorers_there_are_the_four_that_need_none(tmp_path: Path) -> None:
    results = analysed(tmp_path, [[Told("5"), Told("4")], [Told("4"), Told(None)]])
    assert {row.method for row in results.rows} == {"cot", "random", "majority", "oracle"}
    assert not results.discrimination
    assert not results.histograms
    assert results.minimal_detectable_delta is None
    assert [row.accuracy for row in rows(results, "cot")] == [0.25, 0.25]


def test_a_scorer_that_has_not_begun_is_left_out(tmp_path: Path) -> None:
    analysed(tmp_path, [[Told("5", {"judge": (3.0,)})]], [JUDGE])
    with Run.read(tmp_path) as run:
        results = analyse(run, Plan(1, (JUDGE, STEPS)))
    assert results.scorers == ("judge",)
    assert [count.stage for count in results.counts] == ["sample", "judge"]


def test_what_was_not_sampled_counts_as_failed_and_wrong(tmp_path: Path) -> None:
    pools = [[Told("5"), Told("5"), Told("5")], [Told("5")], []]
    results = analysed(tmp_path, pools, n=3)
    assert [row.accuracy for row in rows(results, "cot")] == pytest.approx([4 / 9] * 3)
    assert [row.accuracy for row in rows(results, "oracle")] == pytest.approx([4 / 9, 5 / 9, 2 / 3])
    drawn = results.counts[0]
    assert (drawn.units, drawn.failed, drawn.unparsed) == (4, 5, 0)


def test_what_was_not_scored_has_no_verdict_and_counts_as_failed(tmp_path: Path) -> None:
    pool = [Told("4"), Told("5", {"judge": (1.0,)}), Told("4")]
    results = analysed(tmp_path, [pool], [JUDGE])
    assert rows(results, "judge")[-1].accuracy == 1.0
    judged = results.counts[1]
    assert (judged.units, judged.failed, judged.unparsed) == (1, 2, 0)
    assert judged.completion_tokens == 2


def test_a_smaller_pool_of_a_larger_store_is_its_beginning(tmp_path: Path) -> None:
    pool = [
        Told("4", {"judge": (5.0,)}),
        Told("5", {"judge": (1.0,)}),
        Told("5", {"judge": (5.0,)}),
    ]
    results = analysed(tmp_path, [pool], [JUDGE], n=2)
    assert [row.k for row in rows(results, "judge")] == [1, 2]
    assert rows(results, "judge")[-1].accuracy == 0.0
    assert [(count.units, count.failed) for count in results.counts] == [(2, 0), (2, 0)]
    assert sum(results.histograms[0].counts) == 2


def test_slices_restrict_problems_and_hold_the_largest_k_alone(tmp_path: Path) -> None:
    problems = [
        make_problem(id="a", source="charts", modality="text-dominant"),
        make_problem(id="b", source="charts", modality="visual-dominant"),
        make_problem(id="c", source="angles", modality="text-dominant"),
    ]
    pools = [[Told("5"), Told("5")], [Told("5"), Told("4")], [Told("4"), Told("4")]]
    results = analysed(tmp_path, pools, problems=problems)
    found = {
        (row.source, row.modality, row.k): (row.n_problems, row.accuracy)
        for row in results.rows
        if row.method == "cot"
    }
    assert found == {
        ("all", "all", 1): (3, 0.5),
        ("all", "all", 2): (3, 0.5),
        ("all", "text-dominant", 2): (2, 0.5),
        ("all", "visual-dominant", 2): (1, 0.5),
        ("charts", "all", 2): (2, 0.75),
        ("charts", "text-dominant", 2): (1, 1.0),
        ("charts", "visual-dominant", 2): (1, 0.5),
        ("angles", "all", 2): (1, 0.0),
        ("angles", "text-dominant", 2): (1, 0.0),
    }


def test_differences_from_cot_are_paired(tmp_path: Path) -> None:
    pool = [Told("5", {"judge": (5.0,)}), Told("4", {"judge": (1.0,)})]
    against = [Told("5", {"judge": (1.0,)}), Told("4", {"judge": (5.0,)})]
    better = rows(analysed(tmp_path / "better", [pool] * 12, [JUDGE]), "judge")[-1]
    assert better.delta_vs_cot == better.delta_low == better.delta_high == 0.5
    assert better.p_value is not None
    assert 0 < better.p_value < 0.01
    assert better.recovered == 1.0
    worse = rows(analysed(tmp_path / "worse", [against] * 12, [JUDGE]), "judge")[-1]
    assert worse.delta_vs_cot == -0.5
    assert worse.recovered == -1.0
    mixed = analysed(tmp_path / "mixed", [pool, against] * 6, [JUDGE])
    even = rows(mixed, "judge")[-1]
    assert even.delta_vs_cot == 0.0
    assert even.delta_low is not None
    assert even.delta_high is not None
    assert even.delta_low < 0 < even.delta_high
    assert even.p_value is not None
    assert even.p_value > 0.5
    # z(0.975) + z(0.8) = 2.8016; twelve differences of +-0.5, deviation 0.5 sqrt(12 / 11).
    assert mixed.minimal_detectable_delta == pytest.approx(2.8016 * 0.5 / 11**0.5, rel=1e-4)
    assert {row.delta_vs_cot for row in rows(mixed, "cot")} == {None}


def test_within_and_pooled_discrimination(tmp_path: Path) -> None:
    # Scores tell easy from hard problems, and nothing within one.
    easy = [
        Told("5", {"judge": (4.0,)}),
        Told("5", {"judge": (4.0,)}),
        Told("4", {"judge": (4.0,)}),
    ]
    hard = [
        Told("5", {"judge": (1.0,)}),
        Told("4", {"judge": (1.0,)}),
        Told("4", {"judge": (1.0,)}),
    ]
    whole = analysed(tmp_path, [easy, hard], [JUDGE]).discrimination[0]
    assert (whole.method, whole.source, whole.modality) == ("judge", "all", "all")
    assert whole.within == 0.5
    assert whole.n_problems == 2
    # Of 3 x 3 pairs: 2 x 2 won, 1 x 1 lost, the other 4 tied.
    assert whole.pooled == pytest.approx((4 + 4 / 2) / 9)


def histogram(results: Results, scorer: str) -> Histogram:
    (found,) = [one for one in results.histograms if one.scorer == scorer]
    return found


def test_histograms_split_by_verdict_and_lose_no_value(tmp_path: Path) -> None:
    # Rounding may carry an expected score over the end of its scale.
    pool = [
        Told("5", {"judge": (5.000000001,), "likelihood": (-0.5, -2.0)}),
        Told("4", {"judge": (0.999999999,), "likelihood": (-8.5, None)}),
        Told(None, {"judge": (3.0,), "likelihood": (-4.0, -4.0)}),
    ]
    results = analysed(tmp_path, [pool], [JUDGE, LIKELIHOOD])
    judge = histogram(results, "judge")
    assert (judge.edges[0], judge.edges[-1]) == (1.0, 5.0)
    assert (sum(judge.counts), sum(judge.correct), sum(judge.wrong)) == (3, 1, 2)
    assert (judge.counts[0], judge.counts[-1]) == (1, 1)
    likelihood = histogram(results, "likelihood")
    assert (likelihood.edges[0], likelihood.edges[-1]) == (-8.5, -0.5)
    assert (sum(likelihood.correct), sum(likelihood.wrong), likelihood.missing) == (2, 3, 1)
    assert len(likelihood.edges) == len(likelihood.counts) + 1


def test_equal_values_have_a_histogram_of_some_width(tmp_path: Path) -> None:
    pool = [Told("5", {"likelihood": (-1.0, -1.0)})]
    flat = histogram(analysed(tmp_path, [pool], [LIKELIHOOD]), "likelihood")
    assert flat.edges[0] < -1.0 < flat.edges[-1]
    assert sum(flat.counts) == 2


def test_results_are_plain_json_without_nan_and_read_back(tmp_path: Path) -> None:
    pool = [Told("5", {"judge": (None,)}), Told(None, {"judge": (2.0,)})]
    results = analysed(tmp_path, [pool, []], [JUDGE], n=2)

    def refuse(name: str) -> Any:
        raise AssertionError(name)

    text = results.model_dump_json(indent=1)
    assert json.loads(text, parse_constant=refuse)["n_problems"] == 2
    assert Results.model_validate_json(text) == results
    again = analysed(tmp_path / "again", [pool, []], [JUDGE], n=2)
    assert again.model_dump_json(indent=1) == text


@pytest.mark.parametrize("verdict", ["correct", "wrong", "unparsed"])
def test_only_right_verdicts_are_right(tmp_path: Path, verdict: Verdict) -> None:
    problem = make_problem()
    with Run.open(tmp_path, Manifest.of("hand", {}, seed=0, problem_set="sums")) as run:
        run.add_problems([problem])
        note_sampling(run, "drawn", 1, "policy")
        run.put_solutions("drawn", [make_solution(problem, answer="5", verdict=verdict)])
        results = analyse(run, Plan(1, ()))
    assert rows(results, "oracle")[0].accuracy == (verdict == "correct")


@pytest.mark.parametrize(
    "name", ["", "cot", "oracle", "sample", "all", "a/b", "weighted-majority:a", "a b", "\x1b[1m"]
)
def test_names_that_the_tables_could_not_tell_apart(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a scorer"):
        ScorerPlan(name, "solution", None, (), "mean")


def test_products_need_a_scale() -> None:
    for aggregations, votes in ((("product",), "mean"), ((), "geometric-mean")):
        with pytest.raises(ValueError, match="bounded"):
            ScorerPlan("likelihood", "step", None, aggregations, votes)
    with pytest.raises(ValueError, match="last-0"):
        ScorerPlan("judge", "step", Scale(1, 5), ("last-0",), "mean")


def test_methods_carry_their_aggregation() -> None:
    assert JUDGE.methods() == (Method("judge", None),)
    assert STEPS.methods()[-1] == Method("steps/last-1", "last-1")


def test_a_run_without_problems_has_no_results(tmp_path: Path) -> None:
    with Run.open(tmp_path, Manifest.of("hand", {}, seed=0, problem_set="sums")) as run:
        note_sampling(run, "drawn", 1, "policy")
        with pytest.raises(RunError, match="no problems"):
            analyse(run, Plan(1, ()))
