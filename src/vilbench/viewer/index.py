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
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np

from vilbench.evaluate.analysis import Plan
from vilbench.evaluate.pools import ScorerPlan
from vilbench.evaluate.results import Histogram
from vilbench.evaluate.stages import Stages
from vilbench.store import database
from vilbench.store.excerpts import Marks, changed_since, marks, problems_at
from vilbench.store.run import Run
from vilbench.viewer.entries import TABLES, listed, methods, store
from vilbench.viewer.measure import measure
from vilbench.viewer.query import Known, Query

T = TypeVar("T")

_VERSION: Final = 3
_MOST_ANSWERS: Final = 64
"""Answers that are kept: lists of places, 8 bytes a problem, and counts."""

_CHUNK: Final = 20
"""Problems that are stored together; short, so that readers wait for none of it."""

_BINS: Final = 16
_FRESH_FOR: Final = 10.0
"""Seconds for which counted values are good enough to colour by."""


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
        self._answers: dict[Hashable, tuple[str, Any]] = {}

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
                    store(db, one, plan)
                db.executemany("DELETE FROM todo WHERE position = ?", [(one,) for one in places])
            return _progress(db)

    def _kept(self, question: Hashable, answer: Callable[[], T]) -> T:
        """An answer as long as the index stays as it is; the latest few are kept."""
        state = self.state()
        held = self._answers.pop(question, None)
        found: T = held[1] if held is not None and held[0] == state else answer()
        self._answers[question] = (state, found)
        while len(self._answers) > _MOST_ANSWERS:
            self._answers.pop(next(iter(self._answers)), None)
        return found

    def known(self) -> Known:
        """What there is to filter by."""
        return self._kept("known", self._known)

    def _known(self) -> Known:
        with self._reading() as db:
            sources, modalities, names = (
                [value for (value,) in db.execute(question)]
                for question in (
                    "SELECT source FROM problems GROUP BY source ORDER BY min(position)",
                    "SELECT modality FROM problems GROUP BY modality ORDER BY min(position)",
                    "SELECT name FROM methods ORDER BY number",
                )
            )
            return Known(sources, modalities, names, whole=_progress(db).ready)

    def find(self, query: Query) -> list[int]:
        """Places of the problems that a query keeps, in its order."""
        return self._kept(("find", replace(query, page=1)), lambda: self._find(query))

    def _find(self, query: Query) -> list[int]:
        with self._reading() as db:
            asked = query.condition(methods(db))
            found = db.execute(
                f"SELECT p.position FROM problems p {asked.joins} "  # noqa: S608 - our own words
                f"WHERE {asked.where} ORDER BY {asked.order}",
                asked.values,
            )
            return [place for (place,) in found]

    def count(self, query: Query) -> int:
        """How many problems a query keeps."""
        return self._kept(("count", query), lambda: self._count(query))

    def _count(self, query: Query) -> int:
        with self._reading() as db:
            asked = query.condition(methods(db))
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
                    f"correct FROM problems WHERE position IN ({listed(places)})"
                )
            }
        return [found[place] for place in places if place in found]

    def outcomes(self, places: Sequence[int], wanted: Sequence[str]) -> dict[tuple[int, str], Mark]:
        """How methods fared on problems."""
        with self._reading() as db:
            names = {number: name for name, number in methods(db).items() if name in wanted}
            found = db.execute(
                "SELECT position, method, share, best, tied FROM outcomes "  # noqa: S608 - numbers
                f"WHERE method IN ({listed(list(names))}) "
                f"AND position IN ({listed(places)})"
            )
            return {(place, names[number]): Mark(*rest) for place, number, *rest in found}

    def totals(self) -> Totals:
        """All problems together."""
        return self._kept("totals", self._totals)

    def _totals(self) -> Totals:
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
        return self._kept(("by", column), lambda: self._by(column))

    def _by(self, column: str) -> list[Tally]:
        with self._reading() as db:
            found = db.execute(
                f"SELECT {column}, count(*), sum(stored), sum(correct) FROM problems "  # noqa: S608
                f"GROUP BY {column} ORDER BY min(position)"
            )
            return [Tally(*row) for row in found]

    def accuracy(self) -> dict[str, float]:
        """Mean chance of being right by method, over the problems where it chose."""
        return self._kept("accuracy", self._accuracy)

    def _accuracy(self) -> dict[str, float]:
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
                    for statement in TABLES.split(";"):
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
