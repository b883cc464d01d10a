"""Data sets of the Hugging Face hub, at a pinned commit, or saved by the library `datasets`.

No loading script is ever run: the library has not run any since version 4. Pictures stay
as the encoded bytes that were uploaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from vilbench.errors import InputError
from vilbench.problems.tables import Line, Table, Values

_BATCH = 32
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SAVED = ("state.json", "dataset_info.json")


class Remote(NamedTuple):
    """A split of a data set on the hub.

    Attributes:
        repository: `owner/name`.
        config: Configuration; None where there is one only.
        split: Split.
        revision: Commit, 40 hexadecimal digits; a branch could change.
    """

    repository: str
    config: str | None
    split: str
    revision: str

    def __str__(self) -> str:
        config = f" ({self.config})" if self.config else ""
        return f"{self.repository}@{self.revision}{config}:{self.split}"


def is_commit(revision: str) -> bool:
    """Whether a revision names a commit, which never changes."""
    return _COMMIT.fullmatch(revision) is not None


def fetched(remote: Remote) -> Table:
    """The rows of a split, downloaded where the library's cache lacks them.

    Raises:
        InputError: The library is not installed, the revision is no commit, or the hub does
            not give the data.
    """
    if not is_commit(remote.revision):
        raise InputError(
            f"'{remote.revision}' is no commit (40 hexadecimal digits): a branch may change",
            field="revision",
        )
    datasets = _library()
    try:
        data = datasets.load_dataset(
            remote.repository, remote.config, split=remote.split, revision=remote.revision
        )
    except Exception as error:
        # Hub, network, file and format errors come as classes of many libraries.
        raise InputError(
            f"cannot be had from the hub: {_told(error)}; a downloaded copy can be given as path",
            file=str(remote),
        ) from error
    return _table(data, str(remote))


def newest(repository: str) -> str:
    """The commit that the main branch of a data set is at.

    Raises:
        InputError: The hub does not tell.
    """
    _library()
    from huggingface_hub import HfApi

    try:
        commit = HfApi().dataset_info(repository).sha
    except Exception as error:
        raise InputError(f"the hub cannot be asked: {_told(error)}", file=repository) from error
    if commit is None:
        raise InputError("the hub names no commit", file=repository)
    return str(commit)


def is_saved(folder: Path) -> bool:
    """Whether a folder was written by `datasets` with `save_to_disk`."""
    return all((folder / name).is_file() for name in _SAVED)


def saved(folder: Path) -> Table:
    """The rows of a data set that was saved to a folder.

    Raises:
        InputError: The library is not installed, or the folder cannot be read.
    """
    datasets = _library()
    try:
        data = datasets.load_from_disk(str(folder))
    except Exception as error:
        raise InputError(f"cannot be read by datasets: {_told(error)}", file=folder) from error
    return _table(data, str(folder))


def _library() -> Any:
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise InputError(
            "data sets of the hub need the library datasets: pip install 'vilbench[datasets]'"
        ) from error
    return datasets


def _table(data: Any, place: str) -> Table:
    columns: Sequence[str] = data.column_names

    def lines() -> Iterator[Line]:
        number = 0
        # Arrow tables leave pictures undecoded: as they are, and quickly.
        for batch in data.with_format("arrow").iter(_BATCH):
            for row in batch.to_pylist():
                number += 1
                yield Line(number, partial(_given, row))

    return Table(place, tuple(columns), lines())


def _given(row: Values) -> Values:
    return row


def _told(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
