"""The main table for a paper, by the booktabs package."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vilbench.display import numerals
from vilbench.display.text import name
from vilbench.evaluate.results import Results, Row
from vilbench.report.comparison import Comparison
from vilbench.report.findings import Findings

_SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "$": r"\$",
        "&": r"\&",
        "#": r"\#",
        "%": r"\%",
        "_": r"\_",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
        "`": r"\textasciigrave{}",
        "[": r"{[}",
        "]": r"{]}",
        "-": r"{-}",
    }
)
_NUMBER = str.maketrans({numerals.MINUS: "$-$", numerals.MISSING: "--", "<": r"$<$"})

_HEAD = ("method", r"accuracy, \%", r"95\,\% interval", "over cot", r"95\,\% interval", "$p$")

_COLUMNS: tuple[Callable[[Row], str], ...] = (
    lambda row: numerals.percent(row.accuracy),
    lambda row: numerals.percent_range(row.ci_low, row.ci_high),
    lambda row: numerals.points(row.delta_vs_cot),
    lambda row: (
        numerals.MISSING
        if row.delta_vs_cot is None
        else numerals.points_range(row.delta_low, row.delta_high)
    ),
    lambda row: numerals.p_value(row.p_value),
)


def latex_table(results: Results) -> str:
    r"""The methods at the largest `k` as a `tabular`, the best in bold; names are escaped.

    It needs `\usepackage{booktabs}` and `\usepackage[T1]{fontenc}`.
    """
    found = Findings(results)
    comment = name(f"{results.problem_set}, {results.n_problems} problems, k = {found.k}")
    lines = [f"% {comment}; fingerprint {name(results.fingerprint)}"]
    lines += [rf"\begin{{tabular}}{{l{'r' * len(_COLUMNS)}}}", r"\toprule", _line(_HEAD)]
    for group in found.groups:
        lines.append(r"\midrule")
        for row in group:
            best = found.best is not None and row.method == found.best.method
            cells = [escaped(row.method), *(number(write(row)) for write in _COLUMNS)]
            if best:
                cells[:2] = [rf"\textbf{{{cell}}}" for cell in cells[:2]]
            lines.append(_line(cells))
    lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """A name as LaTeX sets it letter by letter; dashes stay apart."""
    return name(text).translate(_SPECIAL)


def number(text: str) -> str:
    """A number of the report in LaTeX."""
    return text.replace(" – ", "--").translate(_NUMBER).replace("$<$ ", "$<$")


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def latex_comparison(comparison: Comparison) -> str:
    r"""Accuracy by scorer and run as a `tabular`, with 95 % intervals; names are escaped."""
    sides = comparison.sides
    lines = [f"% run {side.letter}: {name(side.run.label)}" for side in sides]
    head = ["method", *(f"{side.letter} ({escaped(side.run.policy)})" for side in sides)]
    lines += [rf"\begin{{tabular}}{{l{'r' * len(sides)}}}", r"\toprule", _line(head), r"\midrule"]
    for row in comparison.rows:
        cells = [escaped(comparison.method(row))]
        for place in range(len(sides)):
            one = comparison.accuracy(row, place)
            text = numerals.MISSING
            if one is not None:
                text = (
                    f"{numerals.percent(one.value)} ({numerals.percent_range(one.low, one.high)})"
                )
            cells.append(number(text))
        lines.append(_line(cells))
    lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"
