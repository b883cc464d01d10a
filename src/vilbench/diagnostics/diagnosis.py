"""All diagnostics that need no model: from what a run has stored."""

from __future__ import annotations

from vilbench.diagnostics.records import Diagnostics
from vilbench.evaluate.analysis import Plan, Stored, stored
from vilbench.evaluate.labels import Labeller, checked
from vilbench.store.run import Run
from vilbench.types import SCHEMA_VERSION


def diagnose(
    run: Run, plan: Plan, held: Stored | None = None, labeller: Labeller = checked
) -> Diagnostics:
    """What is off with the scorers of a stored run.

    Args:
        run: Open for reading or writing.
        plan: What was scored.
        held: What `stored(run, plan)` gave, where it has been read already.
        labeller: Who knows whether steps are right.

    Raises:
        RunError: There are no problems, or nothing has been sampled yet.
    """
    _, scorers, pools, _ = held or stored(run, plan)
    return Diagnostics(
        schema_version=SCHEMA_VERSION,
        fingerprint=run.manifest.fingerprint,
        problem_set=run.manifest.problem_set,
        scorers=tuple(scorer.name for scorer in scorers),
        n_problems=len(pools.problems),
        n_solutions=plan.n,
    )
