"""docs/prompts.md and docs/real-models.md name what the code has."""

from __future__ import annotations

import re
from pathlib import Path

from vilbench import config
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
