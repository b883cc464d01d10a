"""What a stored run knows better than a recipe assumes: how much its models write."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

from vilbench.config.recipe import Recipe
from vilbench.config.scorers import JudgeConfig
from vilbench.errors import RunError
from vilbench.evaluate.stages import noted
from vilbench.store.run import Run

_LEAST_REPLY = 9


def as_in(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe, expecting solutions and replies as long as those of a run.

    Args:
        recipe: What is to be forecast.
        folder: A run of it, or of a part of it; where there is none nothing is changed.

    Raises:
        RunError: There is a run, and it cannot be read.
    """
    if not (folder / "manifest.json").exists():
        return recipe
    with Run.read(folder) as run:
        try:
            begun = noted(run)
        except RunError:
            return recipe
        pools = run.solutions(begun.sample_key).values()
        solutions = [one for pool in pools for one in pool]
        if not solutions:
            return recipe
        changes: dict[str, object] = {
            "expect.solution_tokens": max(
                1, round(fmean(one.usage.completion_tokens for one in solutions))
            ),
            "expect.steps": max(1, round(fmean(len(one.steps) for one in solutions))),
            "expect.right": fmean(one.verdict == "correct" for one in solutions),
        }
        judges = {one.name for one in recipe.scorers if isinstance(one, JudgeConfig)}
        written = values = 0
        for name in judges & begun.score_keys.keys():
            for record in run.scores(begun.score_keys[name]).values():
                written += record.usage.completion_tokens
                values += len(record.values)
        if written:
            changes["expect.reply_tokens"] = max(_LEAST_REPLY, round(written / values))
    return recipe.changed(changes)
