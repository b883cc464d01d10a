"""A curated or a prepared problem set as a publication."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from vilbench.curate import folder as curated
from vilbench.curate.records import ProblemCard
from vilbench.curate.summary import readme
from vilbench.problems import prepared
from vilbench.problems.sets import ProblemSet
from vilbench.publish import loading, tables
from vilbench.publish.hub import Target
from vilbench.publish.markdown import fenced, header, plain, table
from vilbench.publish.privacy import Screen
from vilbench.publish.publication import (
    CARD,
    Entry,
    Publication,
    card_entry,
    left_of,
    record_entry,
)
from vilbench.store.parquet import Column, write_table

TABLE: Final = "problems.parquet"
"""At the root and under this name, so that the published folder is own data."""

_INDICATORS: Final = "indicators/indicators.parquet"
_PREPARED: Final = "prepared.json"

_COLUMNS: Final = (
    *(Column(name, "string") for name in ("id", "source", "modality", "fate")),
    *(Column(name, "float64") for name in ("pass_rate", "indicator", "inclusion")),
    Column("by_pair", "float64", lists=1),
)

_REASONS = {
    "problems.jsonl": f"its problems are in {TABLE}",
    "images/": f"they lie in {TABLE}",
    _PREPARED: "where the set comes from stands in the card",
    curated.INDICATORS: f"its rows are in {_INDICATORS}",
    CARD: "a new card is written",
}


def problem_set(
    folder: Path,
    room: Path,
    screen: Screen,
    *,
    title: str | None = None,
    license: str | None = None,  # noqa: A002 - the card's word
    target: Target | None = None,
) -> Publication:
    """A problem set as a data set with its card; of a curated one how it was chosen, too.

    Args:
        folder: As `vilbench curate` or `vilbench problems prepare` leaves it.
        room: An empty folder, where the tables are written.
        screen: For texts.
        title: Heading of the card; the set's name where None.
        license: For the card.
        target: Where on the hub it will be, for the card.

    Raises:
        InputError: The set is damaged or has been changed, or pyarrow is not installed.
        ImageError: A picture is missing or has changed.
    """
    about = prepared.card_of(folder)
    found = prepared.load(folder, about.name)
    count = write_table(
        room / "problems.parquet", tables.PROBLEMS, tables.problem_rows(found.problems, screen)
    )
    entries = [Entry(TABLE, room / "problems.parquet")]
    taken: set[Path] = set()
    configs = {"problems": TABLE}
    chosen = None
    if curated.is_curated(folder):
        chosen = curated.card_of(folder)
        rows = map(_row, curated.indicators(folder))
        write_table(room / "indicators.parquet", _COLUMNS, rows)
        entries.append(Entry(_INDICATORS, room / "indicators.parquet"))
        entries.append(record_entry(curated.CARD, chosen, screen))
        taken.add(folder / curated.CARD)
        configs["indicators"] = _INDICATORS
    body = _prepared(about, found, count) if chosen is None else readme(chosen).splitlines()
    lines = [
        *_header(title or about.name, license, configs, curated=chosen is not None),
        *(body if title is None else [f"# {plain(title)}", *list(body)[1:]]),
        "",
        "## Use",
        "",
        *fenced("python", _USE.format(problems=loading.dataset(target))),
        *fenced("bash", "\n".join([*loading.download(target, "dataset"), _RUN])),
    ]
    remarks = [*screen.summary()]
    if license is None:
        remarks.append("the card names no license: --license; that of the sources counts")
    return Publication(
        "dataset",
        "curated problem set" if chosen is not None else "problem set",
        (card_entry(screen.told("\n".join(lines))), *entries),
        left_of(folder, taken, _REASONS),
        tuple(remarks),
        f"problems {about.sha256[:12]}",
    )


_USE = """\
from datasets import load_dataset

problems = {problems}
print(problems[0]["question"], problems[0]["images"])"""
_RUN = f"vilbench run embedded --problems {loading.FOLDER} --out runs/here"


def _row(card: ProblemCard) -> Mapping[str, Any]:
    return card.model_dump(mode="json")


def _header(
    title: str,
    given: str | None,
    configs: Mapping[str, str],
    *,
    curated: bool,
) -> Iterator[str]:
    yield from header(
        {
            "pretty_name": title,
            "license": given,
            "task_categories": ["visual-question-answering", "image-text-to-text"],
            "tags": ["benchmark", "process-reward-model", "vilbench"]
            + (["curated"] if curated else []),
            "configs": [
                {
                    "config_name": name,
                    "data_files": [{"split": "test", "path": path}],
                    **({"default": True} if name == "problems" else {}),
                }
                for name, path in configs.items()
            ],
        }
    )


def _prepared(about: prepared.Card, found: ProblemSet, count: int) -> Iterator[str]:
    """The card of a set that nothing was chosen from."""
    yield f"# {plain(about.name)}"
    yield ""
    yield f"{count} visual questions with their pictures and gold answers."
    yield ""
    commit = about.revision or "a local copy, no commit"
    rows = [
        ("source", about.repository),
        ("revision", commit),
        ("read", about.made),
        ("sha256 of the problems", about.sha256),
        ("rows set aside", str(len(about.rejected))),
    ]
    sources = sorted({problem.source for problem in found.problems})
    rows.append(("of", ", ".join(sources)))
    yield from table(("", ""), rows)
    if about.notes:
        yield "## Notes"
        yield ""
        yield from (f"- {plain(note)}" for note in about.notes)
