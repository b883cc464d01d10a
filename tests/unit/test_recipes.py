"""The shipped recipes, as help lists them, and what a command says to those of another."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from vilbench import config
from vilbench.cli.app import app
from vilbench.config.models import scoring_width
from vilbench.errors import RecipeError
from vilbench.recipes import shipped, shorten

COMMANDS = ("run", "search", "collect", "train", "loop", "curate", "stepbench")


def said(*arguments: str) -> str:
    return CliRunner().invoke(app, list(arguments)).output


def test_help_lists_every_shipped_recipe() -> None:
    lines = said("--help").splitlines()
    start = next(at for at, line in enumerate(lines) if "Shipped recipes:" in line)
    listed = [line.split()[0] for line in lines[start + 1 :] if line.strip()]
    assert listed == [one.name for command in COMMANDS for one in shipped(command)]
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_lists_its_own(command: str) -> None:
    text = said(command, "--help").split("Shipped recipes:")[1]
    names = {line.split()[0] for line in text.splitlines() if line.strip()}
    assert names == {one.name for one in shipped(command)}


@pytest.mark.parametrize("one", shipped(), ids=lambda one: one.name)
def test_every_recipe_says_what_it_is_and_bears_its_name(one: object) -> None:
    recipe = next(found for found in shipped() if found == one)
    assert len(recipe.about) > 20
    assert "  " not in recipe.about
    text = recipe.file.read_text(encoding="utf-8")
    assert f"\nname: {recipe.name.replace('/', '-')}\n" in text


@pytest.mark.parametrize("one", shipped(), ids=lambda one: one.name)
@pytest.mark.parametrize("command", ["run", "collect", "train"])
def test_a_recipe_of_another_command_is_pointed_to_it(
    one: object, command: str, tmp_path: Path
) -> None:
    recipe = next(found for found in shipped() if found == one)
    if recipe.command == command:
        return
    load = {
        "run": config.load,
        "collect": config.load_collecting,
        "train": config.load_training,
    }[command]
    with pytest.raises(RecipeError) as caught:
        load(recipe.name)
    assert f"is a recipe for 'vilbench {recipe.command} {recipe.name}'" in str(caught.value)
    copy = tmp_path / "mine.yaml"
    copy.write_text(recipe.file.read_text(encoding="utf-8"))
    with pytest.raises(RecipeError) as caught:
        load(str(copy))
    assert f"{copy}: is a recipe for 'vilbench {recipe.command}'" in str(caught.value)


def test_the_command_says_so_too() -> None:
    done = CliRunner().invoke(app, ["run", "vilprm", "--dry-run"])
    assert done.exit_code == 2
    assert "'vilprm' is a recipe for 'vilbench train vilprm'" in done.output


def test_lines_are_cut_between_words() -> None:
    assert shorten("some words", 10) == "some words"
    assert shorten("some more words", 12) == "some ..."


def test_servers_are_kept_busy_and_local_models_have_one_problem_at_a_time() -> None:
    judges = config.load("paper/judges")
    assert {scoring_width(one, judges.sample.n) for one in judges.scorers} == {3}  # 64 by 24
    embedded = config.load("embedded")
    assert {scoring_width(one, embedded.sample.n) for one in embedded.scorers} == {1}


def test_problems_of_the_command_line_choose_among_several_sets() -> None:
    recipe = config.load("paper/judges").changed({"problems.limit": 7})
    one = recipe.over({"problems.source": "mathverse"})
    assert one.problem_set == "mathverse:testmini"
    assert one.problem_sets[0].limit == 7
    other = recipe.over({"problems.source": "mmmu-pro", "problems.split": "vision"})
    assert other.problem_set == "mmmu-pro:vision"
    assert recipe.over({}) == recipe
