"""The trees of a run as training data, as a publication."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from vilbench.collect.card import NAME
from vilbench.collect.data import DataConfig, Summary
from vilbench.collect.export import SUMMARY, Exported, Labelling, export
from vilbench.collect.rows import DataRow
from vilbench.collect.tables import HUB_TABLE
from vilbench.publish.privacy import Screen
from vilbench.publish.publication import Entry, Publication, card_entry, left_of, record_entry
from vilbench.store.run import Run

_REASONS = {
    "run.sqlite": "database: the rows are made of its trees",
    "manifest.json": "seed and fingerprint stand in the card",
    "run.lock": "lock of the writer",
    "images/": "they lie in the table",
    NAME: "a new card is written",
    "*.sqlite-wal": "database: the rows are made of its trees",
    "*.sqlite-shm": "database: the rows are made of its trees",
}


def training_data(
    run: Run,
    room: Path,
    screen: Screen,
    config: DataConfig,
    *,
    second: Run | None = None,
    labelling: Labelling | None = None,
) -> tuple[Publication, Summary]:
    """A collection as a data set with its card, and what became of its trees.

    Args:
        run: The run, open for reading.
        room: An empty folder, where the table is written.
        screen: For texts.
        config: How trees become data.
        second: A second collection over the same problems, for the consensus.
        labelling: For the card.

    Raises:
        RunError: A run holds no trees, or no row is left.
        ImageError: A stored image is missing or has changed.
        InputError: pyarrow is not installed.
    """

    def screened(row: DataRow) -> DataRow:
        asked = row.problem.model_dump(include={"question", "choices"})
        problem = row.problem.model_copy(update=screen.data(asked))
        return replace(row, problem=problem, steps=tuple(map(screen.text, row.steps)))

    summary = export(run, room, "hub", config, second=second, labelling=labelling, amend=screened)
    card = screen.told((room / NAME).read_text(encoding="utf-8"))
    told = Exported.model_validate_json((room / SUMMARY).read_bytes())
    remarks = [*screen.summary()]
    if labelling is None or labelling.license is None:
        remarks.append("the card names no license: --license; that of the problems counts, too")
    publication = Publication(
        "dataset",
        "training data",
        (
            card_entry(card),
            Entry(HUB_TABLE, room / HUB_TABLE),
            record_entry(SUMMARY, told, screen),
        ),
        left_of(run.folder, set(), _REASONS),
        tuple(remarks),
        f"training data {run.manifest.fingerprint[:12]}",
    )
    return publication, summary
