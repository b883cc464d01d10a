"""Heat map, power and costs of a report, the numbers behind its figures, and the files."""

from __future__ import annotations

import base64
import csv
import io
import re
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest
from report_data import GAINS, SOURCES, make_results

from vilbench.errors import RunError
from vilbench.evaluate.results import Contrast, Cost, ExtractionEvidence, Results
from vilbench.metrics import minimal_detectable_delta
from vilbench.report.figures import Figures
from vilbench.report.findings import Findings
from vilbench.report.heat import Heat
from vilbench.report.latex import escaped, latex_table
from vilbench.report.page import render
from vilbench.report.plates import plates, write
from vilbench.report.power import DIFFERENCES, Power, detectable, problems_needed
from vilbench.report.sheet import Sheet
from vilbench.report.spending import Spending, amount, memory

STAGES = {"sample": 1000.0, "judge-orm": 500.0, "judge-prm": 4000.0, "likelihood": 200.0}


def contrast(method: str, against: str, detectable: float | None = 0.05, n: int = 120) -> Contrast:
    return Contrast(
        method=method, against=against, source="all", modality="all", k=24, n_problems=n,
        accuracy=0.6, accuracy_against=0.5, delta=0.1, low=0.05, high=0.15, p_value=0.01,
        mcnemar_p=None, detectable=detectable,
    )  # fmt: skip


def full(*, timed: bool = True, priced: bool = False) -> Results:
    """A run with comparisons and costs."""
    costs = tuple(
        Cost(
            stage=stage, n_problems=120, n_solutions=120 * 24, prompt_tokens=0.6 * size,
            completion_tokens=0.4 * size, seconds=size / 100 if timed else None,
            n_timed=120 if timed else 0, peak_bytes=3 << 30 if timed else None,
            usd=size / 1e6 if priced else None,
        )
        for stage, size in STAGES.items()
    )  # fmt: skip
    standing = ("judge-orm", "judge-prm/mean", "likelihood/mean")
    pairs = [contrast(method, against) for method in standing for against in ("cot", "majority")]
    pairs.append(contrast("judge-prm/mean", "judge-orm", 0.06))
    pairs.append(contrast("judge-prm/mean", "likelihood/last-2", 0.07))
    update = {"costs": costs, "contrasts": tuple(pairs), "main": "judge-prm"}
    return make_results().model_copy(update=update)


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_cells_of_a_sheet_are_no_formulas() -> None:
    texts = ("=1+1", "+1", "-1", "@x", "\tx", 'a,b\n"c"', "plain", "")
    sheet = Sheet(("a", "b"), [(text, -0.25) for text in texts])
    read = list(csv.reader(io.StringIO(sheet.csv())))
    assert read[0] == ["a", "b"]
    assert [row[0] for row in read[1:]] == [
        "'=1+1", "'+1", "'-1", "'@x", "␉x", 'a,b␊"c"', "plain", "",
    ]  # fmt: skip
    assert {row[1] for row in read[1:]} == {"-0.25"}
    assert Sheet(("a",), [(None,), (3,), (1 / 3,)]).csv() == 'a\n""\n3\n0.333333\n'


def test_the_page_holds_the_numbers_of_every_figure() -> None:
    results = full()
    page = render(results, [])
    links = dict(
        re.findall(r'href="data:text/csv;charset=utf-8;base64,([^"]*)" download="([^"]*)"', page)
    )
    made = plates(Figures(Findings(results)))
    assert set(links.values()) == {f"{slug}.csv" for slug in made}
    assert len(made) == 9
    for data, file in links.items():
        text = base64.b64decode(data).decode()
        assert text == made[file.removesuffix(".csv")].sheet.csv()
        assert len(rows(text)) > 0


def test_sheets_hold_what_the_results_hold() -> None:
    results = full()
    made = plates(Figures(Findings(results)))
    curve = [row for row in rows(made["curves"].sheet.csv()) if row["method"] == "judge-orm"]
    stored = [
        r for r in results.rows if r.method == "judge-orm" and r.source == r.modality == "all"
    ]
    assert [int(row["k"]) for row in curve] == [r.k for r in stored]
    assert [float(row["accuracy"]) for row in curve] == pytest.approx(
        [r.accuracy for r in stored], rel=1e-5
    )
    values = rows(made["values"].sheet.csv())
    told = sum(int(row["of_right"]) for row in values)
    assert told == sum(sum(one.correct) for one in results.histograms)


