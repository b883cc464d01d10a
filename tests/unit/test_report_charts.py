from __future__ import annotations

import re
from importlib.resources import files
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup
from report_data import make_results

from vilbench.evaluate.results import Histogram
from vilbench.report.cells import Cell, heat_map
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
from vilbench.report.frame import covering, short, spread
from vilbench.report.inset import bar, element, key
from vilbench.report.style import colour, palette, rules
from vilbench.report.svg import file

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


@settings(deadline=None)
@given(st.floats(-1e3, 1e3), st.floats(0, 1e3))
def test_covering_holds_the_range(low: float, length: float) -> None:
    span = covering(low, low + length)
    assert span.low <= low + 1e-6
    assert span.high >= low + length - 1e-6
    assert span.low < span.high
    assert span.high - span.low <= max(0.11, 1.3 * length) + 1e-6 * abs(low)


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
    labels = [e for e in parsed(svg).iter("text") if e.get("fill") == colour("scorer")]
    heights = sorted(float(e.get("y", "")) for e in labels)
    assert heights[1] - heights[0] >= 15 - 0.2
    assert len([e for e in parsed(svg).iter("path") if e.get("fill-opacity") == "0.13"]) == 2


def test_curves_of_nothing_are_an_empty_frame() -> None:
    assert parsed(curves("t", "d", [], 0.0, 1.0)).tag == "svg"
    parsed(curves("t", "d", [Series("x", "cot", (), (), band=True)], 0.5, 0.5))


def placed(svg: Markup, role: str, tag: str = "path") -> list[tuple[float, float]]:
    """Where the marks of a colour lie."""
    marks = [
        e for e in parsed(svg).iter(tag) if e.get("fill") == colour(role) and e.get("transform")
    ]
    found = [re.match(r"translate\(([\d.-]+) ([\d.-]+)\)", e.get("transform", "")) for e in marks]
    return [(float(one.group(1)), float(one.group(2))) for one in found if one]


