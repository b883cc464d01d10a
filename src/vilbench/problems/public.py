"""Problems of a public source: from a local copy, or from the hub at a pinned commit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from vilbench.errors import InputError
from vilbench.problems import hub, prepared
from vilbench.problems.adapters import find
from vilbench.problems.adapters.source import Identity, Part, Source
from vilbench.problems.cells import Cells, Pictures
from vilbench.problems.loading import Loading, Place
from vilbench.problems.rows import shown
from vilbench.problems.sets import ProblemSet
from vilbench.problems.storage import Folder, storage
from vilbench.problems.tables import Line, Table, Values, table
from vilbench.types import Problem

_SHARD = re.compile(r"-(\d{5})-of-(\d{5})")


@dataclass(frozen=True)
class Request:
    """Which problems.

    Attributes:
        source: A key of `adapters.SOURCES`.
        split: A key of its parts; None takes the first.
        path: A file, a folder or a zip archive; None asks the hub.
        revision: Commit on the hub; None takes the source's own.
        columns: Names of columns by those that the source knows, where a copy has others.
        limit: Most problems; rows after the last of them are not looked at.
    """

    source: str
    split: str | None = None
    path: Path | None = None
    revision: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None


def part_of(source: Source, name: str | None) -> tuple[str, Part]:
    """The part of that name, the first for None.

    Raises:
        InputError: There is none, or it cannot be used.
    """
    chosen = name or next(iter(source.parts))
    if chosen not in source.parts:
        raise InputError(
            f"'{chosen}' is no split of {source.title}; there are {', '.join(source.parts)}",
            field="split",
        )
    part = source.parts[chosen]
    if part.closed:
        raise InputError(f"{source.title}, split {chosen}: {part.closed}", field="split")
    return chosen, part


def load(request: Request) -> ProblemSet:
    """The problems of a source.

    What `prepared` wrote is taken where it was given as `path`, or lies where it is put by
    default; else it is `read`.

    Raises:
        InputError: There is no such source or split, its files are missing, damaged or lack
            a column, or no row is usable.
    """
    name, _ = part_of(find(request.source), request.split)
    title = f"{request.source}:{name}"
    ready = request.path or prepared.default_folder(title)
    if prepared.is_prepared(ready):
        return prepared.load(ready, title, request.revision, limit=request.limit)
    return read(request)


def read(request: Request) -> ProblemSet:
    """The problems of a copy of the public files, or of the hub's; decodes each picture once.

    Raises:
        InputError: As for `load`.
    """
    source = find(request.source)
    name, part = part_of(source, request.split)
    origin = request.path or _remote(request, source, part)
    loading = Loading(f"{request.source}:{name}", str(origin))
    rows = 0
    for here in _reads(request, source, part):
        _check_columns(here.table, source, request.columns)
        for line in here.table.lines:
            if loading.enough(request.limit, Place(here.table.file, line.number)):
                return loading.finished()
            rows += 1
            identity = Identity(source.title, f"{request.source}-{rows}", name)
            make = partial(_problem, source, line, here.pictures, identity, request.columns)
            loading.add(Place(here.table.file, line.number), make)
    if part.rows not in (None, rows):
        loading.notes.append(
            f"{loading.origin}: {rows:,} rows; {source.title}, {name}, is known to have "
            f"{part.rows:,}"
        )
    return loading.finished()


def _remote(request: Request, source: Source, part: Part) -> hub.Remote:
    """What is read of the hub.

    Raises:
        InputError: No commit is known.
    """
    revision = request.revision or source.revision
    if revision is None:
        raise InputError(
            f"no commit of {source.repository} is known here: run "
            f"'vilbench problems prepare {request.source}', which pins the present one, or give "
            "a revision, or a path to a copy",
            field="revision",
        )
    return hub.Remote(source.repository, part.config, part.split, revision)


class _Read(NamedTuple):
    table: Table
    pictures: Pictures


def _problem(
    source: Source,
    line: Line,
    pictures: Pictures,
    identity: Identity,
    columns: Mapping[str, str],
    notes: list[str],
) -> Problem:
    values = renamed(line.read(), columns)
    if "index" in values:
        pictures.remember(str(values["index"]), values.get("image"))
    return source.read(Cells(values, pictures, notes), identity)


def _reads(request: Request, source: Source, part: Part) -> Iterator[_Read]:
    if request.path is None:
        found = hub.fetched(_remote(request, source, part))
        yield _Read(found, Pictures(None, encoded=False))
        return
    yield from reads(request.path, part.files)


def reads(path: Path, patterns: Sequence[str]) -> Iterator[_Read]:
    """The tables at a path with their pictures.

    Args:
        path: A table, a folder, a zip archive, or what `datasets` saved.
        patterns: Names of the tables in a folder or archive; the first that matches counts.

    Raises:
        InputError: There is no such table, or a shard of one is missing.
    """
    if path.is_dir() and hub.is_saved(path):
        yield _Read(hub.saved(path), Pictures(Folder(path), encoded=False))
        return
    held = storage(path)
    if path.is_dir() or held.path == path:
        names = held.matching(patterns)
        if not names:
            raise InputError(f"holds none of {', '.join(patterns)}", file=path)
        _check_shards(names, path)
    else:
        names = (path.name,)
    for name in names:
        found = table(held, name)
        yield _Read(found, Pictures(held, encoded=found.encoded))


def _check_shards(names: Sequence[str], path: Path) -> None:
    for name in names:
        match = _SHARD.search(name)
        if match is None:
            continue
        for number in range(int(match[2])):
            other = f"{name[: match.start()]}-{number:05d}-of-{match[2]}"
            if not any(one.startswith(other) for one in names):
                raise InputError(
                    f"{shown(other)} is missing, part {number + 1} of {int(match[2])}", file=path
                )


def renamed(values: Values, columns: Mapping[str, str]) -> Values:
    """A row under the names that a source knows; a mapped column keeps no other name."""
    if not columns:
        return values
    taken = set(columns.values())
    kept = {key: value for key, value in values.items() if key not in taken}
    return kept | {name: values.get(column) for name, column in columns.items()}


def _check_columns(read: Table, source: Source, columns: Mapping[str, str]) -> None:
    if read.columns is None:
        return
    for name, column in columns.items():
        if column not in read.columns:
            raise InputError(
                f"there is no column {shown(column)}; there are {', '.join(read.columns)}",
                file=read.file,
                field=f"columns.{name}",
            )
    known = renamed(dict.fromkeys(read.columns), columns)
    for needed in source.columns:
        if not any(name in known for name in needed.split("|")):
            raise InputError(
                f"the column is missing; there are {', '.join(read.columns)}",
                file=read.file,
                field=needed.replace("|", " or "),
            )
