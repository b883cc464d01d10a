"""What accuracy costs: tokens, seconds, memory and money per problem, beside what they buy.

What is not known is called so; it is never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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

UNKNOWN = "unknown"

_SAMPLE, _EXTRACT = "sample", "extract"
_GIB = 2**30
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
        peak_bytes: The most that a process took in any of its stages.
    """

    row: Row
    tokens: float | None
    seconds: float | None
    usd: float | None
    peak_bytes: int | None


@dataclass(frozen=True)
class Stage:
    """What a stage took, and what its table calls it."""

    told: str
    cost: Cost

    @property
    def accelerator(self) -> str:
        """Memory of accelerators in words; a run that was timed without it has none."""
        timed = self.cost.n_timed and self.cost.accelerator_bytes is None
        return "none" if timed else memory(self.cost.accelerator_bytes)


@dataclass(frozen=True)
class Spending:
    """The costs of a run; empty for results that hold none."""

    found: Findings

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """What the stages cost, as the run has them."""
        return tuple(Stage(_told(one), one) for one in self.found.results.costs)

    @cached_property
    def ways(self) -> tuple[Way, ...]:
        """One solution, majority, and the standing method of each scorer."""
        if _SAMPLE not in self._by_stage:
            return ()
        rows = [self.found.row("cot"), self.found.row("majority")]
        rows += map(self.found.standing, self.found.scorers)
        return tuple(
            Way(
                row,
                tokens=self._spent(row, tokens, row.k),
                seconds=self._spent(row, seconds, row.k),
                usd=self._spent(row, usd, row.k),
                peak_bytes=self._most_memory(row),
            )
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
            panels.append(_panel(unit, unit, f"{unit} per problem", series))
        return (*panels, *self._memory_panel())

    def _memory_panel(self) -> Iterator[Panel]:
        """Accuracy over memory, which does not grow with the number of solutions."""
        series = [
            Series(
                way.row.method,
                self._roles[way.row.method],
                (way.peak_bytes / _GIB,),
                (Point(way.row.accuracy, way.row.ci_low, way.row.ci_high),),
                band=False,
            )
            for way in self.ways
            if way.peak_bytes
        ]
        if len(series) > 1:
            yield _panel("memory", "GiB", "GiB of memory at most", series)

    @cached_property
    def _roles(self) -> Mapping[str, str]:
        """The colour of each way."""
        others = iter(_ROLES * (1 + len(self.found.scorers)))
        methods = [way.row.method for way in self.ways]
        return {one: one if one in ("cot", "majority") else next(others) for one in methods}

    def _series(self, measure: Measure) -> list[Series]:
        made = []
        for way in self.ways:
            method = way.row.method
            ks = (1,) if method == "cot" else _ks(way.row.k)
            rows = {row.k: row for row in self.found.curve(method)}
            if method == "cot":
                rows = {1: way.row}
            at = [(self._spent(way.row, measure, k), rows[k]) for k in ks if k in rows]
            held = [(x, row) for x, row in at if x is not None]
            xs = tuple(x for x, _ in held)
            points = tuple(Point(row.accuracy, row.ci_low, row.ci_high) for _, row in held)
            made.append(Series(method, self._roles[method], xs, points, band=False))
        return made

    def _spent(self, row: Row, measure: Measure, k: int) -> float | None:
        """What `k` solutions cost, and the scorer's look at them; one solution has no choice."""
        drawn = self._each(_SAMPLE, measure)
        if drawn is not None and self._extracted:
            named = self._total(_EXTRACT, measure)
            drawn = None if named is None else drawn + named / self._by_stage[_SAMPLE].n_solutions
        if drawn is None or row.method == "cot":
            return drawn
        scorer = self.found.method(row.method).scorer
        scored = self._each(scorer, measure) if scorer else 0.0
        return None if scored is None else k * (drawn + scored)

    @property
    def _extracted(self) -> bool:
        """Whether answers that a model named enter the accuracies."""
        extraction = self.found.results.extraction
        return extraction is not None and extraction.used

    def _each(self, stage: str, measure: Measure) -> float | None:
        """The cost of one solution of a stage, None where it is not known."""
        total = self._total(stage, measure)
        solutions = self._by_stage[stage].n_solutions if total is not None else 0
        return None if total is None or not solutions else total / solutions

    def _total(self, stage: str, measure: Measure) -> float | None:
        """The cost of all that a stage did."""
        cost = self._by_stage.get(stage)
        value = None if cost is None else measure(cost)
        return None if cost is None or value is None else value * cost.n_problems

    def _most_memory(self, row: Row) -> int | None:
        """The most that any stage of a way took, None where one of them is not known."""
        stages = [_SAMPLE] + [_EXTRACT] * self._extracted
        scorer = "" if row.method == "cot" else self.found.method(row.method).scorer
        stages += [scorer] if scorer else []
        costs = [self._by_stage.get(stage) for stage in stages]
        sizes = [None if one is None else one.peak_bytes for one in costs]
        known = [size for size in sizes if size is not None]
        return max(known) if known and len(known) == len(sizes) else None

    @cached_property
    def _by_stage(self) -> Mapping[str, Cost]:
        return {one.stage: one for one in self.found.results.costs if one.kind != "probe"}

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
                    ends = (row.accuracy, row.ci_low, row.ci_high)
                    rows.append((way.row.method, k, *spent, way.peak_bytes, *ends))
        spent_on = ("tokens", "seconds", "usd", "peak_bytes")
        return Sheet(("method", "k", *spent_on, "accuracy", "ci_low", "ci_high"), rows)


def _panel(title: str, unit: str, axis: str, series: Sequence[Series]) -> Panel:
    values = [p.value for one in series for p in one.points]
    told = "; ".join(
        f"{name(s.label)} {numerals.percent(s.points[-1].value)} % for {short(s.x[-1])} {unit}"
        for s in series
    )
    svg = curves(
        f"Accuracy over {axis}",
        f"Percent of problems answered right, at most solutions: {told}.",
        series,
        min(values),
        max(values),
        axis=axis,
        log=True,
        marks=True,
    )
    return Panel(f"accuracy over {title}", svg)


def _told(cost: Cost) -> str:
    if cost.kind == "extract":
        return "extraction"
    return f"probes of {cost.stage}" if cost.kind == "probe" else cost.stage


def _ks(most: int) -> tuple[int, ...]:
    return (*(k for k in _KS if k < most), most)


def memory(size: int | None) -> str:
    """Bytes in words."""
    if size is None:
        return UNKNOWN
    gib = size / _GIB
    return f"{gib:.1f} GiB" if gib >= 1 else f"{size / 2**20:.0f} MiB"


def amount(value: float | None) -> str:
    """A cost of any size with three digits."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
