"""A curated set as a folder: a prepared problem set, and beside it how it was chosen.

    problems.jsonl, images/, prepared.json     the set, as `vilbench problems prepare` writes one
    curated.json      `records.Curated`: runs, pairs, rule, sources, gains, stability
    indicators.jsonl  `records.ProblemCard` of every problem that was looked at, a line each
    README.md         the same for a reader

Nothing in it depends on when or where it was made: the time of its card is that of the newest
run, so that the same runs, pairs and rule give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from vilbench.curate.curation import Curation
from vilbench.curate.records import Curated, ProblemCard
from vilbench.curate.summary import readme
from vilbench.errors import InputError
from vilbench.problems import prepared
from vilbench.problems.sets import ProblemSet
from vilbench.types import SCHEMA_VERSION
from vilbench.validation import in_words

CARD, INDICATORS, README = "curated.json", "indicators.jsonl", "README.md"
_REPOSITORY = "vilbench curate"


def write(curation: Curation, folder: Path) -> prepared.Card:
    """Writes a curated set; one that is there is replaced, whole or not at all.

    Raises:
        InputError: There is something else at the folder, it cannot be written, or a picture
            cannot be read.
    """
    if folder.exists() and not is_curated(folder):
        raise InputError("is there already, and no curated set", file=folder)
    card = curation.card
    lines = [one.model_dump_json() + "\n" for one in curation.looked_at]
    beside = {
        CARD: card.model_dump_json(indent=1).encode() + b"\n",
        INDICATORS: "".join(lines).encode(),
        README: readme(card).encode(),
    }
    note = f"{card.name}: chosen from {', '.join(card.problem_sets)} by {len(card.pairs)} pairs"
    problems = ProblemSet(card.name, curation.problems, notes=(note,))
    made = max(run.created for run in card.runs)
    return prepared.write(problems, folder, _REPOSITORY, None, made=made, beside=beside)


def is_curated(folder: Path) -> bool:
    """Whether there is a curated set."""
    return (folder / CARD).is_file() and prepared.is_prepared(folder)


def has_card(folder: Path) -> bool:
    """Whether problems were curated, also where the set has been published since."""
    return (folder / CARD).is_file()


def card_of(folder: Path) -> Curated:
    """How a set was curated.

    Raises:
        InputError: It cannot be read, or is of a newer version.
    """
    path = folder / CARD
    try:
        card = Curated.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(error.strerror or "unreadable", file=path) from error
    except ValidationError as error:
        raise InputError(f"is damaged: {in_words(error.errors()[0])}", file=path) from error
    if card.schema_version > SCHEMA_VERSION:
        raise InputError(f"is of version {card.schema_version}", file=path)
    return card


def indicators(folder: Path) -> Iterator[ProblemCard]:
    """What became of every problem that was looked at.

    Raises:
        InputError: The file cannot be read.
    """
    path = folder / INDICATORS
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise InputError(error.strerror or "unreadable", file=path) from error
    for number, line in enumerate(lines, 1):
        try:
            yield ProblemCard.model_validate_json(line)
        except ValidationError as error:
            told = f"is damaged: {in_words(error.errors()[0])}"
            raise InputError(told, file=path, row=number) from error
