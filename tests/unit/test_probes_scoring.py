"""Scores of probes are paid once, may be lacking, and are read again without a model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from probe_data import ALL, PLAN, Planted, found, probed, sampled, scored, truth

from vilbench.diagnostics.probes import (
    PROBES,
    Deck,
    Draw,
    begun_probes,
    draw_cases,
    failed_calls,
    findings,
    forecast,
    probe,
    probe_costs,
)
from vilbench.diagnostics.probes.probing import variant_key
from vilbench.engines.openai.money import TokenPrice
from vilbench.errors import EngineError, RunError
from vilbench.evaluate.analysis import Plan, stored
from vilbench.evaluate.effort import efforts
from vilbench.evaluate.pools import Scale, ScorerPlan
from vilbench.evaluate.stages import noted
from vilbench.store.run import Run
from vilbench.types import Granularity, Problem, Solution, StepScores

FEW = Draw(seed=1, limit=3, candidates=4, attacked=2)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with sampled(tmp_path / "run", problems=9) as made:
        yield made


@pytest.fixture
def scorer(run: Run) -> Planted:
    made = Planted(truth(run.problems()))
    scored(run, made)
    made.asked.clear()
    return made


class Stopped(BaseException):
    """As a signal would stop the program."""


@dataclass
class Failing(Planted):
    """Stops the program at a request, fails for a problem or a part of it, gives no verdicts."""

    stop_after: int | None = None
    broken: str = ""
    silent: str = ""
    halved: str = ""
    calls: int = 0

    async def score(self, problem: Problem, solutions: Sequence[Solution]) -> list[StepScores]:
        self.calls += 1
        if self.stop_after is not None and self.calls > self.stop_after:
            raise Stopped
        if problem.id == self.broken:
            raise EngineError("the server is gone")
        records = await super().score(problem, solutions)
        if problem.id == self.silent:
            return [one.model_copy(update={"values": (None,) * len(one.values)}) for one in records]
        if problem.id == self.halved:
            first, *others = records
            return [first.model_copy(update={"error": "the server is gone"}), *others]
        return records


def units(scorer: Planted) -> list[tuple[str, int]]:
    return sorted(scorer.asked)


def test_what_is_stored_is_not_paid_for_again(run: Run, scorer: Planted) -> None:
    probed(run, scorer, draw=FEW)
    paid = len(scorer.asked)
    assert paid > 200
    before = findings(run, PLAN)
    probed(run, scorer, draw=FEW)
    assert len(scorer.asked) == paid
    assert findings(run, PLAN) == before
    with Run.read(run.folder) as again:
        assert findings(again, PLAN) == before


@pytest.mark.parametrize("after", [0, 1, 7, 40])
def test_a_stopped_probe_goes_on_where_it_was(run: Run, scorer: Planted, after: int) -> None:
    probed(run, scorer, draw=FEW)
    whole, wanted = findings(run, PLAN), units(scorer)
    other = sampled(run.folder.with_name("other"), problems=9)
    with other:
        scored(other, Planted(truth(other.problems())))
        first = Failing(truth(other.problems()), stop_after=after)
        with pytest.raises(Stopped):
            probed(other, first, draw=FEW)
        second = Failing(truth(other.problems()))
        probed(other, second, draw=FEW)
        assert sorted(first.asked + second.asked) == wanted
        assert findings(other, PLAN) == whole


def test_a_larger_draw_pays_for_what_it_adds(run: Run, scorer: Planted) -> None:
    names = ("rescoring", "image", "attack")
    probed(run, scorer, names, FEW)
    small = units(scorer)
    scorer.asked.clear()
    probed(run, scorer, names, replace(FEW, limit=6, attacked=3))
    added = units(scorer)
    other = sampled(run.folder.with_name("other"), problems=9)
    with other:
        alone = Planted(truth(other.problems()))
        scored(other, alone)
        alone.asked.clear()
        probed(other, alone, names, replace(FEW, limit=6, attacked=3))
        assert sorted(small + added) == units(alone)
        assert findings(other, PLAN) == findings(run, PLAN)


def test_a_draw_is_its_seeds_and_holds_smaller_ones(run: Run) -> None:
    pools = stored(run, PLAN).pools
    cases = draw_cases(pools, FEW)
    assert len(cases) == 3 and all(len(case.solutions) == 4 for case in cases)
    assert cases == draw_cases(pools, FEW)
    assert cases != draw_cases(pools, replace(FEW, seed=2))
    larger = {
        case.problem.id: case for case in draw_cases(pools, replace(FEW, limit=5, candidates=6))
    }
    for case in cases:
        assert set(case.solutions) <= set(larger[case.problem.id].solutions)
        indices = [one.index for one in case.solutions]
        assert indices == sorted(indices)
    with pytest.raises(ValueError, match="candidates is 0"):
        Draw(candidates=0)


def test_a_forecast_says_what_is_asked_for(run: Run, scorer: Planted) -> None:
    pools = stored(run, PLAN).pools
    cases, deck = draw_cases(pools, FEW), Deck(FEW, pools.problems)
    told = list(forecast(run, "planted", "step", list(PROBES.values()), cases, deck))
    assert len({(one.probe, one.variant) for one in told}) == len(told)
    assert all(one.stored == 0 for one in told)
    probed(run, scorer, draw=FEW)
    assert sum(one.solutions for one in told) == len(scorer.asked)
    again = forecast(run, "planted", "step", list(PROBES.values()), cases, deck)
    assert all(one.stored == one.solutions for one in again)
    whole = forecast(run, "planted", "solution", list(PROBES.values()), cases, deck)
    assert "boundaries" not in {one.probe for one in whole}
    with pytest.raises(RunError, match="has not scored"):
        list(forecast(run, "other", "step", [PROBES["image"]], cases, deck))


def test_what_is_asked_for_again_is_forecast_again(run: Run, scorer: Planted) -> None:
    pools = stored(run, PLAN).pools
    cases, deck = draw_cases(pools, FEW), Deck(FEW, pools.problems)
    broken = cases[1].problem.id
    probed(run, Failing(truth(run.problems()), halved=broken), ("rescoring",), FEW)
    told = list(forecast(run, "planted", "step", [PROBES["rescoring"]], cases, deck))
    lacking = sum(one.solutions - one.stored for one in told)
    # One of the call of `again`, one of each call of `apart`.
    assert lacking == 3
    before = len(scorer.asked)
    probed(run, scorer, ("rescoring",), FEW)
    assert len(scorer.asked) - before == lacking


def test_a_failed_call_is_counted_and_tried_again(run: Run, scorer: Planted) -> None:
    pools = stored(run, PLAN).pools
    broken = draw_cases(pools, FEW)[1].problem.id
    failing = Failing(truth(run.problems()), broken=broken)
    probed(run, failing, ("rescoring", "image"), FEW)
    of = found(run)
    assert of["again", "mean-difference", "all"].missing == 4
    assert of["again", "mean-difference", "all"].n == 8
    assert of["again", "picks-changed", "all"].n_problems == 2
    assert of["blank", "gain", "all"].n_problems == 2
    assert of["blank", "gain", "all"].missing == 4
    assert {one.problem_id for one in run.failures()} == {broken}
    asked = [PROBES["rescoring"], PROBES["image"]]
    # Nothing is swapped here: there is one problem of each kind.
    assert len(failed_calls(run, ["planted"], asked, FEW)) == 4
    assert not failed_calls(run, ["planted"], [PROBES["attack"]], FEW)
    probed(run, scorer, ("rescoring", "image"), FEW)
    assert not run.failures()
    assert found(run)["again", "mean-difference", "all"].missing == 0


def test_no_verdict_is_missing_and_never_zero(run: Run, scorer: Planted) -> None:
    silent = draw_cases(stored(run, PLAN).pools, FEW)[0].problem.id
    probed(run, Failing(truth(run.problems()), silent=silent), ("rescoring", "attack"), FEW)
    of = found(run)
    assert of["again", "mean-difference", "all"].missing == 4
    assert of("again", "mean-difference") == 0.0
    assert of["praise", "raised", "all"].missing == 2


def test_probes_are_held_against_the_scores_of_the_same_scorer(run: Run, scorer: Planted) -> None:
    changed = Planted(scorer.truth, fingerprint="other weights")
    with pytest.raises(RunError, match="another model or program"):
        probed(run, changed, ("rescoring",), FEW)
    with pytest.raises(RunError, match="has not scored this run"):
        probed(run, Planted(scorer.truth, name="stranger"), ("rescoring",), FEW)
    assert not scorer.asked
    # Scores of the changed one take the place of the old: their probes are not shown.
    probed(run, scorer, ("rescoring",), FEW)
    assert findings(run, PLAN)
    scored(run, changed)
    assert findings(run, PLAN) == ()


@dataclass
class Whole(Planted):
    """The same of whole solutions, on the scale of a judge."""

    granularity: Granularity = "solution"

    async def score(self, problem: Problem, solutions: Sequence[Solution]) -> list[StepScores]:
        return [
            one.model_copy(
                update={"granularity": "solution", "values": (1 + 4 * (one.values[0] or 0),)}
            )
            for one in await super().score(problem, solutions)
        ]


def test_scorers_of_whole_solutions_are_probed_on_their_own_scale(run: Run) -> None:
    scorer = Whole(truth(run.problems()), key="give 5")
    scored(run, scorer)
    probed(run, scorer, draw=FEW)
    plan = Plan(8, (ScorerPlan("planted", "solution", Scale(1, 5), (), "mean"),))
    made = findings(run, plan)
    assert {one.method for one in made} == {"planted"}
    assert "boundaries" not in {one.probe for one in made}
    shift = next(one for one in made if (one.variant, one.measure) == ("give-five", "shift"))
    assert shift.value == pytest.approx(4 * 0.65)


def test_a_text_only_problem_is_told_apart(tmp_path: Path) -> None:
    with sampled(tmp_path / "mixed", problems=9) as source:
        problems = source.problems()
        solutions = source.solutions("drawn")
        manifest = source.manifest
    bare = [
        one.model_copy(update={"images": (), "modality": "text-only"})
        if one.source == "angles"
        else one
        for one in problems
    ]
    with Run.open(tmp_path / "bare", manifest, fresh=True) as run:
        run.add_problems(bare)
        from vilbench.evaluate.stages import note_sampling

        note_sampling(run, "drawn", 8, "policy")
        for pool in solutions.values():
            run.put_solutions("drawn", pool)
        scorer = Planted(truth(bare))
        scored(run, scorer)
        probed(run, scorer, ("image", "attack"), ALL)
        of = found(run)
        assert of["blank", "gain", "all"].n_problems == 7
        assert of["blank", "gain", "all"].skipped == 16
        alone = of["blank", "gain", "text-only"]
        assert (alone.value, alone.n_problems, alone.skipped) == (None, 0, 16)
        assert of["drawn", "raised", "all"].skipped == 6
        # Only one problem of each kind: there is nobody to swap with.
        assert of["swapped", "gain", "all"].n_problems == 0


def test_an_unreadable_picture_spoils_its_own_problem_alone(run: Run, scorer: Planted) -> None:
    case = draw_cases(stored(run, PLAN).pools, FEW)[0]
    digest = case.problem.images[0].digest
    (run.folder / "images" / digest[:2] / digest).write_bytes(b"not a picture")
    probed(run, scorer, ("image",), FEW)
    of = found(run)
    assert of["blank", "gain", "all"].n_problems == 2
    assert of["blank", "gain", "all"].missing == 4
    assert any("have changed" in one.error for one in run.failures())


def test_a_halt_begins_nothing_more(run: Run, scorer: Planted) -> None:
    from vilbench.executors import Halt

    pools = stored(run, PLAN).pools
    cases, deck = draw_cases(pools, FEW), Deck(FEW, pools.problems)
    asyncio.run(probe(run, scorer, [PROBES["image"]], cases, deck, halt=Halt(asked=True)))
    assert not scorer.asked
    assert noted(run).score_keys


def test_what_probes_cost_is_told_by_scorer(run: Run, scorer: Planted) -> None:
    assert not [*probe_costs(run, {})]
    names = ("rescoring", "image")
    probed(run, scorer, names, FEW)
    keys = {
        variant_key(one.score_key, variant, one.draw)
        for one in begun_probes(run)
        for variant in one.probe.scored
    }
    used = [(ref.problem_id, one.usage) for key in keys for ref, one in run.scores(key).items()]
    problems = len({name for name, _ in used})
    (told,) = probe_costs(run, {"planted": TokenPrice(3.0, 0.0)})
    assert (told.stage, told.kind, told.n_problems) == ("planted", "probe", problems)
    assert told.n_solutions == len(scorer.asked) == len(used)
    tokens = sum(usage.prompt_tokens for _, usage in used)
    assert told.prompt_tokens == pytest.approx(tokens / problems)
    assert told.usd == pytest.approx(3e-6 * tokens / problems)
    starts = [one for key in keys for one in efforts(run).get(key, ())]
    assert told.seconds == pytest.approx(sum(one.seconds for one in starts) / problems)
    assert told.n_timed == problems
    # A probe that shares changes with another pays for them once.
    probed(run, scorer, (*names, "rescoring"), FEW)
    assert [*probe_costs(run, {"planted": TokenPrice(3.0, 0.0)})] == [told]


def test_seconds_of_probes_are_unknown_where_a_start_was_not_noted(
    run: Run, scorer: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    probed(run, scorer, ("rescoring",), FEW)
    monkeypatch.setattr("vilbench.diagnostics.probes.paying.efforts", lambda run: {})
    (told,) = probe_costs(run, {})
    assert told.seconds is None
    assert told.n_timed == 0
    assert told.usd is None
    assert told.n_problems == FEW.limit
