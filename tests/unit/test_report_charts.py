from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup
from report_data import make_results

from vilbench.evaluate.results import Histogram
from vilbench.report.charts import (
    Dot,
    DotRow,
    Point,
    Reference,
    Series,
    curves,
    dot_rows,
    histogram,
)
from vilbench.report.figures import Figures
from vilbench.report.findings import Findings
from vilbench.report.svg import Scale, covering, element, spread, tick_step

HOSTILE = "</title></svg><script>alert(1)</script>\"'\x00\u202e]]>"


def parsed(svg: Markup) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 - our own output


def texts(svg: Markup) -> list[str]:
    return [e.text or "" for e in parsed(svg).iter("text")]


def test_elements_escape_content_and_attributes() -> None:
    assert element("text", "<b>&", class_='a"b', x=1.0, y=2.26) == (
        '<text class="a&#34;b" x="1" y="2.3">&lt;b&gt;&amp;</text>'
    )
    assert element("g", element("rect", width=3), fill_opacity=0.5, id=None) == (
        '<g fill-opacity="0.5"><rect width="3"></rect></g>'
    )


def test_scale_maps_and_holds() -> None:
    scale = Scale(0.0, 0.5, 100.0, 200.0)
    assert [scale(v) for v in (0.0, 0.25, 0.5, -1.0, 9.0)] == [100, 150, 200, 100, 200]
    assert scale.ticks(5) == pytest.approx((0.0, 0.1, 0.2, 0.3, 0.4, 0.5))


def test_tick_steps_are_round() -> None:
    assert tick_step(1.0, 5) == pytest.approx(0.2)
    assert tick_step(0.6, 7) == pytest.approx(0.1)
    assert tick_step(40.0, 5) == pytest.approx(10.0)


@settings(deadline=None)
@given(st.floats(-1e3, 1e3), st.floats(0, 1e3))
def test_covering_holds_the_range(low: float, length: float) -> None:
    scale = covering(low, low + length, 0.0, 100.0)
    assert scale.low <= low + 1e-6
    assert scale.high >= low + length - 1e-6
    assert scale.low < scale.high
    assert 1 <= len(scale.ticks()) <= 16


@settings(deadline=None)
@given(st.lists(st.floats(0, 200), max_size=8))
def test_labels_never_overlap(wanted: list[float]) -> None:
    placed = spread(wanted, 15, 0, 200)
    assert all(b - a >= 15 - 1e-6 for a, b in pairwise(sorted(placed)))
    assert all(-1e-6 <= p <= 200 + 1e-6 for p in placed)


def test_labels_with_room_stay_where_they_are() -> None:
    assert spread([100.0, 20.0, 60.0], 15, 0, 200) == [100.0, 20.0, 60.0]


def line(label: str, last: float) -> Series:
    ks = (1.0, 2.0, 24.0)
    points = tuple(Point(v, v - 0.05, v + 0.05) for v in (0.4, 0.45, last))
    return Series(label, "scorer", ks, points, band=True)


def test_curves_label_every_line_at_its_end() -> None:
    svg = curves("title", "desc", [line("mean", 0.5), line("last-2", 0.501)], 0.3, 0.6)
    assert {"mean 50.0", "last-2 50.1", "k solutions"} <= set(texts(svg))
    labels = [e for e in parsed(svg).iter("text") if "label" in e.get("class", "")]
    heights = sorted(float(e.get("y", "")) for e in labels)
    assert heights[1] - heights[0] >= 15 - 0.2
    assert len([e for e in parsed(svg).iter("path") if "band" in e.get("class", "")]) == 2


def test_curves_of_nothing_are_an_empty_frame() -> None:
    assert parsed(curves("t", "d", [], 0.0, 1.0)).tag == "svg"
    parsed(curves("t", "d", [Series("x", "cot", (), (), band=True)], 0.5, 0.5))


def test_dots_lie_where_their_values_are() -> None:
    rows = [DotRow("a", (Dot(Point(0.1, 0.0, 0.2), "m0"), Dot(Point(-0.1), "m1", "square")), "x")]
    svg = dot_rows("t", "d", rows, [Reference("cot", 0.0, "cot")], tick="points")
    root = parsed(svg)
    circle = next(root.iter("circle"))
    square = next(root.iter("rect"))
    zero = next(e for e in root.iter("line") if "reference" in e.get("class", ""))
    centre = float(zero.get("x1", ""))
    right = float(circle.get("cx", "")) - centre
    left = centre - (float(square.get("x", "")) + 4)
    assert right == pytest.approx(left, abs=0.3)
    assert right > 20
    assert {"+10", "0", "−10"} <= set(texts(svg))


