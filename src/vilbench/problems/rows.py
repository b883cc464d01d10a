"""One row of own problems: its keys, and their values once they have been checked.

Every function raises `ProblemError` that names the field; the caller knows file and row.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, TypeGuard, get_args

from pydantic import JsonValue, ValidationError

from vilbench.errors import ProblemError
from vilbench.types import AnswerKind, Image, Modality, Problem
from vilbench.validation import in_words

KEYS = (
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
NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SEPARATORS = re.compile(r"[\s,;/&]+")
_LETTERS = string.ascii_uppercase
_SHOWN = 60

Row = dict[str, JsonValue]


class ImageName(NamedTuple):
    """A path that a row gives, and the field where it stands."""

    field: str
    path: str


def parsed(
    line: bytes, *, torn: bool, keys: Sequence[str] | None = KEYS, finite: bool = True
) -> Row:
    """The row of one line, its keys known and its text sound.

    Args:
        line: The line, in UTF-8.
        torn: No line end follows it: where it cannot be read, the file may be cut short.
        keys: The known keys; None takes any.
        finite: Refuse NaN and infinite numbers here, where their field is not known.
    """
    cut = " (the file ends inside this row)" if torn else ""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ProblemError(f"not UTF-8: {error.reason} at byte {error.start}{cut}") from error
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_float=_finite if finite else float,
            parse_constant=_finite if finite else float,
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
    if keys is not None:
        check_keys(value, keys)
    return value


def problem_of(
    row: Row, identity: str, source: str, images: tuple[Image, ...], notes: list[str]
) -> Problem:
    """The problem that a row describes.

    Args:
        row: The row.
        identity: Its id.
        source: Its source, where it names none.
        images: Its images, in order.
        notes: Takes what a reader should know of how the row was read.
    """
    question = _text(row, "question", required=True)
    if not question.strip() and not images:
        raise ProblemError("is empty, and there is no image", field="question")
    choices = _choices(row)
    answer = _answer(row)
    kind = _answer_kind(row, choices, answer)
    if kind == "choice":
        answer = letter_of(answer, choices, notes)
    elif kind == "choices":
        answer = letters_of(answer, choices)
    elif kind == "number" and not any(character.isdigit() for character in answer):
        raise ProblemError(f"{shown(answer)} is no number", field="answer")
    try:
        return Problem(
            id=identity,
            source=_text(row, "source") or source,
            question=question,
            images=images,
            answer=answer,
            answer_kind=kind,
            choices=choices,
            category=_text(row, "category"),
            modality=_modality(row),
            precision=_precision(row),
            unit=_text(row, "unit") or None,
            metadata=_metadata(row),
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise ProblemError(in_words(first), field=".".join(map(str, first["loc"]))) from error


def _object(pairs: list[tuple[str, JsonValue]]) -> Row:
    row = dict(pairs)
    if len(row) < len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {shown(twice)} stands twice")
    return row


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{shown(text)} is not a finite number")
    return number


def check_keys(row: Row, keys: Sequence[str]) -> None:
    """Refuses a key that is not among `keys`."""
    for key in row:
        if key not in keys:
            near = difflib.get_close_matches(key[:_SHOWN], keys, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(keys)}"
            raise ProblemError(f"unknown key{hint}", field=shown(key).strip("'\""))


def identity_of(row: Row, default: str) -> str:
    """The row's id, `default` where it has none."""
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


def _answer(row: Row) -> str:
    value = row.get("answer")
    if value is None:
        raise ProblemError("is missing", field="answer")
    text = _text_or_number(value, "answer")
    if not text.strip():
        raise ProblemError("is empty", field="answer")
    return text


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


def _answer_kind(row: Row, choices: tuple[str, ...], answer: str) -> AnswerKind:
    text = _text(row, "answer_kind")
    if not text:
        if choices:
            return "choice"
        return "number" if NUMBER.fullmatch(answer.strip()) else "text"
    if not _is_answer_kind(text):
        raise _not_one_of(text, get_args(AnswerKind), "answer_kind")
    if choices and text not in ("choice", "choices"):
        raise ProblemError("must be 'choice', since choices are given", field="answer_kind")
    return text


