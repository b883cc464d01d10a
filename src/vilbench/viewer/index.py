"""An index of a run beside it: what lists filter and sort by, kept up to date as the run grows.

It is a SQLite file in a cache folder, never in the run. It holds a row per problem, a row per
problem and method, the scorers' values, and the words of questions and solutions. Only problems
that changed are measured again: rows of a run are added and never changed, save scores whose
request failed, and problems that have such scores are measured at every look.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from vilbench.display.text import visible
from vilbench.evaluate.analysis import Plan
from vilbench.evaluate.pools import ScorerPlan
from vilbench.evaluate.results import Histogram
from vilbench.evaluate.stages import Stages
from vilbench.store import database
from vilbench.store.excerpts import Marks, changed_since, marks, problems_at
from vilbench.store.run import Run
from vilbench.viewer.measure import Measured, measure
from vilbench.viewer.query import Known, Query, spaced

_VERSION: Final = 3
_CHUNK: Final = 20
"""Problems that are stored together; short, so that readers wait for none of it."""

_BINS: Final = 16
_SNIPPET: Final = 240
_FRESH_FOR: Final = 10.0
"""Seconds for which counted values are good enough to colour by."""

_MOST_CHARACTERS: Final = 200_000
"""Most characters of a problem's texts that are searched."""

