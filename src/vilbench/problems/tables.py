"""Tables of raw rows: Parquet, TSV, CSV, JSON lines and JSON, in a folder or an archive.

Rows count from 1; in TSV and CSV the first one below the header is row 1, and a row may
span lines. Nothing is converted here but JSON: a cell is what the file has.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import PurePosixPath
from typing import BinaryIO, NamedTuple

from vilbench.errors import InputError, ProblemError
from vilbench.problems.rows import parsed, shown
from vilbench.problems.storage import Storage

SUFFIXES = (".parquet", ".tsv", ".csv", ".jsonl", ".json")
"""Formats of tables, by the ends of their names."""

Values = Mapping[str, object]

_BATCH = 32
_LONGEST_CELL = 134_217_728
"""Characters: a picture of the most bytes that an image may have, as base64, and more."""


class Line(NamedTuple):
    """A row; `read` raises `ProblemError` where the line is none."""

    number: int
    read: Callable[[], Values]


class Table(NamedTuple):
    """A file of rows.

    Attributes:
        file: Its name in messages.
        columns: Their names; None where every row has its own keys.
        lines: The rows, read as they are asked for. Iterating raises `InputError` where the
            file is damaged.
        encoded: Text in a cell of a picture is its bytes in base64, not its path.
    """

    file: str
    columns: tuple[str, ...] | None
    lines: Iterator[Line]
    encoded: bool = False


def table(storage: Storage, name: str) -> Table:
    """The rows of a file.

    Raises:
        InputError: It is none of the formats, or cannot be read.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"is none of {', '.join(one[1:] for one in SUFFIXES)}", file=storage.place(name)
        )
    return _READERS[suffix](storage.opened(name), storage.place(name))


def _parquet(file: BinaryIO, place: str) -> Table:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise InputError(
            "reading Parquet needs pyarrow: pip install 'vilbench[datasets]'", file=place
        ) from error
    try:
        opened = pq.ParquetFile(file)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot be read as Parquet: {_first_line(error)}", file=place) from error

    def lines() -> Iterator[Line]:
        number = 0
        try:
            with opened:
                for batch in opened.iter_batches(_BATCH):
                    for row in batch.to_pylist():
                        number += 1
                        yield Line(number, partial(_given, row))
        except (OSError, pa.ArrowException, ValueError) as error:
            raise InputError(
                f"is damaged behind row {number}: {_first_line(error)}", file=place
            ) from error

    return Table(place, tuple(opened.schema_arrow.names), lines())


def _given(row: Values) -> Values:
    return row


def _delimited(dialect: str) -> Callable[[BinaryIO, str], Table]:
    def read(file: BinaryIO, place: str) -> Table:
        rows = _decoded(file, place, dialect)
        header = next(rows, None)
        if header is None:
            raise InputError("is empty", file=place)
        columns = tuple(header)
        for column in columns:
            if columns.count(column) > 1:
                raise InputError(f"column {shown(column)} is there twice", file=place)

        def lines() -> Iterator[Line]:
            number = 0
            for cells in rows:
                if not cells:
                    continue
                number += 1
                yield Line(number, partial(_named, columns, cells))

        return Table(place, columns, lines(), encoded=dialect == "excel-tab")

    return read


def _decoded(file: BinaryIO, place: str, dialect: str) -> Iterator[list[str]]:
    # The limit belongs to the module csv as a whole; it is only ever raised.
    csv.field_size_limit(max(_LONGEST_CELL, csv.field_size_limit()))
    with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
        rows = csv.reader(text, dialect, strict=True)
        try:
            yield from rows
        except UnicodeDecodeError as error:
            raise InputError(
                f"not UTF-8: {error.reason} behind line {rows.line_num}", file=place
            ) from error
        except csv.Error as error:
            raise InputError(f"{error} at line {rows.line_num}", file=place) from error
        except OSError as error:
            raise InputError(error.strerror or "unreadable", file=place) from error


def _named(columns: tuple[str, ...], cells: list[str]) -> Values:
    if len(cells) != len(columns):
        raise ProblemError(f"{len(cells)} cells for {len(columns)} columns")
    # An empty cell is all that these formats have to say that there is nothing.
    return {column: cell or None for column, cell in zip(columns, cells, strict=True)}


def _json_lines(file: BinaryIO, place: str) -> Table:
    def lines() -> Iterator[Line]:
        try:
            with file:
                for number, line in enumerate(file, start=1):
                    plain = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                    if plain.strip():
                        yield Line(number, partial(_object, plain))
        except OSError as error:
            raise InputError(error.strerror or "unreadable", file=place) from error

    return Table(place, None, lines())


def _object(line: bytes) -> Values:
    return parsed(line, torn=not line.endswith(b"\n"), keys=None)


def _json(file: BinaryIO, place: str) -> Table:
    """A list of objects, or an object of objects, whose keys are not looked at."""
    try:
        with file:
            value = json.loads(file.read().removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {error}", file=place) from error
    except OSError as error:
        raise InputError(error.strerror or "unreadable", file=place) from error
    items = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(items, list):
        raise InputError("holds neither a list nor an object", file=place)

    def lines() -> Iterator[Line]:
        for number, item in enumerate(items, start=1):
            yield Line(number, partial(_checked, item))

    return Table(place, None, lines())


def _checked(item: object) -> Values:
    if not isinstance(item, dict):
        raise ProblemError("not a JSON object")
    return item


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


_READERS: Mapping[str, Callable[[BinaryIO, str], Table]] = {
    ".parquet": _parquet,
    ".tsv": _delimited("excel-tab"),
    ".csv": _delimited("excel"),
    ".jsonl": _json_lines,
    ".json": _json,
}
