"""Choices that stand in a question's text, and instructions that stand beside it."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import NamedTuple

_HEADER = re.compile(r"(?:^|\s)(?:options|choices?)[ \t]*:\s*(?=\(?A[:.)])", re.IGNORECASE)
_LINE = re.compile(r"\(?([A-Z])[:.)]+(?:\s+|(?=\S))(.*)", re.DOTALL)
_HINT, _QUESTION = "Hint:", "Question:"


class Asked(NamedTuple):
    """A question without its choices; `choices` is () where none could be told apart."""

    question: str
    choices: tuple[str, ...]


def without(question: str, instructions: Sequence[str]) -> str:
    """A question without fixed sentences that say how to answer."""
    for instruction in instructions:
        question = question.replace(instruction, "")
    return question.strip()


def without_hint(question: str) -> str:
    """What follows "Question:" where a line "Hint: ..." stands before it (MathVista)."""
    head, _, tail = question.strip().partition("\n")
    if head.startswith(_HINT) and tail.lstrip().startswith(_QUESTION):
        return tail.lstrip().removeprefix(_QUESTION).strip()
    return question.strip()


def apart(question: str) -> Asked:
    """Takes choices "A: ..." to "Z: ..." off the end of a question.

    They stand on lines of their own or in one, after "Options:" or "Choices:" or without
    a heading where each is a line that begins as in "A. ". Letters follow each other from A
    on. Where anything else is found, the question stays whole.
    """
    text = question.strip()
    headers = list(_HEADER.finditer(text))
    if headers:
        body = text[headers[-1].end() :]
        choices = _by_lines(body.split("\n")) or _in_a_line(body)
        if choices:
            return Asked(text[: headers[-1].start()].rstrip(), choices)
        return Asked(text, ())
    lines = text.split("\n")
    starts = [k for k, line in enumerate(lines) if _letter(line) == "A"]
    choices = _by_lines(lines[starts[-1] :]) if starts else ()
    if not choices:
        return Asked(text, ())
    return Asked("\n".join(lines[: starts[-1]]).rstrip(), choices)


def _letter(line: str) -> str:
    match = _LINE.fullmatch(line.strip())
    return match[1] if match else ""


def _by_lines(lines: Sequence[str]) -> tuple[str, ...]:
    """Choices of which each is a line; () where a line is none."""
    choices: list[str] = []
    for line in lines:
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        if not match or len(choices) == 26 or match[1] != string.ascii_uppercase[len(choices)]:
            return ()
        choices.append(match[2].strip())
        if len(choices) < 26 and _mark(string.ascii_uppercase[len(choices)]).search(choices[-1]):
            return ()
    return tuple(choices) if len(choices) > 1 and all(choices) else ()


def _mark(letter: str) -> re.Pattern[str]:
    """Where a choice begins inside of a line."""
    return re.compile(rf"[\s,;]\(?{letter}[:.)]")


def _in_a_line(text: str) -> tuple[str, ...]:
    """Choices one after the other in one line, with commas or blanks between."""
    choices: list[str] = []
    mark = re.compile(r"\(?A[:.)]").match(text)
    if "\n" in text.strip():
        return ()
    for letter in (*string.ascii_uppercase[1:], ""):
        if mark is None:
            return ()
        start = mark.end()
        mark = _mark(letter).search(text, start) if letter else None
        end = mark.start() if mark else len(text)
        choices.append(text[start:end].strip().rstrip(",;").strip())
        if mark is None:
            break
    return tuple(choices) if len(choices) > 1 and all(choices) else ()
