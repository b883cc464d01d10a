"""The trees of a run as data in one of the formats, with what was counted on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

from vilbench import __version__
from vilbench.collect.budget import Ledger
from vilbench.collect.card import NAME, Origin, card
from vilbench.collect.data import Collection, DataConfig, Summary, Tally
from vilbench.collect.forest import COLLECT, noted_key
from vilbench.collect.formats import (
    ROWS,
    STEPWISE,
    VILREWARD,
    ZIP,
    write_rows,
    write_trl,
    write_vilreward,
)
from vilbench.collect.rows import DataRow
from vilbench.collect.tables import TABLE, write_hub_table, write_parquet
from vilbench.errors import RunError
from vilbench.search import TreeRecord
from vilbench.store import trees
from vilbench.store.database import encode
from vilbench.store.disk import replacing, storage_errors
from vilbench.store.run import Run
from vilbench.types import Record

FormatName = Literal["rows", "parquet", "vilreward", "trl", "hub", "trees"]

SUMMARY = "collection.json"
TREES = "trees.jsonl"
FILES = frozenset({SUMMARY, TREES, ROWS, TABLE, VILREWARD, ZIP, STEPWISE, "images"})
"""What exports of trees leave in a folder; any of them may share it."""


class Format(NamedTuple):
    """A way to write rows, and where shared steps must carry labels for it; None for any."""

    write: Callable[[Iterable[DataRow], Path, Tally], None]
    labels: Literal["once", "every"] | None = None


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "rows": Format(write_rows),
        "parquet": Format(write_parquet),
        "vilreward": Format(write_vilreward, "once"),
        "trl": Format(write_trl, "every"),
        "hub": Format(write_hub_table),
    }
)
"""The formats by the names that the command line uses."""


class Exported(Record):
    """What `collection.json` says beside the rows.

    Attributes:
        format: Of the rows.
        config: How trees became data.
        summary: What became of them.
        run: Fingerprint of the run.
        key: Of its trees.
        second: Fingerprint of the second run, for the consensus.
    """

    format: str
    config: DataConfig
    summary: Summary
    run: str
    key: str
    second: str | None = None


@dataclass(frozen=True)
class Labelling:
    """What a dataset's card says that the run does not know.

    Attributes:
        title: Heading; the run's name where None.
        license: Identifier of a license.
        command: What exports it.
    """

    title: str | None = None
    license: str | None = None
    command: str = ""


class StoredTrees:
    """The trees of a run, to be gone through as often as needed.

    Args:
        run: The run.

    Raises:
        RunError: It holds no trees.
    """

    def __init__(self, run: Run) -> None:
        held = trees.tree_keys(run)
        noted = noted_key(run)
        if not held:
            raise RunError(f"{run.folder}: the run holds no trees; 'vilbench collect' grows them")
        self.run = run
        self.key = noted if noted in held else held[-1]

    def __iter__(self) -> Iterator[TreeRecord]:
        return (grown.tree for grown in trees.trees(self.run, self.key))


def export(
    run: Run,
    folder: Path,
    form: str,
    config: DataConfig,
    *,
    second: Run | None = None,
    labelling: Labelling | None = None,
    amend: Callable[[DataRow], DataRow] | None = None,
) -> Summary:
    """Writes a run's trees below `folder` as rows, beside `collection.json`.

    Args:
        run: The run, open for reading or writing.
        folder: Where; made with its parents. Not the run's own folder.
        form: A key of `FORMATS`.
        config: How trees become data.
        second: A second collection over the same problems, for the consensus.
        labelling: For the card.
        amend: Changes texts of a row before it is written.

    Raises:
        RunError: `folder` is the run's own, a run holds no trees, or no row is left.
        RunStorageError: `folder` cannot be written.
        ImageError: A stored image is missing or has changed.
        InputError: pyarrow is not installed, and the format needs it.
    """
    _refuse_own(run, folder)
    found = FORMATS[form]
    if found.labels is not None:
        placed = config.rows.model_copy(update={"labels": found.labels})
        config = config.model_copy(update={"rows": placed})
    stored = StoredTrees(run)
    others = None if second is None else StoredTrees(second)
    collection = Collection(run.problems(), stored, config, others)
    rows = collection.rows()
    found.write(rows if amend is None else map(amend, rows), folder, collection.tally)
    summary = collection.tally.summary()
    told = Exported(
        format=form,
        config=config,
        summary=summary,
        run=run.manifest.fingerprint,
        key=stored.key,
        second=None if second is None else second.manifest.fingerprint,
    )
    _write(folder / SUMMARY, told.model_dump_json(indent=1) + "\n")
    if not summary.rows:
        raise RunError(f"{run.folder}: the filters leave no row")
    if form == "hub":
        labelling = labelling or Labelling()
        title = labelling.title or run.manifest.name
        origin = _origin(run, stored.key, labelling.command)
        text = card(summary, config, origin, title=title, license=labelling.license)
        _write(folder / NAME, text)
    return summary


def export_trees(run: Run, folder: Path) -> int:
    """Writes the trees as they are stored, one a line, to `trees.jsonl`; returns how many.

    Raises:
        RunError: `folder` is the run's own, or the run holds no trees.
        RunStorageError: `folder` cannot be written.
    """
    _refuse_own(run, folder)
    stored = StoredTrees(run)
    count = 0
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / TREES) as file:
            for tree in stored:
                file.write(encode(tree).encode("ascii") + b"\n")
                count += 1
    return count


def _refuse_own(run: Run, folder: Path) -> None:
    if folder.resolve() == run.folder.resolve():
        raise RunError(f"{folder}: this is the run itself; export to another folder")


def _write(path: Path, text: str) -> None:
    with storage_errors(path.parent), replacing(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def _origin(run: Run, key: str, command: str) -> Origin:
    noted = [event.data for event in run.events() if event.kind == COLLECT]
    about = next((data for data in reversed(noted) if data.get("key") == key), {})
    commands = [
        str(event.data.get("line", "")) for event in run.events() if event.kind == "command"
    ]
    lines = dict.fromkeys([*commands, command])
    ledger = Ledger()
    for spent in trees.finished(run, key).values():
        ledger.add(spent)
    return Origin(
        name=run.manifest.name,
        problem_set=run.manifest.problem_set,
        seed=run.manifest.seed,
        fingerprint=run.manifest.fingerprint,
        rule=str(about.get("rule", "")),
        policy=str(about.get("policy", "")),
        evaluator=str(about.get("evaluator", "")),
        command="\n".join(line for line in lines if line),
        version=__version__,
        spent=ledger.spent(),
    )
