"""Where a run comes from: what its cards and logs say beside its figures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

from pydantic import JsonValue, ValidationError

from vilbench.errors import RunError
from vilbench.evaluate.results import Results, Row
from vilbench.problems.adapters import SOURCES, find
from vilbench.publish.privacy import Screen
from vilbench.stepbench.records import Stepbench
from vilbench.store.folder import RESULTS
from vilbench.store.run import Run

STEPBENCH: Final = "stepbench.json"

Kept = TypeVar("Kept", Results, Stepbench)

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
    known = find(title)
    part = known.parts.get(split)
    commits = {commit for one in origins for commit in _COMMIT.findall(one)}
    return Dataset(
        problem_set,
        known.repository,
        None if part is None else part.config,
        None if part is None else part.split,
        commits.pop() if len(commits) == 1 else None,
    )


class Shown(NamedTuple):
    """What a run has shown: of selection, of marked steps, or of both."""

    results: Results | None
    steps: Stepbench | None

    @property
    def rows(self) -> tuple[Row, ...]:
        """Of selection at every k over every slice."""
        return () if self.results is None else self.results.rows

    @property
    def scorers(self) -> tuple[str, ...]:
        """Scorers that there are figures of."""
        found = [*(self.results.scorers if self.results else ())]
        found += [*(self.steps.scorers if self.steps else ())]
        return tuple(dict.fromkeys(found))

    @property
    def main(self) -> str | None:
        """The scorer that the run is about."""
        given = [one.main for one in (self.results, self.steps) if one is not None and one.main]
        return next(iter(given), None)

    @property
    def best(self) -> tuple[Row, ...]:
        """Every way to select at the largest k, over all problems."""
        whole = [row for row in self.rows if row.source == row.modality == "all"]
        most = max((row.k for row in whole), default=0)
        return tuple(row for row in whole if row.k == most)


def shown_of(run: Run) -> Shown:
    """The run's `results.json` and `stepbench.json`, as far as they are there.

    Raises:
        RunError: Both are missing, or one is damaged or of another run.
    """
    results = _read(run, RESULTS, Results, "vilbench report")
    steps = _read(run, STEPBENCH, Stepbench, "vilbench stepbench")
    if results is None and steps is None:
        raise RunError(f"{run.folder}: the run has no {RESULTS} yet; 'vilbench report' makes it")
    return Shown(results, steps)


def _read(run: Run, name: str, kind: type[Kept], command: str) -> Kept | None:
    path = run.folder / name
    try:
        found = kind.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise RunError(f"{path}: cannot be read; '{command}' makes it anew") from error
    if found.fingerprint != run.manifest.fingerprint:
        raise RunError(f"{path}: is of another run; '{command}' makes it anew")
    return found
