"""Own problems from a JSONL file.

One JSON object per line, in UTF-8; blank lines are skipped. Keys:

    question      text; may be empty only where there is an image
    answer        text or number; of a choice its letter ("A" is the first) or its exact text
    id            text or integer; without it, the file's stem and the line number
    answer_kind   "choice", "number" or "text"; without it "choice" where choices are given,
                  else "number" where the answer is a number, else "text"
    choices       2 to 26 texts or numbers
    images        paths of image files, relative to the JSONL file and below its folder
    image         one such path, instead of `images`
    source, category, modality, unit          text
    precision     decimals that count, an integer from 0
    metadata      a JSON object, kept as it is

`question` and `answer` are required; null stands for an absent optional key. A row that
breaks a rule is set aside with an error that names file, row and field; the others load.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import re
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import TypeGuard, get_args

from pydantic import JsonValue, ValidationError

from vilbench.images import DEFAULT_LIMITS, decode
from vilbench.problems.sets import ProblemSet
from vilbench.types import (
    AnswerKind,
    FileSource,
    Image,
    ImageError,
    InputError,
    Modality,
    Problem,
    ProblemError,
)

_KEYS = (
    "id",
    "source",
    "question",
    "answer",
    "answer_kind",
    "choices",
    "images",
    "image",
    "category",
    "modality",
    "precision",
    "unit",
    "metadata",
)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_LETTERS = string.ascii_uppercase
_SHOWN = 60
_NAMED_REJECTIONS = 3

Row = dict[str, JsonValue]


def load_jsonl(path: Path, *, source: str | None = None) -> ProblemSet:
    """The problems of a JSONL file; every image is decoded once to know that it is sound.

    Args:
        path: The file.
        source: Name of the set, and the source of rows that name none; the file's stem
            where None.

    Raises:
        InputError: The file is missing, unreadable, empty, or has no usable row.
    """
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except OSError as error:
        raise InputError(error.strerror or "unreadable", file=path) from error
    name = source or path.stem
    loading = _Loading(path, name)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            loading.add(number, line, torn=number == len(lines))
        except (ProblemError, ImageError) as error:
            loading.rejected.append(_placed(error, path, number))
    if not loading.problems:
        raise _nothing_usable(path, loading.rejected)
    return ProblemSet(name, tuple(loading.problems), tuple(loading.rejected), tuple(loading.notes))


def _placed(error: ProblemError | ImageError, path: Path, row: int) -> ProblemError | ImageError:
    placed = error.at(file=path, row=row)
    assert isinstance(placed, ProblemError | ImageError)  # noqa: S101 - `at` keeps the class
    return placed


def _nothing_usable(path: Path, rejected: Sequence[InputError]) -> InputError:
    if not rejected:
        return InputError("the file has no rows", file=path)
    told = "; ".join(f"row {error.row}, {error.message}" for error in rejected[:_NAMED_REJECTIONS])
    more = len(rejected) - _NAMED_REJECTIONS
    tail = f"; and {more} more" if more > 0 else ""
    return InputError(f"no usable row among {len(rejected)}: {told}{tail}", file=path)


@dataclass
class _Loading:
    """What has been read of one file so far."""

    path: Path
    source: str
    problems: list[Problem] = field(default_factory=list)
    rejected: list[ProblemError | ImageError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rows_by_id: dict[str, int] = field(default_factory=dict)

    def add(self, number: int, line: bytes, *, torn: bool) -> None:
        """Read one line; `torn` says that no line end follows it.

        Raises:
            ProblemError: The row breaks its schema.
            ImageError: One of its images cannot be used.
        """
        row = _parsed(line, torn=torn)
        _check_keys(row)
        identity = _identity(row, f"{self.path.stem}-{number}")
        if identity in self.rows_by_id:
            first = self.rows_by_id[identity]
            raise ProblemError(f"{_shown(identity)} is already the id of row {first}", field="id")
        notes: list[str] = []
        problem = self._problem(row, identity, notes)
        self.rows_by_id[identity] = number
        self.problems.append(problem)
        self.notes += [f"{self.path}, row {number}: {note}" for note in notes]

    def _problem(self, row: Row, identity: str, notes: list[str]) -> Problem:
        images = tuple(self._image(name, place, notes) for place, name in _image_names(row).items())
        question = _text(row, "question", required=True)
        if not question.strip() and not images:
            raise ProblemError("is empty, and there is no image", field="question")
        choices = _choices(row)
        answer, is_number = _answer(row)
        kind = _answer_kind(row, choices, is_number=is_number)
        if kind == "choice":
            answer = _letter(answer, choices, notes)
        elif kind == "number" and not any(character.isdigit() for character in answer):
            raise ProblemError(f"{_shown(answer)} is no number", field="answer")
        modality = _text(row, "modality") or "unspecified"
        if not _is_modality(modality):
            raise _not_one_of(modality, get_args(Modality), "modality")
        try:
            return Problem(
                id=identity,
                source=_text(row, "source") or self.source,
                question=question,
                images=images,
                answer=answer,
                answer_kind=kind,
                choices=choices,
                category=_text(row, "category"),
                modality=modality,
                precision=_precision(row),
                unit=_text(row, "unit") or None,
                metadata=_metadata(row),
            )
        except ValidationError as error:
            first = error.errors()[0]
            raise ProblemError(first["msg"], field=".".join(map(str, first["loc"]))) from error

    def _image(self, name: str, place: str, notes: list[str]) -> Image:
        """The image file that a row names, once its bytes have proved to be an image."""
        path = _below(self.path.parent, name, place)
        try:
            if path.stat().st_size > DEFAULT_LIMITS.max_bytes:
                raise ImageError(f"over the limit of {DEFAULT_LIMITS.max_bytes:,} bytes")
            data = FileSource(path).read()
            decoded = decode(data)
        except OSError as error:
            raise ImageError(f"{_shown(name)}: {error.strerror}", field=place) from error
        except ImageError as error:
            raise ImageError(f"{_shown(name)}: {error.message}", field=place) from error
        notes += [f"image {_shown(name)}: {note}" for note in decoded.notes]
        return Image(digest=hashlib.sha256(data).hexdigest()).bound(FileSource(path))


def _parsed(line: bytes, *, torn: bool) -> Row:
    cut = " (the file ends inside this row)" if torn else ""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ProblemError(f"not UTF-8: {error.reason} at byte {error.start}{cut}") from error
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_float=_finite,
            parse_constant=_finite,
        )
    except json.JSONDecodeError as error:
        raise ProblemError(f"not JSON: {error.msg} at column {error.colno}{cut}") from error
    except ValueError as error:
        raise ProblemError(f"not usable JSON: {error}") from error
    except RecursionError as error:
        raise ProblemError("not usable JSON: nested too deeply") from error
    if not isinstance(value, dict):
        raise ProblemError("not a JSON object")
    try:
        # A lone surrogate passes JSON and breaks whatever writes the text later.
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ProblemError("holds half of a surrogate pair, which is no text") from error
    return value


def _object(pairs: list[tuple[str, JsonValue]]) -> Row:
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in row if keys.count(key) > 1)
        raise ValueError(f"the key {_shown(twice)} stands twice")
    return row


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{_shown(text)} is not a finite number")
    return number


def _check_keys(row: Row) -> None:
    for key in row:
        if key not in _KEYS:
            near = difflib.get_close_matches(key[:_SHOWN], _KEYS, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(_KEYS)}"
            raise ProblemError(f"unknown key{hint}", field=_clipped(key))


def _identity(row: Row, default: str) -> str:
    value = row.get("id")
    if value is None:
        return default
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    text = _text(row, "id")
    if not text.strip():
        raise ProblemError("is empty", field="id")
    return text


def _text(row: Row, key: str, *, required: bool = False) -> str:
    """The text under `key`, "" where it is absent or null and not required."""
    value = row.get(key)
    if value is None:
        if required:
            raise ProblemError("is missing", field=key)
        return ""
    if not isinstance(value, str):
        raise ProblemError(f"must be text, not {_kind(value)}", field=key)
    return value


def _answer(row: Row) -> tuple[str, bool]:
    """The gold answer as text, and whether it is a number."""
    value = row.get("answer")
    if value is None:
        raise ProblemError("is missing", field="answer")
    text = _text_or_number(value, "answer")
    if not text.strip():
        raise ProblemError("is empty", field="answer")
    return text, _NUMBER.fullmatch(text.strip()) is not None


def _text_or_number(value: JsonValue, place: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ProblemError(f"must be text or a number, not {_kind(value)}", field=place)


def _choices(row: Row) -> tuple[str, ...]:
    value = row.get("choices")
    if value is None or value == []:
        return ()
    if not isinstance(value, list):
        raise ProblemError(f"must be a list, not {_kind(value)}", field="choices")
    if not 2 <= len(value) <= len(_LETTERS):
        raise ProblemError(
            f"{len(value)} choices; 2 to {len(_LETTERS)} are possible", field="choices"
        )
    texts = tuple(
        _text_or_number(choice, f"choices[{place}]") for place, choice in enumerate(value)
    )
    for place, text in enumerate(texts):
        if not text.strip():
            raise ProblemError("is empty", field=f"choices[{place}]")
    return texts


def _answer_kind(row: Row, choices: tuple[str, ...], *, is_number: bool) -> AnswerKind:
    text = _text(row, "answer_kind")
    if not text:
        return "choice" if choices else "number" if is_number else "text"
    if not _is_answer_kind(text):
        raise _not_one_of(text, get_args(AnswerKind), "answer_kind")
    if choices and text != "choice":
        raise ProblemError("must be 'choice', since choices are given", field="answer_kind")
    return text


def _letter(answer: str, choices: tuple[str, ...], notes: list[str]) -> str:
    """The letter of the gold choice; without choices they stand in the question's text."""
    stripped = answer.strip()
    letters = _LETTERS[: len(choices)] if choices else _LETTERS
    same = [letters[place] for place, choice in enumerate(choices) if choice.strip() == stripped]
    if len(stripped) == 1 and stripped in letters:
        if same and stripped not in same:
            notes.append(f"answer {_shown(stripped)} is read as a letter, not as a choice's text")
        return stripped
    if len(same) > 1:
        raise ProblemError(
            f"{_shown(answer)} is the text of choices {' and '.join(same)}: give the letter",
            field="answer",
        )
    if same:
        return same[0]
    if len(stripped) == 1 and stripped.upper() in letters:
        return stripped.upper()
    allowed = f"the letters A to {letters[-1]}" + (" and the choices' texts" if choices else "")
    raise ProblemError(f"{_shown(answer)} is not among {allowed}", field="answer")


