"""Reliability curves of a report: figure, numbers behind it, table and files."""

from __future__ import annotations

import base64
import csv
import io
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from markupsafe import Markup
from puzzle_run import puzzle_run
from report_data import make_results
from rich.console import Console

from vilbench.cli import job, reporting
from vilbench.diagnostics.records import Bin, Diagnostics, Figure, Fit, Reliability
from vilbench.report.diagnosis import Diagnosis
from vilbench.report.page import render
from vilbench.report.reliability import ReliabilityCurves
from vilbench.report.style import colour
from vilbench.types import Granularity

ROLES: dict[Fit, str] = {"none": "scorer", "platt": "second", "isotonic": "majority"}


def reliability(
    scorer: str = "prm",
    fit: Fit = "none",
    unit: Granularity = "solution",
    bins: tuple[Bin, ...] | None = None,
) -> Reliability:
    if bins is None:
        bins = (
            Bin(said=0.2, right=0.3, low=0.1, high=0.5, n=30),
            Bin(said=0.6, right=0.5, low=0.4, high=0.6, n=60),
        )
    return Reliability(
        scorer=scorer,
        method=None if unit == "step" else f"{scorer}/mean",
        unit=unit,
        fit=fit,
        n_problems=9,
        n=90,
        missing=0,
        base=0.4,
        ece=0.1,
        floor=0.05,
        p_value=0.2,
        rms=Figure(value=0.1),
        brier=Figure(value=0.2),
        brier_base=0.24,
        bins=bins,
    )


def diagnosis(*found: Reliability) -> Diagnosis:
    return Diagnosis(
        Diagnostics(
            schema_version=1,
            fingerprint="f",
            problem_set="p",
            scorers=("prm",),
            n_problems=9,
            n_solutions=8,
            reliability=found,
        )
    )


def drawn(svg: Markup, role: str) -> list[list[tuple[float, float]]]:
    """The lines of a colour, each as its places."""
    paths = [e for e in ET.fromstring(svg).iter("path") if e.get("stroke") == colour(role)]  # noqa: S314 - our own
    numbers = [re.findall(r"(-?[\d.]+) (-?[\d.]+)", e.get("d", "")) for e in paths]
    return [[(float(x), float(y)) for x, y in found] for found in numbers]


def test_bins_lie_where_they_belong_with_their_intervals_and_sizes() -> None:
    (panel,) = ReliabilityCurves([reliability()]).panels
    (diagonal,) = drawn(panel.svg, "cot")
    (left, bottom), (right, top) = diagonal
    lines = drawn(panel.svg, "scorer")

    def at(x: float, y: float) -> tuple[float, float]:
        return round(left + x * (right - left), 1), round(bottom + y * (top - bottom), 1)

    above = [[(round(x, 1), round(y, 1)) for x, y in line] for line in lines]
    for wanted in (
        [at(0.2, 0.3), at(0.6, 0.5)],
        [at(0.2, 0.1), at(0.2, 0.5)],
        [at(0.6, 0.4), at(0.6, 0.6)],
    ):
        assert wanted in above
    below = [line for line in lines if min(y for _, y in line) > bottom]
    heights = [abs(line[0][1] - line[1][1]) for line in below]
    assert heights[1] == pytest.approx(2 * heights[0], abs=0.05)
    assert [round(line[0][0], 1) for line in below] == [at(0.2, 0)[0], at(0.6, 0)[0]]
    texts = [e.text for e in ET.fromstring(panel.svg).iter("text")]  # noqa: S314 - our own
    assert {"as given", "values in each bin", "60", "value, %", "right, %"} <= set(texts)


def test_a_panel_for_solutions_and_one_for_steps_with_all_fits() -> None:
    units: tuple[Granularity, ...] = ("solution", "step")
    found = [reliability(unit=unit, fit=fit) for unit in units for fit in ROLES]
    curves = ReliabilityCurves([*found, reliability("likelihood", "platt")])
    assert [p.title for p in curves.panels] == ["prm/mean", "steps of prm", "likelihood/mean"]
    wanted: tuple[set[Fit], ...] = (set(ROLES), set(ROLES), {"platt"})
    for panel, fits in zip(curves.panels, wanted, strict=True):
        marked = {
            e.get("fill") for e in ET.fromstring(panel.svg).iter("path") if e.get("transform")  # noqa: S314
        }  # fmt: skip
        assert marked == {colour(role) for fit, role in ROLES.items() if fit in fits}


def test_readers_are_told_the_ends_and_the_error() -> None:
    (panel,) = ReliabilityCurves([reliability()]).panels
    title, desc, *_ = ET.fromstring(panel.svg)  # noqa: S314 - our own
    assert (title.tag, desc.tag, title.text) == ("title", "desc", "Reliability of prm/mean")
    assert desc.text is not None
    for part in ("As given, 2 bins of 90 values", "30.0 right of those valued 20.0", "0.100"):
        assert part in desc.text


def test_bins_without_an_interval_and_curves_without_a_bin() -> None:
    lone = Bin(said=0.5, right=1.0, low=float("nan"), high=float("nan"), n=1)
    curves = ReliabilityCurves([reliability(bins=(lone,)), reliability("empty", bins=())])
    (panel,) = curves.panels
    assert panel.title == "prm/mean"
    assert "nan" not in panel.svg.lower()
    assert len(curves.sheet.rows) == 1
    assert ReliabilityCurves([]).panels == ()


def test_names_are_text() -> None:
    evil = "</title></svg><script>alert(1)</script>\x00\u202e"
    page = render(make_results(), [], None, diagnosis(reliability(evil)))
    assert "<script" not in page
    assert not re.search("[\x00\u202e]", page)


def test_page_sheet_and_table_hold_the_same_numbers() -> None:
    found = [reliability(fit=fit) for fit in ROLES]
    page = render(make_results(), [], None, diagnosis(*found))
    (data,) = re.findall(r'base64,([^"]*)" download="reliability.csv"', page)
    rows = list(csv.DictReader(io.StringIO(base64.b64decode(data).decode())))
    assert [(row["fit"], row["bin"]) for row in rows] == [(f, b) for f in ROLES for b in "12"]
    bins = [b for one in found for b in one.bins]
    for key, wanted in (
        ("said", [b.said for b in bins]),
        ("right", [b.right for b in bins]),
        ("right_low", [b.low for b in bins]),
        ("right_high", [b.high for b in bins]),
        ("values", [b.n for b in bins]),
    ):
        assert [float(row[key]) for row in rows] == pytest.approx(wanted)
    table = page[page.index("<caption>Reliability curves") :]
    table = table[: table.index("</table>")]
    assert table.count("<tr>") == 1 + len(rows)
    assert table.count("10.0 – 50.0") == table.count("40.0 – 60.0") == len(found)
    assert "reliability.csv" not in render(make_results(), [], None, diagnosis())


def test_files_of_a_run_have_the_curves(tmp_path: Path) -> None:
    with puzzle_run(tmp_path / "run", scorers=("prm",)) as run:
        console = Console(file=io.StringIO())
        results = job.report(run, job.recipe_of(run), console, plain=True)
    figures = tmp_path / "figures"
    reporting.beside(tmp_path / "run", results, None, figures, None)
    stored = Diagnostics.model_validate_json((tmp_path / "run/diagnostics.json").read_text())
    panels = ReliabilityCurves(stored.reliability).panels
    assert panels
    assert len([*figures.glob("reliability-*.svg")]) == len(panels)
    assert (figures / "reliability.csv").read_text().startswith("scorer,of,fit,bin,said,right,")
