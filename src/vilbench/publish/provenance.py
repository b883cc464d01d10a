"""Where a run comes from: what its cards and logs say beside its figures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue, ValidationError

from vilbench.errors import RunError
from vilbench.evaluate.results import Results
from vilbench.problems.adapters import SOURCES, source
from vilbench.publish.privacy import Screen
from vilbench.store.folder import RESULTS
from vilbench.store.run import Run

_COMMIT = re.compile(r"@([0-9a-f]{40})\b")


@dataclass(frozen=True)
class Dataset:
    """A set of problems as the hub knows it.

    Attributes:
        name: The set, such as "mathvista:testmini".
        repository: "owner/name" on the hub; None where it is not known there.
        config: Configuration on the hub; None for the only one.
        split: Split on the hub.
        revision: Commit that the problems were read at.
    """

    name: str
    repository: str | None = None
    config: str | None = None
    split: str | None = None
    revision: str | None = None


@dataclass(frozen=True)
class Provenance:
    """What made a run, free of secrets and of places of the user's.

    Attributes:
        name: Of the run.
        fingerprint: Of the run.
        created: ISO 8601 in UTC.
        seed: Of the run.
        recipe: Everything that changes the output.
        versions: Of the packages.
        commands: Those that did paid work, oldest first.
        origins: Where the problems were read, in words.
        dataset: The problems as the hub knows them.
    """

    name: str
    fingerprint: str
    created: str
    seed: int
    recipe: Mapping[str, JsonValue]
    versions: Mapping[str, str]
    commands: tuple[str, ...]
    origins: tuple[str, ...]
    dataset: Dataset


def provenance(run: Run, screen: Screen) -> Provenance:
    """What made a run."""
    manifest, events = run.manifest, run.events()
    origins: dict[str, None] = {}
    for event in events:
        listed = event.data.get("origins") if event.kind == "input read" else None
        for one in listed if isinstance(listed, list) else []:
            origins[str(one)] = None
    lines = [str(event.data.get("line", "")) for event in events if event.kind == "command"]
    return Provenance(
        name=screen.told(manifest.name),
        fingerprint=manifest.fingerprint,
        created=manifest.created,
        seed=manifest.seed,
        recipe=screen.recipe(dict(manifest.recipe)),
        versions=manifest.versions,
        commands=tuple(dict.fromkeys(screen.told(line) for line in lines if line)),
        origins=tuple(screen.told(one) for one in origins),
        dataset=dataset_of(manifest.problem_set, tuple(origins)),
    )


def dataset_of(problem_set: str, origins: tuple[str, ...]) -> Dataset:
    """A set by its name; of several sets together the hub knows none."""
    title, _, split = problem_set.partition(":")
    if "+" in problem_set or title not in SOURCES:
        return Dataset(problem_set)
    known = source(title)
    part = known.parts.get(split)
    commits = {commit for one in origins for commit in _COMMIT.findall(one)}
    return Dataset(
        problem_set,
        known.repository,
        None if part is None else part.config,
        None if part is None else part.split,
        commits.pop() if len(commits) == 1 else None,
    )


def results_of(run: Run) -> Results:
    """The run's `results.json`.

    Raises:
        RunError: It is missing, damaged, or of another run.
    """
    path = run.folder / RESULTS
    try:
        results = Results.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise RunError(
            f"{run.folder}: the run has no {RESULTS} yet; 'vilbench report' makes it"
        ) from error
    except (OSError, ValidationError) as error:
        raise RunError(f"{path}: cannot be read; 'vilbench report' makes it anew") from error
    if results.fingerprint != run.manifest.fingerprint:
        raise RunError(f"{path}: is of another run; 'vilbench report' makes it anew")
    return results
