"""The cells of a row, by name, each checked for what it is asked to be.

Every accessor raises `ProblemError` or `ImageError` that names the field; the caller knows
file and row.
"""

from __future__ import annotations

import ast
import base64
import binascii
import contextlib
import hashlib
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from pydantic import JsonValue

from vilbench.errors import ImageError, ProblemError
from vilbench.problems.files import checked_image
from vilbench.problems.rows import ImageName, shown
from vilbench.problems.storage import Storage
from vilbench.problems.tables import Values
from vilbench.types import BytesSource, Image

_LONGEST_LIST = 100_000
_EXACT = 2**53
"""Below it every whole number is a float."""

_LONGEST_REFERENCE = 64
"""Base64 of a picture is longer; a shorter text in its place is the index of another row
(VLMEvalKit writes a picture once and refers to it)."""


@dataclass
class Pictures:
    """Pictures of a table; one that several rows share is kept once.

    Attributes:
        storage: Where paths lead; None where there are no files beside the table.
        encoded: Text is base64, or the index of a row that has it, and no path.
        references: Pictures of the rows before, by their index.
    """

    storage: Storage | None
    encoded: bool
    references: dict[str, Image] = field(default_factory=dict)
    _known: dict[str, Image] = field(default_factory=dict)
    _by_path: dict[str, Image] = field(default_factory=dict)

    def image(self, value: object, place: str, notes: list[str]) -> Image:
        """The picture of a cell: bytes, `{bytes, path}`, base64, or a path.

        Raises:
            ProblemError: It is none of these, or a path that must not be followed.
            ImageError: There is no such picture, or it is damaged.
        """
        if isinstance(value, Mapping) and set(value) <= {"bytes", "path"}:
            data = value.get("bytes")
            value = data if data is not None else value.get("path")
        if isinstance(value, bytes | bytearray):
            return self._held(bytes(value), place, notes)
        if not isinstance(value, str) or not value.strip():
            raise ProblemError(f"must be a picture, not {kind_of(value)}", field=place)
        if value.startswith("data:image/"):
            return self._held(_unbased(value.partition(",")[2], place), place, notes)
        if self.encoded:
            text = value.strip()
            if len(text) <= _LONGEST_REFERENCE:
                return self._referred(text, place)
            return self._held(_unbased(text, place), place, notes)
        if self.storage is None:
            raise ProblemError(f"{shown(value)}: there are no picture files here", field=place)
        image = self._by_path.get(value)
        if image is None:
            image = self.storage.picture(ImageName(place, value), notes)
            self._by_path[value] = image
        return image

    def file(self, path: str, place: str, notes: list[str]) -> Image:
        """The picture file at a path, also in a table whose other pictures are base64."""
        if self.storage is None:
            raise ProblemError(f"{shown(path)}: there are no picture files here", field=place)
        return self.storage.picture(ImageName(place, path), notes)

    def remember(self, index: str, value: object) -> None:
        """Lets later rows refer to a row's picture; one that cannot be used is left out."""
        if self.encoded and isinstance(value, str) and len(value) > _LONGEST_REFERENCE:
            with contextlib.suppress(ImageError):
                self.references[index] = self._held(_unbased(value, ""), "", [])

    def _referred(self, index: str, place: str) -> Image:
        if index not in self.references:
            raise ImageError(
                f"{shown(index)} is neither base64 of a picture nor the index of a row before "
                "with one",
                field=place,
            )
        return self.references[index]

    def _held(self, data: bytes, place: str, notes: list[str]) -> Image:
        digest = hashlib.sha256(data).hexdigest()
        if digest not in self._known:
            name = ImageName(place, "")
            self._known[digest] = checked_image(data, BytesSource(data), name, notes)
        return self._known[digest]


