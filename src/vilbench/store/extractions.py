"""Answers that a model named for solutions of a run, apart from the solutions themselves."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from vilbench.errors import RunError
from vilbench.store.database import decode, encode
from vilbench.store.records import EXTRACT, Extraction, ScoreRef
from vilbench.store.run import Run

_TABLE = "extractions"


def put(run: Run, key: str, found: Sequence[Extraction]) -> None:
    """Stores readings as one unit; one that is stored already stays as it is.

    Args:
        run: Open for writing.
        key: Names everything that changes them, save the solution.
        found: Of any problems of the run.

    Raises:
        RunError: One is of an unknown problem.
        RunStorageError: The disk or the database fails.
    """
    rows = [(key, one.problem_id, one.solution_index, encode(one)) for one in found]
    with run.unit() as connection:
        try:
            connection.executemany(
                "INSERT INTO extractions (key, problem_id, sample, record) VALUES (?, ?, ?, ?) "
                "ON CONFLICT DO NOTHING",
                rows,
            )
        except sqlite3.IntegrityError as error:
            ids = sorted({row[1] for row in rows})
            raise RunError(f"{run.folder}: no such problem in the run: {ids}") from error
        connection.executemany(
            "DELETE FROM failures WHERE stage = ? AND key = ? AND problem_id = ?",
            {(EXTRACT, key, one.problem_id) for one in found},
        )


def stored(run: Run, key: str) -> dict[ScoreRef, Extraction]:
    """Stored readings of a key by solution; none in a run of an older vilbench."""
    if not run.has_table(_TABLE):
        return {}
    rows = run.rows(
        "SELECT extractions.record FROM extractions JOIN problems ON problems.id = problem_id "
        "WHERE key = ? ORDER BY position, sample",
        key,
    )
    records = (decode(Extraction, text, run.folder) for (text,) in rows)
    return {ScoreRef(one.problem_id, one.solution_index): one for one in records}
