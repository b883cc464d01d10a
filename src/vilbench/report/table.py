"""The headline table, and that of a comparison of runs, in a terminal and in Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vilbench.display import numerals
from vilbench.display.text import name
from vilbench.evaluate.results import Results, Row
from vilbench.report.comparison import Comparison
from vilbench.report.evidence import Evidence
from vilbench.report.findings import Findings, Sign, sign

_SIGNS = {Sign.ABOVE: "▲", Sign.BELOW: "▼", Sign.UNCLEAR: ""}
_GAP = 2
_ASCII = str.maketrans(
    {numerals.MINUS: "-", numerals.MISSING: "-", "▲": "+", "▼": "-", "…": "...", "†": "^"}
)
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#~&!()$])")


@dataclass(frozen=True)
class Column:
    """A column: its heading, what it says of a row, and what it loses first for want of room.

    Attributes:
        keep: Columns of a lower number are left out first.
    """

    heading: str
    write: Callable[[Row], str]
    keep: int


def _interval(row: Row) -> str:
    return numerals.percent_range(row.ci_low, row.ci_high)


def _delta(row: Row) -> str:
    if row.delta_vs_cot is None:
        return numerals.MISSING
    return f"{_SIGNS[sign(row)]} {numerals.points(row.delta_vs_cot)}".strip()


def _delta_interval(row: Row) -> str:
    if row.delta_vs_cot is None:
        return numerals.MISSING
    return numerals.points_range(row.delta_low, row.delta_high)


def _has_point(row: Row) -> bool:
    """Whether the difference is the same in every problem."""
    return row.delta_low is not None and row.delta_low == row.delta_high


def _tie_range(row: Row) -> str:
    if row.accuracy_max - row.accuracy_min <= 0.0005:
        return numerals.MISSING
    return numerals.percent_range(row.accuracy_min, row.accuracy_max)


COLUMNS: tuple[Column, ...] = (
    Column("accuracy %", lambda r: numerals.percent(r.accuracy), 9),
    Column("95 % interval", _interval, 8),
    Column("over cot", _delta, 7),
    Column("95 % interval", _delta_interval, 6),
    Column("p", lambda r: numerals.p_value(r.p_value), 5),
    Column("to oracle %", lambda r: numerals.percent(r.recovered), 2),
    Column("ties %", lambda r: numerals.percent(r.tie_rate), 4),
    Column("ties at worst – best", _tie_range, 3),
)


def print_table(results: Results, console: Console, *, plain: bool = False) -> None:
    """The methods at the largest `k`, below the finding in a sentence.

    Names are data: no rich markup or emoji code in them is interpreted, and no control
    character reaches the terminal.

    Args:
        results: What the run has shown.
        console: Where to print. A console that is no terminal gets every column in
            aligned lines; a terminal gets the columns that fit its width.
        plain: Aligned lines on a terminal too.
    """
    found = Findings(results)
    if plain or not console.is_terminal:
        for text in _lines(found):
            console.print(Text(_encodable(text, console)), soft_wrap=True)
        return
    columns = _fitting(found, console.width)
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="dim")
    table.add_column(Text("method"), overflow="fold")
    for column in columns:
        table.add_column(Text(column.heading), justify="right", no_wrap=True)
    for row in _rows(found):
        style = "bold" if found.best is not None and row.method == found.best.method else ""
        table.add_row(
            Text(_method(found, row)), *[Text(c.write(row)) for c in columns], style=style
        )
    console.print(Text(found.finding.headline, style="bold"))
    console.print()
    console.print(table)
    console.print()
    for text in _notes(found):
        console.print(Text(text, style="dim"))


def markdown_table(results: Results) -> str:
    """The same table for a README, with a trailing newline; names are escaped."""
    found = Findings(results)
    lines = [
        "| method | " + " | ".join(c.heading for c in COLUMNS) + " |",
        "|:--|" + "--:|" * len(COLUMNS),
    ]
    for row in found.ranked:
        mark = " †" if row.method in found.chosen else ""
        cells = [_escaped(name(row.method)) + mark, *(c.write(row) for c in COLUMNS)]
        if found.best is not None and row.method == found.best.method:
            cells[:2] = [f"**{cell}**" for cell in cells[:2]]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _encodable(text: str, console: Console) -> str:
    """`text` as far as the console's encoding goes; the rest as escapes instead of an error."""
    encoding = console.encoding
    if encoding.lower().startswith("utf"):
        return text
    return text.translate(_ASCII).encode(encoding, "backslashreplace").decode(encoding)


