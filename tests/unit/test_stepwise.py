"""Step values against the exact checker, and the comparisons that a run reports."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from puzzle_run import PRM, choice, puzzle_run

from vilbench.evaluate.analysis import Plan, analyse
from vilbench.evaluate.labels import Labels, checked, soundness
from vilbench.evaluate.pools import Scale, ScorerPlan
from vilbench.evaluate.results import Results, StepEvidence
from vilbench.problems.puzzles import puzzles
from vilbench.problems.puzzles.checker import Label
from vilbench.store.run import Run
from vilbench.testing import make_problem, make_solution
from vilbench.types import Problem, Solution

CHOSEN = dataclasses.replace(PRM, chosen=choice())
OTHER = ScorerPlan("other", "step", Scale(0, 1), ("last-1", "mean"), "mean")


def whole(results: Results, scorer: str = "prm") -> StepEvidence:
    (found,) = [
        one
        for one in results.steps
        if (one.scorer, one.source, one.modality) == (scorer, "all", "all")
    ]
    return found


@pytest.mark.parametrize(
    ("labels", "sound"),
    [
        ((), ()),
        (("right", "wrong", "right"), (True, False, False)),
        # Nobody knows behind what cannot be told, until something is wrong for certain.
        (("right", "unchecked", "right", "wrong", "unchecked"), (True, None, None, False, False)),
    ],
)
def test_a_prefix_is_sound_while_all_of_it_is_right(
    labels: tuple[Label, ...], sound: tuple[bool | None, ...]
) -> None:
    assert soundness(labels) == sound


def test_only_puzzles_have_labels_of_their_own() -> None:
    puzzle = next(puzzles("dev", 1)).problem
    assert checked(puzzle, make_solution(puzzle, text="99 + 99 = 7\nWell.")) == (
        "wrong",
        "unchecked",
    )
    problem = make_problem()
    assert checked(problem, make_solution(problem)) is None


def test_steps_of_puzzles_by_hand(tmp_path: Path) -> None:
    with puzzle_run(tmp_path, "test", ("prm", "other")) as run:
        sizes = [len(pool[0].steps) for pool in run.solutions("drawn").values()]
        results = analyse(run, Plan(2, (CHOSEN, OTHER)))
    found = whole(results)
    assert (found.n_problems, found.n_steps) == (4, 2 * sum(sizes))
    assert (found.n_right, found.unchecked, found.missing) == (2 * sum(sizes) - 4, 0, 0)
    # The one wrong step of each problem has the lowest value of all: 0.2.
    assert (found.within, found.pooled, found.same, found.n_within) == (1.0, 1.0, 1.0, 4)
    assert (found.threshold, found.macro_f1, found.f1_low, found.f1_high) == (0.5, 1.0, 1.0, 1.0)
    opposite = whole(results, "other")
    assert (opposite.within, opposite.pooled, opposite.same) == (0.0, 0.0, 0.0)
    # Nothing was chosen for it, so that there is no threshold to call steps by.
    assert (opposite.threshold, opposite.macro_f1, opposite.f1_right) == (None, None, None)
    families = {
        one.source: one for one in results.steps if (one.scorer, one.modality) == ("prm", "all")
    }
    assert sum(families[name].n_steps for name in ("angles", "charts")) == found.n_steps


def test_labels_of_any_kind_will_do_and_their_lack_is_no_figure(tmp_path: Path) -> None:
    def first_alone(problem: Problem, solution: Solution) -> Labels | None:
        if problem.source == "charts":
            return None
        untold: Label = "unchecked"
        return ("right", *[untold] * (len(solution.steps) - 1))

    with puzzle_run(tmp_path, "test") as run:
        results = analyse(run, Plan(2, (CHOSEN,)), labeller=first_alone)
        sizes = [len(pool[0].steps) for pool in run.solutions("drawn").values()]
        nothing = analyse(run, Plan(2, (CHOSEN,)), labeller=lambda problem, solution: None)
    found = whole(results)
    assert {one.source for one in results.steps} == {"all", "angles"}
    assert (found.n_problems, found.n_steps, found.n_right) == (2, 4, 4)
    assert found.unchecked == 2 * sum(sizes[:2]) - 4
    # Right steps alone: no AUROC, and F1 of wrong is 0.
    assert (found.within, found.pooled, found.f1_wrong) == (None, None, 0.0)
    assert nothing.steps == ()


def test_a_step_without_a_verdict_is_missed_and_counted(tmp_path: Path) -> None:
    with puzzle_run(tmp_path, "test") as run:
        unscored = dataclasses.replace(CHOSEN, name="prm")
        run.put_solutions("drawn", [more(run, index) for index in (2, 3)])
        found = whole(analyse(run, Plan(4, (unscored,))))
    assert found.missing == 2
    assert found.f1_right is not None
    assert found.f1_right < 1.0


def more(run: Run, index: int) -> Solution:
    """Another solution of the first problem, right in its one step, that nobody scored."""
    problem = run.problems()[0]
    first = run.solutions("drawn")[problem.id][0]
    return make_solution(problem, index, first.step_texts()[0], answer="?")


def test_what_is_compared_is_settled_beforehand(tmp_path: Path) -> None:
    with puzzle_run(tmp_path, "test", ("prm", "other")) as run:
        results = analyse(run, Plan(2, (CHOSEN, OTHER), main="prm"))
        absent = analyse(run, Plan(2, (OTHER,), main="prm"))
    pairs = {(c.method, c.against) for c in results.contrasts if c.source == c.modality == "all"}
    assert pairs == {
        *((method, against) for against in ("cot", "majority") for method in (
            "prm/last-1", "other/last-1", "weighted-majority:prm", "weighted-majority:other",
        )),
        ("prm/last-1", "other/last-1"),
        ("prm/last-1", "other/mean"),
    }  # fmt: skip
    by_slice = [c for c in results.contrasts if c.source == "angles"]
    assert {c.against for c in by_slice} == {"cot", "majority"}
    (chosen,) = results.chosen
    assert (chosen.method, chosen.problem_set, chosen.n_problems) == (
        "prm/last-1",
        *("puzzles:dev", 4),
    )
    found = next(c for c in results.contrasts if c.against == "other/last-1" and c.method[0] == "p")
    assert (found.accuracy, found.accuracy_against, found.delta) == (1.0, 0.0, 1.0)
    assert (found.low, found.high, found.detectable) == (1.0, 1.0, None)
    # Four problems of two scenes: both go one way, which is as likely as not.
    assert found.p_value == 0.5
    # The exact test would take the twins for four draws.
    assert found.mcnemar_p is None
    assert next(c for c in results.contrasts if c.against == "cot").mcnemar_p is None
    assert absent.main is None


def test_recovered_share_has_an_interval(tmp_path: Path) -> None:
    with puzzle_run(tmp_path, "test") as run:
        results = analyse(run, Plan(2, (CHOSEN,)))
    rows = {(r.method, r.k): r for r in results.rows if r.source == r.modality == "all"}
    best = rows["prm/last-1", 2]
    assert (best.recovered, best.recovered_low, best.recovered_high) == (1.0, 1.0, 1.0)
    worst = rows["prm/mean", 2]
    assert (worst.recovered, worst.recovered_low, worst.recovered_high) == (-1.0, -1.0, -1.0)
    # At k = 1 there is no way to go.
    assert rows["prm/last-1", 1].recovered_low is None
