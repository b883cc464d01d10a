"""Rows as Parquet: beside their images, or with them inside, as the hub's `datasets` reads it.

    parquet   rows.parquet and images/
    hub       data/train.parquet, images inside; the card is made by `card`

`vilbench train` reads both. Columns are those of training rows, in declared types.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from vilbench.collect.data import Tally
from vilbench.collect.formats import ImageFolder, record
from vilbench.collect.rows import DataRow
from vilbench.store.parquet import Column, Kind, held, write_table

TABLE = "rows.parquet"
HUB_TABLE = "data/train.parquet"


def write_parquet(rows: Iterable[DataRow], folder: Path, tally: Tally) -> None:
    """Writes `rows.parquet` and `images/`.

    Raises:
        InputError: pyarrow is not installed.
        RunStorageError: The folder cannot be written.
        ImageError: An image is missing or has changed.
    """
    stored = ImageFolder(folder).name
    write_table(folder / TABLE, _columns("string"), (record(row, stored, tally) for row in rows))


def write_hub_table(rows: Iterable[DataRow], folder: Path, tally: Tally) -> None:
    """Writes `data/train.parquet` with its images inside.

    Raises:
        InputError: pyarrow is not installed.
        RunStorageError: The folder cannot be written.
        ImageError: An image is missing or has changed.
    """
    write_table(folder / HUB_TABLE, _columns("image"), (record(row, held, tally) for row in rows))


def _columns(image: Kind) -> tuple[Column, ...]:
    return (
        Column("id", "string"),
        Column("group", "string"),
        Column("question", "string"),
        Column("choices", "string", lists=1),
        Column("images", image, lists=1),
        Column("steps", "string", lists=1),
        Column("values", "float64", lists=1),
        Column("marks", "float64", lists=3),
    )