def _unbased(text: str, place: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError(f"is no base64: {error}", field=place) from error


@dataclass(frozen=True)
class Cells:
    """A row.

    Attributes:
        values: By column.
        pictures: Of its table.
        notes: Takes what a reader should know of the row.
    """

    values: Values
    pictures: Pictures
    notes: list[str]

    def has(self, key: str) -> bool:
        """Whether the row says something under `key`."""
        return not empty(self.values.get(key))

    def get(self, key: str) -> object:
        """The cell as it is; None where it is absent or empty."""
        value = self.values.get(key)
        return None if empty(value) else value

    def text(self, key: str) -> str:
        """A text that must be there."""
        value = self.get(key)
        if value is None:
            raise ProblemError("is missing", field=key)
        if not isinstance(value, str):
            raise ProblemError(f"must be text, not {kind_of(value)}", field=key)
        return value

    def optional(self, key: str) -> str:
        """A text, "" where there is none."""
        return self.text(key) if self.has(key) else ""

    def scalar(self, key: str) -> str:
        """A text or a number that must be there, as text; 3.0 is "3"."""
        value = self.get(key)
        if value is None:
            raise ProblemError("is missing", field=key)
        return as_text(value, key)

    def whole(self, key: str) -> int | None:
        """A whole number from 0, also as text or as 2.0; None where there is none."""
        value = self.get(key)
        if value is None:
            return None
        number = _number(value)
        if number is None or number != int(number) or number < 0:
            raise ProblemError(f"must be a whole number from 0, not {told(value)}", field=key)
        return int(number)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts or numbers, or text that spells one; () where there is none.

        Benchmarks store lists as the text of a Python list; it is read as JSON or as a
        literal and never run.
        """
        value = self.get(key)
        if value is None:
            return ()
        items = spelled_list(value, key) if isinstance(value, str) else value
        if not isinstance(items, list | tuple):
            raise ProblemError(f"must be a list, not {kind_of(value)}", field=key)
        return tuple(as_text(item, f"{key}[{k}]") for k, item in enumerate(items))

    def mapping(self, key: str) -> Mapping[str, object]:
        """An object, or text that spells one; empty where there is none."""
        value = self.get(key)
        if value is None:
            return {}
        found = spelled(value, key) if isinstance(value, str) else value
        if not isinstance(found, Mapping):
            raise ProblemError(f"must be an object, not {kind_of(value)}", field=key)
        return {str(name): item for name, item in found.items()}

    def lettered(self) -> tuple[str, ...]:
        """Choices in columns A, B, C ..., as VLMEvalKit has them; () where there are none."""
        choices = []
        for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ":
            if not self.has(letter):
                break
            choices.append(self.scalar(letter))
        return tuple(choices)

    def images(self, *keys: str) -> tuple[Image, ...]:
        """The pictures under `keys`, in order; a cell may hold several, or none.

        Text that spells a list is read as one where it begins with "[". Where there is no
        `image` the paths in `image_path` stand for it, as VLMEvalKit has it.
        """
        if keys == ("image",) and not self.has("image"):
            keys = ("image_path",)
        return tuple(image for key in keys for image in self._images(key))

    def _images(self, key: str) -> Iterator[Image]:
        value = self.get(key)
        if value is None:
            return
        if isinstance(value, str) and value.lstrip().startswith("["):
            value = spelled_list(value, key, longest=None)
        many = isinstance(value, list | tuple)
        items: Sequence[object] = value if isinstance(value, list | tuple) else (value,)
        for k, item in enumerate(items):
            place = f"{key}[{k}]" if many else key
            if key == "image_path" and isinstance(item, str):
                yield self.pictures.file(item, place, self.notes)
            else:
                yield self.pictures.image(item, place, self.notes)

    def metadata(self, *keys: str) -> dict[str, JsonValue]:
        """Cells that are kept as they are, those that say something."""
        return {key: plain(self.values[key]) for key in keys if self.has(key)}


def empty(value: object) -> bool:
    """Whether a cell says nothing: null, NaN, blanks, an empty list."""
    if value is None or value == "" or value == [] or value == ():
        return True
    if isinstance(value, str):
        return not value.strip()
    return isinstance(value, float) and math.isnan(value)


def as_text(value: object, key: str) -> str:
    """A text or a finite number as text.

    Raises:
        ProblemError: It is neither.
    """
    if isinstance(value, str):
        return value
    number = _number(value)
    if number is None:
        raise ProblemError(f"must be text or a number, not {told(value)}", field=key)
    return str(int(number)) if number == int(number) and abs(number) < _EXACT else str(value)


def _number(value: object) -> float | int | None:
    """A finite number, also from text; None for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str | float | Decimal):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def spelled_list(text: str, key: str, *, longest: int | None = _LONGEST_LIST) -> Sequence[object]:
    """The list that a text spells, in JSON or in Python.

    Raises:
        ProblemError: It spells none.
    """
    found = spelled(text, key, longest=longest)
    if not isinstance(found, list | tuple):
        raise ProblemError(f"{shown(text)} spells {kind_of(found)}, not a list", field=key)
    return found


def spelled(text: str, key: str, *, longest: int | None = _LONGEST_LIST) -> object:
    """What a text spells, in JSON or as a Python literal; nothing of it is run.

    Raises:
        ProblemError: It is neither, or longer than `longest` characters.
    """
    if longest is not None and len(text) > longest:
        raise ProblemError(f"over {longest:,} characters", field=key)
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        try:
            found = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError) as error:
            raise ProblemError(f"{shown(text)} spells no list or object", field=key) from error
    return found


def plain(value: object) -> JsonValue:
    """A cell as JSON: what JSON lacks becomes text, bytes only their number."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Collection) and not isinstance(value, bytes | bytearray):
        return [plain(item) for item in value]
    if isinstance(value, bytes | bytearray):
        return f"{len(value)} bytes"
    return str(value)


def kind_of(value: object) -> str:
    """What a value is, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float | Decimal):
        return "a number"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, Mapping):
        return "an object"
    names: Mapping[str, str] = {"str": "text", "bytearray": "bytes"}
    name = type(value).__name__
    return names.get(name, name)


def told(value: object) -> str:
    """A value as messages show it: numbers and text themselves, of others the kind."""
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return kind_of(value)
    return str(value)