def test_histogram_heights_are_shares_of_their_kind() -> None:
    data = Histogram(
        scorer="judge",
        granularity="step",
        edges=(0.5, 1.5, 2.5),
        counts=(30, 30),
        correct=(10, 30),
        wrong=(20, 0),
        missing=3,
    )
    svg = histogram("t", "d", data)
    bars = [(e.get("class"), float(e.get("height", ""))) for e in parsed(svg).iter("rect")]
    assert [kind for kind, _ in bars] == ["fill right", "fill wrong", "fill right"]
    low, wrong, high = (height for _, height in bars)
    assert high / low == pytest.approx(3, rel=0.02)
    assert wrong / high == pytest.approx(1 / 0.75, rel=0.02)
    assert {"1", "2", "steps of right solutions (40)", "steps of wrong solutions (20)"} <= set(
        texts(svg)
    )


def test_histogram_of_one_kind_or_of_nothing() -> None:
    empty = Histogram(
        scorer="j",
        granularity="solution",
        edges=(0.0, 0.5, 1.0),
        counts=(0, 0),
        correct=(0, 0),
        wrong=(0, 0),
        missing=9,
    )
    assert not list(parsed(histogram("t", "d", empty)).iter("rect"))


def test_edges_of_narrow_bins_are_told_apart() -> None:
    edges = tuple(0.001 * i for i in range(21))
    data = Histogram(
        scorer="j",
        granularity="step",
        edges=edges,
        counts=(2,) * 20,
        correct=(1,) * 20,
        wrong=(1,) * 20,
        missing=0,
    )
    assert {"0.000", "0.004", "0.020"} <= set(texts(histogram("t", "d", data)))


def test_names_in_figures_are_text() -> None:
    found = Findings(make_results(rename={"judge-prm/mean": f"judge-prm/{HOSTILE}"}))
    figures = Figures(found)
    panels = [*figures.curves, *figures.sweep, *figures.modality, *figures.auroc]
    assert panels
    for panel in panels:
        root = parsed(panel.svg)
        assert not [e for e in root.iter() if e.tag == "script"]
        assert not re.search("[\x00-\x08\u202e]", panel.svg)


def test_every_figure_tells_readers_what_it_shows() -> None:
    figures = Figures(Findings(make_results()))
    for panel in (
        *figures.curves,
        *figures.sweep,
        *figures.modality,
        *figures.auroc,
        *figures.histograms,
    ):
        root = parsed(panel.svg)
        assert root.get("role") == "img"
        assert [e.tag for e in root][:2] == ["title", "desc"]
        assert all(e.text for e in list(root)[:2])


def test_panels_follow_the_scorers() -> None:
    figures = Figures(Findings(make_results()))
    names = ["judge-orm", "judge-prm", "likelihood"]
    assert [p.title for p in figures.curves] == names
    assert [p.title for p in figures.sweep] == names
    assert [p.title for p in figures.auroc] == names
    assert [p.title for p in figures.histograms] == names
    assert [p.title for p in figures.modality] == ["votes, whole solutions", *names[1:]]
    assert [k.label for k in figures.modality_keys] == list(figures.found.modalities)


def test_cot_stored_once_is_a_line_over_all_k() -> None:
    results = make_results()
    rows = tuple(r for r in results.rows if r.method != "cot" or r.k == 24)
    panel = Figures(Findings(results.model_copy(update={"rows": rows}))).curves[0]
    paths = [e for e in parsed(panel.svg).iter("path") if e.get("class") == "line cot"]
    assert len(paths) == 1
    ends = re.findall(r"[\d.]+ ([\d.]+)", paths[0].get("d", ""))
    assert len(ends) == 2
    assert ends[0] == ends[1]


def test_a_run_without_curves_has_no_curve_figure() -> None:
    results = make_results()
    at_end = tuple(r for r in results.rows if r.k == 24)
    assert Figures(Findings(results.model_copy(update={"rows": at_end}))).curves == ()
    nothing = Figures(
        Findings(results.model_copy(update={"rows": (), "discrimination": (), "histograms": ()}))
    )
    assert nothing.curves == nothing.sweep == nothing.modality == nothing.auroc == ()
    assert nothing.histograms == ()
    assert nothing.found.groups == ()
