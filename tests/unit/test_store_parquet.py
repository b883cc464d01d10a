"""Tables of declared columns: nulls, nesting, row groups that fit, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from vilbench.errors import RunStorageError
from vilbench.store import parquet
from vilbench.store.parquet import Column, held, write_table
from vilbench.testing import tiny_png
from vilbench.types import BytesSource, Image

COLUMNS = (
    Column("name", "string"),
    Column("count", "int64"),
    Column("values", "float64", lists=2),
    Column("picture", "image"),
)


def test_rows_come_back_with_their_nulls(tmp_path: Path) -> None:
    image = Image.of(BytesSource(tiny_png()))
    rows: list[dict[str, Any]] = [
        {
            "name": "a\u2028\x00",
            "count": 2**62,
            "values": [[0.5, None], []],
            "picture": held(image),
        },
        {"count": None, "values": None},
    ]
    path = tmp_path / "deep" / "x.parquet"
    assert write_table(path, COLUMNS, iter(rows)) == 2
    first, second = pq.read_table(path).to_pylist()
    assert first == rows[0]
    assert second == {"name": None, "count": None, "values": None, "picture": None}
    features = json.loads(pq.read_schema(path).metadata[b"huggingface"])["info"]["features"]
    assert features["picture"] == {"_type": "Image"}
    assert features["values"]["feature"]["feature"] == {"dtype": "float64", "_type": "Value"}


def test_a_table_without_rows_keeps_its_columns(tmp_path: Path) -> None:
    assert write_table(tmp_path / "x.parquet", COLUMNS, []) == 0
    assert pq.read_table(tmp_path / "x.parquet").column_names == [one.name for one in COLUMNS]


def test_a_row_group_ends_by_rows_or_by_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = (Column("pictures", "image", lists=1),)
    rows = [{"pictures": [{"bytes": bytes([k]) * 100, "path": "x"}] * 2} for k in range(10)]

    def groups() -> list[int]:
        write_table(tmp_path / "x.parquet", columns, rows)
        told = pq.ParquetFile(tmp_path / "x.parquet").metadata
        return [told.row_group(k).num_rows for k in range(told.num_row_groups)]

    assert groups() == [10]
    monkeypatch.setattr(parquet, "_BATCH", 4)
    assert groups() == [4, 4, 2]
    monkeypatch.setattr(parquet, "_BATCH_BYTES", 600)
    assert groups() == [3, 3, 3, 1]


def test_a_failure_leaves_the_old_table(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write_table(path, COLUMNS, [{"name": "old"}])

    def broken() -> Iterator[Mapping[str, Any]]:
        yield {"name": "new"}
        raise OSError(28, "No space left on device")

    with pytest.raises(RunStorageError, match="the disk is full"):
        write_table(path, COLUMNS, broken())
    assert pq.read_table(path)["name"].to_pylist() == ["old"]
    assert [one.name for one in tmp_path.iterdir()] == ["x.parquet"]