def test_files_of_figures(tmp_path: Path) -> None:
    evil = "../../x $y$ <b>/mean"
    results = full().model_copy(update={"rows": make_results(rename={"judge-orm": evil}).rows})
    made = list(plates(Figures(Findings(results))).values())
    paths = write(made, tmp_path / "figures")
    assert {path.parent for path in paths} == {tmp_path / "figures"}
    assert all(re.fullmatch(r"[a-z0-9-]+\.(svg|csv)", path.name) for path in paths)
    assert len(paths) == len(set(paths)) == sum(1 + len(plate.panels) for plate in made)
    for path in paths:
        if path.suffix == ".svg":
            assert fromstring(path.read_text()).tag.endswith("}svg")  # noqa: S314 - our own
    before = {path: path.read_bytes() for path in paths}
    write(made, tmp_path / "figures")
    assert before == {path: path.read_bytes() for path in paths}
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError):
        write(made, tmp_path / "file")


def test_heat_map_shows_standing_methods_by_source() -> None:
    found = Findings(full())
    heat = Heat(found)
    best = "weighted-majority:likelihood"
    methods = ["majority", "judge-orm", "judge-prm/mean", "likelihood/mean", best]
    assert [row.method for row in heat.rows] == methods
    (panel,) = heat.panels
    titles = [e.text or "" for e in fromstring(str(panel.svg)).iter("title")][1:]  # noqa: S314
    assert len(titles) == len(methods) * len(SOURCES)
    row = found.row("judge-prm/mean", "charts")
    assert row is not None and row.delta_vs_cot is not None
    assert f"judge-prm/mean, charts: +{100 * row.delta_vs_cot:.1f} points (" in "\n".join(titles)
    assert len(heat.sheet.rows) == len(titles)
    one_source = [r for r in full().rows if r.source in ("all", "charts")]
    assert Heat(Findings(full().model_copy(update={"rows": tuple(one_source)}))).panels == ()


def test_many_sources_make_several_panels() -> None:
    results = full()
    more = [
        row.model_copy(update={"source": f"{row.source}-{i}"})
        for i in range(3)
        for row in results.rows
        if row.source != "all"
    ]
    wide = results.model_copy(update={"rows": (*results.rows, *more)})
    panels = Heat(Findings(wide)).panels
    assert len(panels) == 4
    assert [panel.title[-6:] for panel in panels] == [f"part {i}" for i in range(1, 5)]


def test_power_is_that_of_the_normal_approximation() -> None:
    spread = [0.0, 1.0, -1.0, 0.5] * 30
    found = minimal_detectable_delta(spread)
    one = contrast("prm", "cot", found, n=120)
    need = problems_needed(one, 0.05)
    at_need, below = (minimal_detectable_delta(spread, n=n) for n in (need, need - 1))
    assert at_need is not None and at_need <= 0.05
    assert below is not None and below > 0.05
    assert found is not None
    assert detectable(one, 480) == pytest.approx(found / 2)
    assert problems_needed(one, found) == 120


def test_needs_are_those_of_the_main_method_against_what_stands() -> None:
    needs = Power(Findings(full())).needs
    assert [one.contrast.against for one in needs] == ["cot", "majority", "judge-orm"]
    assert all(len(one.problems) == len(DIFFERENCES) for one in needs)
    page = render(full(), [])
    assert 'id="power"' in page
    without = make_results()
    assert Power(Findings(without)).panels == ()
    assert 'id="power"' not in render(without, [])


def test_ways_pay_for_sampling_and_for_their_scorer() -> None:
    spending = Spending(Findings(full(priced=True)))
    ways = {way.row.method: way for way in spending.ways}
    assert ways["cot"].tokens == pytest.approx(1000 / 24)
    assert ways["majority"].tokens == pytest.approx(1000)
    assert ways["judge-prm/mean"].tokens == pytest.approx(5000)
    assert ways["judge-prm/mean"].seconds == pytest.approx(50)
    assert ways["judge-prm/mean"].usd == pytest.approx(0.005)
    assert [panel.title for panel in spending.panels] == [
        "accuracy over tokens", "accuracy over seconds", "accuracy over US dollars",
        "accuracy over memory",
    ]  # fmt: skip
    assert {way.peak_bytes for way in spending.ways} == {3 << 30}
    points = [row for row in spending.sheet.rows if row[0] == "judge-orm"]
    assert [row[1] for row in points] == [1, 2, 4, 8, 16, 24]
    assert points[2][2] == pytest.approx(4 * 1500 / 24)


def with_costs(*costs: Cost, used: bool = False) -> Spending:
    results = full(priced=True)
    extraction = ExtractionEvidence(
        model="m", prompt="p", scope="unparsed", used=used, unparsed=9, asked=9, read=9, correct=9,
        quoted=9, compared=0, agreed=0, prompt_tokens=1, completion_tokens=1, shifts=(),
    )  # fmt: skip
    update = {"costs": (*results.costs, *costs), "extraction": extraction}
    return Spending(Findings(results.model_copy(update=update)))


EXTRACTION = Cost(
    stage="extract", kind="extract", n_problems=60, n_solutions=90, prompt_tokens=8.0,
    completion_tokens=2.0, seconds=0.5, n_timed=60, peak_bytes=5 << 30, usd=None,
)  # fmt: skip


