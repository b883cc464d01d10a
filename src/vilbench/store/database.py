"""The SQLite file of a run: its tables, how it is opened, and records as JSON text.

Commits are durable against a power cut, not only against a killed process
(`synchronous=FULL`): a unit costs seconds of a model or money, its fsync milliseconds.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from pydantic import ValidationError

from vilbench.errors import RunError, RunStorageError
from vilbench.types import SCHEMA_VERSION, Record

FILE = "run.sqlite"
APPLICATION_ID = 0x76696C62
"""Marks the file as ours in SQLite's header ("vilb")."""

_HEADER = b"SQLite format 3\0"
_APPLICATION_ID_AT = 68

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE problems (
    position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, record TEXT NOT NULL);
CREATE TABLE solutions (
    key TEXT NOT NULL, problem_id TEXT NOT NULL REFERENCES problems (id),
    sample INTEGER NOT NULL, record TEXT NOT NULL, UNIQUE (key, problem_id, sample));
CREATE TABLE scores (
    key TEXT NOT NULL, problem_id TEXT NOT NULL REFERENCES problems (id),
    sample INTEGER NOT NULL, record TEXT NOT NULL, UNIQUE (key, problem_id, sample));
CREATE TABLE failures (
    stage TEXT NOT NULL, key TEXT NOT NULL, problem_id TEXT NOT NULL, record TEXT NOT NULL,
    UNIQUE (stage, key, problem_id));
CREATE TABLE events (number INTEGER PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE derived (name TEXT PRIMARY KEY) WITHOUT ROWID;
"""

_LATER_TABLES = """
CREATE TABLE IF NOT EXISTS trees (
    key TEXT NOT NULL, problem_id TEXT NOT NULL REFERENCES problems (id),
    record TEXT NOT NULL, spent TEXT NOT NULL, UNIQUE (key, problem_id));
CREATE TABLE IF NOT EXISTS calls (
    key TEXT NOT NULL, problem_id TEXT NOT NULL REFERENCES problems (id),
    name TEXT NOT NULL, record TEXT NOT NULL, UNIQUE (key, problem_id, name));
CREATE TABLE IF NOT EXISTS extractions (
    key TEXT NOT NULL, problem_id TEXT NOT NULL REFERENCES problems (id),
    sample INTEGER NOT NULL, record TEXT NOT NULL, UNIQUE (key, problem_id, sample));
"""
"""Added to runs that were begun without them; nothing in these changes what was there."""

R = TypeVar("R", bound=Record)


def is_ours(file: Path) -> bool:
    """Whether a file begins like a run's database; False where there is none."""
    try:
        with file.open("rb") as stream:
            head = stream.read(_APPLICATION_ID_AT + 4)
    except OSError:
        return False
    mark = APPLICATION_ID.to_bytes(4, "big")
    return head.startswith(_HEADER) and head[_APPLICATION_ID_AT:] == mark


def connect_writer(folder: Path) -> sqlite3.Connection:
    """The folder's database for reading and writing, made where it is missing.

    Raises:
        sqlite3.Error: It cannot be opened, or is damaged.
        RunError: It is of a newer schema, or another program's.
    """
    connection = sqlite3.connect(folder / FILE, isolation_level=None)
    try:
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables:
            _check_version(connection, folder)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        if not tables:
            # Before the log is turned on, so that our mark stands in the file's own header.
            _create(connection)
        connection.execute("PRAGMA journal_mode=WAL")
        with transaction(connection):
            for statement in _LATER_TABLES.split(";"):
                connection.execute(statement)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reader(folder: Path) -> sqlite3.Connection:
    """The folder's database for reading, in a folder that may be read-only.

    Reading beside a writer goes through the write-ahead log and its index file. Where
    that index cannot be made and there is a log (a run that was killed, then made
    read-only), a copy is read; where there is no log, the file alone is the whole.

    Raises:
        sqlite3.Error: It cannot be opened, or is damaged.
        RunError: It is of a newer schema, or another program's.
    """
    file = folder / FILE
    try:
        return _opened_reader(file, folder, "mode=ro")
    except sqlite3.OperationalError as error:
        codes = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
        if error.sqlite_errorcode & 0xFF not in codes or not file.exists():
            raise
    log = file.with_name(FILE + "-wal")
    if not log.exists() or log.stat().st_size == 0:
        return _opened_reader(file, folder, "mode=ro&immutable=1")
    with tempfile.TemporaryDirectory() as copies:
        for source in (file, log):
            shutil.copyfile(source, Path(copies) / source.name)
        in_memory = sqlite3.connect(":memory:", isolation_level=None)
        copied = sqlite3.connect(Path(copies) / FILE, isolation_level=None)
        try:
            copied.backup(in_memory)
        finally:
            copied.close()
    _check_version(in_memory, folder)
    in_memory.execute("PRAGMA query_only=ON")
    return in_memory


def _opened_reader(file: Path, folder: Path, options: str) -> sqlite3.Connection:
    uri = f"file:{quote(str(file.absolute()))}?{options}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    try:
        _check_version(connection, folder)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_version(connection: sqlite3.Connection, folder: Path) -> None:
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise RunError(f"{folder}: {FILE} belongs to another program")
    row = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    if row is None or not row[0].isdigit():
        raise RunStorageError(f"{folder}: {FILE} is damaged (no schema version)")
    if int(row[0]) > SCHEMA_VERSION:
        raise RunError(
            f"{folder}: the run has schema version {row[0]}, this vilbench knows "
            f"{SCHEMA_VERSION}: use a newer vilbench"
        )


def _create(connection: sqlite3.Connection) -> None:
    with transaction(connection):
        for statement in _TABLES.split(";"):
            connection.execute(statement)
        connection.execute("INSERT INTO meta VALUES ('schema_version', ?)", (str(SCHEMA_VERSION),))
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing of what the block writes."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A full disk makes SQLite roll back by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def encode(record: Record) -> str:
    """A record as JSON text; what JSON cannot say (NaN, infinities) is refused.

    Raises:
        RunError: A number in it is not finite.
    """
    try:
        return json.dumps(record.model_dump(mode="json"), allow_nan=False)
    except ValueError as error:
        kind = type(record).__name__
        raise RunError(f"{kind} cannot be stored: {error}; no value is None") from error


def decode(kind: type[R], text: str, folder: Path) -> R:
    """The record that `encode` wrote.

    Raises:
        RunStorageError: The text is damaged.
    """
    try:
        return kind.model_validate_json(text)
    except ValidationError:
        # It reads three times as fast as `json` does, but not everything that `json` wrote.
        pass
    try:
        return kind.model_validate(json.loads(text))
    except (ValueError, ValidationError) as error:
        raise RunStorageError(f"{folder}: a stored {kind.__name__} is damaged: {error}") from error
