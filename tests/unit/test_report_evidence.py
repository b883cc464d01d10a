"""Standing methods, slices and steps in the report, and what the finding says of the main one."""

from __future__ import annotations

import dataclasses
import html
import io
import re
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest
from puzzle_run import PRM, choice, puzzle_run
from report_data import make_results
from rich.console import Console

from vilbench.evaluate.analysis import Plan, analyse
from vilbench.evaluate.pools import Scale, ScorerPlan
from vilbench.evaluate.results import Results
from vilbench.report.evidence import Evidence
from vilbench.report.figures import Figures
from vilbench.report.findings import FEWEST, Findings, Sign, sign
from vilbench.report.page import render
from vilbench.report.table import markdown_table, print_table

CHOSEN = dataclasses.replace(PRM, chosen=choice())
OTHER = ScorerPlan("other", "step", Scale(0, 1), ("last-1", "last-2"), "mean")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Those of four problems, told as if every one were there six times."""
    folder: Path = tmp_path_factory.mktemp("run")
    with puzzle_run(folder, "test", ("prm", "other")) as run:
        found = analyse(run, Plan(2, (CHOSEN, OTHER), main="prm"))
    update = {
        name: tuple(
            one.model_copy(update={"n_problems": 6 * one.n_problems})
            for one in getattr(found, name)
        )
        for name in ("rows", "contrasts")
    }
    return found.model_copy(update=update)


def shown(page: str, section: str) -> str:
    """The words of a section."""
    page = page.replace("<wbr>", "")
    start = page.index(f'<section id="{section}">')
    text = re.sub(r"<[^>]*>", " ", page[start : page.index("</section>", start)])
    return re.sub(r"\s+", " ", html.unescape(text))


def test_the_finding_is_about_the_main_scorer_whatever_else_is_best(results: Results) -> None:
    lines = [
        row.model_copy(update={"accuracy": 0.9}) if row.method == "prm/last-1" else row
        for row in results.rows
    ]
    found = Findings(results.model_copy(update={"rows": tuple(lines)}))
    assert found.best is not None
    assert found.best.method != "prm/last-1"
    assert found.finding.headline.startswith("Choosing one of 2 solutions with prm/last-1")
    remarks = " ".join(found.finding.remarks)
    assert "was chosen on other problems (puzzles:dev, 4 of them)" in remarks
    assert "prm/last-1 goes 100.0 % of the way there (no interval)" in remarks
    assert "prm/last-1 differs from it by 0.0 points" in remarks
    assert Findings(make_results()).main is None


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(-0.4, -0.2, "prm/last-1 loses 30.0 points"), (-0.1, 0.3, "No clear gain: choosing one")],
)
def test_headlines_of_a_main_scorer_that_does_not_help(
    results: Results, low: float, high: float, words: str
) -> None:
    update = {"delta_vs_cot": (low + high) / 2, "delta_low": low, "delta_high": high}
    rows = tuple(
        row if row.method == "cot" else row.model_copy(update=update) for row in results.rows
    )
    assert words in Findings(results.model_copy(update={"rows": rows})).finding.headline


def test_a_handful_of_problems_shows_nothing(results: Results) -> None:
    def over(count: int) -> Results:
        update = {"n_problems": count}
        rows = tuple(one.model_copy(update=update) for one in results.rows)
        contrasts = tuple(one.model_copy(update=update) for one in results.contrasts)
        return results.model_copy(update={"rows": rows, "contrasts": contrasts})

    few, enough = over(FEWEST - 1), over(FEWEST)
    assert sum(sign(row) is not Sign.UNCLEAR for row in enough.rows) > 10
    signs = [*map(sign, few.rows), *map(sign, few.contrasts)]
    assert set(signs) == {Sign.UNCLEAR}
    finding = Findings(few).finding
    assert finding.headline.startswith("Too few problems to tell: over 5 problems")
    assert not any("clear above 0" in line for line in finding.remarks)
    assert "Too few" not in Findings(enough).finding.headline
    pages = [re.sub(r"<p>.*?</p>", "", render(one, [])) for one in (few, enough)]
    assert [("▲" in page, "▼" in page) for page in pages] == [(False, False), (True, True)]
    assert "▲" not in markdown_table(few)


def test_a_slice_of_one_problem_has_no_mark_beside_larger_ones(results: Results) -> None:
    rows = tuple(
        row.model_copy(update={"n_problems": 1}) if row.source != "all" else row
        for row in results.rows
    )
    page = render(results.model_copy(update={"rows": rows, "contrasts": ()}), [])
    table = page[page.index("<caption>Accuracy by method and slice") :]
    (line,) = re.findall(r"<tr[^>]*><th scope=.row.><span class=.name.>oracle<.*?</tr>", table)
    cells = re.findall(r"<td.*?</td>", line)
    marks = ["▲" in cell for cell in cells]
    assert marks[0]
    assert any(marks[1:])
    sources = len(Findings(results).sources)
    assert not any(marks[-sources:])


def test_a_method_stands_for_each_scorer(results: Results) -> None:
    standing = Evidence(Findings(results)).standing
    assert [(one.row.method, one.settled) for one in standing] == [
        ("prm/last-1", "chosen on puzzles:dev, 4 problems"),
        ("other/last-1", "the first of its list"),
    ]
    assert all(one.discrimination is not None for one in standing)


def test_tables_of_the_page(results: Results) -> None:
    page = render(results, [])
    standing = shown(page, "standing")
    assert "prm/last-1 against the others" in standing
    assert "other/last-2 0.0 ▲ +100.0 no interval 0.500 – –" in standing
    slices = shown(page, "slices")
    for against in ("cot", "majority"):
        assert f"where they hurt: against {against}" in slices
    assert "▼ −50.0 no interval" in slices
    steps = shown(page, "steps")
    assert "0 steps could not be told" in steps
    assert "1.000 1.000 – 1.000 1.000 1.000 – 1.000 100.0 no interval" in steps
    assert "visual-dominant" in steps
    assert "chosen on dev" in shown(page, "methods")
    links = set(re.findall(r'<a href="#(\w+)"', page))
    assert {"standing", "steps"} <= links
    assert "<script" not in page


def test_names_in_the_new_tables_are_text(results: Results) -> None:
    text = results.model_dump_json()
    evil = "<img src=x onerror=alert(1)>"
    hostile = Results.model_validate_json(
        text.replace("puzzles:dev", evil).replace('"angles"', f'"{evil}"')
    )
    page = render(hostile, [])
    assert "<img" not in page
    assert "&lt;img src=x" in page


def test_last_n_is_a_line_beside_what_needs_no_n(results: Results) -> None:
    figures = Figures(Findings(results))
    assert [panel.title for panel in figures.last_n] == ["prm", "other"]
    drawn = fromstring(str(figures.last_n[0].svg))  # noqa: S314 - our own figure
    labels = [one.text or "" for one in drawn.iter("text")]
    assert "n last steps" in labels
    for label in ("cot", "majority", "mean", "last-n"):
        assert any(one.startswith(label) for one in labels)
    # Without two of them there is no line.
    assert len(Figures(Findings(make_results())).last_n) == 2
    assert figures.steps is not None
    assert Figures(Findings(make_results())).steps is None


def test_the_terminal_marks_what_was_chosen_and_tells_the_comparisons(results: Results) -> None:
    out = io.StringIO()
    print_table(results, Console(file=out, width=200), plain=True)
    said = out.getvalue()
    assert "prm/last-1 †" in said
    assert "† aggregation chosen on other problems: puzzles:dev." in said
    assert "prm/last-1 over other/last-1: +100.0 points (no interval), p 0.500." in said
    assert "over other/last-2" not in said
    assert "Steps, prm: AUROC within problems 1.000 (1.000 – 1.000)" in said
    assert "macro-F1 100.0 %" in said
    assert "prm/last-1 †" in markdown_table(results)
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    print_table(results, Console(file=ascii_only, width=200), plain=True)


def test_a_run_without_comparisons_has_no_such_section() -> None:
    page = render(make_results(), [])
    assert 'id="standing"' not in page
    assert 'id="steps"' not in page
    assert "where they hurt" not in page