def letter_of(answer: str, choices: tuple[str, ...], notes: list[str]) -> str:
    """The letter of the gold choice; without choices they stand in the question's text.

    Args:
        answer: A letter, or the text of one of the choices.
        choices: Their texts.
        notes: Takes which of two readings was chosen.
    """
    stripped = answer.strip()
    letters = _LETTERS[: len(choices)] if choices else _LETTERS
    same = [letters[place] for place, choice in enumerate(choices) if choice.strip() == stripped]
    if len(stripped) == 1 and stripped in letters:
        if same and stripped not in same:
            notes.append(f"answer {shown(stripped)} is read as a letter, not as a choice's text")
        return stripped
    if len(same) > 1:
        raise ProblemError(
            f"{shown(answer)} is the text of choices {' and '.join(same)}: give the letter",
            field="answer",
        )
    if same:
        return same[0]
    if len(stripped) == 1 and stripped.upper() in letters:
        return stripped.upper()
    allowed = f"the letters A to {letters[-1]}" + (" and the choices' texts" if choices else "")
    raise ProblemError(f"{shown(answer)} is not among {allowed}", field="answer")


def letters_of(answer: str, choices: tuple[str, ...]) -> str:
    """Several gold letters with commas between, in the order of the alphabet."""
    letters = _LETTERS[: len(choices)] if choices else _LETTERS
    plain = answer.strip().strip("()[]{}").upper()
    found = [part for part in _SEPARATORS.split(plain) if part not in ("", "AND")]
    if len(found) == 1:
        found = list(found[0])
    for letter in found:
        if len(letter) != 1 or letter not in letters:
            raise ProblemError(
                f"{shown(answer)} is not letters of A to {letters[-1]} with commas between",
                field="answer",
            )
    if not found:
        raise ProblemError(f"{shown(answer)} names no letter", field="answer")
    if len(set(found)) < len(found):
        raise ProblemError(f"{shown(answer)} has a letter twice", field="answer")
    return ",".join(sorted(found))


def image_names(row: Row) -> tuple[ImageName, ...]:
    """The paths of a row's images, in order."""
    one, many = row.get("image"), row.get("images")
    if one is not None and many is not None:
        raise ProblemError("stands beside 'images': give one of them", field="image")
    if one is not None:
        return (ImageName("image", _text(row, "image")),)
    if many is None:
        return ()
    if not isinstance(many, list):
        raise ProblemError(f"must be a list, not {_kind(many)}", field="images")
    names = []
    for place, name in enumerate(many):
        if not isinstance(name, str):
            raise ProblemError(f"must be text, not {_kind(name)}", field=f"images[{place}]")
        names.append(ImageName(f"images[{place}]", name))
    return tuple(names)


def _precision(row: Row) -> int | None:
    value = row.get("precision")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ProblemError(f"must be an integer from 0, not {shown(str(value))}", field="precision")
    return value


def _metadata(row: Row) -> dict[str, JsonValue]:
    value = row.get("metadata")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ProblemError(f"must be an object, not {_kind(value)}", field="metadata")
    return value


def _modality(row: Row) -> Modality:
    """Where the information is, "unspecified" where the row does not say."""
    text = _text(row, "modality") or "unspecified"
    if not _is_modality(text):
        raise _not_one_of(text, get_args(Modality), "modality")
    return text


def _is_modality(text: str) -> TypeGuard[Modality]:
    return text in get_args(Modality)


def _is_answer_kind(text: str) -> TypeGuard[AnswerKind]:
    return text in get_args(AnswerKind)


def _not_one_of(text: str, allowed: Sequence[str], place: str) -> ProblemError:
    near = difflib.get_close_matches(text[:_SHOWN], allowed, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return ProblemError(f"{shown(text)} is not one of {', '.join(allowed)}{hint}", field=place)


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


def shown(text: str) -> str:
    """Text of the file as it may stand in a message: short, control characters escaped."""
    return ascii(_clipped(text)) if not text.isprintable() else repr(_clipped(text))
