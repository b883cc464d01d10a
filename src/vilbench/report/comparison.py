"""Several runs beside each other as one HTML file, in the style of a run's report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from markupsafe import Markup

from vilbench.display import numerals
from vilbench.display.text import name
from vilbench.evaluate.sidebyside import (
    Difference,
    Measured,
    differences,
    gain,
    interval,
    pairing,
)
from vilbench.report.cells import Cell, heat_map
from vilbench.report.charts import Point, Series, curves
from vilbench.report.figures import Panel
from vilbench.report.findings import Sign, placed
from vilbench.report.page import environment, policy, stylesheet
from vilbench.report.plates import Plate
from vilbench.report.sheet import Sheet, Value

_FIRST, _LAST = ("cot", "majority"), "oracle"
_ROLES = ("m0", "m1", "m2", "m3", "m4", "m5")
_COLUMNS = 5


@dataclass(frozen=True)
class Estimated:
    """A number with its interval, over so many problems."""

    value: float
    low: float
    high: float
    n_problems: int

    @property
    def sign(self) -> Sign:
        """Where the interval lies."""
        return placed(self.low, self.high, self.n_problems)


@dataclass(frozen=True)
class Side:
    """One run of the comparison.

    Attributes:
        letter: Names it in tables and figures.
        pairing: How it is compared with the first.
    """

    letter: str
    run: Measured
    pairing: str


@dataclass(frozen=True)
class Comparison:
    """Runs beside each other; the first is what the others are compared with."""

    runs: tuple[Measured, ...]

    @cached_property
    def sides(self) -> tuple[Side, ...]:
        """The runs with their letters."""
        return tuple(
            Side(_letter(i), run, "" if i == 0 else pairing(run, self.runs[0]))
            for i, run in enumerate(self.runs)
        )

    @cached_property
    def rows(self) -> tuple[str, ...]:
        """References and scorers of any run: cot and majority first, the oracle last."""
        every = dict.fromkeys(key for run in self.runs for key in run.accuracy)
        middle = [key for key in every if key not in (*_FIRST, _LAST)]
        return (*(k for k in _FIRST if k in every), *middle, *([_LAST] * (_LAST in every)))

    def method(self, row: str) -> str:
        """The method of a row, or the scorer's name where runs settled on different ones."""
        methods = {run.methods[row] for run in self.runs if row in run.methods}
        return methods.pop() if len(methods) == 1 else row

    def differing(self, row: str, place: int) -> str:
        """The method of a run in a row whose runs have different ones, else ""."""
        mine = self.runs[place].methods.get(row, "")
        return "" if self.method(row) == mine else mine

    def accuracy(self, row: str, place: int) -> Estimated | None:
        """Accuracy of a row in a run, at its largest k."""
        found = self._intervals.get((row, place))
        return None if not found else found[-1]

    @cached_property
    def _intervals(self) -> dict[tuple[str, int], list[Estimated]]:
        found = {}
        for place, run in enumerate(self.runs):
            for row in run.accuracy:
                mean, low, high = interval(run, row)
                ends = zip(mean, low, high, strict=True)
                size = len(run.problems)
                found[row, place] = [
                    Estimated(float(a), float(b), float(c), size) for a, b, c in ends
                ]
        return found

    def gain(self, row: str, place: int) -> Estimated | None:
        """Gain over cot of a row in a run, paired within it; None for cot."""
        return self._gains.get((row, place))

    @cached_property
    def _gains(self) -> dict[tuple[str, int], Estimated]:
        found = {}
        for place, run in enumerate(self.runs):
            for row in run.accuracy:
                if row != "cot":
                    delta, low, high, _ = gain(run, row)
                    found[row, place] = Estimated(
                        float(delta[0]), float(low[0]), float(high[0]), len(run.problems)
                    )
        return found

    @cached_property
    def _differences(self) -> dict[tuple[str, int], Difference]:
        return {(one.name, one.run): one for one in differences(self.runs)}

    def difference(self, row: str, place: int) -> Difference | None:
        """A run against the first, in a row that both have."""
        return self._differences.get((row, place))

    def sign(self, one: Difference) -> Sign:
        """Where the interval of a difference lies."""
        size = min(len(self.runs[place].problems) for place in (0, one.run))
        return placed(one.low, one.high, size)

    @cached_property
    def headline(self) -> str:
        """What the comparison shows, in one sentence."""
        first = self.sides[0]
        scorers = [row for row in self.rows if row not in (*_FIRST, _LAST)]
        told = [
            one
            for row in scorers
            for side in range(1, len(self.runs))
            if (one := self.difference(row, side))
        ]
        clear = [one for one in told if self.sign(one)]
        if not told:
            return f"{len(self.runs)} runs beside each other; no scorer is in both."
        if not clear:
            return (
                f"{len(self.runs)} runs beside each other: no scorer differs clearly from "
                f"run {first.letter}."
            )
        top = max(clear, key=lambda one: abs(one.delta))
        return (
            f"{len(self.runs)} runs beside each other: with {name(top.name)}, run "
            f"{_letter(top.run)} differs from run {first.letter} by {numerals.points(top.delta)} "
            f"points, the largest clear difference of a scorer."
        )

    @cached_property
    def plates(self) -> dict[str, Plate]:
        """The figures with their numbers."""
        made = (
            Plate("runs", self._heat, self._sheet),
            Plate("runs-curves", self._curves, self._curve_sheet),
        )
        return {one.slug: one for one in made if one.panels}

    @cached_property
    def _heat(self) -> tuple[Panel, ...]:
        rows = [row for row in self.rows if row not in ("cot", _LAST)]
        held = [
            one.value for row in rows for i in range(len(self.runs)) if (one := self.gain(row, i))
        ]
        most = max(map(abs, held), default=0.0) or 1.0
        sides = list(enumerate(self.sides))
        parts = [sides[i : i + _COLUMNS] for i in range(0, len(sides), _COLUMNS)]
        return tuple(
            Panel(
                "points over cot, " + ", ".join(f"run {side.letter}" for _, side in part),
                heat_map(
                    "Gain over cot by scorer and run",
                    "Percentage points over a single solution of the same run; bold where the "
                    "95 % interval is clear of 0. The same numbers are in the table.",
                    [self.method(row) for row in rows],
                    [f"{side.letter}: {side.run.policy}" for _, side in part],
                    [[self._cell(row, place, most) for place, _ in part] for row in rows],
                ),
            )
            for part in parts
        )

    def _cell(self, row: str, place: int, most: float) -> Cell:
        one = self.gain(row, place)
        if one is None:
            return Cell(3, numerals.MISSING, "not in this run")
        text = numerals.points(one.value)
        told = f"{text} points ({numerals.points_range(one.low, one.high)})"
        return Cell(3 + round(3 * one.value / most), text, told, strong=bool(one.sign))

    @cached_property
    def _curves(self) -> tuple[Panel, ...]:
        panels = []
        for row in self.rows:
            if row == "cot":
                continue
            series = []
            for place, side in enumerate(self.sides):
                values = self._intervals.get((row, place), [])
                if values:
                    points = tuple(Point(one.value, one.low, one.high) for one in values)
                    ks = tuple(float(k) for k in range(1, len(values) + 1))
                    role = _ROLES[place % len(_ROLES)]
                    label = f"{side.letter} {side.run.policy}"
                    series.append(Series(label, role, ks, points, band=len(self.runs) < 4))
            drawn = [p for s in series for p in s.points]
            told = "; ".join(
                f"run {name(s.label)} {numerals.percent(s.points[-1].value)}" for s in series
            )
            title = self.method(row)
            svg = curves(
                f"Accuracy over the number of solutions, {name(title)}, by run",
                f"Percent of problems answered right when one of k solutions is chosen: {told}.",
                series,
                min(p.value if p.low is None else p.low for p in drawn),
                max(p.value if p.high is None else p.high for p in drawn),
            )
            panels.append(Panel(name(title), svg))
        return tuple(panels)

    @cached_property
    def _sheet(self) -> Sheet:
        rows: list[tuple[Value, ...]] = []
        for row in self.rows:
            for place, side in enumerate(self.sides):
                mine, over, against = (
                    self.accuracy(row, place),
                    self.gain(row, place),
                    self.difference(row, place),
                )
                if mine is not None:
                    rows.append(
                        (
                            side.letter,
                            side.run.label,
                            side.run.policy,
                            side.run.methods[row],
                            side.run.n,
                            len(side.run.problems),
                            *(mine.value, mine.low, mine.high),
                            *(_ends(over)),
                            *(
                                (against.delta, against.low, against.high)
                                if against
                                else (None,) * 3
                            ),
                            against.p_value if against else None,
                            side.pairing or None,
                        )
                    )
        head = (
            *("run", "folder", "policy", "method", "k", "n_problems"),
            *("accuracy", "ci_low", "ci_high", "gain", "gain_low", "gain_high"),
            *("over_first", "over_first_low", "over_first_high", "p_value", "compared_with_first"),
        )
        return Sheet(head, rows)

    @cached_property
    def _curve_sheet(self) -> Sheet:
        rows: list[tuple[Value, ...]] = [
            (
                self.sides[place].letter,
                self.runs[place].methods[row],
                k,
                one.value,
                one.low,
                one.high,
            )
            for (row, place), values in self._intervals.items()
            for k, one in enumerate(values, 1)
        ]
        return Sheet(("run", "method", "k", "accuracy", "ci_low", "ci_high"), rows)


def _ends(one: Estimated | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if one is None else (one.value, one.low, one.high)


def _letter(place: int) -> str:
    """A, B, ... Z, then A1, B1, ..."""
    return chr(ord("A") + place % 26) + (str(place // 26) if place >= 26 else "")


def render_comparison(runs: Sequence[Measured], command: str = "") -> str:
    """The comparison of runs as one self-contained HTML document.

    Args:
        runs: At least two; the first is what the others are compared with.
        command: How to have the page again.
    """
    css = stylesheet()
    return (
        environment()
        .get_template("comparison.html.jinja")
        .render(
            comparison=Comparison(tuple(runs)),
            command=command,
            style=Markup(css),  # noqa: S704 - our own file
            policy=policy(css),
        )
    )
