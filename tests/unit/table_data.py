"""Pictures, and files of rows with pictures."""

from __future__ import annotations

import base64
import csv
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq

IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
"""What the hub's `Image` feature is in Parquet."""

Rows = Sequence[Mapping[str, Any]]


def png(shade: int = 0, size: tuple[int, int] = (40, 30)) -> bytes:
    """A picture; its base64 is longer than any index. Shades make pictures differ."""
    buffer = io.BytesIO()
    PIL.Image.effect_noise(size, 60).convert("RGB").point(lambda v: (v + shade) % 256).save(
        buffer, "PNG"
    )
    return buffer.getvalue()


PICTURES = tuple(png(shade) for shade in (0, 7, 99))


def feature(data: bytes, path: str | None = None) -> dict[str, Any]:
    return {"bytes": data, "path": path}


def parquet(path: Path, rows: Rows, schema: pa.Schema | None = None) -> Path:
    """A table whose pictures have the type of the feature `Image`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(list(rows), schema=schema)
    pq.write_table(table, path, row_group_size=2)
    return path


def tsv(path: Path, rows: Rows, *, dialect: str = "excel-tab") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, dialect=dialect)
        writer.writeheader()
        writer.writerows(rows)
    return path


def json_lines(path: Path, rows: Rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def archive(path: Path, members: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def based(data: bytes) -> str:
    return base64.b64encode(data).decode()


def plain(row: Any, **changes: Any) -> dict[str, Any]:
    """A row with its pictures as paths."""
    paths = {feature["bytes"]: f"{k}.png" for k, feature in enumerate(map(feature, PICTURES))}
    found = {
        key: paths.get(value["bytes"]) if isinstance(value, dict) and "bytes" in value else value
        for key, value in row.items()
    }
    return {**found, **changes}
