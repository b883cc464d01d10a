"""What a folder is, so that one command publishes it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

from vilbench.curate.folder import is_curated
from vilbench.errors import InputError
from vilbench.problems.prepared import is_prepared
from vilbench.store import trees
from vilbench.store.folder import MANIFEST
from vilbench.store.run import Run

_PRM, _TRAINING, _RESULT = "prm.json", "training.json", "prm"
"""Files and folder of a reward model and of its training, whose rooms need torch."""


class Kind(StrEnum):
    """Things that can be published."""

    MODEL = "model"
    DATA = "data"
    PROBLEMS = "problems"
    RESULTS = "results"


MEANINGS: Final = {
    Kind.MODEL: "a reward model, or the training that made one",
    Kind.DATA: "the trees of a run, as training data",
    Kind.PROBLEMS: "a curated or a prepared problem set",
    Kind.RESULTS: "a run's problems, solutions, scores and results",
}


class Found(NamedTuple):
    """What a folder is.

    Attributes:
        kind: The first of `kinds`, unless the user takes another.
        kinds: All that it can be published as.
        folder: Where that is: of a training the model's folder below it.
        training: Folder of the training that made a model; None where it is not at hand.
    """

    kind: Kind
    kinds: tuple[Kind, ...]
    folder: Path
    training: Path | None = None


def recognise(folder: Path, wanted: Kind | None = None) -> Found:
    """What a folder is.

    Args:
        folder: A reward model's, a training's, a run's or a problem set's.
        wanted: What it is to be published as, where it can be more than one thing.

    Raises:
        InputError: It is nothing that can be published, or not as what is wanted.
        RunError: It is a run that cannot be read.
    """
    found = _recognised(folder)
    if wanted is None:
        return found
    if wanted not in found.kinds:
        can = " or ".join(f"'{one}'" for one in found.kinds)
        raise InputError(f"can be published as {can}, not as '{wanted}'", file=folder)
    return found._replace(kind=wanted)


def _recognised(folder: Path) -> Found:
    if not folder.is_dir():
        raise InputError("there is no such folder", file=folder)
    if (folder / _PRM).is_file():
        of_a_training = folder.resolve().name == _RESULT and (folder.parent / _TRAINING).is_file()
        training = folder.parent if of_a_training else None
        return Found(Kind.MODEL, (Kind.MODEL,), folder, training)
    if (folder / _TRAINING).is_file():
        if not (folder / _RESULT / _PRM).is_file():
            raise InputError("the training has no model yet; go on with it", file=folder)
        return Found(Kind.MODEL, (Kind.MODEL,), folder / _RESULT, folder)
    if is_curated(folder) or is_prepared(folder):
        return Found(Kind.PROBLEMS, (Kind.PROBLEMS,), folder)
    if (folder / MANIFEST).is_file():
        kinds = _of_run(folder)
        return Found(kinds[0], kinds, folder)
    known = ", ".join(MEANINGS.values())
    raise InputError(f"is nothing that can be published: {known}", file=folder)


def _of_run(folder: Path) -> tuple[Kind, ...]:
    """A run that was sampled has results; one that searched has trees; a guided one has both."""
    with Run.read(folder) as run:
        sampled, grown = bool(run.solution_keys()), bool(trees.tree_keys(run))
    kinds = [*([Kind.RESULTS] if sampled else []), *([Kind.DATA] if grown else [])]
    if not kinds:
        raise InputError("the run holds neither solutions nor trees yet", file=folder)
    return tuple(kinds)
