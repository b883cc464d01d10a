"""What `vilbench diagnose` is asked for: which probes, of which scorers, over how much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vilbench.config.recipe import Recipe
from vilbench.diagnostics.probes import PROBES, Draw, Probe
from vilbench.errors import InputError, RecipeError
from vilbench.evaluate.stages import noted
from vilbench.store.run import Run


class Probing(NamedTuple):
    """What is to be probed.

    Attributes:
        recipe: The run's recipe with the scorers to probe alone.
        probes: The probes.
        draw: How much of the run.
    """

    recipe: Recipe
    probes: tuple[Probe, ...]
    draw: Draw


def probing(
    run: Run, recipe: Recipe, scorers: Sequence[str], probes: Sequence[str], draw: Draw
) -> Probing:
    """Checks what was asked for against the run.

    Args:
        run: A run whose solutions are scored.
        recipe: Its recipe.
        scorers: Names; none for all that have scored the run.
        probes: Names; none for all.
        draw: How much.

    Raises:
        RecipeError: The recipe has no scorer of that name, or none has scored the run.
        InputError: There is no probe of that name.
        RunError: Nothing has been sampled yet.
    """
    known = noted(run).score_keys
    named = list(scorers) or [one.name for one in recipe.scorers if one.name in known]
    chosen = recipe.only(named)
    idle = [one.name for one in chosen.scorers if one.name not in known]
    if idle or not chosen.scorers:
        raise RecipeError(
            f"not scored yet: {', '.join(idle) or 'this run'}; probes are held against the scores "
            "of a run: vilbench score first",
            field="--scorer",
        )
    for name in probes:
        if name not in PROBES:
            raise InputError(
                f"there is no probe '{name}'; there are {', '.join(PROBES)}", field="--probe"
            )
    picked = tuple(one for name, one in PROBES.items() if not probes or name in probes)
    return Probing(chosen, picked, draw)
