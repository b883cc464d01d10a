"""How far a run is, whether it goes on, and when its pages change."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tree_data import counted

from vilbench.evaluate.analysis import Plan
from vilbench.evaluate.pools import Scale, ScorerPlan
from vilbench.evaluate.stages import note_sampling, note_scoring
from vilbench.search import Continuation
from vilbench.store import trees
from vilbench.store.manifest import Manifest
from vilbench.store.records import Call, Failure, Spent
from vilbench.store.run import Run
from vilbench.testing import make_problem, make_solution
from vilbench.types import Problem, StepScores
from vilbench.viewer import live
from vilbench.viewer.standing import Paces, Stage, standing

PLAN = Plan(
    2, tuple(ScorerPlan(name, "step", Scale(0, 1), ("mean",), "mean") for name in ("a", "b"))
)


def run_of(folder: Path, count: int = 4) -> tuple[Run, list[Problem]]:
    run = Run.open(folder, Manifest.of("r", {}, seed=0, problem_set="own"))
    problems = [make_problem(id=f"p{n}", question=f"{n}?") for n in range(count)]
    run.add_problems(problems)
    return run, problems


def fill(run: Run, problem: Problem, *indices: int) -> None:
    run.put_solutions(
        "drawn", [make_solution(problem, i, "Step 1: x.", answer="3") for i in indices]
    )


def rate(run: Run, problem: Problem, *indices: int, error: str | None = None) -> None:
    records = [
        StepScores(
            problem_id=problem.id,
            solution_index=i,
            scorer="a",
            granularity="step",
            values=(None if error else 0.5,),
            error=error,
        )
        for i in indices
    ]
    run.put_scores("by a", records)


def stages(run: Run, paces: Paces, plan: Plan | None = PLAN) -> dict[str, Stage]:
    return {one.name: one for one in standing(run, plan, paces).stages}


def told(stage: Stage) -> tuple[int, int, int, str]:
    return stage.done, stage.total, stage.failed, stage.state


def test_stages_of_a_run_from_its_first_problem_to_its_last(tmp_path: Path) -> None:
    run, problems = run_of(tmp_path / "r")
    paces = Paces()
    with run:
        assert told(stages(run, paces)["sample"]) == (0, 4, 0, "waits")
        note_sampling(run, "drawn", 2, "policy")
        fill(run, problems[0], 0, 1)
        fill(run, problems[1], 0)
        run.put_failure(
            Failure(stage="sample", key="drawn", problem_id="p1", error="gone", attempts=1)
        )
        assert told(stages(run, paces)["sample"]) == (1, 4, 1, "under way")
        fill(run, problems[1], 1)
        for one in problems[2:]:
            fill(run, one, 0, 1)
        assert told(stages(run, paces)["sample"]) == (4, 4, 0, "done")
        note_scoring(run, "a", "by a", "drawn")
        rate(run, problems[0], 0, 1)
        rate(run, problems[1], 0, error="no answer")
        found = stages(run, paces)
        assert told(found["a"]) == (2, 4, 0, "under way")
        assert told(found["b"]) == (0, 4, 0, "waits")
        rate(run, problems[1], 0)  # takes the place of the one with an error
        assert stages(run, paces)["a"].done == 2
        assert list(stages(run, paces, None)) == ["sample", "a"]


def test_stages_of_a_collection(tmp_path: Path) -> None:
    run, problems = run_of(tmp_path / "r")
    with run:
        assert standing(run, None, Paces()).stages == ()
        run.event("collect", {"key": "k", "rule": "omega", "policy": "p", "evaluator": ""})
        call = Call(problem_id="p1", name="n", answer=(Continuation(("x",)),))
        trees.put(run, "k", [call])
        found = standing(run, None, Paces())
        assert told(found.stages[0]) == (0, 4, 0, "under way")
        assert found.growing == 1
        trees.put(run, "k", (), [trees.Grown(counted(one.id), Spent()) for one in problems])
        found = standing(run, None, Paces())
        assert (told(found.stages[0]), found.growing) == ((4, 4, 0, "done"), 0)
        assert found.happened == "collect"
        assert found.stages[0].name == "collect"


def test_a_guided_search_is_called_one(tmp_path: Path) -> None:
    run, problems = run_of(tmp_path / "r")
    with run:
        run.event("collect", {"key": "k", "rule": "omega", "policy": "p", "evaluator": ""})
        run.event("collect", {"key": "g", "rule": "guided", "policy": "p", "evaluator": "prm"})
        found = standing(run, None, Paces())
        assert (found.happened, [one.name for one in found.stages]) == ("search", ["search"])
        trees.put(run, "g", (), [trees.Grown(counted(one.id), Spent()) for one in problems])
        run.put_failure(Failure(stage="collect", key="g", problem_id="p1", error="x", attempts=1))
        (stage,) = standing(run, None, Paces()).stages
        assert (stage.name, stage.kind, stage.done, stage.failed) == ("search", "collect", 4, 1)


def test_the_pace_is_what_the_viewer_has_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000.0
    monkeypatch.setattr("vilbench.viewer.standing.time.monotonic", lambda: now)
    run, problems = run_of(tmp_path / "r")
    paces = Paces()
    with run:
        note_sampling(run, "drawn", 1, "policy")
        assert stages(run, paces)["sample"].pace is None
        now += 2
        fill(run, problems[0], 0)
        assert stages(run, paces)["sample"].pace is None
        now += 28
        fill(run, problems[1], 0)
        found = stages(run, paces)["sample"]
        assert found.pace == pytest.approx(4.0)
        assert found.left == pytest.approx(0.5)
        now += 700
        assert stages(run, paces)["sample"].pace is None


def test_a_run_goes_on_as_long_as_its_writer_lives(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    assert not live.running(folder)
    run, _ = run_of(folder)
    with run:
        assert live.running(folder)
    assert not live.running(folder)  # its number still stands in the lock
    code = (
        "import sys, time, pathlib; from vilbench.store.run import Run;"
        "from vilbench.store.manifest import Manifest;"
        f"r = Run.open(pathlib.Path({str(folder)!r}),"
        " Manifest.of('r', {}, seed=0, problem_set='own')); print('open', flush=True);"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        assert live.running(folder)
        process.kill()
    assert not live.running(folder)
    (folder / "run.lock").write_text(f"{os.getpid()}\n")
    assert not live.running(folder)
    for damaged in ("", "x", "-1", "9" * 40, "0"):
        (folder / "run.lock").write_text(damaged)
        assert not live.running(folder)


def test_the_state_changes_with_everything_that_is_shown(tmp_path: Path) -> None:
    run, problems = run_of(tmp_path / "r")
    with run:
        seen = [live.mark(run)]

        def changed() -> None:
            seen.append(live.mark(run))
            assert len(set(seen)) == len(seen)
            assert live.mark(run) == seen[-1]

        fill(run, problems[0], 0)
        changed()
        rate(run, problems[0], 0, error="no answer")
        changed()
        rate(run, problems[0], 0)
        changed()
        failure = Failure(stage="sample", key="drawn", problem_id="p1", error="x", attempts=1)
        run.put_failure(failure)
        changed()
        fill(run, problems[1], 0)
        changed()
        run.event("server", {})
        changed()
        trees.put(run, "k", [Call(problem_id="p1", name="n", answer=(Continuation(("x",)),))])
        changed()
        trees.put(run, "k", (), [trees.Grown(counted("p1"), Spent())])
        changed()
        run.write_results("{}")
        changed()
        seen.append(live.mark(run, "more"))
        assert len(set(seen)) == len(seen)
    with Run.read(tmp_path / "r") as read:
        changed_by_closing = live.mark(read)
    assert changed_by_closing not in seen
