"""Training rows in Parquet: the declared schema, and rows that keep to it.

Columns are those of `training.rows`, missing ones being null throughout; a null stays a null.
Images are paths as in JSONL, or encoded bytes, plain or as the hub's `Image` feature stores
them (`{bytes, path}`). Nothing is guessed: a column of another type is an error that names
it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vilbench.errors import InputError

_HUB_IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
_IMAGES = (pa.string(), pa.binary(), _HUB_IMAGE)

SCHEMA: Mapping[str, tuple[pa.DataType, ...]] = {
    "id": (pa.string(), pa.int64()),
    "group": (pa.string(), pa.int64()),
    "question": (pa.string(),),
    "choices": (pa.list_(pa.string()),),
    "images": tuple(pa.list_(kind) for kind in _IMAGES),
    "image": _IMAGES,
    "steps": (pa.list_(pa.string()),),
    "values": (pa.list_(pa.float64()),),
    "marks": (pa.list_(pa.list_(pa.list_(pa.float64()))),),
}
"""Types that each column may have; the first is what `write` makes."""

_BATCH = 256


def read(file: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file, one by one.

    Raises:
        InputError: It cannot be read, or a column is unknown or of another type; names the
            file and the column.
    """
    try:
        opened = pq.ParquetFile(file)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot be read as Parquet: {_told(error)}", file=file) from error
    with opened:
        kinds = {field.name: _kind(file, field) for field in opened.schema_arrow}
        try:
            for batch in opened.iter_batches(_BATCH):
                columns = [
                    batch.column(k).cast(kinds[name]) for k, name in enumerate(batch.schema.names)
                ]
                yield from pa.RecordBatch.from_arrays(columns, batch.schema.names).to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"is damaged: {_told(error)}", file=file) from error


def write(file: Path, rows: list[dict[str, Any]]) -> None:
    """A file of rows with paths as images, in the declared schema."""
    schema = pa.schema([pa.field(name, kinds[0]) for name, kinds in SCHEMA.items()])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), file)


def _kind(file: Path, field: pa.Field) -> pa.DataType:
    """The declared type that a column is read as."""
    if field.name not in SCHEMA:
        raise InputError(f"unknown column; known: {', '.join(SCHEMA)}", file=file, field=field.name)
    kinds = SCHEMA[field.name]
    if pa.types.is_null(field.type):
        return kinds[0]
    for kind in kinds:
        if _same(field.type, kind):
            return kind
    raise InputError(
        f"is {field.type}, not {' or '.join(map(str, kinds))}", file=file, field=field.name
    )


def _same(given: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a type is the wanted one, in any width."""
    if pa.types.is_list(wanted):
        lists = pa.types.is_list(given) or pa.types.is_large_list(given)
        return lists and _same(given.value_type, wanted.value_type)
    if pa.types.is_struct(wanted):
        names = [field.name for field in wanted]
        return pa.types.is_struct(given) and sorted(f.name for f in given) == sorted(names)
    if pa.types.is_null(given):
        return True
    tests = {
        pa.string(): lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind),
        pa.binary(): lambda kind: pa.types.is_binary(kind) or pa.types.is_large_binary(kind),
        pa.float64(): lambda kind: pa.types.is_floating(kind) or pa.types.is_integer(kind),
        pa.int64(): pa.types.is_integer,
    }
    return bool(tests[wanted](given))


def _told(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
