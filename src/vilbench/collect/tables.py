"""Rows as Parquet: beside their images, or with them inside, as the hub's `datasets` reads it.

    parquet   rows.parquet and images/
    hub       data/train.parquet, images inside; the card is made by `card`

`vilbench train` reads both. Columns are those of training rows, in declared types.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from vilbench.collect.data import Tally
from vilbench.collect.formats import ImageFolder, record
from vilbench.collect.rows import DataRow
from vilbench.errors import InputError
from vilbench.images import extension
from vilbench.store.disk import replacing, storage_errors
from vilbench.types import Image

TABLE = "rows.parquet"
HUB_TABLE = "data/train.parquet"

_BATCH = 512
"""Rows of a row group, about; the rows of a problem stand in few of them."""

_DICTIONARY_BYTES = 64 << 20
"""Room for the different images of a row group: siblings share theirs, stored once."""

Stored = Callable[[Image], Any]
"""What stands for an image in a row."""


def write_parquet(rows: Iterable[DataRow], folder: Path, tally: Tally) -> None:
    """Writes `rows.parquet` and `images/`.

    Raises:
        InputError: pyarrow is not installed.
        RunStorageError: The folder cannot be written.
        ImageError: An image is missing or has changed.
    """
    _write(rows, folder, TABLE, ImageFolder(folder).name, tally, inside=False)


def write_hub_table(rows: Iterable[DataRow], folder: Path, tally: Tally) -> None:
    """Writes `data/train.parquet` with the features that the hub's `datasets` knows.

    Raises:
        InputError: pyarrow is not installed.
        RunStorageError: The folder cannot be written.
        ImageError: An image is missing or has changed.
    """
    _write(rows, folder, HUB_TABLE, _held, tally, inside=True)


def _held(image: Image) -> dict[str, Any]:
    data = image.read()
    return {"bytes": data, "path": f"{image.digest}.{extension(data)}"}


def _write(
    rows: Iterable[DataRow], folder: Path, name: str, stored: Stored, tally: Tally, *, inside: bool
) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise InputError("Parquet needs pyarrow: pip install 'vilbench[train]'") from error

    text, number = pa.string(), pa.float64()
    held = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", text)])
    schema = pa.schema(
        {
            "id": text,
            "group": text,
            "question": text,
            "choices": pa.list_(text),
            "images": pa.list_(held if inside else text),
            "steps": pa.list_(text),
            "values": pa.list_(number),
            "marks": pa.list_(pa.list_(pa.list_(number))),
        }
    )
    if inside:
        schema = schema.with_metadata({"huggingface": json.dumps(_FEATURES)})
    path = folder / name
    with storage_errors(folder):
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            replacing(path) as file,
            pq.ParquetWriter(
                file, schema, compression="zstd", dictionary_pagesize_limit=_DICTIONARY_BYTES
            ) as writer,
        ):
            for batch in _batches(record(row, stored, tally) for row in rows):
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))


def _batches(records: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while batch := list(islice(records, _BATCH)):
        yield batch


def _value(kind: str) -> dict[str, Any]:
    return {"dtype": kind, "_type": "Value"}


def _list(of: dict[str, Any]) -> dict[str, Any]:
    return {"feature": of, "_type": "List"}


_FEATURES = {
    "info": {
        "features": {
            "id": _value("string"),
            "group": _value("string"),
            "question": _value("string"),
            "choices": _list(_value("string")),
            "images": _list({"_type": "Image"}),
            "steps": _list(_value("string")),
            "values": _list(_value("float64")),
            "marks": _list(_list(_list(_value("float64")))),
        }
    }
}
"""The columns in the words of `datasets`."""
