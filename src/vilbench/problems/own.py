"""Own problems: JSON lines, CSV, TSV or Parquet, a folder of these, or one that `datasets` saved.

The columns are the keys of `files`. What a cell cannot hold by itself is spelled: in CSV and
TSV `choices`, `images` and `metadata` are JSON, and every number is text, so that an answer
is a number where it looks like one. Parquet may hold pictures as bytes, plain or as the hub's
`Image` feature has them (`{bytes, path}`). In a folder the table is `problems.*` or
`metadata.*`, or the only kind; a column `file_name`, as image folders of the hub have it,
counts as `image`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from pydantic import JsonValue

from vilbench.errors import InputError, ProblemError
from vilbench.problems import prepared
from vilbench.problems.cells import Cells, Pictures, plain
from vilbench.problems.files import load_jsonl
from vilbench.problems.loading import Loading, Place
from vilbench.problems.public import reads, renamed
from vilbench.problems.rows import KEYS, Row, check_keys, identity_of, problem_of
from vilbench.problems.sets import ProblemSet
from vilbench.problems.tables import SUFFIXES, Line, Values
from vilbench.types import Problem

_TABLES = (
    *(f"problems{suffix}" for suffix in SUFFIXES),
    *(f"metadata{suffix}" for suffix in SUFFIXES),
    *(f"*{suffix}" for suffix in SUFFIXES),
)
_PICTURES = ("image", "images")


def is_own(source: str) -> bool:
    """Whether a source is the path of own data and no name."""
    path = Path(source)
    return path.suffix.lower() in (*SUFFIXES, ".zip") or path.is_dir()


def load(
    path: Path, *, limit: int | None = None, columns: Mapping[str, str] | None = None
) -> ProblemSet:
    """The problems of own data; every picture is decoded once.

    Args:
        path: A file, a folder or a zip archive.
        limit: Most problems; rows after the last of them are not looked at.
        columns: Names of columns by the keys that they stand for.

    Raises:
        InputError: The data is missing or damaged, or has no usable row.
    """
    named = dict(columns or {})
    if prepared.is_prepared(path):
        return prepared.load(path, prepared.card_of(path).name, limit=limit)
    if path.suffix.lower() == ".jsonl" and not named:
        return load_jsonl(path, limit=limit)
    loading = Loading(path.stem, path)
    rows = 0
    for read in reads(path, _TABLES):
        if read.table.columns is not None:
            present = renamed(dict.fromkeys(read.table.columns), named)
            _check_columns(tuple(present), read.table.file)
        # Text in a picture's cell is a path in own data, also in TSV.
        pictures = Pictures(read.pictures.storage, encoded=False)
        for line in read.table.lines:
            if loading.enough(limit, Place(read.table.file, line.number)):
                return loading.finished()
            rows += 1
            make = partial(_problem, line, named, pictures, f"{path.stem}-{rows}", path.stem)
            loading.add(Place(read.table.file, line.number), make)
    return loading.finished()


def _as_image(values: Values) -> Values:
    if "file_name" not in values or any(key in values for key in _PICTURES):
        return values
    return {("image" if key == "file_name" else key): value for key, value in values.items()}


def _check_columns(columns: tuple[str, ...], file: str) -> None:
    known = [column for column in columns if column != "file_name"]
    try:
        check_keys(dict.fromkeys(known), KEYS)
    except ProblemError as error:
        raise InputError(error.message, file=file, field=error.field) from error
    for needed in ("question", "answer"):
        if needed not in columns:
            raise InputError(
                f"the column is missing; there are {', '.join(columns)}", file=file, field=needed
            )


def _problem(
    line: Line,
    columns: Mapping[str, str],
    pictures: Pictures,
    default: str,
    source: str,
    notes: list[str],
) -> Problem:
    cells = Cells(_as_image(renamed(line.read(), columns)), pictures, notes)
    check_keys(dict.fromkeys(cells.values), KEYS)
    if all(cells.has(key) for key in _PICTURES):
        raise ProblemError("stands beside 'images': give one of them", field="image")
    row: Row = {
        key: _json(cells, key) for key in cells.values if key not in _PICTURES and cells.has(key)
    }
    images = cells.images("image", "images")
    return problem_of(row, identity_of(row, default), source, images, notes)


def _json(cells: Cells, key: str) -> JsonValue:
    """A cell as the row of JSON lines would have it: text may spell what is no text."""
    if key == "choices":
        return list(cells.texts(key))
    if key == "metadata":
        return {name: plain(value) for name, value in cells.mapping(key).items()}
    return cells.whole(key) if key == "precision" else plain(cells.get(key))
