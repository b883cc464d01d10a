"""The pairs of `docs/curate.md` are of the scorers of its run."""

from __future__ import annotations

import re
from pathlib import Path

from vilbench import config
from vilbench.config.curating import load_curating
from vilbench.curate.pairs import find

PAGE = (Path(__file__).parents[2] / "docs" / "curate.md").read_text(encoding="utf-8")


def test_pairs_of_the_page_are_of_its_scorers(tmp_path: Path) -> None:
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
