"""docs/prompts.md and docs/real-models.md say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from typer.testing import CliRunner

from vilbench import config
from vilbench.cli.app import app
from vilbench.recipes import shipped
from vilbench.steps import FORMATS
from vilbench.steps.wordings import WORDINGS

DOCS = Path(__file__).parents[2] / "docs"
REAL = (DOCS / "real-models.md").read_text(encoding="utf-8")


def test_the_page_has_every_format_with_its_fingerprint() -> None:
    page = (DOCS / "prompts.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `([a-z-]+)` \|.*\| `([a-z-]+@[^`]+)` \|$", page, re.MULTILINE))
    assert told == {name: form.fingerprint for name, form in FORMATS.items()}
    for source in WORDINGS:
        assert f"| {source} |" in page


def test_servers_of_the_page_are_those_of_the_recipe() -> None:
    served = dict(re.findall(r"vllm serve (\S+) .*--port (\d+)", REAL))
    engines = [
        scorer.engine for scorer in config.load("paper/judges").scorers if scorer.kind == "judge"
    ]
    wanted = {one.model: one.base_url for one in engines if one.kind == "openai" and one.base_url}
    assert {m: f"http://localhost:{port}/v1" for m, port in served.items()} == wanted


def test_recipes_of_the_page_are_shipped_and_its_own_is_one() -> None:
    names = {one.name for one in shipped()}
    for command, name in re.findall(r"vilbench (run|sample|collect|train) ([a-z/-]+)", REAL):
        assert (command if command != "sample" else "run", name) in {
            (one.command, one.name) for one in shipped()
        }, name
    assert {"paper/judges", "paper/reward-model"} <= names
    (own,) = re.findall(r"```yaml\n(.*?)```", REAL, re.DOTALL)
    assert len(config.parse_text(own, "docs/real-models.md").problem_sets) == 2


def test_options_of_the_page_exist() -> None:
    commands = (["run"], ["sample"], ["score"], ["problems", "prepare"], ["problems", "show"])
    known = "".join(CliRunner().invoke(app, [*words, "--help"]).output for words in commands)
    ours = [line for line in REAL.split("\n") if line.strip().startswith("vilbench ")]
    named = {option for line in ours for option in re.findall(r"(?<!\S)--?[a-z-]+", line)}
    assert named
    assert all(f"{option} " in known for option in named)
