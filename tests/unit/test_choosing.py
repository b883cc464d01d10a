"""What is chosen on a dev run, what a recipe makes of it, and where it has no say."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from puzzle_run import PRM, RECIPE, choice, puzzle_run

from vilbench import config
from vilbench.cli import main
from vilbench.errors import RecipeError, RunError
from vilbench.evaluate.analysis import Plan, analyse
from vilbench.evaluate.choice import Choice
from vilbench.evaluate.choosing import choose, written
from vilbench.evaluate.pools import Scale, ScorerPlan


def test_the_best_aggregation_and_threshold_are_chosen(tmp_path: Path) -> None:
    with puzzle_run(tmp_path) as run:
        (found,) = choose(run, Plan(2, (PRM,)))
        assert found.scorer == "prm"
        assert (found.choice.aggregation, found.accuracy) == ("last-1", 1.0)
        # Halfway between the values of the wrong steps and the lowest of the right ones.
        assert (found.choice.threshold, found.macro_f1) == (0.4, 1.0)
        assert (found.choice.problem_set, found.choice.n_problems) == ("puzzles:dev", 4)
        assert (found.choice.n, found.choice.seed) == (2, 3)
        assert found.choice.fingerprint == run.manifest.fingerprint


def test_of_equal_aggregations_the_first_of_the_list_is_taken(tmp_path: Path) -> None:
    for order in (("last-1", "min", "last-2"), ("last-2", "min"), ("min", "last-1")):
        plan = Plan(2, (ScorerPlan("prm", "step", Scale(0, 1), order, "mean"),))
        with puzzle_run(tmp_path) as run:
            (found,) = choose(run, plan)
        assert (found.choice.aggregation, found.accuracy) == (order[0], 1.0)


def test_nothing_is_chosen_on_test_problems_or_without_a_step_scorer(tmp_path: Path) -> None:
    with puzzle_run(tmp_path, "test") as run, pytest.raises(RunError, match="over puzzles:test"):
        choose(run, Plan(2, (PRM,)))
    with puzzle_run(tmp_path) as run, pytest.raises(RunError, match="no step scorer"):
        choose(run, Plan(2, ()))


def test_a_recipe_takes_what_was_written(tmp_path: Path) -> None:
    with puzzle_run(tmp_path) as run:
        found = choose(run, Plan(2, (PRM,)))
    data = yaml.safe_load(RECIPE)
    data["scorers"][0] |= yaml.safe_load(written(found))["prm"]
    plan = config.plan(config.parse(data))
    assert plan.main == "prm"
    assert plan.scorers[0].chosen == found[0].choice
    tiny = choice(threshold=1e-7, aggregation=None)
    text = written([found[0]._replace(choice=tiny)])
    assert Choice.model_validate(yaml.safe_load(text)["prm"]["chosen"]) == tiny


def test_a_choice_is_no_part_of_what_was_sampled_or_scored() -> None:
    plain = config.parse_text(RECIPE, "recipe")
    chosen = RECIPE.replace("main: prm", "").replace(
        "last-2]}\n", f"last-2], chosen: {choice().model_dump_json()}}}\n", 1
    )
    assert config.parse_text(chosen, "recipe").identity() == plain.identity()


def test_a_choice_has_no_say_on_the_problems_that_it_was_made_on(tmp_path: Path) -> None:
    plan = ScorerPlan("prm", "step", Scale(0, 1), PRM.aggregations, "mean", choice())
    with puzzle_run(tmp_path) as run:
        results = analyse(run, Plan(2, (plan,)))
    assert results.chosen == ()
    assert {one.macro_f1 for one in results.steps} == {None}
    assert {one.method for one in results.contrasts} == {"prm/mean", "weighted-majority:prm"}


def test_choices_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="'first' was chosen for 'prm', which has mean, last-1"):
        ScorerPlan("prm", "step", None, ("mean", "last-1"), "mean", choice(aggregation="first"))
    with pytest.raises(ValueError, match="no aggregations"):
        ScorerPlan("orm", "solution", None, ("last-1",), "mean", choice())
    with pytest.raises(ValueError, match="given twice"):
        ScorerPlan("prm", "step", None, ("mean", "mean"), "mean")
    with pytest.raises(RecipeError, match="main: 'orm' is none of the scorers: prm, prm-unt"):
        config.parse_text(RECIPE.replace("main: prm", "main: orm"), "recipe")


def test_scorers_are_kept_by_name_in_the_order_of_the_recipe() -> None:
    recipe = config.parse_text(RECIPE, "recipe")
    kept = recipe.only(["likelihood", "prm"])
    assert [one.name for one in kept.scorers] == ["prm", "likelihood"]
    assert (kept.main, recipe.only(["likelihood"]).main) == ("prm", None)
    with pytest.raises(RecipeError, match="no scorer 'orm'; it has prm, prm-untrained, likelih"):
        recipe.only(["prm", "orm"])


def test_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def vilbench(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["vilbench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0)

    puzzle_run(tmp_path / "dev").close()
    assert vilbench("choose", tmp_path / "dev") == 0
    said = capsys.readouterr().out
    assert "last-1 answers 100.0% right; macro-F1 over steps 100.0%" in said
    stored = yaml.safe_load((tmp_path / "dev" / "chosen.yaml").read_text())
    assert stored["prm"]["chosen"]["aggregation"] == "last-1"
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(RECIPE)
    assert vilbench("run", recipe, "--out", tmp_path / "r", "--scorer", "orm") == 2
    assert "no scorer 'orm'; it has prm" in capsys.readouterr().err
