"""What accuracy costs: tokens, seconds, memory and money per problem, beside what they buy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from vilbench.display import numerals
from vilbench.display.text import name
from vilbench.evaluate.results import Cost, Row
from vilbench.report.charts import Point, Series, curves
from vilbench.report.figures import Panel
from vilbench.report.findings import Findings
from vilbench.report.frame import short
from vilbench.report.sheet import Sheet, Value

_SAMPLE = "sample"
_ROLES = ("m0", "m1", "m3", "m5", "weighted", "random", "oracle")
_KS = (1, 2, 4, 8, 16, 32, 64, 128)

Measure = Callable[[Cost], float | None]


def tokens(cost: Cost) -> float:
    """Tokens read and written for a problem."""
    return cost.prompt_tokens + cost.completion_tokens


def seconds(cost: Cost) -> float | None:
    """Seconds on the wall for a problem."""
    return cost.seconds


def usd(cost: Cost) -> float | None:
    """Dollars for a problem."""
    return cost.usd


_MEASURES: Mapping[str, Measure] = {"tokens": tokens, "seconds": seconds, "US dollars": usd}


@dataclass(frozen=True)
class Way:
    """A way to an answer: what it costs per problem in all, and what it buys.

    Attributes:
        row: Its accuracy.
        tokens: Of sampling and scoring; None where a part is not known, as for the others.
        seconds: The same, one stage after the other.
        usd: The same.
    """

    row: Row
    tokens: float | None
    seconds: float | None
    usd: float | None


@dataclass(frozen=True)
class Spending:
    """The costs of a run; empty for results that hold none."""

    found: Findings

    @cached_property
    def costs(self) -> tuple[Cost, ...]:
        """What the stages cost, as the run has them."""
        return self.found.results.costs

    @cached_property
    def ways(self) -> tuple[Way, ...]:
        """One solution, majority, and the standing method of each scorer."""
        if _SAMPLE not in self._by_stage:
            return ()
        rows = [self.found.row("cot"), self.found.row("majority")]
        rows += [self._standing(scorer) for scorer in self.found.scorers]
        return tuple(
            Way(row, *(self._spent(row, measure, row.k) for measure in _MEASURES.values()))
            for row in rows
            if row is not None
        )

    @cached_property
    def panels(self) -> tuple[Panel, ...]:
        """Accuracy over what it costs, a panel for each kind of cost that is known."""
        panels = []
        for unit, measure in _MEASURES.items():
            series = [one for one in self._series(measure) if one.points]
            held = [one for one in series if one.label != "cot"]
            if not held or any(x <= 0 for one in series for x in one.x):
                continue
            values = [p.value for one in series for p in one.points]
            told = "; ".join(
                f"{name(s.label)} {numerals.percent(s.points[-1].value)} % for "
                f"{short(s.x[-1])} {unit}"
                for s in series
            )
            svg = curves(
                f"Accuracy over {unit} per problem",
                f"Percent of problems answered right, at most solutions: {told}.",
                series,
                min(values),
                max(values),
                axis=f"{unit} per problem",
                log=True,
                marks=True,
            )
            panels.append(Panel(f"accuracy over {unit}", svg))
        return tuple(panels)

    def _series(self, measure: Measure) -> list[Series]:
        made = []
        roles = iter(_ROLES * (1 + len(self.found.scorers)))
        for way in self.ways:
            method = way.row.method
            role = method if method in ("cot", "majority") else next(roles)
            ks = (1,) if method == "cot" else _ks(way.row.k)
            rows = {row.k: row for row in self.found.curve(method)}
            if method == "cot":
                rows = {1: way.row}
            at = [(self._spent(way.row, measure, k), rows[k]) for k in ks if k in rows]
            held = [(x, row) for x, row in at if x is not None]
            xs = tuple(x for x, _ in held)
            points = tuple(Point(row.accuracy, row.ci_low, row.ci_high) for _, row in held)
            made.append(Series(method, role, xs, points, band=False))
        return made

    def _spent(self, row: Row, measure: Measure, k: int) -> float | None:
        """What `k` solutions cost, and the scorer's look at them; one solution has no choice."""
        drawn = self._each(_SAMPLE, measure)
        if drawn is None or row.method == "cot":
            return drawn
        scorer = self.found.method(row.method).scorer
        scored = self._each(scorer, measure) if scorer else 0.0
        return None if scored is None else k * (drawn + scored)

    def _each(self, stage: str, measure: Measure) -> float | None:
        """The cost of one solution of a stage, None where it is not known."""
        cost = self._by_stage.get(stage)
        value = None if cost is None else measure(cost)
        if cost is None or value is None or not cost.n_solutions:
            return None
        return value * cost.n_problems / cost.n_solutions

    @cached_property
    def _by_stage(self) -> Mapping[str, Cost]:
        return {one.stage: one for one in self.costs}

    def _standing(self, scorer: str) -> Row | None:
        mine = self.found.of_scorer(scorer)
        settled = {one.method for one in self.found.results.contrasts}
        standing = [row for row in mine if row.method in settled]
        return next(iter(standing or mine), None)

    @cached_property
    def sheet(self) -> Sheet:
        """Every point of the figure, with each kind of cost."""
        rows: list[tuple[Value, ...]] = []
        for way in self.ways:
            curve = {row.k: row for row in self.found.curve(way.row.method)}
            for k in (1,) if way.row.method == "cot" else _ks(way.row.k):
                row = way.row if way.row.method == "cot" else curve.get(k)
                if row is not None:
                    spent = [self._spent(way.row, one, k) for one in _MEASURES.values()]
                    rows.append((way.row.method, k, *spent, row.accuracy, row.ci_low, row.ci_high))
        head = ("method", "k", "tokens", "seconds", "usd", "accuracy", "ci_low", "ci_high")
        return Sheet(head, rows)


def _ks(most: int) -> tuple[int, ...]:
    return (*(k for k in _KS if k < most), most)


def memory(size: int | None) -> str:
    """Bytes in words."""
    if size is None:
        return numerals.MISSING
    gib = size / 2**30
    return f"{gib:.1f} GiB" if gib >= 1 else f"{size / 2**20:.0f} MiB"


def amount(value: float | None) -> str:
    """A cost of any size with three digits."""
    if value is None:
        return numerals.MISSING
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
