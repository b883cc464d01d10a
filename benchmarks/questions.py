"""Draws the answers to the open questions from the tables of their pages.

    python benchmarks/questions.py [--to docs/images]

No figure stands here: a chart shows what the page says, and is drawn again when that changes.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import NamedTuple

from vilbench.display import numerals
from vilbench.report.charts import Dot, DotRow, Point, Reference, dot_rows
from vilbench.report.svg import file

DOCS = Path(__file__).parents[1] / "docs"
WIDTH = 520
"""Of a picture, in CSS pixels."""

_MARK = re.compile(r"[+−-]?\d+\.\d+ \[[+−-]?\d+\.\d+, [+−-]?\d+\.\d+\]")


class Chart(NamedTuple):
    """A column of differences of a page's table.

    Attributes:
        name: Of the file.
        page: Whose table.
        heading: Of the section, as it begins.
        first: How the table's head begins; a section may have several tables.
        column: Head of the column.
        against: What the differences are from.
        title: Read out instead of the figure.
    """

    name: str
    page: str
    heading: str
    first: str
    column: str
    against: str
    title: str


CHARTS = (
    Chart(
        "questions-weights",
        "questions-weights.md",
        "One reward model",
        "method",
        "over `prm/mean`, points",
        "prm/mean",
        "Step weights against the mean of all steps",
    ),
    Chart(
        "questions-segments",
        "questions-segments.md",
        "The reward model",
        "segments",
        "`last-1`",
        "marker",
        "Segmentations against steps with a marker, by last-1",
    ),
    Chart(
        "questions-training",
        "questions-training.md",
        "One reward model for",
        "trained on",
        "all (540)",
        "natural",
        "Training data against natural data",
    ),
)


def main() -> None:
    """Draws them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=DOCS / "images")
    given = parser.parse_args()
    for chart in CHARTS:
        path = given.to / f"{chart.name}.svg"
        path.write_bytes(drawn(chart))
        print(f"{path}: {path.stat().st_size:,} bytes")


def drawn(chart: Chart) -> bytes:
    """The chart as a file."""
    rows = [
        DotRow(name, (Dot(point, "scorer"),), numerals.points(point.value))
        for name, point in differences(chart)
    ]
    about = f"Accuracy of Best-of-24 in points over {chart.against}, with 95 % intervals."
    zero = [Reference(chart.against, 0.0, "cot")]
    axis = f"points over {chart.against}"
    svg = file(dot_rows(chart.title, about, rows, zero, tick="points", axis=axis))
    return svg.replace(b"<svg ", f'<svg width="{WIDTH}" '.encode(), 1)


def differences(chart: Chart) -> list[tuple[str, Point]]:
    """Names and differences of the last table of the section that has such a head."""
    text = (DOCS / chart.page).read_text(encoding="utf-8")
    section = text.split(f"\n## {chart.heading}", 1)[1].split("\n## ", 1)[0]
    tables = [one for one in tables_of(section) if one[0][0] == chart.first]
    found = [one for one in tables if chart.column in one[0]][-1]
    place = found[0].index(chart.column)
    rows = []
    for cells in found[1:]:
        if _MARK.fullmatch(cells[place]):
            value, low, high = (float(one) / 100 for one in _numbers(cells[place]))
            name = re.sub(r"[`*]|,.*| \(.*", "", cells[0])
            rows.append((name, Point(value, low, high)))
    return rows


def tables_of(section: str) -> list[list[list[str]]]:
    """Tables as rows of cells, the head first."""
    found = re.findall(r"(?:^\|.*\|\n)+", section, re.MULTILINE)
    tables: list[list[list[str]]] = []
    for one in found:
        lines = [line.strip("|").split("|") for line in one.splitlines()]
        tables.append([[cell.strip() for cell in line] for line in (lines[0], *lines[2:])])
    return tables


def _numbers(cell: str) -> list[str]:
    return re.findall(r"[+-]?\d+\.\d+", cell.replace("−", "-"))


if __name__ == "__main__":
    main()
