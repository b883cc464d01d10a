"""The figures of a report with the numbers behind each, for the page and as files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from vilbench.diagnostics.records import Diagnostics
from vilbench.errors import RunStorageError
from vilbench.evaluate.results import Row
from vilbench.report.figures import Figures, Panel
from vilbench.report.findings import ALL
from vilbench.report.heat import Heat
from vilbench.report.power import Power
from vilbench.report.reliability import ReliabilityCurves
from vilbench.report.sheet import Sheet, Value
from vilbench.report.spending import Spending
from vilbench.report.svg import file

_OTHER = re.compile(r"[^a-z0-9]+")
_ROW = (
    *("method", "source", "modality", "k", "n_problems", "accuracy", "ci_low", "ci_high"),
    *("delta_vs_cot", "delta_low", "delta_high", "p_value"),
)


@dataclass(frozen=True)
class Plate:
    """A figure: its panels, and one sheet with all numbers that they show.

    Attributes:
        slug: Names its files: lower case letters and dashes.
    """

    slug: str
    panels: tuple[Panel, ...]
    sheet: Sheet

    def link(self) -> Markup:
        """The sheet's address."""
        return self.sheet.link()


def plates(figures: Figures, diagnostics: Diagnostics | None = None) -> dict[str, Plate]:
    """Every figure that the run has, by its slug, in the order of the page.

    Args:
        figures: Those of the run's results.
        diagnostics: What is off with its scorers; None leaves the figures of it out.
    """
    found = figures.found
    reliability = ReliabilityCurves(() if diagnostics is None else diagnostics.reliability)
    heat, power, spending = Heat(found), Power(found), Spending(found)
    steps = () if figures.steps is None else (Panel("right against wrong steps", figures.steps),)
    made = (
        Plate("power", power.panels, power.sheet),
        Plate("curves", figures.curves, _curves(figures)),
        Plate("aggregations", figures.sweep, _sheet(_of_scorers(figures))),
        Plate("last-n", figures.last_n, _sheet(_last_n(figures))),
        Plate("modalities", figures.modality, _sheet(_by_modality(figures))),
        Plate("heat-map", heat.panels, heat.sheet),
        Plate("auroc", figures.auroc, _auroc(figures)),
        Plate("steps", steps, _steps(figures)),
        Plate("values", figures.histograms, _values(figures)),
        Plate("reliability", reliability.panels, reliability.sheet),
        Plate("costs", spending.panels, spending.sheet),
    )
    return {one.slug: one for one in made if one.panels}


def write(made: Sequence[Plate], folder: Path) -> list[Path]:
    """Writes figures as SVG, a file per panel, each with its CSV; returns the files.

    Raises:
        RunStorageError: The folder cannot be written.
    """
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for plate in made:
            paths.append(folder / f"{plate.slug}.csv")
            paths[-1].write_text(plate.sheet.csv(), encoding="utf-8")
            for number, panel in enumerate(plate.panels, 1):
                tail = _OTHER.sub("-", panel.title.lower()).strip("-")[:40] or "panel"
                paths.append(folder / f"{plate.slug}-{number}-{tail}.svg")
                paths[-1].write_bytes(file(panel.svg))
    except OSError as error:
        raise RunStorageError(f"{folder}: cannot be written: {error.strerror}") from error
    return paths


def _sheet(rows: Iterator[Row]) -> Sheet:
    return Sheet(_ROW, [tuple(getattr(row, key) for key in _ROW) for row in rows])


def _curves(figures: Figures) -> Sheet:
    return _sheet(row for method in figures.curve_methods for row in figures.found.curve(method))


def _of_scorers(figures: Figures) -> Iterator[Row]:
    found = figures.found
    yield from (row for m in ("cot", "oracle") if (row := found.row(m)))
    for scorer in found.scorers:
        yield from found.of_scorer(scorer)


def _last_n(figures: Figures) -> Iterator[Row]:
    return (row for row in _of_scorers(figures) if figures.found.method(row.method).last_n)


def _by_modality(figures: Figures) -> Iterator[Row]:
    for method in figures.modality_methods:
        for modality in figures.found.modalities:
            row = figures.found.row(method, modality=modality)
            if row is not None:
                yield row


def _auroc(figures: Figures) -> Sheet:
    keys = (
        *("method", "n_problems", "within", "within_low", "within_high"),
        *("pooled", "pooled_low", "pooled_high"),
    )
    rows = [tuple(getattr(one, key) for key in keys) for one in figures.found.discrimination]
    return Sheet(keys, rows)


def _steps(figures: Figures) -> Sheet:
    keys = (
        *("scorer", "n_steps", "within", "within_low", "within_high"),
        *("pooled", "pooled_low", "pooled_high", "same", "same_low", "same_high"),
    )
    whole = [o for o in figures.found.results.steps if o.source == ALL and o.modality == ALL]
    return Sheet(keys, [tuple(getattr(one, key) for key in keys) for one in whole])


def _values(figures: Figures) -> Sheet:
    rows: list[tuple[Value, ...]] = []
    for one in figures.found.results.histograms:
        edges = zip(one.edges, one.edges[1:], strict=False)
        counts = zip(edges, one.correct, one.wrong, strict=False)
        rows += [(one.scorer, low, high, right, wrong) for (low, high), right, wrong in counts]
    return Sheet(("scorer", "from", "to", "of_right", "of_wrong"), rows)
