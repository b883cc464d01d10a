"""What the stages of a run noted when they began: which keys belong together.

A key holds the fingerprints of models, so that only a stage that has them at hand can
compute it. The notes let the analysis find solutions and scores again without a model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from vilbench.errors import RunError
from vilbench.store.run import Run

SAMPLE: Final = "sample"
SCORE: Final = "score"


@dataclass(frozen=True)
class Stages:
    """The pools that one sampler drew, one a problem, and the scores of them.

    Attributes:
        sample_key: Key of the solutions.
        n: Size of the pools.
        policy: Name of the policy.
        score_keys: Key of the latest scores of these solutions, by the scorer's name; a
            scorer that has not begun is not among them.
    """

    sample_key: str
    n: int
    policy: str
    score_keys: Mapping[str, str]


def note_sampling(run: Run, key: str, n: int, policy: str) -> None:
    """Note that solutions are stored under `key` from here on."""
    _note(run, SAMPLE, {"key": key, "n": n, "policy": policy})


def note_scoring(run: Run, scorer: str, key: str, sample_key: str) -> None:
    """Note that the scorer's values of the solutions under `sample_key` are under `key`."""
    _note(run, SCORE, {"scorer": scorer, "key": key, "sample_key": sample_key})


def noted(run: Run) -> Stages:
    """What was sampled last, and scored of it.

    Raises:
        RunError: Nothing has been sampled yet.
    """
    found = every_noted(run)
    if not found:
        raise RunError(f"{run.folder}: nothing has been sampled in this run yet")
    return found[-1]


def every_noted(run: Run) -> list[Stages]:
    """All that was sampled, what was sampled last at the end.

    There is more than one where a model changed under its name while the run went on.
    """
    latest: dict[str, Mapping[str, JsonValue]] = {}
    for note in _notes(run, SAMPLE):
        latest.pop(str(note["key"]), None)
        latest[str(note["key"])] = note
    return [_stages(run, note) for note in latest.values()]


def _stages(run: Run, last: Mapping[str, JsonValue]) -> Stages:
    return Stages(
        sample_key=str(last["key"]),
        n=int(str(last["n"])),
        policy=str(last["policy"]),
        score_keys={
            str(note["scorer"]): str(note["key"])
            for note in _notes(run, SCORE)
            if note["sample_key"] == last["key"]
        },
    )


def _note(run: Run, kind: str, data: Mapping[str, JsonValue]) -> None:
    alike = [note for note in _notes(run, kind) if note.get("scorer") == data.get("scorer")]
    if not alike or alike[-1] != data:
        run.event(kind, data)


def _notes(run: Run, kind: str) -> Iterator[Mapping[str, JsonValue]]:
    return (event.data for event in run.events() if event.kind == kind)
