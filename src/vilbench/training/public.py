"""Readers of public process-reward data, as solutions with a value at every step.

* ViLReward-73K (UCSC-VLAA): a JSON list of `image_path, question, process, value`, one entry
  for each prefix of a solution; `process` is the prefix as one text. Entries are grouped back
  into solutions, so that a step is computed once and not once for every prefix. Prefixes that
  several solutions share are labelled in the first of them only. Two things that vilbench
  writes are read beside what is public: `step_ends`, where in `process` each step ends, and
  null for `image_path` where a question has no image.
* VisualPRM400K (OpenGVLab), as JSON lines or as a list. The raw form has `question, image,
  steps_with_score[{step, score}]`, the score being the share of right rollouts. The converted
  one has `conversations[{from, value}]`: the first human turn holds question and first step
  under headings, every other one a step, and each answer is "+" or "-", which become the
  highest and the lowest value.
* The former stepwise supervision of TRL, as JSON lines: `prompt, completions[], labels[]`, a
  label being true or false (an integer is refused: -100 would count as true), and `images[]`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

from pydantic import JsonValue

from vilbench.errors import ImageError, InputError, ProblemError
from vilbench.problems.rows import ImageName, Row, shown
from vilbench.steps import split
from vilbench.training.data import Reading
from vilbench.training.rows import Place, TrainingRow, ValueRange, number, row_of
from vilbench.types import Image

_IMAGE_MARK = re.compile(r"\s*<image>\s*")
_HEADINGS = re.compile(
    r"\s*(?:#+\s*Question:)?\s*(?P<question>.*?)\n\s*#+\s*Solution Process:\s*(?P<step>.*)",
    re.DOTALL,
)


class _Entry(NamedTuple):
    """A prefix of a solution with its value.

    Attributes:
        row: Where it stands.
        process: Its text.
        value: Its label.
        steps: Its steps, where the entry says where they end.
    """

    row: int
    process: str
    value: float
    steps: tuple[str, ...] | None


class _Question(NamedTuple):
    """What entries of one question share; `image` is None where there is none."""

    image: str | None
    question: str


def vilreward(reading: Reading, span: ValueRange, limit: int | None) -> list[TrainingRow]:
    """Solutions of ViLReward-73K; entries with faults are set aside in `reading`.

    Raises:
        InputError: The file is no JSON list.
    """
    entries: dict[_Question, list[_Entry]] = {}
    for row, item in _items(reading, limit):
        try:
            bare = "image_path" in item and item["image_path"] is None
            image = None if bare else _text(item, "image_path")
            key = _Question(image, _text(item, "question"))
            process = _text(item, "process").strip()
            if not process:
                raise ProblemError("is empty", field="process")
            given = item.get("value")
            if given is None:
                raise ProblemError("is missing", field="value")
            value, steps = number(given, "value", span), _ended_steps(item, process)
            entries.setdefault(key, []).append(_Entry(row, process, value, steps))
        except ProblemError as error:
            reading.reject(error, row)
    rows: list[TrainingRow] = []
    for key, found in entries.items():
        rows += _solutions(reading, key, found, span)
    return rows


def _solutions(
    reading: Reading, key: _Question, entries: Sequence[_Entry], span: ValueRange
) -> Iterator[TrainingRow]:
    """One row for each entry that is the beginning of no other."""
    images: tuple[Image, ...] = ()
    try:
        if key.image is not None:
            images = (reading.image(ImageName("image_path", key.image)),)
    except (ProblemError, ImageError) as error:
        for entry in entries:
            reading.reject(error, entry.row)
        return
    if any(entry.steps is None for entry in entries):
        entries = [entry._replace(steps=None) for entry in entries]
    labelled: set[int] = set()
    for chain in _chains(reading, entries):
        steps: list[str] = []
        values: list[float | None] = []
        done = 0
        for entry in chain:
            # Where prefixes lack, several steps lie between two of them: the last is labelled.
            if entry.steps is not None:
                texts = list(entry.steps[len(steps) :])
            else:
                more = entry.process[done:]
                texts = [more[start:end] for start, end in split(more, "marker")] or [more]
            steps += texts
            values += [None] * (len(texts) - 1)
            values.append(None if entry.row in labelled else entry.value)
            labelled.add(entry.row)
            done = len(entry.process)
        row: Row = {"question": _plain(key.question), "steps": [*steps], "values": [*values]}
        try:
            place = Place(str(reading.file), chain[-1].row)
            yield row_of(row, images, place, reading.file.stem, span)
        except ProblemError as error:
            reading.reject(error, chain[-1].row)


def _ended_steps(item: Row, process: str) -> tuple[str, ...] | None:
    """The steps of a prefix by `step_ends`; None without them."""
    given = item.get("step_ends")
    if given is None:
        return None
    ends = [end for end in given if type(end) is int] if isinstance(given, list) else []
    rising = all(start < end for start, end in pairwise([0, *ends]))
    if not isinstance(given, list) or len(ends) != len(given) or not rising:
        raise ProblemError("must be a list of rising integers from 1", field="step_ends")
    if not ends or ends[-1] != len(process):
        raise ProblemError("the last must be the end of 'process'", field="step_ends")
    steps = tuple(process[start:end].strip() for start, end in pairwise([0, *ends]))
    if not all(steps):
        raise ProblemError("there is a step without text", field="step_ends")
    return steps


def _chains(reading: Reading, entries: Sequence[_Entry]) -> Iterator[list[_Entry]]:
    """Paths from a shortest prefix to a longest one.

    In the order of their texts, or of their steps, a prefix comes right before what begins
    with it, so that a stack holds the prefixes of the entry at hand.

    Args:
        reading: Takes entries that contradict others.
        entries: Either all of them or none with steps.
    """
    ordered: list[_Entry] = []
    for _, same in groupby(sorted(entries, key=_place), lambda entry: _place(entry)[:2]):
        first, *others = same
        ordered.append(first)
        for entry in others:
            if entry.value != first.value:
                reading.reject(
                    ProblemError(
                        f"{shown(entry.process)} has another value in row {first.row}",
                        field="value",
                    ),
                    entry.row,
                )
    stack: list[_Entry] = []
    for place, entry in enumerate(ordered):
        while stack and not _begins(stack[-1], entry):
            stack.pop()
        stack.append(entry)
        if place + 1 == len(ordered) or not _begins(entry, ordered[place + 1]):
            yield list(stack)


def _place(entry: _Entry) -> tuple[tuple[str, ...], str, int]:
    return (entry.steps, "", entry.row) if entry.steps else ((), entry.process, entry.row)


def _begins(prefix: _Entry, entry: _Entry) -> bool:
    """Whether a solution's beginning goes on as another, behind a step or at a blank."""
    if prefix.steps is not None and entry.steps is not None:
        return prefix.steps == entry.steps[: len(prefix.steps)]
    length = len(prefix.process)
    return entry.process.startswith(prefix.process) and entry.process[length : length + 1].isspace()


