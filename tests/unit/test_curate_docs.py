"""The recipes and commands of `docs/curate.md` are ones."""

from __future__ import annotations

import re
from pathlib import Path

from typer.testing import CliRunner

from vilbench import config
from vilbench.cli.app import app
from vilbench.config.curating import load_curating
from vilbench.curate.pairs import find

PAGE = (Path(__file__).parents[2] / "docs" / "curate.md").read_text(encoding="utf-8")


def test_recipes_of_the_page_are_ones(tmp_path: Path) -> None:
    wide, prefer = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    recipe = config.parse_text(wide, "docs/curate.md")
    path = tmp_path / "prefer.yaml"
    path.write_text(prefer)
    stated = load_curating(str(path))
    scorers = {scorer.name for scorer in recipe.scorers}
    assert {name for pair in stated.pairs for name in pair.pair().scorers} <= scorers
    assert [one.pair.name for one in find(config.plan(recipe).scorers)] == [
        *("judge", "small", "prm", "prm-exact")
    ]


def test_options_of_the_page_exist() -> None:
    known = CliRunner().invoke(app, ["curate", "--help"]).output
    lines = re.findall(r"vilbench curate (.*(?:\\\n.*)*)", PAGE)
    named = {option for line in lines for option in re.findall(r"(?<!\S)--[a-z-]+", line)}
    assert {"--pair", "--out"} <= named
    assert all(f"{option} " in known for option in named)