def _escaped(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", text)


def _method(found: Findings, row: Row) -> str:
    marks = "†" if row.method in found.chosen else ""
    if found.best is not None and row.method == found.best.method:
        marks += "*"
    return f"{name(row.method)} {marks}".rstrip()


def _rows(found: Findings) -> Sequence[Row]:
    """The methods that are shown: where all take the same solution, the first."""
    return found.ranked[:1] if found.lone else found.ranked


def _fitting(found: Findings, width: int) -> Sequence[Column]:
    """The columns that leave the method's name its room."""
    room = width - min(40, max((cell_len(_method(found, r)) for r in found.ranked), default=0))
    kept = list(COLUMNS)
    while len(kept) > 1 and sum(_width(found, c) + _GAP for c in kept) > room:
        kept.remove(min(kept, key=lambda c: c.keep))
    return kept


def _width(found: Findings, column: Column) -> int:
    return max(cell_len(text) for text in [column.heading, *map(column.write, found.ranked)])


def _lines(found: Findings) -> list[str]:
    grid = [["method", *(c.heading for c in COLUMNS)]]
    grid += [[_method(found, r), *(c.write(r) for c in COLUMNS)] for r in _rows(found)]
    return [found.finding.headline, "", *_aligned(grid, 1), "", *_notes(found)]


def _aligned(grid: Sequence[Sequence[str]], words: int) -> list[str]:
    """Rows of equal length as lines; the first columns, which hold words, begin at the left."""
    widths = [max(map(cell_len, column)) for column in zip(*grid, strict=True)]
    lines = []
    for row in grid:
        gaps = [" " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)]
        cells = [
            cell + gap if place < words else gap + cell
            for place, (cell, gap) in enumerate(zip(row, gaps, strict=True))
        ]
        lines.append((" " * _GAP).join(cells).rstrip())
    return lines


def comparison_lines(found: Comparison) -> list[str]:
    """Runs beside each other for a terminal: who they are, and a line for each row and run."""
    runs = [["run", "folder", "policy", "problems", "k", "against A"]]
    rows = [["method", "run", "accuracy %", "95 % interval", "over A", "95 % interval", "p"]]
    for side in found.sides:
        told = "" if not side.pairing else side.pairing
        if told and told != "paired":
            told = f"not paired: {told}"
        run = side.run
        held = numerals.count(len(run.problems))
        runs.append([side.letter, name(run.label), name(run.policy), held, str(run.n), told])
    for row in found.rows:
        for place, side in enumerate(found.sides):
            mine, against = found.accuracy(row, place), found.difference(row, place)
            if mine is None:
                continue
            over = [numerals.MISSING] * 3
            if against is not None:
                over = [
                    f"{_SIGNS[found.sign(against)]} {numerals.points(against.delta)}".strip(),
                    numerals.points_range(against.low, against.high),
                    numerals.p_value(against.p_value),
                ]
            method = name(side.run.methods[row])
            told = numerals.percent_range(mine.low, mine.high)
            rows.append([method, side.letter, numerals.percent(mine.value), told, *over])
    return [
        found.headline,
        "",
        *_aligned(runs, 3),
        "",
        *_aligned(rows, 2),
        "",
        "accuracy in percent at the largest k of a run, differences from run A in points; "
        "▲ ▼ interval clear of 0.",
    ]


def _notes(found: Findings) -> list[str]:
    results = found.results
    lines = []
    if found.ranked and not found.lone:
        lines.append(
            f"k = {found.k}; accuracy in percent, differences from cot in points (paired); "
            "▲ ▼ interval clear of 0; * best method that needs no gold answer."
        )
    if any(row.ci_low == row.ci_high or _has_point(row) for row in _rows(found)):
        lines.append(
            f"{numerals.NO_INTERVAL}: all problems are alike in it, and resampling shows no spread."
        )
    if found.chosen:
        sets = dict.fromkeys(name(one.problem_set) for one in results.chosen)
        lines.append(f"† aggregation chosen on other problems: {', '.join(sets)}.")
    evidence = Evidence(found)
    told = {"cot", "majority", *(one.row.method for one in evidence.standing)}
    lines += [
        f"{name(one.method)} over {name(one.against)}: {numerals.points(one.delta)} points "
        f"({numerals.points_range(one.low, one.high)}), p {numerals.p_value(one.p_value)}."
        for one in evidence.main
        if one.against in told and not found.lone
    ]
    lines += [
        f"Steps, {name(one.scorer)}: AUROC within problems {numerals.auroc(one.within)} "
        f"({numerals.auroc(one.within_low)} – {numerals.auroc(one.within_high)}), among steps of "
        f"the same number {numerals.auroc(one.same)}, pooled {numerals.auroc(one.pooled)}"
        + (f", macro-F1 {numerals.percent(one.macro_f1)} %." if one.macro_f1 is not None else ".")
        for one in evidence.steps
        if one.pooled is not None
    ]
    if results.minimal_detectable_delta is not None:
        lines.append(
            f"Smallest detectable difference at {numerals.count(results.n_problems)} problems: "
            f"{numerals.percent(results.minimal_detectable_delta)} points (80 % power, 5 % level)."
        )
    lost = [
        f"{name(c.stage)} {c.unparsed:,} unparsed, {c.failed:,} failed of {c.units:,}"
        for c in results.counts
        if c.unparsed or c.failed
    ]
    if lost:
        lines.append("Lost: " + "; ".join(lost) + ".")
    if results.rejected:
        lines.append(f"Input rows set aside: {len(results.rejected):,}.")
    return lines
