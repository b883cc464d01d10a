"""How far a run is: what each stage has done, lost and still has before it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, Final, Literal, TypeVar

from vilbench.collect.forest import COLLECT
from vilbench.evaluate.analysis import Plan
from vilbench.evaluate.stages import SAMPLE, SCORE, every_noted
from vilbench.store import database
from vilbench.store import trees as stored
from vilbench.store.database import decode
from vilbench.store.records import Event, Failure
from vilbench.store.run import Run
from vilbench.viewer.live import running

_GUIDED: Final = "guided"
"""Rule of trees that 'vilbench search' grows."""

_FAILURES = 5
"""Failures that are told."""

_REMEMBERED = 600.0
"""Seconds over which a pace is measured, at most."""

_SOON = 5.0
"""Seconds that a pace is measured over, at least."""

_MOST_STAGES, _MOST_TALLIES = 500, 8
"""How much is remembered over all runs."""

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True)
class Stage:
    """A stage of a run.

    Attributes:
        name: "sample", "collect", "search" for trees of a guided search, or the name of a scorer.
        kind: "sample", "score" or "collect".
        done: Problems that are done.
        total: Problems that there are to do.
        failed: Problems that failed and have not succeeded since.
        pace: Problems in a minute, as this viewer has seen it; None as long as it has not.
        left: Minutes to the end at that pace; None without one.
        begun: Whether the stage has begun.
    """

    name: str
    kind: str
    done: int
    total: int
    failed: int
    pace: float | None
    left: float | None
    begun: bool

    @property
    def state(self) -> str:
        """Where it stands, in a word."""
        if self.total and self.done >= self.total:
            return "done"
        return "under way" if self.begun else "waits"


@dataclass(frozen=True)
class Standing:
    """A run as it stands.

    Attributes:
        running: A process writes to it.
        problems: Problems in the run.
        stages: In the order in which they are done.
        happened: Kind of the last event; "" for none.
        at: When, ISO 8601 in UTC.
        written: When the database was written last, ISO 8601 in UTC.
        growing: Search trees that are begun and not finished.
        failures: The latest of them.
        failed: How many there are.
    """

    running: bool
    problems: int
    stages: tuple[Stage, ...]
    happened: str
    at: str
    written: str
    growing: int
    failures: tuple[Failure, ...]
    failed: int


class _Tally:
    """Rows of a table by key and problem, kept up to date by the rows that came since.

    Rows are added and, at most, replaced by others of the same key and problem.
    """

    def __init__(self, table: str) -> None:
        self._table = table
        self._last = 0
        self._counts: dict[str, dict[str, int]] = {}

    def refresh(self, run: Run) -> None:
        """Reads what came since the last time."""
        newest = _number(run, f"SELECT max(rowid) FROM {self._table}")  # noqa: S608
        if newest <= self._last:
            return
        rows: Sequence[Sequence[Any]] = run.rows(
            f"SELECT key, problem_id, count(*) FROM {self._table} "  # noqa: S608
            "WHERE rowid > CAST(? AS INTEGER) AND rowid <= CAST(? AS INTEGER) "
            "GROUP BY key, problem_id",
            str(self._last),
            str(newest),
        )
        self._last = newest
        for key, problem, count in rows:
            counts = self._counts.setdefault(key, {})
            counts[problem] = counts.get(problem, 0) + count

    def problems(self, key: str, least: int = 1) -> int:
        """Problems with at least so many rows under a key."""
        return sum(count >= least for count in self._counts.get(key, {}).values())


@dataclass
class Paces:
    """What the viewer remembers of runs between requests: counts, and when it saw them."""

    _seen: dict[tuple[Path, int, str], deque[tuple[float, int]]] = field(default_factory=dict)
    _tallies: dict[tuple[Path, int, str], _Tally] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def pace(self, run: Run, stage: str, done: int) -> float | None:
        """Problems in a minute over the last ten minutes; None before it can be told."""
        now = time.monotonic()
        with self._lock:
            times = _kept(self._seen, (run.folder, _inode(run), stage), deque, _MOST_STAGES)
            if not times or now - times[-1][0] > 1.0:
                times.append((now, done))
            while len(times) > 1 and now - times[0][0] > _REMEMBERED:
                times.popleft()
            began, before = times[0]
        if now - began < _SOON or done <= before:
            return None
        return 60 * (done - before) / (now - began)

    def count(self, run: Run, table: Literal["solutions", "scores"], key: str, least: int) -> int:
        """Problems with at least so many rows under a key."""
        name = (run.folder, _inode(run), table)
        with self._lock:
            tally = _kept(self._tallies, name, lambda: _Tally(table), _MOST_TALLIES)
            tally.refresh(run)
            return tally.problems(key, least)


def _kept(known: dict[K, V], name: K, make: Callable[[], V], most: int) -> V:
    """The value of a name, made where there is none; those asked for longest ago go."""
    found = known.pop(name, None)
    known[name] = found = make() if found is None else found
    while len(known) > most:
        del known[next(iter(known))]
    return found


def standing(run: Run, plan: Plan | None, paces: Paces) -> Standing:
    """How far the run is.

    Args:
        run: The run.
        plan: What its recipe wants scored; None where that cannot be told.
        paces: What is remembered between requests.
    """
    last = _events(run, "ORDER BY number DESC LIMIT 1")
    failures = [
        decode(Failure, text, run.folder)
        for (text,) in run.rows(
            f"SELECT record FROM failures ORDER BY rowid DESC LIMIT {_FAILURES}"  # noqa: S608
        )
    ]
    return Standing(
        running=running(run.folder),
        problems=_number(run, "SELECT count(*) FROM problems"),
        stages=tuple(_stages(run, plan, paces)),
        happened=_called(last[0]) if last else "",
        at=_moment(last[0].at) if last else "",
        written=written(run.folder),
        growing=_number(run, "SELECT count(DISTINCT problem_id) FROM calls")
        if run.has_table("calls")
        else 0,
        failures=tuple(failures),
        failed=_number(run, "SELECT count(*) FROM failures"),
    )


def _stages(run: Run, plan: Plan | None, paces: Paces) -> Sequence[Stage]:
    problems = _number(run, "SELECT count(*) FROM problems")
    found: list[Stage] = []
    samplings = every_noted(run)
    if samplings:
        last = samplings[-1]
        done = paces.count(run, "solutions", last.sample_key, last.n)
        found.append(_stage(run, paces, SAMPLE, SAMPLE, last.sample_key, done, problems))
        pools = paces.count(run, "solutions", last.sample_key, 1)
        found += _scorers(run, paces, last.score_keys, plan, pools)
    elif plan is not None:
        found.append(Stage(SAMPLE, SAMPLE, 0, problems, 0, None, None, begun=False))
    noted = {str(event.data["key"]): event for event in _collections(run)}
    for key in stored.tree_keys(run)[-1:] or list(noted)[-1:]:
        done = _number(run, "SELECT count(*) FROM trees WHERE key = ?", key)
        name = _called(noted[key]) if key in noted else COLLECT
        found.append(_stage(run, paces, name, COLLECT, key, done, problems))
    return found


def _scorers(
    run: Run, paces: Paces, keys: Mapping[str, str], plan: Plan | None, total: int
) -> Sequence[Stage]:
    planned = [] if plan is None else [one.name for one in plan.scorers]
    found = []
    for name in dict.fromkeys([*planned, *keys]):
        key = keys.get(name)
        if key is None:
            found.append(Stage(name, SCORE, 0, total, 0, None, None, begun=False))
            continue
        done = paces.count(run, "scores", key, 1)
        found.append(_stage(run, paces, name, SCORE, key, done, total))
    return found


def _stage(run: Run, paces: Paces, name: str, kind: str, key: str, done: int, total: int) -> Stage:
    failed = _number(run, "SELECT count(*) FROM failures WHERE stage = ? AND key = ?", kind, key)
    pace = paces.pace(run, key, done) if done < total else None
    left = None if pace is None else (total - done) / pace
    return Stage(name, kind, done, total, failed, pace, left, begun=True)


def _collections(run: Run) -> list[Event]:
    """Which trees were asked for, the last ones at the end."""
    return _events(run, "WHERE json_extract(record, '$.kind') = 'collect' ORDER BY number")


def _called(event: Event) -> str:
    """What an event is called: guided trees are found by another command than collected ones."""
    guided = event.kind == COLLECT and event.data.get("rule") == _GUIDED
    return "search" if guided else event.kind


def _events(run: Run, which: str) -> list[Event]:
    rows = run.rows(f"SELECT record FROM events {which}")  # noqa: S608 - our own words
    return [decode(Event, text, run.folder) for (text,) in rows]


def _number(run: Run, query: str, *values: str) -> int:
    rows: Sequence[Sequence[Any]] = run.rows(query, *values)
    return int(rows[0][0] or 0)


def written(folder: Path) -> str:
    """When a run was written last, in UTC; "" where that cannot be told.

    A reader makes the log where there is none: an empty one says nothing.
    """
    times = []
    for name in (database.FILE, f"{database.FILE}-wal"):
        with suppress(OSError):
            found = (folder / name).stat()
            if found.st_size:
                times.append(found.st_mtime)
    if not times:
        return ""
    return datetime.fromtimestamp(max(times), UTC).strftime("%Y-%m-%d %H:%M:%S")


def _moment(text: str) -> str:
    return text[:19].replace("T", " ")


def _inode(run: Run) -> int:
    return (run.folder / database.FILE).stat().st_ino
