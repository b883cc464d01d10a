"""Own problems from a JSONL file.

One JSON object per line, in UTF-8; blank lines are skipped. Keys:

    question      text; may be empty only where there is an image
    answer        text or number; of a choice its letter ("A" is the first) or its exact text,
                  of several choices their letters
    id            text or integer; without it, the file's stem and the line number
    answer_kind   one of `types.AnswerKind`; without it "choice" where choices are given, else
                  "number" where the answer is a number, else "text"
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

import hashlib
from collections.abc import Callable
from pathlib import Path, PureWindowsPath

from vilbench.errors import ImageError, InputError, ProblemError
from vilbench.images import DEFAULT_LIMITS, decode
from vilbench.problems.loading import Loading, Place
from vilbench.problems.rows import (
    ImageName,
    identity_of,
    image_names,
    parsed,
    problem_of,
    shown,
)
from vilbench.problems.sets import ProblemSet
from vilbench.types import FileSource, Image, ImageSource, Problem

_LONGEST_PATH = 4096


PictureReader = Callable[[Path, ImageName, list[str]], Image]
"""The picture that a row names, of the folder of its file; takes what was converted."""


def load_jsonl(
    path: Path,
    *,
    source: str | None = None,
    limit: int | None = None,
    picture: PictureReader | None = None,
) -> ProblemSet:
    """The problems of a JSONL file; every image is decoded once to know that it is sound.

    Args:
        path: The file.
        source: Name of the set, and the source of rows that name none; the file's stem
            where None.
        limit: Most problems; rows after the last of them are not looked at, and a note
            says so. None takes all.
        picture: Reads pictures; None takes `read_image`.

    Raises:
        InputError: The file is missing, unreadable, empty, or has no usable row.
    """
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except OSError as error:
        raise InputError(error.strerror or "unreadable", file=path) from error
    loading, look = Loading(source or path.stem, path), picture or read_image
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if loading.enough(limit, Place(str(path), number)):
            break
        torn = number == len(lines)

        def make(
            notes: list[str], number: int = number, line: bytes = line, torn: bool = torn
        ) -> Problem:
            row = parsed(line, torn=torn)
            identity = identity_of(row, f"{path.stem}-{number}")
            loading.refuse_known(identity, Place(str(path), number))
            images = tuple(look(path.parent, name, notes) for name in image_names(row))
            return problem_of(row, identity, loading.name, images, notes)

        loading.add(Place(str(path), number), make)
    return loading.finished()


def read_image(folder: Path, name: ImageName, notes: list[str]) -> Image:
    """The image file that a row names, once its bytes have proved to be an image.

    Args:
        folder: Of the file that the row stands in.
        name: The path in the row.
        notes: Takes what was converted.

    Raises:
        ProblemError: The path is no plain relative path, or leads out of the folder.
        ImageError: There is no such file, or it is no image.
    """
    path = _below(folder, name)
    try:
        if path.stat().st_size > DEFAULT_LIMITS.max_bytes:
            raise ImageError(f"over the limit of {DEFAULT_LIMITS.max_bytes:,} bytes")
        data = FileSource(path).read()
    except OSError as error:
        raise ImageError(f"{shown(name.path)}: {error.strerror}", field=name.field) from error
    except ImageError as error:
        raise ImageError(f"{shown(name.path)}: {error.message}", field=name.field) from error
    return checked_image(data, FileSource(path), name, notes)


def checked_image(data: bytes, source: ImageSource, name: ImageName, notes: list[str]) -> Image:
    """An image whose bytes have been decoded once.

    Args:
        data: Its encoded bytes.
        source: Where they are found again.
        name: What it is called in the row, in messages; a path of "" is left out.
        notes: Takes what was converted.

    Raises:
        ImageError: They are no image; names the field.
    """
    try:
        decoded = decode(data)
    except ImageError as error:
        told = f"{shown(name.path)}: {error.message}" if name.path else error.message
        raise ImageError(told, field=name.field) from error
    called = f"image {shown(name.path)}" if name.path else f"'{name.field}'"
    notes += [f"{called}: {note}" for note in decoded.notes]
    return Image(digest=hashlib.sha256(data).hexdigest()).bound(source)


def _below(folder: Path, name: ImageName) -> Path:
    """The file `name` below `folder`, wherever links lead.

    Raises:
        ProblemError: The path is no plain relative path, or leads out of the folder.
        ImageError: There is no such file.
    """
    path_text, told = name.path, shown(name.path)
    if len(path_text) > _LONGEST_PATH:
        raise ProblemError(f"{told} is too long for a path", field=name.field)
    windows = PureWindowsPath(path_text)
    if not path_text.strip() or "\0" in path_text:
        raise ProblemError(f"{told} is no path", field=name.field)
    if "://" in path_text or path_text.lower().startswith(("data:", "file:")):
        raise ProblemError(f"{told}: URLs are not read, only files", field=name.field)
    if path_text.startswith("/") or windows.drive or windows.root:
        raise ProblemError(f"{told} is absolute", field=name.field)
    if "\\" in path_text:
        raise ProblemError(f"{told}: write '/' between folders", field=name.field)
    if ".." in windows.parts:
        raise ProblemError(f"{told} leads out of the file's folder", field=name.field)
    try:
        root = folder.resolve()
        path = (root / path_text).resolve()
        if not path.is_relative_to(root):
            raise ProblemError(f"{told} leads out of the file's folder", field=name.field)
        # Neither a folder nor a pipe, which would never end.
        if not path.is_file():
            words = "is no plain file" if path.exists() else "no such file"
            raise ImageError(f"{told}: {words}", field=name.field)
    except OSError as error:
        raise ImageError(f"{told}: {error.strerror}", field=name.field) from error
    except RuntimeError as error:
        raise ImageError(f"{told} is a loop of links", field=name.field) from error
    return path
