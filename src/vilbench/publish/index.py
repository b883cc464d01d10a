"""A run's figures of one model, in the two forms of the hub, as files for a model's folder."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from vilbench.errors import InputError
from vilbench.publish.evaluation import (
    INDEX,
    POLICY,
    Benchmark,
    eval_results,
    figures,
    index_file,
)
from vilbench.publish.privacy import Screen
from vilbench.publish.provenance import provenance, shown_of
from vilbench.publish.publication import Entry, write_entries
from vilbench.store.run import Run


class Index(NamedTuple):
    """What was written.

    Attributes:
        of: Whose figures: a scorer, or the policy.
        files: Names of the files.
        named: Whether a benchmark of the hub is among them.
    """

    of: str
    files: tuple[str, ...]
    named: bool


def write_index(
    run: Run,
    folder: Path,
    screen: Screen,
    *,
    of: str | None = None,
    title: str | None = None,
    benchmark: Benchmark | None = None,
) -> Index:
    """Writes `model-index.yaml` and, where the hub knows the problems, `.eval_results/`.

    Args:
        run: Open for reading; `vilbench report` has been made.
        folder: Where; made with its parents.
        screen: For texts.
        of: A scorer, or "policy"; the run's main scorer where None, or the policy without any.
        title: Name of the model; the scorer's or the policy's where None.
        benchmark: What the problems are on the hub.

    Raises:
        RunError: The run has no results yet.
        InputError: It has none of that model.
        RunStorageError: The folder cannot be written.
    """
    shown, origin = shown_of(run), provenance(run, screen)
    chosen = of or shown.main or next(iter(shown.scorers), POLICY)
    found = figures(shown, origin, chosen)
    if not found:
        raise InputError(f"the run has no figures of '{chosen}'", file=run.folder)
    policy = POLICY if shown.results is None else shown.results.policy
    name = title or (policy if chosen == POLICY else chosen)
    results = eval_results(found, benchmark, origin.created)
    files = {INDEX: index_file(name, found), **results}
    entries = [Entry(place, screen.text(data.decode()).encode()) for place, data in files.items()]
    write_entries(entries, folder)
    return Index(chosen, tuple(files), bool(results))
