"""A run: problems, solutions, scores, failures and events of one recipe, in one folder.

    run.sqlite       what was paid for, a row per solution and per score
    images/hh/sha    encoded images by the SHA-256 of their bytes
    manifest.json    recipe, versions, seed, fingerprint; written last when a run is made
    run.lock         locked by the one process that writes
    results.json     and other derived files, which can be made again

A unit is one `put_*` call: it is stored whole, before the call returns, or not at all.
After `kill -9` or a power cut the folder holds whole units only. Calls block for a few
milliseconds and must come from the thread that opened the run.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from pydantic import JsonValue

from vilbench.errors import RunError, RunMismatchError, RunStorageError
from vilbench.store import database
from vilbench.store.database import decode, encode, transaction
from vilbench.store.disk import replacing, storage_errors, sync_folder
from vilbench.store.folder import (
    LOCK,
    MANIFEST,
    RESULTS,
    check_is_run_or_new,
    image_path,
    is_derived_name,
    read_manifest,
    remove_derived,
    remove_run,
    write_manifest,
)
from vilbench.store.growth import departures
from vilbench.store.lock import WriterLock
from vilbench.store.manifest import Manifest, changed_lines
from vilbench.store.records import Event, Failure, ScoreRef, Stage
from vilbench.types import FileSource, Image, Problem, Solution, StepScores


class Run:
    """A run folder, open; made by `Run.open` for writing or `Run.read` for reading.

    Every method raises `RunStorageError` when the disk or the database fails.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        connection: sqlite3.Connection,
        lock: WriterLock | None,
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self._connection = connection
        self._lock = lock

    @classmethod
    def open(
        cls, folder: Path, manifest: Manifest, *, fresh: bool = False, extend: bool | None = None
    ) -> Run:
        """Create the run, or go on with the one that is there.

        Args:
            folder: Where; made with its parents.
            manifest: What this run is to be made with. An existing run keeps its own.
            fresh: Remove what a run left there first; never another file.
            extend: Also go on where the manifest only asks for more. The run still has its own
                manifest then: `grow` gives it the new one, once its problems are known to stay.
                None where the caller cannot be asked for that.

        Raises:
            RunLockedError: Another process writes to it.
            RunMismatchError: The run there has another fingerprint.
            RunStorageError: The folder is read-only, full or damaged.
            RunError: The folder holds something else, or a run of a newer schema.
        """
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            check_is_run_or_new(folder)
            lock = WriterLock(folder / LOCK)
            try:
                if fresh:
                    remove_run(folder)
                is_new = fresh or not (folder / MANIFEST).exists()
                return cls._opened(folder, manifest, lock, is_new=is_new, extend=extend)
            except BaseException:
                lock.release()
                raise

    @classmethod
    def _opened(
        cls,
        folder: Path,
        manifest: Manifest,
        lock: WriterLock,
        *,
        is_new: bool,
        extend: bool | None,
    ) -> Run:
        stored = manifest if is_new else read_manifest(folder)
        if stored.fingerprint != manifest.fingerprint:
            departed = departures(stored, manifest)
            if departed or extend is None:
                allowed = ", which differs in more than it may" if extend else ""
                raise RunMismatchError(
                    f"{folder}: the run there was made by another recipe{allowed}; "
                    "start over with --fresh, or choose another --out",
                    departed if extend else stored.differences(manifest),
                )
            if not extend:
                raise RunMismatchError(
                    f"{folder}: the run there was begun with other problems, fewer solutions or "
                    "fewer scorers; go on with it by --extend if none of its problems is left out, "
                    "start over with --fresh, or choose another --out",
                    stored.differences(manifest),
                )
        if not is_new and not (folder / database.FILE).exists():
            raise RunStorageError(
                f"{folder}: {database.FILE} is missing; put it back, or start over with --fresh"
            )
        connection = database.connect_writer(folder)
        try:
            run = cls(folder, stored, connection, lock)
            if is_new:
                run._finish_creation()
            elif stored.versions != manifest.versions:
                changes = changed_lines(dict(stored.versions), dict(manifest.versions))
                run.event("versions changed", {"changes": list(changes)})
        except BaseException:
            connection.close()
            raise
        return run

    def grow(self, manifest: Manifest) -> None:
        """Go on by another recipe, which asks for more; noted as an event.

        Results and what else was derived are removed: they would be those of the smaller run.

        Raises:
            RunMismatchError: It asks for something else.
        """
        if manifest.fingerprint == self.manifest.fingerprint:
            return
        departed = departures(self.manifest, manifest)
        if departed:
            raise RunMismatchError(f"{self.folder}: the recipe asks for something else", departed)
        changes = self.manifest.differences(manifest)
        self.event("extended", {"changes": list(changes)})
        grown = manifest.model_copy(update={"created": self.manifest.created})
        with self._writing():
            remove_derived(self.folder)
            write_manifest(self.folder, grown)
        self.manifest = grown

    def _finish_creation(self) -> None:
        """Write the manifest, which makes the folder a run."""
        stored = self._connection.execute("SELECT count(*) FROM problems").fetchone()[0]
        if stored:
            raise RunStorageError(
                f"{self.folder}: {MANIFEST} is missing though problems are stored; "
                "put it back, or start over with --fresh"
            )
        write_manifest(self.folder, self.manifest)
        with suppress(PermissionError):  # a parent that may be entered but not listed
            sync_folder(self.folder.absolute().parent)

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Open an existing run for reading, also while another process writes to it.

        Raises:
            RunStorageError: It is damaged or cannot be read.
            RunError: There is no run, or one of a newer schema.
        """
        with storage_errors(folder):
            if not (folder / MANIFEST).is_file():
                raise RunError(f"{folder}: there is no run here (no {MANIFEST})")
            return cls(folder, read_manifest(folder), database.connect_reader(folder), None)

    def close(self) -> None:
        """Close the run; the next process may write."""
        with storage_errors(self.folder):
            try:
                self._connection.close()
            finally:
                if self._lock is not None:
                    self._lock.release()
                    self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def add_problems(self, problems: Iterable[Problem]) -> None:
        """Store problems and the bytes of their images; what is there already stays.

        Raises:
            ImageError: The bytes of an image cannot be read.
            RunMismatchError: Another problem is stored under one of the ids.
        """
        problems = list(problems)
        with self._writing():
            for image in dict.fromkeys(image for problem in problems for image in problem.images):
                self._store_image(image)
            with transaction(self._connection):
                for problem in problems:
                    self._add_problem(problem)

    def check_problems(self, problems: Iterable[Problem]) -> None:
        """Refuses problems that are stored otherwise.

        Raises:
            RunMismatchError: Another problem is stored under one of the ids.
        """
        for problem in problems:
            self._is_stored(problem)

    def _add_problem(self, problem: Problem) -> None:
        text = encode(problem)
        if not self._is_stored(problem):
            insert = "INSERT INTO problems (id, record) VALUES (?, ?)"
            self._connection.execute(insert, (problem.id, text))

    def _is_stored(self, problem: Problem) -> bool:
        text = encode(problem)
        rows = self.rows("SELECT record FROM problems WHERE id = ?", problem.id)
        if rows and json.loads(rows[0][0]) != json.loads(text):
            raise RunMismatchError(
                f"{self.folder}: problem {problem.id!r} has changed since the run began; "
                "start over with --fresh, or choose another --out",
                changed_lines(json.loads(rows[0][0]), json.loads(text)),
            )
        return bool(rows)

    def _store_image(self, image: Image) -> None:
        path = image_path(self.folder, image.digest)
        try:
            if sha256(path.read_bytes()).hexdigest() == image.digest:
                return
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
        data = image.read()
        with replacing(path) as file:
            file.write(data)

    def problems(self) -> list[Problem]:
        """The problems in the order in which they were added, images bound to the run."""
        rows = self.rows("SELECT record FROM problems ORDER BY position")
        return [self._bound(decode(Problem, text, self.folder)) for (text,) in rows]

    def _bound(self, problem: Problem) -> Problem:
        images = tuple(
            image.bound(FileSource(image_path(self.folder, image.digest)))
            for image in problem.images
        )
        return problem.model_copy(update={"images": images})

    def put_solutions(self, key: str, solutions: Sequence[Solution]) -> None:
        """Store solutions as one unit; one that is stored already stays as it is.

        Args:
            key: Names everything that changes them, save the problem and the index.
            solutions: Of any problems of the run.

        Raises:
            RunError: One is of an unknown problem.
        """
        rows = [(key, one.problem_id, one.index, encode(one)) for one in solutions]
        self._put_unit("sample", "solutions", rows)

    def put_scores(self, key: str, scores: Sequence[StepScores]) -> None:
        """Store scores as one unit; one that is stored already stays, save one with an error.

        Args:
            key: Names everything that changes them: scorer and pool of solutions.
            scores: Of any problems of the run.

        Raises:
            RunError: One is of an unknown problem, or a value is not finite.
        """
        rows = [(key, one.problem_id, one.solution_index, encode(one)) for one in scores]
        self._put_unit("score", "scores", rows)

    def _put_unit(
        self,
        stage: Stage,
        table: Literal["solutions", "scores"],
        rows: Sequence[tuple[str, str, int, str]],
    ) -> None:
        with self._writing(), transaction(self._connection):
            if table == "scores":
                self._make_way(rows)
            try:
                self._connection.executemany(
                    f"INSERT INTO {table} (key, problem_id, sample, record) "  # noqa: S608
                    "VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    rows,
                )
            except sqlite3.IntegrityError as error:
                ids = sorted({row[1] for row in rows})
                raise RunError(f"{self.folder}: no such problem in the run: {ids}") from error
            self._connection.executemany(
                "DELETE FROM failures WHERE stage = ? AND key = ? AND problem_id = ?",
                {(stage, key, problem_id) for key, problem_id, _, _ in rows},
            )

    def _make_way(self, rows: Sequence[tuple[str, str, int, str]]) -> None:
        """Remove stored scores with an error that new ones are to take the place of."""
        where = "FROM scores WHERE key = ? AND problem_id = ? AND sample = ?"
        for *place, _ in rows:
            found = self._connection.execute(f"SELECT record {where}", place).fetchone()
            if found and decode(StepScores, found[0], self.folder).error is not None:
                self._connection.execute(f"DELETE {where}", place)

    def solutions(self, key: str) -> dict[str, list[Solution]]:
        """Stored solutions of a key by problem id, each list in the order of the index."""
        rows = self.rows(
            "SELECT solutions.record FROM solutions JOIN problems ON problems.id = problem_id "
            "WHERE key = ? ORDER BY position, sample",
            key,
        )
        found: dict[str, list[Solution]] = {}
        for (text,) in rows:
            solution = decode(Solution, text, self.folder)
            found.setdefault(solution.problem_id, []).append(solution)
        return found

    def scores(self, key: str) -> dict[ScoreRef, StepScores]:
        """Stored scores of a key, in the order of the problems and of the index."""
        rows = self.rows(
            "SELECT scores.record FROM scores JOIN problems ON problems.id = problem_id "
            "WHERE key = ? ORDER BY position, sample",
            key,
        )
        records = (decode(StepScores, text, self.folder) for (text,) in rows)
        return {ScoreRef(one.problem_id, one.solution_index): one for one in records}

    def solution_keys(self) -> list[str]:
        """Keys that have solutions, in the order in which they came."""
        return self._keys("SELECT key FROM solutions GROUP BY key ORDER BY min(rowid)")

    def score_keys(self) -> list[str]:
        """Keys that have scores, in the order in which they came."""
        return self._keys("SELECT key FROM scores GROUP BY key ORDER BY min(rowid)")

    def _keys(self, query: str) -> list[str]:
        return [key for (key,) in self.rows(query)]

    def put_failure(self, failure: Failure) -> None:
        """Store that a unit failed; a later failure of the same unit takes its place."""
        row = (failure.stage, failure.key, failure.problem_id, encode(failure))
        with self._writing(), transaction(self._connection):
            self._connection.execute("INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?)", row)

    def failures(self) -> list[Failure]:
        """Units that failed and have not succeeded since."""
        rows = self.rows("SELECT record FROM failures ORDER BY rowid")
        return [decode(Failure, text, self.folder) for (text,) in rows]

    def event(self, kind: str, data: Mapping[str, JsonValue] | None = None) -> None:
        """Note that something happened now."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        text = encode(Event(kind=kind, at=at, data=data or {}))
        with self._writing(), transaction(self._connection):
            self._connection.execute("INSERT INTO events (record) VALUES (?)", (text,))

    def events(self) -> list[Event]:
        """What happened, oldest first."""
        rows = self.rows("SELECT record FROM events ORDER BY number")
        return [decode(Event, text, self.folder) for (text,) in rows]

    def write_results(self, text: str) -> None:
        """Replace `results.json`."""
        self.write_derived(RESULTS, text.encode())

    def write_derived(self, name: str, data: bytes) -> Path:
        """Replace a file that can be made again from the run, whole or not at all.

        Args:
            name: Plain file name; `--fresh` removes it with the run.
            data: Its content.

        Raises:
            ValueError: The name is not plain, or one of the run's own.
        """
        if not is_derived_name(name):
            raise ValueError(f"{name!r} is no name for a derived file")
        with self._writing():
            with transaction(self._connection):
                insert = "INSERT INTO derived VALUES (?) ON CONFLICT DO NOTHING"
                self._connection.execute(insert, (name,))
            path = self.folder / name
            with replacing(path) as file:
                file.write(data)
        return path

    @contextmanager
    def unit(self) -> Iterator[sqlite3.Connection]:
        """All or nothing of what the block writes, for the modules beside this one."""
        with self._writing(), transaction(self._connection):
            yield self._connection

    def has_table(self, name: str) -> bool:
        """Whether the run has a table; one that was begun by an older vilbench may lack it."""
        return bool(self.rows("SELECT name FROM sqlite_master WHERE name = ?", name))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if self._lock is None:
            raise RunError(f"{self.folder}: the run is not open for writing")
        with storage_errors(self.folder):
            yield

    def rows(self, query: str, *values: str) -> list[tuple[str, ...]]:
        """Rows of a query, for the modules beside this one."""
        with storage_errors(self.folder):
            return self._connection.execute(query, values).fetchall()