def test_extraction_is_paid_by_every_way_whose_accuracy_rests_on_it() -> None:
    apart = {way.row.method: way for way in with_costs(EXTRACTION).ways}
    paid = {way.row.method: way for way in with_costs(EXTRACTION, used=True).ways}
    # 60 problems of 10 tokens over all 120 problems, whose pools are of 24.
    for method, share in (("cot", 1 / 24), ("majority", 1), ("judge-prm/mean", 1)):
        assert paid[method].tokens == pytest.approx((apart[method].tokens or 0) + 5 * share)
        assert paid[method].usd is None
        assert (apart[method].peak_bytes, paid[method].peak_bytes) == (3 << 30, 5 << 30)
    assert apart["cot"].usd is not None


def test_probes_are_told_and_no_way_pays_for_them() -> None:
    probes = EXTRACTION.model_copy(update={"stage": "judge-prm", "kind": "probe"})
    plain, probed = with_costs(), with_costs(probes)
    assert probed.ways == plain.ways
    assert [one.told for one in probed.stages][-1] == "probes of judge-prm"
    assert [one.told for one in with_costs(EXTRACTION).stages][-1] == "extraction"
    page = render(probed.found.results, [])
    row = page[page.index("probes of judge-prm") :]
    assert row.index("5.0 GiB") < row.index("</tr>")


def test_what_a_stage_buys_stands_beside_its_costs() -> None:
    results = full()
    bought = {"method": "judge-prm/mean", "accuracy": 0.613, "ci_low": 0.5, "ci_high": 0.7}
    costs = tuple(
        one.model_copy(update=bought) if one.stage == "judge-prm" else one for one in results.costs
    )
    page = render(results.model_copy(update={"costs": costs}), [])
    stages = page[page.index("<caption>Stages") :]
    rows = stages[: stages.index("</table>")].split("<tr>")[2:]
    assert [("61.3" in row, "50.0 – 70.0" in row) for row in rows] == [
        ("judge-prm" in row,) * 2 for row in rows
    ]


def test_what_is_not_known_is_called_so_and_has_no_panel() -> None:
    old = full(timed=False)
    assert [panel.title for panel in Spending(Findings(old)).panels] == ["accuracy over tokens"]
    assert 'id="spending"' in render(old, [])
    none = make_results()
    assert Spending(Findings(none)).ways == ()
    assert 'id="spending"' not in render(none, [])
    assert [amount(v) for v in (None, 12345.6, 0.01234)] == ["unknown", "12,346", "0.0123"]
    assert [memory(v) for v in (None, 3 << 30, 5 << 20)] == ["unknown", "3.0 GiB", "5 MiB"]
    assert {one.accelerator for one in Spending(Findings(old)).stages} == {"unknown"}
    assert {one.accelerator for one in Spending(Findings(full())).stages} == {"none"}
    table = render(old, []).split("<caption>Ways")[1].split("</table>")[0]
    # Of four ways seconds, dollars and memory; of none the tokens.
    assert table.count("unknown") == 3 * len(Spending(Findings(old)).ways)


def test_a_scorer_of_unknown_cost_has_no_total() -> None:
    results = full()
    kept = tuple(one for one in results.costs if one.stage != "likelihood")
    spending = Spending(Findings(results.model_copy(update={"costs": kept})))
    ways = {way.row.method: way for way in spending.ways}
    assert ways["likelihood/mean"].tokens is None
    assert ways["judge-orm"].tokens == pytest.approx(1500)


def test_latex_table_is_whole_whatever_the_names_are() -> None:
    evil = r"judge-prm/\input{x}$a_1^2$ & 5% #~ \\ --- [x] ``q''"
    lines = latex_table(make_results(rename={"judge-prm/mean": evil})).splitlines()
    body = [line for line in lines if line.endswith(r" \\")]
    assert len(body) == 1 + len(GAINS) + 7
    bare = [re.sub(r"\\[&%#$_{}]", "", line.removesuffix(r" \\")) for line in body]
    assert {line.count("&") for line in bare} == {5}
    assert not any("%" in line or "#" in line for line in bare)
    row = next(line for line in body if "input" in line)
    assert r"\input" not in row
    assert "--- " not in row
    assert "---" not in row
    assert r"\textbackslash{}input\{x\}\$a\_1\textasciicircum{}2\$" in row
    assert lines[1].startswith(r"\begin{tabular}{lrrrrr}")
    assert lines[-2:] == [r"\bottomrule", r"\end{tabular}"]
    assert sum(line.startswith(r"\textbf{") for line in lines) == 1
    assert "\x1b" not in escaped("\x1b[2J")
    assert "cot & 47.8 & 42.7--52.9 & -- & -- & -- \\\\" in lines
