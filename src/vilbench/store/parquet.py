"""Tables as Parquet with declared columns, and what the hub's `datasets` is told of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from vilbench.errors import InputError
from vilbench.images import extension
from vilbench.store.disk import replacing, storage_errors
from vilbench.types import Image

Kind = Literal["string", "int64", "float64", "image"]

_BATCH = 512
_BATCH_BYTES = 256 << 20
"""Most rows of a row group, and bytes of pictures from which it ends: it is held in memory, and
readers take it as a whole. The rows of a problem stand in few of them."""

_DICTIONARY_BYTES = 64 << 20
"""Room for the different images of a row group: siblings share theirs, stored once."""


class Column(NamedTuple):
    """A column; every cell may be null.

    Attributes:
        name: Of the column.
        kind: Of a value; "image" is a picture's bytes with a file name (`held`).
        lists: How many lists deep the values lie.
    """

    name: str
    kind: Kind
    lists: int = 0


def held(image: Image) -> dict[str, Any]:
    """An image as a cell of kind "image".

    Raises:
        ImageError: It is missing or has changed.
    """
    data = image.read()
    return {"bytes": data, "path": f"{image.digest}.{extension(data)}"}


def write_table(path: Path, columns: Sequence[Column], rows: Iterable[Mapping[str, Any]]) -> int:
    """Writes a table, whole or not at all; returns how many rows it has.

    Rows are taken as they come, a few hundred at a time. The file names its columns in the
    words of `datasets`, which so reads pictures as pictures.

    Args:
        path: The file; its folder is made.
        columns: In their order.
        rows: By the names of the columns; one that lacks a name has null there.

    Raises:
        InputError: pyarrow is not installed.
        RunStorageError: It cannot be written.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise InputError("Parquet needs pyarrow: pip install 'vilbench[datasets]'") from error

    kinds = {
        "string": pa.string(),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "image": pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())]),
    }
    fields = {}
    for column in columns:
        kind = kinds[column.kind]
        for _ in range(column.lists):
            kind = pa.list_(kind)
        fields[column.name] = kind
    told = {"info": {"features": {column.name: _feature(column) for column in columns}}}
    schema = pa.schema(fields).with_metadata({"huggingface": json.dumps(told)})
    count = 0
    with storage_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            replacing(path) as file,
            pq.ParquetWriter(
                file, schema, compression="zstd", dictionary_pagesize_limit=_DICTIONARY_BYTES
            ) as writer,
        ):
            for batch in _batches(rows):
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
                count += len(batch)
    return count


def _batches(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    batch: list[Mapping[str, Any]] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += sum(map(_picture_bytes, row.values()))
        if len(batch) >= _BATCH or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _picture_bytes(cell: Any) -> int:
    """Of a cell with one picture or a list of them."""
    if isinstance(cell, dict):
        return len(cell.get("bytes") or b"")
    return sum(map(_picture_bytes, cell)) if isinstance(cell, list) else 0


def _feature(column: Column) -> dict[str, Any]:
    feature: dict[str, Any] = (
        {"_type": "Image"} if column.kind == "image" else {"dtype": column.kind, "_type": "Value"}
    )
    for _ in range(column.lists):
        feature = {"feature": feature, "_type": "List"}
    return feature
