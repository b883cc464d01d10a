"""Things to publish: a run with results, made without a model."""

from __future__ import annotations

from pathlib import Path

from puzzle_run import RECIPE, puzzle_run

from vilbench import config
from vilbench.evaluate.analysis import analyse
from vilbench.publish.privacy import Screen

_HOME = Path("/home/ann")
SECRET = "a-secret-of-hers-0001"  # noqa: S105 - nobody's


def screen() -> Screen:
    """That of a user with a home, a folder of papers and a key."""
    return Screen.of({"OPENAI_API_KEY": SECRET}, _HOME, _HOME / "papers")


def run_with_results(folder: Path) -> Path:
    """Four puzzles, two solutions each, the scores of a reward model, and `results.json`."""
    with puzzle_run(folder) as run:
        results = analyse(run, config.plan(config.parse_text(RECIPE, "recipe")))
        run.write_results(results.model_dump_json())
    return folder
