"""Searches become pools: the best first, what they cost, what was never finished."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from collect_data import HashScorer, make_method, make_run

from vilbench.collect.budget import Budget
from vilbench.collect.evaluator import Evaluator
from vilbench.collect.forest import collect
from vilbench.collect.policy import Limits
from vilbench.config import SearchRecipe
from vilbench.evaluate.analysis import Plan, analyse
from vilbench.evaluate.pools import Scale, ScorerPlan
from vilbench.evaluate.stages import noted
from vilbench.guided.solutions import Answering, answer, told
from vilbench.search import Guided
from vilbench.store import trees
from vilbench.store.records import ScoreRef
from vilbench.store.run import Run

BEAM = Guided(beams=(2,), widths=(3,))
PLAN = Plan(2, (ScorerPlan("hash", "step", Scale(1.0, 5.0), ("last-1", "mean"), "mean"),), "hash")


def answering(
    settings: Guided = BEAM, limits: Limits | None = None, budget: Budget | None = None
) -> Answering:
    method = make_method(limits=limits, budget=budget)
    method = replace(method, search=settings, evaluator=Evaluator(HashScorer()))
    return Answering(method, Scale(1.0, 5.0), keep=2)


async def searched(folder: Path, how: Answering) -> Run:
    run = make_run(folder)
    await collect(run, how.method)
    answer(run, how)
    return run


async def test_the_best_of_a_search_comes_first_and_is_graded(tmp_path: Path) -> None:
    how = answering()
    with await searched(tmp_path / "run", how) as run:
        assert noted(run).sample_key == how.key
        assert noted(run).policy.endswith("beam 2 x 3")
        pools = run.solutions(how.key)
        scores = run.scores(noted(run).score_keys["hash"])
        assert len(pools) == 6
        for pool in pools.values():
            assert [one.index for one in pool] == list(range(len(pool)))
            last = [scores[ScoreRef(one.problem_id, one.index)].values[-1] for one in pool]
            assert last == sorted(last, key=lambda value: -(value or 0))
            for one in pool:
                assert one.verdict in ("correct", "wrong")
                assert len(one.steps) == len(scores[ScoreRef(one.problem_id, one.index)].values)
                assert "Answer:" in one.text
        values = [value for record in scores.values() for value in record.values if value]
        assert all(1 <= value <= 5 for value in values), "on the scorer's own scale"
        results = analyse(run, PLAN)
        assert {row.method for row in results.rows} >= {"cot", "hash/last-1", "oracle"}


async def test_the_first_solution_carries_what_the_search_cost(tmp_path: Path) -> None:
    how = answering()
    with await searched(tmp_path / "run", how) as run:
        spent = trees.finished(run, how.method.key)
        scores = run.scores(noted(run).score_keys["hash"])
        for problem_id, pool in run.solutions(how.key).items():
            assert pool[0].usage == spent[problem_id].policy
            assert all(one.usage.completion_tokens == 0 for one in pool[1:])
            assert scores[ScoreRef(problem_id, 0)].usage == spent[problem_id].evaluator


async def test_stored_solutions_are_not_made_again(tmp_path: Path) -> None:
    how = answering()
    with await searched(tmp_path / "run", how) as run:
        before = run.solutions(how.key)
        assert answer(run, how) == sum(len(pool) < 2 for pool in before.values())
        assert run.solutions(how.key) == before


async def test_scores_are_stored_though_a_start_ended_behind_the_solutions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = answering()
    with make_run(tmp_path / "run") as run:
        await collect(run, how.method)
        with monkeypatch.context() as patched:
            patched.setattr(run, "put_scores", raising)
            with pytest.raises(KeyboardInterrupt):
                answer(run, how)
        assert len(run.solutions(how.key)) == 1
        answer(run, how)
        refs = {
            ScoreRef(one.problem_id, one.index)
            for pool in run.solutions(how.key).values()
            for one in pool
        }
        assert len({ref.problem_id for ref in refs}) == 6
        assert set(run.scores(noted(run).score_keys["hash"])) == refs


def raising(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("budget", [None, Budget(nodes=4)])
async def test_a_search_without_an_end_leaves_its_beginning(
    tmp_path: Path, budget: Budget | None
) -> None:
    # Four steps make a solution: two are not enough for one.
    limits = Limits() if budget else Limits(depth=2)
    how = answering(limits=limits, budget=budget)
    with await searched(tmp_path / "run", how) as run:
        for pool in run.solutions(how.key).values():
            (one,) = pool
            assert (one.verdict, one.answer, one.finish_reason) == ("unparsed", None, "length")
            assert 1 <= len(one.steps) <= 2
            assert "Answer" not in one.text


def test_searches_are_told_in_a_few_words() -> None:
    assert told(Guided(whole=True, beams=(1,), widths=(24,))) == "best of 24"
    assert told(Guided(groups=4, beams=(1,), widths=(4,))) == "4 groups of beam 1 x 4"
    assert told(Guided(beams=(8, 4, 2), widths=(2,))) == "beam 8/4/2 x 2"


def test_a_search_needs_values_of_steps() -> None:
    recipe: dict[str, Any] = {
        "name": "no",
        "problems": {"source": "puzzles"},
        "policy": {"engine": {"kind": "local", "model": "embedded:small"}},
        "scorer": {
            "kind": "judge",
            "name": "judge-orm",
            "granularity": "solution",
            "engine": {"kind": "local", "model": "embedded:small"},
        },
    }
    with pytest.raises(ValueError, match="needs values of steps"):
        SearchRecipe.model_validate(recipe)
    recipe["scorer"] = {**recipe["scorer"], "granularity": "step"}
    made = SearchRecipe.model_validate(recipe)
    assert made.trees().evaluator.grade_weight == 0, "no grade guides it"
    assert made.run().main == "judge-orm"
