"""Which problems and solutions the report shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from vilbench.errors import RunError
from vilbench.evaluate.analysis import Plan
from vilbench.evaluate.pools import Scale, ScorerPlan
from vilbench.evaluate.stages import note_sampling, note_scoring
from vilbench.report.gallery import PROBLEMS, SOLUTIONS, gallery
from vilbench.store.manifest import Manifest
from vilbench.store.run import Run
from vilbench.testing import make_problem, make_solution
from vilbench.types import StepScores

JUDGE = ScorerPlan("judge", "solution", Scale(1, 5), (), "mean")
STEPS = ScorerPlan("steps", "step", Scale(1, 5), ("mean", "last-1"), "mean")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.open(tmp_path, Manifest.of("gallery", {}, seed=0, problem_set="sums"))


def fill(run: Run, name: str, source: str, answers: Sequence[str], text: str = "one {}") -> None:
    """A problem with a solution for each answer."""
    problem = make_problem(id=name, source=source)
    run.add_problems([problem])
    drawn = [
        make_solution(problem, index, text.format(index), answer=answer)
        for index, answer in enumerate(answers)
    ]
    run.put_solutions("drawn", drawn)
    note_sampling(run, "drawn", len(answers), "policy")


def judge(run: Run, scorer: ScorerPlan, name: str, values: Sequence[float | None]) -> None:
    records = [
        StepScores(
            problem_id=name,
            solution_index=index,
            scorer=scorer.name,
            granularity=scorer.granularity,
            values=(value,),
        )
        for index, value in enumerate(values)
    ]
    run.put_scores(scorer.name, records)
    note_scoring(run, scorer.name, scorer.name, "drawn")


def test_sources_take_turns_and_open_questions_come_first(run: Run) -> None:
    fill(run, "settled", "charts", ["5", "5"])
    fill(run, "open", "charts", ["5", "4"])
    fill(run, "hopeless", "angles", ["4", "4"])
    fill(run, "also", "charts", ["4", "5"])
    shown = gallery(run, Plan(2, ()))
    assert [one.problem.id for one in shown] == ["open", "hopeless", "also", "settled"]
    assert [one.problem.id for one in gallery(run, Plan(2, ()), problems=2)] == ["open", "hopeless"]


def test_there_are_no_more_than_a_dozen(run: Run) -> None:
    for number in range(PROBLEMS + 3):
        fill(run, f"p{number}", "sums", ["5"])
    assert len(gallery(run, Plan(1, ()))) == PROBLEMS


def test_picked_ones_are_shown_with_a_right_and_a_wrong_one(run: Run) -> None:
    fill(run, "p", "sums", ["4", "4", "5", "4", "5", "5"])
    judge(run, JUDGE, "p", [1, 1, 1, 1, 1, 5])
    judge(run, STEPS, "p", [1, 4, 1, 1, 1, None])
    (exhibit,) = gallery(run, Plan(6, (JUDGE, STEPS)))
    assert exhibit.picks == {"judge": 5, "steps/mean": 1, "steps/last-1": 1}
    indices = [one.index for one in exhibit.solutions]
    assert indices == sorted(indices)
    assert {1, 2, 5} <= set(indices)
    assert len(indices) == SOLUTIONS
    assert {(one.solution_index, one.scorer) for one in exhibit.scores} == {
        (index, scorer) for index in indices for scorer in ("judge", "steps")
    }


def test_no_text_is_shown_twice(run: Run) -> None:
    fill(run, "p", "sums", ["5", "5", "4"], text="the same")
    (exhibit,) = gallery(run, Plan(3, ()))
    assert len(exhibit.solutions) == 1


def test_what_failed_is_shown_as_failed(run: Run) -> None:
    fill(run, "p", "sums", ["5"])
    run.add_problems([make_problem(id="q", source="sums")])
    shown = {one.problem.id: one for one in gallery(run, Plan(1, ()))}
    assert [one.verdict for one in shown["q"].solutions] == ["failed"]


def test_a_scorer_without_verdicts_picks_nothing(run: Run) -> None:
    fill(run, "p", "sums", ["5", "4"])
    judge(run, JUDGE, "p", [None, None])
    (exhibit,) = gallery(run, Plan(2, (JUDGE, STEPS)))
    assert exhibit.picks == {}


def test_ties_fall_alike_every_time(run: Run) -> None:
    for number in range(8):
        fill(run, f"p{number}", "sums", ["5", "4", "4", "4"])
        judge(run, JUDGE, f"p{number}", [3, 3, 3, 3])
    plan = Plan(4, (JUDGE,))
    picks = [one.picks["judge"] for one in gallery(run, plan)]
    assert picks == [one.picks["judge"] for one in gallery(run, plan)]
    assert len(set(picks)) > 1


def test_a_run_without_solutions_has_none(run: Run) -> None:
    with pytest.raises(RunError):
        gallery(run, Plan(1, ()))
