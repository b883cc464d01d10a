"""From a dev run to learned scores, to a recipe, to rows over other problems; never back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from puzzle_run import PRM, RECIPE, puzzle_run

from vilbench import config
from vilbench.errors import InputError, RecipeError, RunError
from vilbench.evaluate.analysis import Plan, analyse, stored
from vilbench.evaluate.choosing import choose
from vilbench.evaluate.learning import Lessons, lessons, written
from vilbench.evaluate.origins import CURATED
from vilbench.evaluate.pools import Scale, ScorerPlan

BOTH = ("prm", "prm-untrained")


def learned(folder: Path) -> Lessons:
    with puzzle_run(folder, "dev", BOTH) as run:
        return lessons(run, config.plan(config.parse_text(RECIPE, "recipe")))


def recipe_with(tmp_path: Path, found: Lessons) -> config.Recipe:
    path = tmp_path / "weights.yaml"
    path.write_text(written(found), encoding="utf-8")
    data = yaml.safe_load(RECIPE)
    data["scorers"][0]["learned"] = str(path)
    data["scorers"][0]["votes"] = "learned"
    return config.parse({**data, "blends": str(path)})


def test_what_was_learned_on_dev_judges_other_problems(tmp_path: Path) -> None:
    found = learned(tmp_path / "dev")
    assert set(found.scorers) == set(BOTH)
    assert [one.name for one in found.blends] == ["prm+prm-untrained"]
    assert found.scorers["prm"].origin.problem_set == "puzzles:dev"
    assert found.scorers["prm"].trials[0].form == "fixed"
    recipe = recipe_with(tmp_path, found)
    with puzzle_run(tmp_path / "test", "test", BOTH) as run:
        results = analyse(run, config.plan(recipe))
    rows = {one.method: one for one in results.rows if one.k == 2 and one.source == "all"}
    # The last step tells right from wrong in this run, the mean over the steps does not.
    assert rows["prm/learned"].accuracy == rows["blend:prm+prm-untrained"].accuracy == 1.0
    assert rows["prm/mean"].accuracy < 1.0
    assert rows["weighted-majority:prm"].accuracy == 1.0
    pairs = {(one.method, one.against) for one in results.contrasts}
    assert ("prm/learned", "prm/mean") in pairs
    assert ("prm/mean", "blend:prm+prm-untrained") in pairs
    assert ("blend:prm+prm-untrained", "majority") in pairs
    assert "blend:prm+prm-untrained" in results.scorers
    (count,) = [one for one in results.counts if one.stage == "blend:prm+prm-untrained"]
    assert (count.units, count.failed, count.prompt_tokens) == (8, 0, 0)


def test_it_has_no_say_on_the_problems_that_it_was_fitted_on(tmp_path: Path) -> None:
    recipe = recipe_with(tmp_path, learned(tmp_path / "dev"))
    with puzzle_run(tmp_path / "again", "dev", BOTH) as run:
        results = analyse(run, config.plan(recipe))
        held = stored(run, config.plan(recipe))
    methods = {one.method for one in results.rows}
    assert "prm/learned" not in methods
    assert not [name for name in methods if "blend" in name]
    assert [one.votes for one in held.scorers] == ["mean", "mean"]


def test_nothing_is_learned_on_test_problems(tmp_path: Path) -> None:
    with puzzle_run(tmp_path, "test") as run, pytest.raises(RunError, match="over puzzles:test"):
        lessons(run, Plan(2, (PRM,)))


def test_a_set_chosen_from_problems_is_taken_for_these(tmp_path: Path) -> None:
    recipe = recipe_with(tmp_path, learned(tmp_path / "dev"))
    # A run over a set that was chosen from the dev problems, under a name of its own.
    with puzzle_run(tmp_path / "chosen", "test", BOTH) as run:
        assert "prm/learned" in {one.method for one in analyse(run, config.plan(recipe)).rows}
        run.event(CURATED, {"name": "mine", "problem_sets": ["puzzles:dev"]})
        methods = {one.method for one in analyse(run, config.plan(recipe)).rows}
    assert "prm/mean" in methods
    assert not [name for name in methods if "learned" in name or "blend" in name]
    # One that was chosen from test problems is none to learn or choose on.
    plan = Plan(2, (PRM,))
    with puzzle_run(tmp_path / "reported", "dev") as run:
        run.event(CURATED, {"name": "mine", "problem_sets": ["MathVista", "puzzles:test"]})
        for refused in (lessons, choose):
            with pytest.raises(RunError, match=r"over puzzles:dev\+MathVista\+puzzles:test"):
                refused(run, plan)


def test_what_was_learned_on_chosen_problems_has_no_say_where_they_come_from(
    tmp_path: Path,
) -> None:
    with puzzle_run(tmp_path / "mine", "mine") as run:
        run.event(CURATED, {"name": "mine", "problem_sets": ["puzzles:dev"]})
        (found,) = lessons(run, Plan(2, (PRM,))).scorers.values()
        (chosen,) = choose(run, Plan(2, (PRM,)))
    plan = replace(PRM, chosen=chosen.choice)
    for name in ("puzzles:dev", "puzzles:mine"):
        assert found.origin.is_part_of(name)
        assert plan.choice(name) is None
    assert not found.origin.is_part_of("puzzles:test")
    assert plan.choice("puzzles:test") == chosen.choice


def test_blends_that_cannot_be(tmp_path: Path) -> None:
    with puzzle_run(tmp_path) as run:
        with pytest.raises(InputError, match="'orm' has not scored this run; prm has"):
            lessons(run, Plan(2, (PRM,)), [["prm", "orm"]])
        with pytest.raises(InputError, match="takes two scorers or more"):
            lessons(run, Plan(2, (PRM,)), [["prm"]])
        with pytest.raises(RunError, match="no step scorer"):
            lessons(run, Plan(2, ()))


def test_what_was_learned_is_no_part_of_what_was_sampled_or_scored(tmp_path: Path) -> None:
    recipe = recipe_with(tmp_path, learned(tmp_path / "dev"))
    kept = recipe.changed({"scorers.votes": "mean", "blends": [], "scorers.learned": None})
    assert kept.identity() == config.parse_text(RECIPE, "recipe").identity()
    assert config.parse(recipe.model_dump(mode="json")) == recipe
    assert recipe.only(["prm"]).blends == ()


def test_recipes_that_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "weights.yaml"
    path.write_text(written(learned(tmp_path / "dev")), encoding="utf-8")
    data = yaml.safe_load(RECIPE)
    data["scorers"][2]["learned"] = str(path)
    with pytest.raises(RecipeError, match="holds nothing that was learned for 'likelihood'"):
        config.parse(data)
    data["scorers"][2]["learned"] = str(tmp_path / "none.yaml")
    with pytest.raises(RecipeError, match="cannot be read"):
        config.parse(data)
    data = yaml.safe_load(RECIPE)
    data["scorers"][2]["learned"] = yaml.safe_load(path.read_text())["prm"]["learned"]
    with pytest.raises(RecipeError, match="what was learned from prm is no score"):
        config.parse(data)
    data = {**yaml.safe_load(RECIPE), "blends": str(path)}
    del data["scorers"][1]
    with pytest.raises(RecipeError, match="needs 'prm-untrained', which is none of the scorers"):
        config.parse(data)


def test_what_is_wrong_in_a_file_of_weights_is_named_with_file_and_field(tmp_path: Path) -> None:
    path = tmp_path / "weights.yaml"
    given = yaml.safe_load(written(learned(tmp_path / "dev")))
    data = {**yaml.safe_load(RECIPE), "blends": str(path)}
    data["scorers"][0]["learned"] = str(path)
    given["prm"]["learned"]["terms"][0]["weight"] = 1e308
    path.write_text(yaml.safe_dump(given), encoding="utf-8")
    field = r"weights\.yaml: prm\.learned\.terms\[0\]\.weight: 1e\+308 is beyond 1e\+100"
    with pytest.raises(RecipeError, match=field):
        config.parse(data)
    given["prm"]["learned"]["terms"][0]["weight"] = 1.0
    given["blends"][0]["learned"]["readings"][1]["high"] = -1e308
    path.write_text(yaml.safe_dump(given), encoding="utf-8")
    field = r"weights\.yaml: blends\[0\]\.learned\.readings\[1\]\.high: "
    with pytest.raises(RecipeError, match=field):
        config.parse(data)


def test_votes_cannot_be_learned_where_nothing_was() -> None:
    with pytest.raises(ValueError, match="unknown aggregation"):
        ScorerPlan("prm", "step", Scale(0, 1), ("mean",), "learned")
