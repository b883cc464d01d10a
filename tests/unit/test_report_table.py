from __future__ import annotations

import io

import pytest
from report_data import make_results
from rich.cells import cell_len
from rich.console import Console

from vilbench.display import numerals
from vilbench.evaluate.results import Results
from vilbench.report.findings import Findings
from vilbench.report.table import COLUMNS, markdown_table, print_table

HOSTILE = {
    "judge-prm/mean": "judge-prm/[bold red]x[/]",
    "judge-prm/min": "judge-prm/\x1b[2J\x1b]0;owned\x07",
    "judge-prm/first": "judge-prm/\u202eevil\u200b",
    "likelihood/mean": "likelihood/:smiley: | `code` <img src=x>",
    "likelihood/min": "likelihood/" + "w" * 100_000,
}


def printed(results: Results, *, width: int, terminal: bool, plain: bool = False) -> str:
    stream = io.StringIO()
    console = Console(
        file=stream, width=width, force_terminal=terminal, color_system=None, legacy_windows=False
    )
    print_table(results, console, plain=plain)
    return stream.getvalue()


def test_plain_lines_are_aligned_and_complete_whatever_the_width() -> None:
    text = printed(make_results(), width=40, terminal=False)
    lines = text.splitlines()
    table = lines[2 : 2 + 1 + 24]
    assert len({cell_len(line) for line in table}) == 1
    for column in COLUMNS:
        assert column.heading in table[0]
    assert table[1].split() == ["cot", "47.8", "42.7", "–", "52.9", "–", "–", "–", "–", "0.0", "–"]
    assert "weighted-majority:likelihood *" in text
    assert "Smallest detectable difference at 120 problems: 6.1 points" in text
    assert "sample 57 unparsed, 3 failed of 2,880" in text
    assert "Input rows set aside: 1." in text


@pytest.mark.parametrize("terminal", [True, False])
def test_one_solution_each_is_one_row(terminal: bool) -> None:
    results = make_results()
    rows = tuple(row.model_copy(update={"k": 1}) for row in results.rows if row.k == 24)
    text = printed(results.model_copy(update={"rows": rows}), width=100, terminal=terminal)
    assert "With one solution each" in text
    assert "cot" in text
    assert "majority" not in text
    assert " over " not in text.replace("over cot", "")


def test_plain_is_plain_on_a_terminal_too() -> None:
    results = make_results()
    assert printed(results, width=80, terminal=True, plain=True) == printed(
        results, width=80, terminal=False
    )


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_a_terminal_gets_what_fits(width: int) -> None:
    text = printed(make_results(), width=width, terminal=True)
    assert all(cell_len(line.rstrip()) <= width for line in text.splitlines())
    assert "accuracy %" in text
    assert ("ties at worst" in text) == (width >= 160)
    for row in Findings(make_results()).ranked:
        assert row.method in text


@pytest.mark.parametrize("terminal", [True, False])
def test_names_neither_steer_the_terminal_nor_are_markup(terminal: bool) -> None:
    text = printed(make_results(rename=HOSTILE), width=250, terminal=terminal)
    assert "judge-prm/[bold red]x[/]" in text
    assert "judge-prm/␛[2J␛]0;owned␇" in text
    assert "judge-prm/⟨U+202E⟩evil⟨U+200B⟩" in text
    assert ":smiley:" in text
    assert "(99,931 more characters)" in text
    for char in "\x07\u202e\u200b":
        assert char not in text
    # rich may style lines itself; nothing that the names brought may stay an escape.
    assert "\x1b[2J" not in text
    assert "\x1b]" not in text
    assert len(text) < 40_000


def test_a_console_that_is_not_unicode_gets_escapes_and_no_error() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    results = make_results(rename={"judge-prm/mean": "judge-prm/漢"})
    print_table(results, Console(file=stream, width=80))
    stream.flush()
    text = raw.getvalue().decode("ascii")
    assert "judge-prm/\\u6f22" in text
    assert "-12" not in text.splitlines()[0]
    assert "42.7 - 52.9" in text


def test_a_run_without_rows_says_so() -> None:
    results = make_results().model_copy(update={"rows": (), "minimal_detectable_delta": None})
    for terminal in (True, False):
        assert "This run holds no results yet." in printed(results, width=80, terminal=terminal)


def test_markdown_is_a_table_whatever_the_names_are() -> None:
    lines = markdown_table(make_results(rename=HOSTILE)).splitlines()
    assert len(lines) == 2 + 24
    unescaped = [line.replace("\\|", "") for line in lines]
    assert {line.count("|") for line in unescaped} == {len(COLUMNS) + 2}
    text = "\n".join(lines)
    assert "likelihood/:smiley: \\| \\`code\\` \\<img src=x\\>" in text
    assert "\x1b" not in text


def test_markdown_marks_the_best() -> None:
    lines = markdown_table(make_results()).splitlines()
    best = [line for line in lines if line.startswith("| **")]
    assert len(best) == 1
    assert best[0].startswith("| **weighted-majority:likelihood** | **58.9** | 51.7 – 66.1 |")
    assert lines[2].startswith("| cot | 47.8 | 42.7 – 52.9 | – | – |")


def test_problems_that_are_all_alike_have_no_interval() -> None:
    assert numerals.percent_range(1.0, 1.0) == numerals.points_range(0.25, 0.25) == "no interval"
    assert numerals.percent_range(None, None) == numerals.points_range(None, None) == "–"
    assert numerals.percent_range(0.5, 1.0) == "50.0 – 100.0"
    found = make_results()
    note = "no interval: all problems are alike in it"
    assert note not in said(found)
    rows = tuple(
        row.model_copy(update={"delta_low": row.delta_vs_cot, "delta_high": row.delta_vs_cot})
        for row in found.rows
    )
    assert note in said(found.model_copy(update={"rows": rows}))


def said(results: Results) -> str:
    out = io.StringIO()
    print_table(results, Console(file=out, width=200), plain=True)
    return out.getvalue()