def visualprm(reading: Reading, span: ValueRange, limit: int | None) -> list[TrainingRow]:
    """Solutions of VisualPRM400K in either form; rows with faults are set aside.

    Raises:
        InputError: The file is neither JSON lines nor a JSON list.
    """
    rows = []
    for row, item in _items(reading, limit):
        try:
            form = _converted if "conversations" in item else _raw
            made = form(item, span)
            names = _names(item.get("image"), "image")
            images: tuple[Image, ...] = tuple(reading.image(name) for name in names)
            place = Place(str(reading.file), row)
            rows.append(row_of(made, images, place, reading.file.stem, span))
        except (ProblemError, ImageError) as error:
            reading.reject(error, row)
    return rows


def stepwise(reading: Reading, span: ValueRange, limit: int | None) -> list[TrainingRow]:
    """Solutions in the former stepwise format of TRL; rows with faults are set aside.

    Raises:
        InputError: The file is neither JSON lines nor a JSON list.
    """
    rows = []
    for row, item in _items(reading, limit):
        try:
            labels = item.get("labels")
            if not isinstance(labels, list):
                raise ProblemError("must be a list", field="labels")
            for k, label in enumerate(labels):
                if not isinstance(label, bool):
                    raise ProblemError("must be true or false", field=f"labels[{k}]")
            values: list[JsonValue] = [span.high if label else span.low for label in labels]
            made: Row = {
                "question": item.get("prompt"),
                "steps": item.get("completions"),
                "values": values,
            }
            images = tuple(reading.image(name) for name in _names(item.get("images"), "images"))
            place = Place(str(reading.file), row)
            rows.append(row_of(made, images, place, reading.file.stem, span))
        except (ProblemError, ImageError) as error:
            reading.reject(error, row)
    return rows


