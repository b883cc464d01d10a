"""Files of training rows: JSONL and Parquet, read whole and checked before any training."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from vilbench.errors import ImageError, InputError, ProblemError
from vilbench.images import decode
from vilbench.problems.rows import ImageName, Row, image_names, parsed
from vilbench.problems.storage import Folder
from vilbench.training.rows import KEYS, Place, TrainingRow, ValueRange, row_of
from vilbench.types import BytesSource, Image

_NAMED = 3


@dataclass(frozen=True)
class TrainingSet:
    """The rows of a file.

    Attributes:
        rows: In the order of the file.
        rejected: Rows that were set aside, and why.
        notes: What was converted on the way.
        digest: SHA-256 over the file and its images.
    """

    rows: tuple[TrainingRow, ...]
    rejected: tuple[InputError, ...]
    notes: tuple[str, ...]
    digest: str


class Raw(NamedTuple):
    """An object of a file with its images, or what kept it from being read."""

    place: Place
    row: Row
    images: tuple[Image, ...]


class Reading:
    """What all kinds of files share: images read once, faults collected, a digest.

    Args:
        file: The file.
        folder: Where its images are, as files or in zip archives, which are not unpacked.
    """

    def __init__(self, file: Path, folder: Path) -> None:
        self.file = file
        self.folder = folder
        self.rejected: list[InputError] = []
        self.notes: list[str] = []
        self._storage = Folder(folder)
        self._images: dict[str, Image] = {}
        self._digest = hashlib.sha256()

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """The file, to be read.

        Raises:
            InputError: It cannot be read.
        """
        try:
            with self.file.open("rb") as file:
                yield file
        except OSError as error:
            raise InputError(error.strerror or "unreadable", file=self.file) from error

    def image(self, name: ImageName) -> Image:
        """An image by the path that a row gives; each file is decoded once.

        Raises:
            ProblemError: The path must not be followed.
            ImageError: There is no image.
        """
        image = self._images.get(name.path)
        if image is None:
            notes: list[str] = []
            image = self._images[name.path] = self._storage.picture(name, notes)
            self.notes += notes
        return image

    def hash(self, data: bytes) -> None:
        """Bytes of the file, for the digest."""
        self._digest.update(data)

    def reject(self, error: InputError, row: int) -> None:
        """Sets a row aside."""
        self.rejected.append(error.at(file=self.file, row=row))

    def digest(self) -> str:
        """Over what was read so far."""
        for name, image in sorted(self._images.items()):
            self._digest.update(f"{name}\0{image.digest}\n".encode())
        return self._digest.hexdigest()

    def finish(self, rows: Sequence[TrainingRow], most_bad: float) -> TrainingSet:
        """The set, when enough of it can be used.

        Raises:
            InputError: No row is left, or more than a share `most_bad` is set aside.
        """
        bad, total = len(self.rejected), len(self.rejected) + len(rows)
        if not total:
            raise InputError("the file has no rows", file=self.file)
        if not rows or bad > most_bad * total:
            told = "; ".join(
                str(type(one)(one.message, row=one.row, field=one.field))
                for one in self.rejected[:_NAMED]
            )
            more = f"; and {bad - _NAMED} more" if bad > _NAMED else ""
            raise InputError(
                f"{bad} of {total} rows cannot be used, more than {most_bad:.1%}: {told}{more}",
                file=self.file,
            )
        return TrainingSet(tuple(rows), tuple(self.rejected), tuple(self.notes), self.digest())


def load(
    file: Path,
    span: ValueRange,
    *,
    kind: str = "rows",
    folder: Path | None = None,
    most_bad: float = 0.0,
    limit: int | None = None,
) -> TrainingSet:
    """The rows of a file; every image is decoded once.

    Args:
        file: Named `.parquet`, or JSON lines.
        span: What values may be.
        kind: "rows" as in `training.rows`, or a key of `public.READERS`.
        folder: Where its images are; beside the file when None.
        most_bad: Share of rows that may be set aside.
        limit: Read the first rows only.

    Raises:
        InputError: The file cannot be read, a row has a fault and too many have one.
    """
    reading = Reading(file, folder or file.parent)
    if kind != "rows":
        from vilbench.training.public import READERS

        return reading.finish(READERS[kind](reading, span, limit), most_bad)
    source = _parquet if file.suffix == ".parquet" else _jsonl
    rows: list[TrainingRow] = []
    known: dict[str, int] = {}
    for number, read in source(reading):
        if limit is not None and number > limit:
            break
        try:
            raw = read()
            row = row_of(raw.row, raw.images, raw.place, file.stem, span)
            if row.id in known:
                raise ProblemError(
                    f"'{row.id}' is already the id of row {known[row.id]}", field="id"
                )
        except (ProblemError, ImageError) as error:
            reading.reject(error, number)
        else:
            known[row.id] = number
            rows.append(row)
    return reading.finish(rows, most_bad)


Source = Iterable[tuple[int, Callable[[], Raw]]]


def _jsonl(reading: Reading) -> Iterator[tuple[int, Callable[[], Raw]]]:
    with reading.opened() as opened:
        lines = opened.read().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        reading.hash(line)

        def read(number: int = number, line: bytes = line) -> Raw:
            row = parsed(line, torn=number == len(lines), keys=KEYS, finite=False)
            images = tuple(reading.image(name) for name in image_names(row))
            return Raw(Place(str(reading.file), number), row, images)

        yield number, read


def _parquet(reading: Reading) -> Iterator[tuple[int, Callable[[], Raw]]]:
    from vilbench.training.parquet import read as read_rows

    with reading.opened() as file:
        while data := file.read(1 << 20):
            reading.hash(data)
    for number, row in enumerate(read_rows(reading.file), start=1):

        def read(number: int = number, row: Row = row) -> Raw:
            images = _held_images(reading, row)
            return Raw(Place(str(reading.file), number), row, images)

        yield number, read


def _held_images(reading: Reading, row: Row) -> tuple[Image, ...]:
    """Images of a row of Parquet: paths, or bytes that the row itself holds."""
    held: Any = row.get("images") if row.get("image") is None else [row.get("image")]
    if row.get("image") is not None and row.get("images") is not None:
        raise ProblemError("stands beside 'images': give one of them", field="image")
    images = []
    for place, one in enumerate(held or ()):
        field = "image" if row.get("image") is not None else f"images[{place}]"
        data = one.get("bytes") if isinstance(one, dict) else one
        if isinstance(one, dict) and data is None:
            data = one.get("path")
        if isinstance(data, str):
            images.append(reading.image(ImageName(field, data)))
        elif isinstance(data, bytes):
            images.append(_sound(data, field))
        else:
            raise ProblemError("there is neither a path nor bytes", field=field)
    return tuple(images)


def _sound(data: bytes, field: str) -> Image:
    try:
        decode(data)
    except ImageError as error:
        raise ImageError(error.message, field=field) from error
    return Image.of(BytesSource(data))
