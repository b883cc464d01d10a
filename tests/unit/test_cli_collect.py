"""`vilbench collect` in this process, with a scripted model in the place of a local one."""

from __future__ import annotations

from pathlib import Path

import pytest
from collect_data import reply
from commands import Command, runner

from vilbench.collect.forest import noted_key
from vilbench.config import classes
from vilbench.store import trees
from vilbench.store.run import Run
from vilbench.testing import ScriptedEngine

RECIPE = """\
name: tiny
seed: 1
problems: {source: puzzles, split: train, limit: 4}
policy:
  engine: {kind: local, model: "embedded:small"}
  format: steps-brief
search: {rule: rollouts, solutions: 2, rollouts: 2}
"""


FAILING: dict[str, int] = {}


def engine(folder: object, **options: object) -> _Engine:
    """Stands for a local model."""
    return _Engine(reply, failures=FAILING, name=str(options["name"]))


class _Engine(ScriptedEngine):
    async def aclose(self) -> None:
        """Nothing to close."""


@pytest.fixture
def collect(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `vilbench collect` and checks the code it ends with."""
    monkeypatch.setitem(classes._CLASSES, "engine/local", f"{__name__}:engine")
    FAILING.clear()

    return runner(capsys, monkeypatch, "collect")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE)
    return path


def test_it_grows_trees_and_goes_on(collect: Command, recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    said = collect(recipe, "--out", folder, "--plain").out
    assert "collect: 4 problems, 0 stored already" in said
    assert "trees: 4 of 4 problems, " in said
    assert "ended: 4 complete" in said
    with Run.read(folder) as run:
        found = list(trees.trees(run, noted_key(run) or ""))
        tokens = sum(one.spent.policy.completion_tokens for one in found)
    assert len(found) == 4
    assert f"policy: {tokens} tokens in " in said
    again = collect(recipe, "--out", folder, "--plain").out
    assert "collect: 4 problems, 4 stored already" in again
    assert f"policy: {tokens} tokens in " in again


def test_it_goes_on_for_more_problems(collect: Command, recipe: Path, tmp_path: Path) -> None:
    folder, whole = tmp_path / "run", tmp_path / "whole"
    collect(recipe, "--out", folder, "--limit", 2, "--plain")
    assert "--extend" in collect(recipe, "--out", folder, code=2).err
    said = collect(recipe, "--out", folder, "--extend", "--plain").out
    assert "collect: 4 problems, 2 stored already" in said
    collect(recipe, "--out", whole, "--plain")
    with Run.read(folder) as grown, Run.read(whole) as once:
        key = noted_key(grown) or ""
        assert key == noted_key(once)
        found = [one.tree for one in trees.trees(grown, key)]
        assert found == [one.tree for one in trees.trees(once, key)]
        assert len(found) == 4
    other = tmp_path / "other.yaml"
    other.write_text(RECIPE.replace("rollouts: 2}", "rollouts: 3}"))
    assert "rollouts: 2 -> 3" in collect(other, "--out", folder, "--extend", code=2).err


def test_options_change_the_recipe(collect: Command, recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    said = collect(recipe, "--out", folder, "--limit", 2, "--seed", 9, "--plain").out
    assert "trees: 2 of 2 problems" in said
    with Run.read(folder) as run:
        assert run.manifest.seed == 9
        assert {tree.tree.seed for tree in trees.trees(run, noted_key(run) or "")} == {9}


def test_another_recipe_is_refused_on_a_run(collect: Command, recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    collect(recipe, "--out", folder)
    recipe.write_text(RECIPE.replace("rollouts: 2", "rollouts: 3"))
    assert "another recipe" in collect(recipe, "--out", folder, code=2).err
    assert "trees: 4 of 4" in collect(recipe, "--out", folder, "--fresh").out


def test_a_limit_of_the_run_is_told_and_raised(
    collect: Command, recipe: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    recipe.write_text(RECIPE + "total: {policy_tokens: 60}\nwidth: {trees: 1}\n")
    said = collect(recipe, "--out", folder).out
    assert "stopped by the run's budget-policy-tokens" in said
    assert "trees: 4 of 4" not in said
    recipe.write_text(RECIPE)
    assert "trees: 4 of 4" in collect(recipe, "--out", folder).out


def test_failures_are_told_and_decide_the_code(
    collect: Command, recipe: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    FAILING["Write numbered steps"] = 1
    said = collect(recipe, "--out", folder, code=1).out
    assert "failed: angles-text-train-1-0: scripted failure" in said
    assert "25.0% of the problems failed" in said
    FAILING.clear()
    assert "trees: 4 of 4" in collect(recipe, "--out", folder).out


def test_what_cannot_be_used_is_refused(collect: Command, recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert "embedded-collect" in collect("nothing", "--out", folder, code=2).err
    recipe.write_text(RECIPE.replace("solutions", "solution"))
    assert "row 7, field 'search.solution'" in collect(recipe, "--out", folder, code=2).err