def _raw(item: Row, span: ValueRange) -> Row:
    given = item.get("steps_with_score")
    if not isinstance(given, list):
        raise ProblemError("must be a list", field="steps_with_score")
    steps: list[JsonValue] = []
    values: list[JsonValue] = []
    for place, one in enumerate(given):
        field = f"steps_with_score[{place}]"
        if not isinstance(one, dict) or not isinstance(one.get("step"), str):
            raise ProblemError("has no step", field=field)
        score = one.get("score")
        steps.append(one["step"])
        values.append(None if score is None else number(score, f"{field}.score", span))
    return {"question": _plain(_text(item, "question")), "steps": steps, "values": values}


def _converted(item: Row, span: ValueRange) -> Row:
    turns = item.get("conversations")
    if not isinstance(turns, list):
        raise ProblemError("must be a list", field="conversations")
    said = [_turn(turn, place) for place, turn in enumerate(turns)]
    said = [(who, text, place) for who, text, place in said if who != "system"]
    if not said or len(said) % 2:
        raise ProblemError("steps and verdicts do not take turns", field="conversations")
    question = ""
    steps: list[JsonValue] = []
    values: list[JsonValue] = []
    for (who, text, place), (judge, verdict, at) in zip(said[::2], said[1::2], strict=True):
        if who != "human" or judge != "gpt":
            raise ProblemError(
                "steps and verdicts do not take turns", field=f"conversations[{place}].from"
            )
        if verdict.strip() not in ("+", "-"):
            raise ProblemError(
                f"{shown(verdict)} is neither + nor -", field=f"conversations[{at}].value"
            )
        step = text
        if not steps:
            match = _HEADINGS.fullmatch(text)
            if match is None:
                raise ProblemError(
                    "question and first step are not under headings",
                    field=f"conversations[{place}].value",
                )
            question, step = match["question"].strip(), match["step"]
        steps.append(step)
        values.append(span.high if verdict.strip() == "+" else span.low)
    return {"question": _plain(question), "steps": steps, "values": values}


def _turn(turn: JsonValue, place: int) -> tuple[str, str, int]:
    if isinstance(turn, dict):
        who, text = turn.get("from"), turn.get("value")
        if isinstance(who, str) and isinstance(text, str):
            return who, text, place
    raise ProblemError("has no 'from' and 'value'", field=f"conversations[{place}]")


def _items(reading: Reading, limit: int | None) -> Iterator[tuple[int, Row]]:
    """The objects of a JSON list or of JSON lines, with their numbers."""
    with reading.opened() as file:
        data = file.read().removeprefix(b"\xef\xbb\xbf")
    reading.hash(data)
    listed = data.lstrip().startswith(b"[")
    lines: Sequence[object] = _parsed_list(reading, data) if listed else data.split(b"\n")
    taken = 0
    for row, line in enumerate(lines, start=1):
        if isinstance(line, bytes) and not line.strip():
            continue
        taken += 1
        if limit is not None and taken > limit:
            return
        try:
            item = _parse(line) if isinstance(line, bytes) else line
            if not isinstance(item, dict):
                raise ProblemError("not a JSON object")
        except ProblemError as error:
            reading.reject(error, row)
        else:
            yield row, item


def _parse(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProblemError(f"not JSON: {error}") from error


def _parsed_list(reading: Reading, data: bytes) -> list[object]:
    try:
        items = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {error}", file=reading.file) from error
    return list(items)


def _text(item: Mapping[str, JsonValue], key: str) -> str:
    value = item.get(key)
    if not isinstance(value, str):
        raise ProblemError("must be text" if value is not None else "is missing", field=key)
    return value


def _names(value: JsonValue, key: str) -> list[ImageName]:
    if value is None or value == "":
        return []
    if isinstance(value, str):
        return [ImageName(key, value)]
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return [ImageName(f"{key}[{k}]", str(one)) for k, one in enumerate(value)]
    raise ProblemError("must be a path or a list of paths", field=key)


def _plain(question: str) -> str:
    """The question without bare image marks: images stand before it."""
    return _IMAGE_MARK.sub("\n", question).strip()


READERS: Mapping[str, Callable[[Reading, ValueRange, int | None], list[TrainingRow]]] = {
    "vilreward": vilreward,
    "visualprm": visualprm,
    "trl": stepwise,
}
