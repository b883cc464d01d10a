"""The numbers behind a figure as CSV that a spreadsheet opens without running anything."""

from __future__ import annotations

import base64
import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from vilbench.display.text import name

Value = str | float | int | None

_FORMULA = re.compile(r"[=+\-@\t\r]")


@dataclass(frozen=True)
class Sheet:
    """A table of plain values.

    Attributes:
        columns: Their names.
        rows: A value per column; None is an empty cell.
    """

    columns: tuple[str, ...]
    rows: Sequence[tuple[Value, ...]]

    def csv(self) -> str:
        """The table as CSV: text that a spreadsheet would take for a formula is quoted first.

        Numbers have six digits, names are made visible as on the page.
        """
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([_cell(value) for value in row] for row in self.rows)
        return buffer.getvalue()

    def link(self) -> Markup:
        """The table as an address that holds it."""
        data = base64.b64encode(self.csv().encode()).decode("ascii")
        return Markup("data:text/csv;charset=utf-8;base64,{}").format(data)


def _cell(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        shown = name(value)
        return f"'{shown}" if _FORMULA.match(shown) else shown
    return str(value) if isinstance(value, int) else f"{value:.6g}"
