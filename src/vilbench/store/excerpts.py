"""Single problems of a run with what belongs to them, without reading the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vilbench.store.database import decode
from vilbench.store.folder import image_path
from vilbench.store.run import Run
from vilbench.types import FileSource, Problem, Solution, StepScores


class Placed(NamedTuple):
    """A problem and its place in the run, from 1; places never change."""

    position: int
    problem: Problem


class Marks(NamedTuple):
    """How far the tables of a run have grown: the last row of each, 0 for none."""

    problems: int
    solutions: int
    scores: int


def marks(run: Run) -> Marks:
    """Where the tables of a run end now."""
    found = run.rows(
        "SELECT (SELECT max(position) FROM problems), (SELECT max(rowid) FROM solutions), "
        "(SELECT max(rowid) FROM scores)"
    )
    return Marks(*(int(one or 0) for one in found[0]))


def problems_at(run: Run, positions: Sequence[int]) -> list[Placed]:
    """Problems by their places, in the order of the run; places without one are left out."""
    wanted = ",".join(str(int(one)) for one in positions)
    rows = run.rows(
        f"SELECT position, record FROM problems WHERE position IN ({wanted}) ORDER BY position"  # noqa: S608
    )
    return [
        Placed(int(place), _bound(run, decode(Problem, text, run.folder))) for place, text in rows
    ]


def _bound(run: Run, problem: Problem) -> Problem:
    images = tuple(
        one.bound(FileSource(image_path(run.folder, one.digest))) for one in problem.images
    )
    return problem.model_copy(update={"images": images})


def solutions_of(run: Run, key: str, problem_id: str) -> list[Solution]:
    """Solutions of one problem under a key, in the order of the index."""
    rows = run.rows(
        "SELECT record FROM solutions WHERE key = ? AND problem_id = ? ORDER BY sample",
        key,
        problem_id,
    )
    return [decode(Solution, text, run.folder) for (text,) in rows]


def scores_of(run: Run, key: str, problem_id: str) -> list[StepScores]:
    """Scores of one problem under a key, in the order of the index."""
    rows = run.rows(
        "SELECT record FROM scores WHERE key = ? AND problem_id = ? ORDER BY sample",
        key,
        problem_id,
    )
    return [decode(StepScores, text, run.folder) for (text,) in rows]


def changed_since(run: Run, mark: Marks, sample_key: str, score_keys: Sequence[str]) -> set[int]:
    """Places of problems that got solutions or scores under these keys since a mark."""
    found = run.rows(
        "SELECT DISTINCT position FROM solutions JOIN problems ON problems.id = problem_id "
        "WHERE solutions.rowid > CAST(? AS INTEGER) AND key = ?",
        str(mark.solutions),
        sample_key,
    )
    if score_keys:
        held = ",".join("?" for _ in score_keys)
        found += run.rows(
            "SELECT DISTINCT position FROM scores JOIN problems "  # noqa: S608 - marks only
            "ON problems.id = problem_id "
            f"WHERE scores.rowid > CAST(? AS INTEGER) AND key IN ({held})",
            str(mark.scores),
            *score_keys,
        )
    return {int(place) for (place,) in found}
