"""The tables of an index, and how a measured problem is written into them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

import numpy as np

from vilbench.display.text import visible
from vilbench.evaluate.analysis import Plan
from vilbench.viewer.measure import Measured
from vilbench.viewer.query import spaced

_SNIPPET: Final = 240
_MOST_CHARACTERS: Final = 200_000
"""Most characters of a problem's texts that are searched."""

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE todo (position INTEGER PRIMARY KEY);
CREATE TABLE problems (
    position INTEGER PRIMARY KEY, id TEXT, source TEXT, modality TEXT, question TEXT,
    image TEXT, size INTEGER, stored INTEGER, correct INTEGER, wrong INTEGER,
    unparsed INTEGER, failed INTEGER, unsettled INTEGER);
CREATE INDEX by_source ON problems (source, modality);
CREATE TABLE methods (number INTEGER PRIMARY KEY, name TEXT UNIQUE);
CREATE TABLE outcomes (
    method INTEGER, position INTEGER, share REAL, best REAL, chosen INTEGER, tied INTEGER,
    PRIMARY KEY (method, position)) WITHOUT ROWID;
CREATE TABLE readings (
    scorer TEXT, position INTEGER, correct BLOB, wrong BLOB, missing INTEGER,
    PRIMARY KEY (scorer, position)) WITHOUT ROWID;
CREATE TABLE texts (position INTEGER PRIMARY KEY, number INTEGER, stored INTEGER);
CREATE INDEX by_number ON texts (number);
CREATE VIRTUAL TABLE words USING fts5 (body, content='', tokenize='unicode61');
"""


def store(db: sqlite3.Connection, one: Measured, plan: Plan | None) -> None:
    """Puts a problem in the place of what was known of it."""
    problem, place = one.pools.problems[0], one.position
    verdicts = [solution.verdict for solution in one.pool[:]] if one.stored else []
    waiting = sum(s.error == "no solution is stored" for s in one.pool)
    db.execute(
        "INSERT OR REPLACE INTO problems VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            place,
            visible(problem.id),
            visible(problem.source),
            problem.modality,
            visible(problem.question[:_SNIPPET]),
            problem.images[0].digest if problem.images else "",
            len(one.pool),
            one.stored,
            verdicts.count("correct"),
            verdicts.count("wrong"),
            verdicts.count("unparsed"),
            verdicts.count("failed") - (waiting if one.stored else 0),
            one.unsettled,
        ),
    )
    numbers = methods(db)
    db.execute(
        f"DELETE FROM outcomes WHERE position = ? AND method IN ({listed(list(numbers.values()))})",  # noqa: S608
        (place,),
    )
    for name in one.outcomes:
        if name not in numbers:
            found = db.execute("INSERT INTO methods (name) VALUES (?)", (name,))
            numbers[name] = found.lastrowid or 0
    db.executemany(
        "INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?, ?, ?, ?)",
        [
            (
                numbers[name],
                place,
                o.share,
                o.best,
                o.chosen[0] if o.chosen else None,
                len(o.chosen),
            )
            for name, o in one.outcomes.items()
        ],
    )
    right = [solution.verdict == "correct" for solution in one.pool]
    for scorer in plan.scorers if plan else ():
        given = one.given.get(scorer.name)
        if not given:
            where = "scorer = ? AND position = ?"
            db.execute(f"DELETE FROM readings WHERE {where}", (scorer.name, place))  # noqa: S608
        else:
            kinds: tuple[list[float], list[float]] = ([], [])
            missing = 0
            for index, record in given.items():
                for value in record.values if index < len(right) else ():
                    if value is None:
                        missing += 1
                    else:
                        kinds[0 if right[index] else 1].append(value)
            db.execute(
                "INSERT OR REPLACE INTO readings VALUES (?, ?, ?, ?, ?)",
                (scorer.name, place, *(np.array(kind).tobytes() for kind in kinds), missing),
            )
    _store_words(db, one)


def _store_words(db: sqlite3.Connection, one: Measured) -> None:
    """The texts of a problem under a new number where they changed; the old one is forgotten."""
    held = db.execute("SELECT stored FROM texts WHERE position = ?", (one.position,)).fetchone()
    if held is not None and held[0] == one.stored:
        return
    problem = one.pools.problems[0]
    lines = dict.fromkeys(
        [problem.id, problem.question, *problem.choices]
        + [line for solution in one.pool for line in solution.text.split("\n")]
    )
    body = spaced("\n".join(lines)[:_MOST_CHARACTERS])
    body = body.encode("utf-8", "replace").decode("utf-8")
    number = (db.execute("SELECT max(number) FROM texts").fetchone()[0] or 0) + 1
    db.execute("INSERT INTO words (rowid, body) VALUES (?, ?)", (number, body))
    db.execute("INSERT OR REPLACE INTO texts VALUES (?, ?, ?)", (one.position, number, one.stored))


def methods(db: sqlite3.Connection) -> dict[str, int]:
    """Numbers of the methods by their names."""
    return dict(db.execute("SELECT name, number FROM methods").fetchall())


def listed(numbers: Sequence[int]) -> str:
    """Whole numbers for a list in SQL."""
    return ",".join(str(int(one)) for one in numbers)
