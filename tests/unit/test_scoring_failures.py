"""A judge whose requests fail now and then: what is kept, told, and asked again."""

from __future__ import annotations

from pathlib import Path

import pytest

from vilbench.evaluate.scoring import score, score_key
from vilbench.scorers.judge import PROMPTS, JudgeScorer
from vilbench.store.manifest import Manifest
from vilbench.store.records import ScoreRef
from vilbench.store.run import Run
from vilbench.testing import ScriptedEngine, make_problem, make_solution, prompt_text

PROBLEMS = [make_problem(id=name) for name in ("p", "q")]
TEXTS = ["I read 2.\nThe sum is 5.", "I read 2.\nThe sum is 6.", "I see 3.\nThe sum is 7."]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    opened = Run.open(tmp_path, Manifest.of("failures", {}, seed=0, problem_set="sums"))
    opened.add_problems(PROBLEMS)
    for problem in PROBLEMS:
        pool = [make_solution(problem, k, text) for k, text in enumerate(TEXTS)]
        opened.put_solutions("pool", pool)
    return opened


def judge(failures: dict[str, int]) -> tuple[JudgeScorer, ScriptedEngine]:
    engine = ScriptedEngine({"": ["Overall Score: 4"]}, failures=failures)
    return JudgeScorer(engine, "step", PROMPTS["brief"], expectation=False), engine


async def test_a_failed_request_costs_its_step_until_the_next_start(run: Run) -> None:
    scorer, engine = judge({"sum is 6": 2})
    await score(run, scorer, "pool")
    key = score_key(scorer, "pool")
    stored = {ref: record.values for ref, record in run.scores(key).items()}
    assert stored == {
        ScoreRef(name, k): (4.0, None) if k == 1 else (4.0, 4.0)
        for name in ("p", "q")
        for k in range(3)
    }
    assert [(failure.problem_id, failure.error) for failure in run.failures()] == [
        ("p", "1 of 3 solutions: scripted failure 1 of 2 for 'sum is 6'"),
        ("q", "1 of 3 solutions: scripted failure 2 of 2 for 'sum is 6'"),
    ]
    asked = engine.requests

    await score(run, scorer, "pool")
    assert {record.values for record in run.scores(key).values()} == {(4.0, 4.0)}
    assert run.failures() == []
    again = [prompt_text(prompt) for prompt in engine.prompts[asked:]]
    assert len(again) == 4  # two steps of one solution, for each problem
    assert not any("sum is 5" in text or "I see 3" in text for text in again)

    await score(run, scorer, "pool")
    assert engine.requests == asked + 4


async def test_what_fails_once_more_keeps_what_it_has(run: Run) -> None:
    scorer, _ = judge({"sum is 6": 99})
    key = score_key(scorer, "pool")
    for _ in range(2):
        await score(run, scorer, "pool")
        assert run.scores(key)[ScoreRef("q", 1)].values == (4.0, None)
        assert len(run.failures()) == 2
    silent, _ = judge({"": 99})
    assert score_key(silent, "pool") == key
    await score(run, silent, "pool")
    assert run.scores(key)[ScoreRef("q", 1)].values == (4.0, None)
    assert [failure.error[:8] for failure in run.failures()] == ["scripted"] * 2


async def test_a_problem_without_any_answer_is_stored_not_at_all(run: Run) -> None:
    scorer, _ = judge({"": 5})  # as many requests as a problem makes
    await score(run, scorer, "pool")
    key = score_key(scorer, "pool")
    assert {ref.problem_id for ref in run.scores(key)} == {"q"}
    assert [failure.problem_id for failure in run.failures()] == ["p"]
    await score(run, scorer, "pool")
    assert len(run.scores(key)) == 6
    assert run.failures() == []
