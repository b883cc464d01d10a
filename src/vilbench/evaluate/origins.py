"""Where the problems of a run come from, whatever their own set is called."""

from __future__ import annotations

from typing import Final

from vilbench.store.run import Run

CURATED: Final = "curated"
"""Kind of the event that holds the card of a curated set that a run is over."""


def known_as(run: Run) -> str:
    """Names of a run's problem sets, and of those they were chosen from, joined by "+".

    What was fitted on a set may not judge problems chosen from it, nor the other way round.
    """
    names = [run.manifest.problem_set]
    for event in run.events():
        listed = event.data.get("problem_sets") if event.kind == CURATED else None
        names += [str(name) for name in listed] if isinstance(listed, list) else []
    return "+".join(dict.fromkeys(names))
