"""Search trees of a run: finished ones, and what was paid for those that are not.

A tree is stored whole when its search has ended. Until then every answer of a model is a row
of `calls`, so that a search that was killed is sent the same answers again and pays for none
of them twice. What belongs to one `put` is one unit.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from vilbench.errors import RunError
from vilbench.search import TreeRecord
from vilbench.store.database import decode, encode
from vilbench.store.records import Call, Spent
from vilbench.store.run import Run

_TABLE = "trees"


class Grown(NamedTuple):
    """A finished tree and what it cost."""

    tree: TreeRecord
    spent: Spent


def put(run: Run, key: str, calls: Collection[Call], grown: Collection[Grown] = ()) -> None:
    """Stores answers of unfinished searches, and finished trees, as one unit.

    A tree takes the place of its problem's calls and of its failure. What is stored already
    stays as it is.

    Args:
        run: Open for writing.
        key: Names everything that changes a tree, save the problem.
        calls: Answers of models.
        grown: Finished trees.

    Raises:
        RunError: One is of an unknown problem, or a number in it is not finite.
        RunStorageError: The disk or the database fails.
    """
    answers = [(key, one.problem_id, one.name, encode(one)) for one in calls]
    trees = [(key, one.tree.problem_id, encode(one.tree), encode(one.spent)) for one in grown]
    done = [(key, one.tree.problem_id) for one in grown]
    with run.unit() as connection:
        try:
            connection.executemany(
                "INSERT INTO calls (key, problem_id, name, record) VALUES (?, ?, ?, ?) "
                "ON CONFLICT DO NOTHING",
                answers,
            )
            connection.executemany(
                "INSERT INTO trees (key, problem_id, record, spent) VALUES (?, ?, ?, ?) "
                "ON CONFLICT DO NOTHING",
                trees,
            )
        except sqlite3.IntegrityError as error:
            raise RunError(f"{run.folder}: a tree of a problem that is not in the run") from error
        connection.executemany("DELETE FROM calls WHERE key = ? AND problem_id = ?", done)
        connection.executemany(
            "DELETE FROM failures WHERE stage = 'collect' AND key = ? AND problem_id = ?", done
        )


def calls(run: Run, key: str) -> dict[str, dict[str, Call]]:
    """Answers of unfinished searches, by problem id and name."""
    found: dict[str, dict[str, Call]] = {}
    for (text,) in _rows(run, "SELECT record FROM calls WHERE key = ? ORDER BY rowid", key):
        call = decode(Call, text, run.folder)
        found.setdefault(call.problem_id, {})[call.name] = call
    return found


def finished(run: Run, key: str) -> Mapping[str, Spent]:
    """What each finished tree cost, by problem id, in the order in which they were finished."""
    rows = _rows(run, "SELECT problem_id, spent FROM trees WHERE key = ? ORDER BY rowid", key)
    return {problem_id: decode(Spent, spent, run.folder) for problem_id, spent in rows}


def trees(run: Run, key: str) -> Iterator[Grown]:
    """Finished trees in the order of the problems, one at a time in memory."""
    names = _rows(
        run,
        "SELECT trees.problem_id FROM trees JOIN problems ON problems.id = trees.problem_id "
        "WHERE key = ? ORDER BY position",
        key,
    )
    query = "SELECT record, spent FROM trees WHERE key = ? AND problem_id = ?"
    for (name,) in names:
        for record, spent in _rows(run, query, key, name):
            yield Grown(decode(TreeRecord, record, run.folder), decode(Spent, spent, run.folder))


def one(run: Run, key: str, problem_id: str) -> TreeRecord | None:
    """The finished tree of a problem; None where there is none."""
    query = "SELECT record FROM trees WHERE key = ? AND problem_id = ?"
    for (text,) in _rows(run, query, key, problem_id):
        return decode(TreeRecord, text, run.folder)
    return None


def tree_keys(run: Run) -> list[str]:
    """Keys that have trees, in the order in which they came."""
    return [key for (key,) in _rows(run, "SELECT key FROM trees GROUP BY key ORDER BY min(rowid)")]


def _rows(run: Run, query: str, *values: str) -> list[tuple[str, ...]]:
    """Rows of a query; none where the run was begun before there were trees."""
    return run.rows(query, *values) if run.has_table(_TABLE) else []