def _image_names(row: Row) -> dict[str, str]:
    """Image paths of a row by the place where they stand in it."""
    one, many = row.get("image"), row.get("images")
    if one is not None and many is not None:
        raise ProblemError("stands beside 'images': give one of them", field="image")
    if one is not None:
        return {"image": _text(row, "image")}
    if many is None:
        return {}
    if not isinstance(many, list):
        raise ProblemError(f"must be a list, not {_kind(many)}", field="images")
    names: dict[str, str] = {}
    for place, name in enumerate(many):
        if not isinstance(name, str):
            raise ProblemError(f"must be text, not {_kind(name)}", field=f"images[{place}]")
        names[f"images[{place}]"] = name
    return names


def _below(folder: Path, name: str, place: str) -> Path:
    """The file `name` below `folder`, wherever links lead.

    Raises:
        ProblemError: The path is no plain relative path, or leads out of the folder.
        ImageError: There is no such file.
    """
    windows = PureWindowsPath(name)
    if not name.strip() or "\0" in name:
        raise ProblemError(f"{_shown(name)} is no path", field=place)
    if "://" in name or name.lower().startswith(("data:", "file:")):
        raise ProblemError(f"{_shown(name)}: URLs are not read, only files", field=place)
    if name.startswith("/") or windows.drive or windows.root:
        raise ProblemError(f"{_shown(name)} is absolute", field=place)
    if "\\" in name:
        raise ProblemError(f"{_shown(name)}: write '/' between folders", field=place)
    if ".." in windows.parts:
        raise ProblemError(f"{_shown(name)} leads out of the file's folder", field=place)
    try:
        root = folder.resolve()
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            raise ProblemError(f"{_shown(name)} leads out of the file's folder", field=place)
        # Neither a folder nor a pipe, which would never end.
        if not path.is_file():
            raise ImageError(f"{_shown(name)}: no such file", field=place)
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise ImageError(f"{_shown(name)}: {error}", field=place) from error
    return path


def _precision(row: Row) -> int | None:
    value = row.get("precision")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ProblemError(
            f"must be an integer from 0, not {_shown(str(value))}", field="precision"
        )
    return value


def _metadata(row: Row) -> dict[str, JsonValue]:
    value = row.get("metadata")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ProblemError(f"must be an object, not {_kind(value)}", field="metadata")
    return value


def _is_modality(text: str) -> TypeGuard[Modality]:
    return text in get_args(Modality)


def _is_answer_kind(text: str) -> TypeGuard[AnswerKind]:
    return text in get_args(AnswerKind)


def _not_one_of(text: str, allowed: Sequence[str], place: str) -> ProblemError:
    near = difflib.get_close_matches(text[:_SHOWN], allowed, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return ProblemError(f"{_shown(text)} is not one of {', '.join(allowed)}{hint}", field=place)


def _kind(value: JsonValue) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    return {str: "text", list: "a list", dict: "an object"}[type(value)]


def _clipped(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _shown(text: str) -> str:
    """Text of the file as it may stand in a message: short, control characters escaped."""
    return ascii(_clipped(text)) if not text.isprintable() else repr(_clipped(text))