_TABLES = """
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


class Row(NamedTuple):
    """A problem in a list; every text is as stored."""

    position: int
    id: str
    source: str
    modality: str
    question: str
    image: str
    size: int
    stored: int
    correct: int


class Mark(NamedTuple):
    """How a method fared on one problem of a list."""

    share: float
    best: float | None
    tied: int


class Tally(NamedTuple):
    """Problems of a kind, and their solutions by verdict."""

    name: str
    problems: int
    stored: int
    correct: int


class Totals(NamedTuple):
    """Problems and solutions in the index, by verdict."""

    problems: int
    size: int
    stored: int
    correct: int
    wrong: int
    unparsed: int
    failed: int


class Progress(NamedTuple):
    """How far the index is behind the run, in problems."""

    done: int
    total: int

    @property
    def ready(self) -> bool:
        """Whether nothing is left to do."""
        return self.done >= self.total


class Index:
    """The index file of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._histograms: tuple[str, float, dict[str, Histogram]] = ("", 0.0, {})

    def look(self, run: Run, plan: Plan | None, stages: Stages | None) -> Progress:
        """Notes which problems have to be measured anew; cheap where nothing changed."""
        with self._writing() as db:
            now, keys = marks(run), dict(stages.score_keys) if stages else {}
            identity = _identity(run, plan, stages)
            meta = dict(db.execute("SELECT key, value FROM meta"))
            before = Marks(*json.loads(meta.get("marks", "[0, 0, 0]")))
            shrunk = any(new < old for new, old in zip(now, before, strict=True))
            if meta.get("identity") != identity or shrunk:
                self._clear(db)
                meta, before = {}, Marks(0, 0, 0)
            known = json.loads(meta.get("keys", "{}"))
            changed = {
                place for (place,) in db.execute("SELECT position FROM problems WHERE unsettled")
            }
            if not meta or any(keys.get(scorer) != key for scorer, key in known.items()):
                changed |= set(range(1, now.problems + 1))
            elif now != before or known != keys:
                changed |= set(range(before.problems + 1, now.problems + 1))
                if stages is not None:
                    fresh = [key for scorer, key in keys.items() if scorer not in known]
                    old = [key for scorer, key in keys.items() if scorer in known]
                    changed |= changed_since(run, before, stages.sample_key, old)
                    start = before._replace(solutions=now.solutions, scores=0)
                    changed |= changed_since(run, start, stages.sample_key, fresh)
            if changed or now != before or known != keys or not meta:
                with _transaction(db):
                    db.executemany(
                        "INSERT OR IGNORE INTO todo VALUES (?)", [(one,) for one in changed]
                    )
                    db.executemany(
                        "INSERT OR REPLACE INTO meta VALUES (?, ?)",
                        [
                            ("identity", identity),
                            ("marks", json.dumps(now)),
                            ("keys", json.dumps(keys)),
                        ],
                    )
            return _progress(db)

    def work(self, run: Run, plan: Plan | None, stages: Stages | None) -> Progress:
        """Measures a few of the problems that are to be; the rest at the next call."""
        with self._writing() as db:
            places = [
                place
                for (place,) in db.execute(
                    "SELECT position FROM todo ORDER BY position LIMIT ?", (_CHUNK,)
                )
            ]
            measured = [measure(run, plan, stages, one) for one in problems_at(run, places)]
            with _transaction(db):
                for one in measured:
                    _store(db, one, plan)
                db.executemany("DELETE FROM todo WHERE position = ?", [(one,) for one in places])
            return _progress(db)

    def known(self) -> Known:
        """What there is to filter by."""
        with self._reading() as db:
            return Known(
                *(
                    [value for (value,) in db.execute(question)]
                    for question in (
                        "SELECT source FROM problems GROUP BY source ORDER BY min(position)",
                        "SELECT modality FROM problems GROUP BY modality ORDER BY min(position)",
                        "SELECT name FROM methods ORDER BY number",
                    )
                ),
                whole=_progress(db).ready,
            )

    def find(self, query: Query) -> list[int]:
        """Places of the problems that a query keeps, in its order."""
        with self._reading() as db:
            asked = query.condition(_methods(db))
            found = db.execute(
                f"SELECT p.position FROM problems p {asked.joins} "  # noqa: S608 - our own words
                f"WHERE {asked.where} ORDER BY {asked.order}",
                asked.values,
            )
            return [place for (place,) in found]

    def count(self, query: Query) -> int:
        """How many problems a query keeps."""
        with self._reading() as db:
            asked = query.condition(_methods(db))
            found = db.execute(
                f"SELECT count(*) FROM problems p {asked.joins} WHERE {asked.where}",  # noqa: S608
                asked.values,
            ).fetchone()
            return int(found[0])

    def rows(self, places: Sequence[int]) -> list[Row]:
        """Problems by their places, in the order given."""
        with self._reading() as db:
            found = {
                row[0]: Row(*row)
                for row in db.execute(
                    "SELECT position, id, source, modality, question, "  # noqa: S608 - numbers
                    "image, size, stored, "
                    f"correct FROM problems WHERE position IN ({_list(places)})"
                )
            }
        return [found[place] for place in places if place in found]

    def outcomes(
        self, places: Sequence[int], methods: Sequence[str]
    ) -> dict[tuple[int, str], Mark]:
        """How methods fared on problems."""
        with self._reading() as db:
            names = {number: name for name, number in _methods(db).items() if name in methods}
            found = db.execute(
                "SELECT position, method, share, best, tied FROM outcomes "  # noqa: S608 - numbers
                f"WHERE method IN ({_list(list(names))}) "
                f"AND position IN ({_list(places)})"
            )
            return {(place, names[number]): Mark(*rest) for place, number, *rest in found}

    def totals(self) -> Totals:
        """All problems together."""
        with self._reading() as db:
            found = db.execute(
                "SELECT count(*), coalesce(sum(size), 0), coalesce(sum(stored), 0), "
                "coalesce(sum(correct), 0), coalesce(sum(wrong), 0), coalesce(sum(unparsed), 0), "
                "coalesce(sum(failed), 0) FROM problems"
            ).fetchone()
            return Totals(*found)

    def by(self, column: str) -> list[Tally]:
        """Problems by their source or modality."""
        if column not in ("source", "modality"):
            raise ValueError(column)
        with self._reading() as db:
            found = db.execute(
                f"SELECT {column}, count(*), sum(stored), sum(correct) FROM problems "  # noqa: S608
                f"GROUP BY {column} ORDER BY min(position)"
            )
            return [Tally(*row) for row in found]

    def accuracy(self) -> dict[str, float]:
        """Mean chance of being right by method, over the problems where it chose."""
        with self._reading() as db:
            found = db.execute(
                "SELECT name, avg(share) FROM outcomes JOIN methods ON number = method "
                "GROUP BY method ORDER BY number"
            )
            return dict(found.fetchall())

    def histograms(self, scorers: Sequence[ScorerPlan]) -> Mapping[str, Histogram]:
        """Values by scorer, counted again at most every few seconds while a run grows."""
        state, at, found = self._histograms
        if time.monotonic() - at < _FRESH_FOR and found:
            return found
        if (now := self.state()) != state or not found:
            found = {one.name: self.histogram(one) for one in scorers}
        self._histograms = (now, time.monotonic(), found)
        return found

    def histogram(self, scorer: ScorerPlan) -> Histogram:
        """A scorer's values in the bins that the report has."""
        right, wrong, missing = [np.zeros(0)], [np.zeros(0)], 0
        with self._reading() as db:
            for good, bad, none in db.execute(
                "SELECT correct, wrong, missing FROM readings WHERE scorer = ?", (scorer.name,)
            ):
                right.append(np.frombuffer(good))
                wrong.append(np.frombuffer(bad))
                missing += none
        kinds = [np.concatenate(right), np.concatenate(wrong)]
        if scorer.scale is not None:
            bounds = (scorer.scale.low, scorer.scale.high)
            kinds = [np.clip(kind, *bounds) for kind in kinds]
        else:
            every = np.concatenate(kinds)
            bounds = (float(every.min()), float(every.max())) if len(every) else (0.0, 1.0)
        edges = np.histogram_bin_edges(np.concatenate(kinds), _BINS, bounds)
        correct, incorrect = (np.histogram(kind, edges)[0] for kind in kinds)
        return Histogram(
            scorer=scorer.name,
            granularity=scorer.granularity,
            edges=tuple(edges.tolist()),
            counts=tuple((correct + incorrect).tolist()),
            correct=tuple(correct.tolist()),
            wrong=tuple(incorrect.tolist()),
            missing=missing,
        )

    def state(self) -> str:
        """Changes whenever the index does."""
        with self._reading() as db:
            meta = dict(db.execute("SELECT key, value FROM meta"))
            left = _progress(db)
        return f"{meta.get('identity', '')[:16]}.{meta.get('marks', '')}.{left.done}"

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, isolation_level=None, timeout=30)) as db:
            db.execute("PRAGMA journal_mode=WAL")
            # It can be made again: a power cut may cost it.
            db.execute("PRAGMA synchronous=OFF")
            if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                with _transaction(db):
                    for statement in _TABLES.split(";"):
                        db.execute(statement)
            yield db

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, isolation_level=None, timeout=30)) as db:
            db.execute("PRAGMA query_only=ON")
            db.execute("PRAGMA cache_size=-8000")
            yield db

    def _clear(self, db: sqlite3.Connection) -> None:
        with _transaction(db):
            for table in ("meta", "todo", "problems", "methods", "outcomes", "readings", "texts"):
                db.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
            db.execute("INSERT INTO words (words) VALUES ('delete-all')")


