"""All diagnostics of a run, from what it has stored; no model is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from vilbench.diagnostics.agreement import agreement
from vilbench.diagnostics.bias import bias
from vilbench.diagnostics.calibration import Dev, reliability
from vilbench.diagnostics.consistency import consistency
from vilbench.diagnostics.overrating import overrating
from vilbench.diagnostics.probes import findings
from vilbench.diagnostics.records import Diagnostics
from vilbench.diagnostics.table import Scored, Table
from vilbench.diagnostics.transfer import transfer
from vilbench.errors import RunError
from vilbench.evaluate.analysis import Plan, Stored, stored
from vilbench.evaluate.labels import Labeller, checked
from vilbench.evaluate.stages import noted
from vilbench.store.run import Run
from vilbench.types import SCHEMA_VERSION


class Held(NamedTuple):
    """A run as the diagnostics see it."""

    problem_set: str
    table: Table
    scored: tuple[Scored, ...]

    @classmethod
    def of(cls, given: Stored, problem_set: str, labeller: Labeller = checked) -> Held:
        """What was read of a run over that problem set."""
        table = Table.of(given.pools, labeller)
        scored = tuple(
            Scored.of(table, scorer, problem_set, given.values[scorer.name])
            for scorer in given.scorers
        )
        return cls(problem_set, table, scored)


def diagnose(
    run: Run,
    plan: Plan,
    held: Stored | None = None,
    labeller: Labeller = checked,
    dev: Run | None = None,
) -> Diagnostics:
    """What is off with the scorers of a stored run.

    Args:
        run: Open for reading or writing.
        plan: What was scored.
        held: What `stored(run, plan)` gave, where it has been read already.
        labeller: Who knows whether steps are right.
        dev: A run over other problems with the same scorers, to fit calibration on.

    Raises:
        RunError: There are no problems, or nothing has been sampled yet, or the dev run
            holds problems that are reported.
    """
    manifest = run.manifest
    read = held or stored(run, plan)
    mine = Held.of(read, manifest.problem_set, labeller)
    other = None if dev is None else _dev(run, dev, plan, labeller)
    found = diagnostics(mine, other)
    probed = findings(run, plan, read)
    return found.model_copy(update={"fingerprint": manifest.fingerprint, "probes": probed})


def diagnostics(held: Held, dev: Dev | None = None) -> Diagnostics:
    """The same of what was read; its fingerprint is left empty."""
    table, scored, problem_set = held.table, held.scored, held.problem_set
    bootstrap = table.bootstrap
    return Diagnostics(
        schema_version=SCHEMA_VERSION,
        fingerprint="",
        problem_set=problem_set,
        scorers=tuple(one.name for one in scored),
        n_problems=table.shape[0],
        n_solutions=table.shape[1],
        dev_set=dev.problem_set if dev else None,
        reliability=tuple(r for one in scored for r in reliability(table, one, bootstrap, dev)),
        overrating=tuple(o for one in scored for o in overrating(table, one, bootstrap)),
        bias=tuple(b for one in scored for b in bias(table, one, bootstrap)),
        agreement=tuple(agreement(table, scored, bootstrap)),
        transfer=tuple(transfer(table, scored)),
        consistency=tuple(c for one in scored for c in consistency(table, one, bootstrap)),
    )


def _dev(run: Run, dev: Run, plan: Plan, labeller: Labeller) -> Dev:
    shared = {one.id for one in run.problems()} & {one.id for one in dev.problems()}
    if shared:
        raise RunError(
            f"{dev.folder}: holds {len(shared)} of the problems that are reported, such as "
            f"{min(shared)[:80]!r}; what is fitted on them says nothing about them"
        )
    given = stored(dev, replace(plan, n=noted(dev).n))
    held = Held.of(given, dev.manifest.problem_set, labeller)
    return Dev(held.problem_set, held.table, held.scored)