def box(path: str) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a path of straight lines."""
    numbers = [float(one) for one in re.findall(r"-?[\d.]+", path)]
    xs, ys = numbers[::2], numbers[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def test_dots_lie_where_their_values_are() -> None:
    rows = [DotRow("a", (Dot(Point(0.1, 0.0, 0.2), "m0"), Dot(Point(-0.1), "m1", "square")), "x")]
    svg = dot_rows("t", "d", rows, [Reference("cot", 0.0, "cot")], tick="points")
    root = parsed(svg)
    zero = next(e for e in root.iter("path") if e.get("stroke") == colour("cot"))
    centre = box(zero.get("d", ""))[0]
    ((circle, above),) = placed(svg, "m0")
    ((square, below),) = placed(svg, "m1")
    assert circle - centre == pytest.approx(centre - square, abs=0.3)
    assert circle - centre > 20
    assert below > above
    interval = next(e for e in root.iter("path") if e.get("stroke") == colour("m0"))
    low, _, high, _ = box(interval.get("d", ""))
    assert low == pytest.approx(centre, abs=0.3)
    assert high - circle == pytest.approx(circle - low, abs=0.3)
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
    heights = {}
    for role in ("scorer", "second"):
        bars = [e for e in parsed(svg).iter("path") if e.get("fill") == colour(role)]
        boxes = sorted(box(e.get("d", "")) for e in bars)
        heights[role] = [bottom - top for _, top, _, bottom in boxes]
    low, high = heights["scorer"]
    (wrong,) = heights["second"]
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
    svg = histogram("t", "d", empty)
    drawn = {e.get("fill") for e in parsed(svg).iter("path")}
    assert not drawn & {colour("scorer"), colour("second")}


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
    paths = [e for e in parsed(panel.svg).iter("path") if e.get("stroke") == colour("cot")]
    assert len(paths) == 1
    left, top, right, bottom = box(paths[0].get("d", ""))
    assert top == bottom
    assert right - left > 200


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


def test_same_figure_has_the_same_bytes_and_names_nothing() -> None:
    one, other = (curves("t", "d", [line("mean", 0.5)], 0.3, 0.6, marks=True) for _ in range(2))
    assert one == other
    root = parsed(one)
    assert not [e for e in root.iter() if e.get("id") or e.get("style") or e.get("clip-path")]
    assert {e.tag for e in root.iter()} == {"svg", "title", "desc", "path", "text"}


def test_names_are_never_formulas_and_have_any_glyphs() -> None:
    label = "$x_1^2$ 漢字 \\frac"
    svg = dot_rows("t", "d", [DotRow(label, (Dot(Point(0.5), "m0"),))], [])
    assert label in texts(svg)


def test_a_log_axis_has_powers_of_ten() -> None:
    points = tuple(Point(v) for v in (0.4, 0.5, 0.6))
    series = Series("prm", "scorer", (10.0, 100.0, 1000.0), points, band=False)
    svg = curves("t", "d", [series], 0.3, 0.7, axis="tokens", log=True, marks=True)
    xs = [x for x, _ in placed(svg, "scorer")]
    assert len(xs) == 3
    first, second, third = sorted(xs)
    assert second - first == pytest.approx(third - second, abs=0.1)
    assert {"10", "100", "1k", "tokens"} <= set(texts(svg))


def test_a_short_log_axis_has_numbers_all_the_same() -> None:
    series = [
        Series(name, "scorer", (x,), (Point(0.5),), band=False)
        for name, x in (("one", 0.57), ("other", 0.69))
    ]
    svg = curves("t", "d", series, 0.4, 0.6, axis="GiB", log=True, marks=True)
    numbers = [float(one) for one in texts(svg) if re.fullmatch(r"0\.\d+", one)]
    assert len(numbers) >= 2
    assert all(0.45 < one < 0.85 for one in numbers)


def test_long_words_behind_lines_have_room() -> None:
    long = [line("judge-prm/mean", 0.5), line("short", 0.4)]
    ends = []
    for series in (long, long[1:]):
        svg = curves("t", "d", series, 0.3, 0.6)
        ends.append(max(x for x, _ in placed(svg, "scorer")))
        for e in parsed(svg).iter("text"):
            if e.get("fill") == colour("scorer"):
                assert float(e.get("x", "")) + 0.6 * 12 * len(e.text or "") <= 400
    assert ends[0] < ends[1]


def test_cells_have_their_colour_their_number_and_a_title() -> None:
    cells = [[Cell(6, "+10.0", "+10.0 points", strong=True), Cell(2, "−3.0", "−3.0 points")]]
    svg = heat_map("t", "d", [HOSTILE], ["charts", HOSTILE], cells)
    root = parsed(svg)
    titles = [e.find("title") for e in root.iter("g")]
    assert [e is not None and (e.text or "").endswith(" points") for e in titles] == [True, True]
    assert [e.find("path") is not None for e in root.iter("g")] == [True, True]
    assert {"+10.0", "−3.0"} <= set(texts(svg))
    bold = [e.text for e in root.iter("text") if e.get("font-weight") in ("bold", "700")]
    assert bold == ["+10.0"]
    assert not re.search("[\x00-\x08\u202e]", svg)
    assert heat_map("t", "d", [], [], [])


def test_a_file_of_its_own_is_svg_on_white() -> None:
    text = file(curves("t", "d", [line("mean", 0.5)], 0.3, 0.6)).decode()
    root = ET.fromstring(text)  # noqa: S314 - our own output
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.find("{http://www.w3.org/2000/svg}rect") is not None


def test_every_colour_of_a_figure_follows_the_page() -> None:
    used = rules()
    for role in ("cot", "scorer", "second", "ink", "soft", "grid", "s0", "s3", "i3", "paper"):
        assert f'.chart [fill="{colour(role)}"]' in used
        assert f"var(--{role})" in used
    assert len({colour(f"i{level}") for level in range(7)} | {colour("ink")}) == 8
    assert all(re.fullmatch("#[0-9a-f]{6}", value) for value in palette().values())


def test_roles_of_one_colour_are_one_on_a_dark_screen_too() -> None:
    css = files("vilbench.display").joinpath("colours.css").read_text(encoding="utf-8")
    light, dark = (
        dict(re.findall(r"--(\w+):\s*(#\w+)", part)) for part in css.split("prefers-color-scheme")
    )
    for role, value in palette().items():
        for other, same in palette().items():
            drawn = role in rules_roles() and value == same and other in dark
            if drawn and other not in ("link", "up", "down", "best", "panel"):
                assert dark[role] == dark[other], (role, other)
    assert light.keys() == dark.keys()


def rules_roles() -> set[str]:
    return set(re.findall(r"var\(--(\w+)\)", rules()))


def test_bars_and_keys_are_small_marks() -> None:
    drawn = parsed(bar(Point(0.5, 0.4, 0.6), covering(0.0, 1.0), 0.3, "scorer"))
    assert drawn.get("aria-hidden") == "true"
    circle = next(drawn.iter("circle"))
    assert float(circle.get("cx", "")) == pytest.approx(70, abs=1)
    assert parsed(key("m1", "diamond")).find("path") is not None


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0021, "0.0021"), (350, "350"), (12_000, "12k"), (3.5e6, "3.5M")]
)
def test_numbers_of_any_size_are_short(value: float, shown: str) -> None:
    assert short(value) == shown


def test_files_have_the_light_colours_of_the_page() -> None:
    assert colour("ink") == "#1d2024"
    assert colour("s4") == "#bad7f0"
    assert all(re.fullmatch(r"#[0-9a-f]{6}", value) for value in palette().values())
