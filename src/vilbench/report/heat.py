"""Where each scorer helps: gain over cot by scorer and by part of the problems, as colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from vilbench.display import numerals
from vilbench.display.method import Group
from vilbench.display.text import name
from vilbench.evaluate.results import Row
from vilbench.report.cells import Cell, heat_map
from vilbench.report.figures import Panel
from vilbench.report.findings import ALL, Findings, Sign, best, sign
from vilbench.report.sheet import Sheet, Value

_COLUMNS = 5
"""Most columns of a panel; more of them make further panels."""

_MIDDLE, _REACH = 3, 3


@dataclass(frozen=True)
class Heat:
    """The heat map of a run; empty where its problems have one source only."""

    found: Findings

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Majority, the standing method of each scorer, the best vote; without one the mean."""
        found = [self.found.row("majority"), *map(self.found.standing, self.found.scorers)]
        rows = [row for row in found if row is not None]
        votes = [
            r for r in self.found.ranked if self.found.method(r.method).group is Group.WEIGHTED
        ]
        top = best(votes)
        return tuple([*rows, top] if top else rows)

    @cached_property
    def panels(self) -> tuple[Panel, ...]:
        """Sources, some of them a panel, all on one scale of colours."""
        if len(self.found.sources) < 2 or not self.rows:
            return ()
        gains = [
            c.delta_vs_cot
            for row in self.rows
            for c in self._line(row, self.found.sources)
            if c is not None and c.delta_vs_cot is not None
        ]
        most = max((abs(gain) for gain in gains), default=0.0) or 1.0
        count = -(-len(self.found.sources) // _COLUMNS)
        size = -(-len(self.found.sources) // count)
        parts = [self.found.sources[i : i + size] for i in range(0, len(self.found.sources), size)]
        return tuple(
            Panel(
                "points over cot" if count == 1 else f"points over cot, part {number}",
                heat_map(
                    f"Gain over cot by method and source, {', '.join(name(s) for s in part)}",
                    "Percentage points over a single solution; bold where the 95 % interval is "
                    "clear of 0. The same numbers are in the table below.",
                    [row.method for row in self.rows],
                    part,
                    [[_cell(one, most) for one in self._line(row, part)] for row in self.rows],
                ),
            )
            for number, part in enumerate(parts, 1)
        )

    @cached_property
    def sheet(self) -> Sheet:
        """Gains with their intervals."""
        rows: list[tuple[Value, ...]] = []
        for row in self.rows:
            for one in self._line(row, self.found.sources):
                if one is not None:
                    gain = (one.delta_vs_cot, one.delta_low, one.delta_high)
                    rows.append((one.method, one.source, one.n_problems, one.accuracy, *gain))
        head = ("method", "source", "n_problems", "accuracy", "gain", "gain_low", "gain_high")
        return Sheet(head, rows)

    def line(self, row: Row) -> list[Row | None]:
        """A method's rows by source, as in `Findings.sources`."""
        return self._line(row, self.found.sources)

    def _line(self, row: Row, sources: Sequence[str]) -> list[Row | None]:
        return [self.found.row(row.method, source, ALL) for source in sources]


def _cell(row: Row | None, most: float) -> Cell:
    if row is None or row.delta_vs_cot is None:
        return Cell(_MIDDLE, numerals.MISSING, "nothing to compare")
    # Seven levels over [-most, most]; the middle one is about 0.
    level = _MIDDLE + round(_REACH * row.delta_vs_cot / most)
    gain, interval = (
        numerals.points(row.delta_vs_cot),
        numerals.points_range(row.delta_low, row.delta_high),
    )
    return Cell(level, gain, f"{gain} points ({interval})", strong=sign(row) is not Sign.UNCLEAR)
