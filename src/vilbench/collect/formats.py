"""Rows as files: our JSON lines, ViLReward-73K's, and the former stepwise format of TRL.

    rows        rows.jsonl and images/: what `vilbench train` reads, nulls kept
    vilreward   vilreward_train.json and images.zip: an entry for every labelled prefix
    trl         stepwise.jsonl and images/: prompt, completions, labels that are true or false

Each is read back by `vilbench train`, with `data.kind` `rows`, `vilreward` or `trl`. Text is
ASCII with escapes: what a model wrote reaches no terminal as it is.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from vilbench.collect.data import Tally
from vilbench.collect.rows import DataRow
from vilbench.images import extension
from vilbench.steps.format import shown_parts
from vilbench.store.disk import replacing, storage_errors
from vilbench.store.export import write_image, write_lines
from vilbench.types import Image, Problem

ROWS, VILREWARD, ZIP, STEPWISE = (
    "rows.jsonl",
    "vilreward_train.json",
    "images.zip",
    "stepwise.jsonl",
)


class ImageFolder:
    """Images of an export, each written once.

    Args:
        folder: Of the export.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[Image, str] = {}

    def name(self, image: Image) -> str:
        """Its path relative to the export, where it is now.

        Raises:
            ImageError: It is missing or has changed.
        """
        found = self._names.get(image)
        if found is None:
            found = self._names[image] = write_image(self._folder, image)
        return found


def write_rows(rows: Iterable[DataRow], folder: Path, tally: Tally) -> None:
    """Writes `rows.jsonl` and `images/`.

    Raises:
        RunStorageError: The folder cannot be written.
        ImageError: An image is missing or has changed.
    """
    images = ImageFolder(folder)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_lines(folder / ROWS, (record(row, images.name, tally) for row in rows))


def record(row: DataRow, stored: Callable[[Image], Any], tally: Tally) -> dict[str, Any]:
    """A row with the keys of a training row; it is counted.

    Args:
        row: The row.
        stored: What stands for an image.
        tally: Counts.
    """
    tally.add(row)
    made: dict[str, Any] = {
        "id": row.id,
        "group": row.problem.id,
        "question": row.problem.question,
        "choices": list(row.problem.choices),
        "images": [stored(image) for image in row.problem.images],
        "steps": list(row.steps),
        "values": list(row.values),
    }
    if any(row.spread):
        made["marks"] = [
            [[0, len(step), value]] if spread else []
            for step, value, spread in zip(row.steps, row.values, row.spread, strict=True)
        ]
    return made


def write_vilreward(rows: Iterable[DataRow], folder: Path, tally: Tally) -> None:
    """Writes `vilreward_train.json` and `images.zip`, whose paths the entries name.

    Beside the public keys an entry has `id` and `step_ends`: where in `process` each step
    ends, so that a step of several lines is read back as one. Choices stand in the question.
    Not written, and counted: steps behind the last label of a row, problems of several images,
    and a prefix that stands there already.

    Args:
        rows: Nodes must be labelled once.
        folder: Where.
        tally: Counts.

    Raises:
        RunStorageError: The folder cannot be written.
        ImageError: An image is missing or has changed.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with (
            replacing(folder / ZIP) as packed,
            zipfile.ZipFile(packed, "w") as archive,
            replacing(folder / VILREWARD) as file,
        ):
            names: dict[Image, str] = {}
            start = b"[\n"
            for entry in _entries(rows, archive, names, tally):
                file.write(start + json.dumps(entry, allow_nan=False).encode("ascii"))
                start = b",\n"
            file.write(b"\n]\n" if start == b",\n" else b"[]\n")


def _entries(
    rows: Iterable[DataRow], archive: zipfile.ZipFile, names: dict[Image, str], tally: Tally
) -> Iterator[Mapping[str, JsonValue]]:
    seen: set[bytes] = set()
    for row in rows:
        images = row.problem.images
        if len(images) > 1:
            tally.leave("solutions: several images")
            continue
        path = _packed(images[0], archive, names) if images else None
        question = asked(row.problem)
        ends = _ends(row.steps)
        process = "\n".join(row.steps)
        last = max(k for k, value in enumerate(row.values) if value is not None)
        tally.leave("steps behind the last label", len(row.steps) - 1 - last)
        written: list[float | None] = [None] * len(row.steps)
        for k, (end, value) in enumerate(zip(ends, row.values, strict=True)):
            if value is None:
                continue
            told = json.dumps([path, question, process[:end]]).encode()
            key = hashlib.sha256(told).digest()
            if key in seen:
                tally.leave("labels of a prefix that stands there already")
                continue
            seen.add(key)
            written[k] = value
            yield {
                "id": f"{row.problem.id}/{row.nodes[k]}",
                "image_path": path,
                "question": question,
                "process": process[:end],
                "value": value,
                "step_ends": list(ends[: k + 1]),
            }
        if any(value is not None for value in written):
            tally.add(replace(row, values=tuple(written)))


def _ends(steps: tuple[str, ...]) -> list[int]:
    """Where each step ends in the steps joined by line breaks."""
    return [end - 1 for end in accumulate(len(step) + 1 for step in steps)]


def _packed(image: Image, archive: zipfile.ZipFile, names: dict[Image, str]) -> str:
    """Puts an image into the archive, once; returns its path there."""
    if image not in names:
        data = image.read()
        names[image] = f"images/{image.digest}.{extension(data)}"
        # One date for all: equal collections are equal files. Images are packed already.
        entry = zipfile.ZipInfo(names[image], date_time=(1980, 1, 1, 0, 0, 0))
        entry.external_attr = 0o644 << 16
        archive.writestr(entry, data)
    return names[image]


def write_trl(rows: Iterable[DataRow], folder: Path, tally: Tally) -> None:
    """Writes `stepwise.jsonl` and `images/`: `prompt`, `completions`, `labels`, `images`.

    A label is true where the step is right (`DataRow.right`). The format has no null: a row
    ends before its first step without a label, which is counted, and what is then the same is
    written once.

    Args:
        rows: Shared nodes must be labelled in every row.
        folder: Where.
        tally: Counts.

    Raises:
        RunStorageError: The folder cannot be written.
        ImageError: An image is missing or has changed.
    """
    images = ImageFolder(folder)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_lines(folder / STEPWISE, _stepwise(rows, images, tally))


def _stepwise(
    rows: Iterable[DataRow], images: ImageFolder, tally: Tally
) -> Iterator[Mapping[str, JsonValue]]:
    problem, seen = None, set[tuple[str, ...]]()
    for row in rows:
        if row.problem.id != problem:
            problem, seen = row.problem.id, set()
        labels: list[JsonValue] = []
        for right in row.right:
            if right is None:
                break
            labels.append(right)
        cut = replace(row, steps=row.steps[: len(labels)], values=row.values[: len(labels)])
        tally.leave("steps from the first without a label on", len(row.steps) - len(labels))
        if not labels or cut.steps in seen:
            tally.leave("solutions of which nothing is left")
            continue
        seen.add(cut.steps)
        tally.add(cut)
        yield {
            "prompt": asked(row.problem),
            "completions": list(cut.steps),
            "labels": labels,
            "images": [images.name(image) for image in row.problem.images],
        }


def asked(problem: Problem) -> str:
    """Question and choices as one text, as they are shown; marks of images stay."""
    return "".join(
        part for part in shown_parts(problem.question, problem.choices, ()) if isinstance(part, str)
    )