def _store(db: sqlite3.Connection, one: Measured, plan: Plan | None) -> None:
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
    numbers = _methods(db)
    db.execute(
        f"DELETE FROM outcomes WHERE position = ? AND method IN ({_list(list(numbers.values()))})",  # noqa: S608
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


def _identity(run: Run, plan: Plan | None, stages: Stages | None) -> str:
    """Changes with whatever makes the whole index another.

    The first event holds a time in milliseconds: a run that was begun anew in the same second
    may have the same file number.
    """
    file = (run.folder / database.FILE).stat()
    parts = (
        _VERSION,
        run.manifest.fingerprint,
        run.manifest.created,
        (file.st_dev, file.st_ino),
        run.rows("SELECT record FROM events ORDER BY number LIMIT 1"),
        plan,
        stages and (stages.sample_key, stages.n),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _methods(db: sqlite3.Connection) -> dict[str, int]:
    return dict(db.execute("SELECT name, number FROM methods").fetchall())


def _progress(db: sqlite3.Connection) -> Progress:
    left = db.execute("SELECT count(*) FROM todo").fetchone()[0]
    new = "SELECT count(*) FROM todo WHERE position NOT IN (SELECT position FROM problems)"
    known = db.execute("SELECT count(*) FROM problems").fetchone()[0]
    total = known + db.execute(new).fetchone()[0]
    return Progress(total - left, total)


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _list(numbers: Sequence[int]) -> str:
    return ",".join(str(int(one)) for one in numbers)
