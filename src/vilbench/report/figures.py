"""Which rows of a run go into which figure of its report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from markupsafe import Markup

from vilbench.display import numerals
from vilbench.display.method import Group
from vilbench.display.text import name
from vilbench.evaluate.results import Row
from vilbench.report.charts import (
    Dot,
    DotRow,
    Point,
    Reference,
    Series,
    curves,
    dot_rows,
    histogram,
)
from vilbench.report.findings import ALL, Findings, best
from vilbench.report.frame import Span, covering
from vilbench.report.inset import bar, key

_STYLES = {
    Group.COT: "cot",
    Group.RANDOM: "random",
    Group.MAJORITY: "majority",
    Group.WEIGHTED: "weighted",
    Group.SCORER: "scorer",
    Group.ORACLE: "oracle",
}
_MODALITY_SHAPES = ("circle", "square", "diamond")


@dataclass(frozen=True)
class Panel:
    """A figure with its caption."""

    title: str
    svg: Markup


@dataclass(frozen=True)
class Key:
    """One entry of a legend."""

    label: str
    mark: Markup


@dataclass(frozen=True)
class Figures:
    """The figures of one run; each property is empty where the run has nothing to show."""

    found: Findings

    def style(self, method: str) -> str:
        """CSS class of a method's colour."""
        return _STYLES[self.found.method(method).group]

    @cached_property
    def _bar_span(self) -> Span:
        rows = self.found.ranked
        low = min((r.ci_low for r in rows), default=0.0)
        high = max((r.ci_high for r in rows), default=1.0)
        return covering(low, high)

    @property
    def bar_low(self) -> float:
        """Accuracy at the left end of the bars."""
        return self._bar_span.low

    @property
    def bar_high(self) -> float:
        """Accuracy at the right end of the bars."""
        return self._bar_span.high

    def bar(self, row: Row) -> Markup:
        """Accuracy and interval of a row, on the common scale of the table."""
        cot = self.found.row("cot")
        reference = cot.accuracy if cot else None
        return bar(_accuracy(row), self._bar_span, reference, self.style(row.method))

    @cached_property
    def curve_methods(self) -> tuple[str, ...]:
        """Methods drawn over `k`: the references, and two of every scorer."""
        chosen = [m for m in ("cot", "majority", "oracle") if self.found.row(m)]
        for scorer in self.found.scorers:
            chosen += [r.method for r in self.found.highlights(scorer)[:2]]
        return tuple(dict.fromkeys(chosen))

    @cached_property
    def curves(self) -> tuple[Panel, ...]:
        """Accuracy over `k`, a panel per scorer, all on one scale."""
        points = [r for m in self.curve_methods for r in self.found.curve(m)]
        if len({r.k for r in points}) < 2:
            return ()
        low, high = min(r.ci_low for r in points), max(r.ci_high for r in points)
        references = [m for m in self.curve_methods if self.found.method(m).group < Group.WEIGHTED]
        panels = []
        for scorer in self.found.scorers or ("",):
            mine = [r.method for r in self.found.highlights(scorer)[:2]]
            series = [
                self._series(m, self.style(m), m, band=m == "cot")
                for m in [*references, "oracle"]
                if self.found.row(m)
            ]
            series += [
                self._series(m, style, self.found.method(m).aggregation or m, band=m == mine[0])
                for m, style in zip(mine, self._pair_styles(mine), strict=True)
            ]
            title = name(scorer) or "without a scorer"
            panels.append(
                Panel(
                    title,
                    curves(
                        f"Accuracy over the number of solutions, {title}",
                        "Percent of problems answered right when one of k solutions is chosen. "
                        + _told((s.label, numerals.percent(s.points[-1].value)) for s in series),
                        series,
                        low,
                        high,
                    ),
                )
            )
        return tuple(panels)

    def _pair_styles(self, methods: Sequence[str]) -> list[str]:
        """Last-n in its own colour, as in the sweep; two others told apart all the same."""
        others = iter(("scorer", "weighted"))
        return ["second" if self.found.method(m).is_last_n else next(others) for m in methods]

    def _series(self, method: str, style: str, label: str, *, band: bool) -> Series:
        rows = self.found.curve(method)
        points = tuple(_accuracy(r) for r in rows)
        x = tuple(float(r.k) for r in rows)
        if len(rows) == 1 and method == "cot":
            x, points = (1.0, float(self.found.k)), points * 2
        return Series(label, style, x, points, band)

    @cached_property
    def sweep(self) -> tuple[Panel, ...]:
        """Accuracy by aggregation, a panel per scorer, all on one scale."""
        rows = [r for s in self.found.scorers for r in self.found.of_scorer(s)]
        ends = [self.found.row("cot"), self.found.row("oracle")]
        references = tuple(
            Reference(
                f"{r.method} {numerals.percent(r.accuracy)}", r.accuracy, self.style(r.method)
            )
            for r in ends
            if r is not None
        )
        span = _span(_accuracy(r) for r in rows)
        panels = []
        for scorer in self.found.scorers:
            drawn = [
                DotRow(
                    self.found.method(r.method).aggregation or "whole solution",
                    (
                        Dot(
                            _accuracy(r),
                            "second" if self.found.method(r.method).is_last_n else "scorer",
                        ),
                    ),
                    numerals.percent(r.accuracy),
                )
                for r in self.found.of_scorer(scorer)
            ]
            panels.append(
                Panel(
                    name(scorer),
                    dot_rows(
                        f"Accuracy by aggregation, {name(scorer)}",
                        "Percent of problems answered right. "
                        + _told((row.label, row.value) for row in drawn),
                        drawn,
                        references,
                        axis="accuracy, %",
                        span=span,
                    ),
                )
            )
        return tuple(panels)

    @cached_property
    def last_n(self) -> tuple[Panel, ...]:
        """Accuracy over n of last-n, a panel per step scorer, beside what needs no n."""
        panels = []
        for scorer in self.found.scorers:
            rows = self.found.of_scorer(scorer)
            by_n = {n: r for r in rows if (n := self.found.method(r.method).last_n)}
            if len(by_n) < 2:
                continue
            most = float(max(by_n))
            over_n = [by_n[n] for n in sorted(by_n)]
            flat = [r for m in ("cot", "majority") if (r := self.found.row(m))]
            flat += [r for r in rows if self.found.method(r.method).aggregation == "mean"]
            series = [
                Series(
                    self.found.method(r.method).aggregation or r.method,
                    self.style(r.method),
                    (1.0, most),
                    (_accuracy(r),) * 2,
                    band=False,
                )
                for r in flat
            ]
            points = tuple(_accuracy(r) for r in over_n)
            series.append(
                Series("last-n", "second", tuple(map(float, sorted(by_n))), points, band=True)
            )
            span = _span([*points, *(Point(r.accuracy) for r in flat)]) or Point(0.0, 0.0, 1.0)
            told = _told((r.method, numerals.percent(r.accuracy)) for r in [*flat, *over_n])
            panels.append(
                Panel(
                    name(scorer),
                    curves(
                        f"Accuracy over n of last-n, {name(scorer)}",
                        "Percent of problems answered right by the mean of the last n steps. "
                        + told,
                        series,
                        span.value if span.low is None else span.low,
                        span.value if span.high is None else span.high,
                        axis="n last steps",
                    ),
                )
            )
        return tuple(panels)

    @cached_property
    def steps(self) -> Markup | None:
        """Step-level AUROC of every step scorer, within problems and pooled."""
        rows = []
        for one in self.found.results.steps:
            if one.source != ALL or one.modality != ALL:
                continue
            dots = []
            if one.within is not None:
                dots.append(Dot(Point(one.within, one.within_low, one.within_high), "scorer"))
            if one.pooled is not None:
                point = Point(one.pooled, one.pooled_low, one.pooled_high)
                dots.append(Dot(point, "cot", "diamond"))
            rows.append(DotRow(name(one.scorer), tuple(dots), numerals.auroc(one.within)))
        if not rows:
            return None
        return dot_rows(
            "AUROC of right against wrong steps",
            "Within problems, by scorer. " + _told((row.label, row.value) for row in rows),
            rows,
            (Reference("chance", 0.5, "cot"),),
            tick="plain",
            axis="AUROC",
        )

    @cached_property
    def modality_methods(self) -> tuple[str, ...]:
        """Methods compared across modalities: majority, the best weighted vote, highlights."""
        rows = [r for r in self.found.ranked if r.method == "majority"]
        weighted = best(
            r for r in self.found.ranked if self.found.method(r.method).group is Group.WEIGHTED
        )
        rows += [weighted] if weighted else []
        for scorer in self.found.scorers:
            rows += self.found.highlights(scorer)
        return tuple(r.method for r in rows)

    @cached_property
    def modality_keys(self) -> tuple[Key, ...]:
        """Legend of the modality figure."""
        return tuple(
            Key(name(m), key(f"m{i % 6}", _MODALITY_SHAPES[i % 3]))
            for i, m in enumerate(self.found.modalities)
        )

    @cached_property
    def modality(self) -> tuple[Panel, ...]:
        """Difference from cot by modality: votes and ORMs, then a panel per step scorer."""
        if not self.found.modalities:
            return ()
        grouped: dict[str, list[DotRow]] = {}
        for m in self.modality_methods:
            parts = self.found.method(m)
            dots = []
            for i, modality in enumerate(self.found.modalities):
                row = self.found.row(m, modality=modality)
                if row is not None and row.delta_vs_cot is not None:
                    point = Point(row.delta_vs_cot, row.delta_low, row.delta_high)
                    dots.append(Dot(point, f"m{i % 6}", _MODALITY_SHAPES[i % 3]))
            if parts.aggregation and parts.group is Group.SCORER:
                panel, label = name(parts.scorer), parts.aggregation
            else:
                panel, label = "votes, whole solutions", m.removeprefix("weighted-")
            grouped.setdefault(panel, []).append(DotRow(label, tuple(dots)))
        span = _span(d.point for rows in grouped.values() for row in rows for d in row.dots)
        return tuple(
            Panel(
                title,
                dot_rows(
                    f"Difference from cot by modality, {title}",
                    "Percentage points over a single solution. "
                    + _told(
                        (row.label, ", ".join(numerals.points(d.point.value) for d in row.dots))
                        for row in rows
                    ),
                    rows,
                    (Reference("cot", 0.0, "cot"),),
                    tick="points",
                    axis="points over cot",
                    span=span,
                ),
            )
            for title, rows in grouped.items()
        )

    @cached_property
    def auroc(self) -> tuple[Panel, ...]:
        """Within-problem and pooled AUROC, a panel per scorer, all on one scale."""
        grouped: dict[str, list[DotRow]] = {}
        for d in self.found.discrimination:
            parts = self.found.method(d.method)
            dots = []
            if d.within is not None:
                dots.append(Dot(Point(d.within, d.within_low, d.within_high), "scorer"))
            if d.pooled is not None:
                dots.append(Dot(Point(d.pooled, d.pooled_low, d.pooled_high), "cot", "diamond"))
            row = DotRow(parts.aggregation or "whole solution", tuple(dots))
            grouped.setdefault(name(parts.scorer or d.method), []).append(row)
        span = _span(d.point for rows in grouped.values() for row in rows for d in row.dots)
        return tuple(
            Panel(
                title,
                dot_rows(
                    f"AUROC of right against wrong solutions, {title}",
                    "Within problems, then pooled. "
                    + _told(
                        (row.label, ", ".join(numerals.auroc(d.point.value) for d in row.dots))
                        for row in rows
                    ),
                    rows,
                    (Reference("chance", 0.5, "cot"),),
                    tick="plain",
                    axis="AUROC",
                    span=span,
                ),
            )
            for title, rows in grouped.items()
        )

    @cached_property
    def auroc_keys(self) -> tuple[Key, ...]:
        """Legend of the AUROC figure."""
        return (
            Key("within problems", key("scorer")),
            Key("pooled", key("cot", "diamond")),
        )

    @cached_property
    def histograms(self) -> tuple[Panel, ...]:
        """Raw values of every scorer, of right and of wrong solutions."""
        return tuple(
            Panel(
                name(h.scorer),
                histogram(
                    f"Values given by {name(h.scorer)}",
                    f"Shares of values from {numerals.score(h.edges[0])} to "
                    f"{numerals.score(h.edges[-1])}: right solutions upwards, wrong ones down.",
                    h,
                ),
            )
            for h in self.found.results.histograms
            if h.counts
        )

    @cached_property
    def ks(self) -> tuple[int, ...]:
        """Every `k` of the curves."""
        return tuple(sorted({r.k for m in self.curve_methods for r in self.found.curve(m)}))

    def at(self, method: str, k: int) -> Row | None:
        """A point of a curve."""
        return next((r for r in self.found.curve(method) if r.k == k), None)


def _accuracy(row: Row) -> Point:
    return Point(row.accuracy, row.ci_low, row.ci_high)


def _span(points: Iterable[Point]) -> Point | None:
    """The range that holds all points with their intervals."""
    held = [v for p in points for v in (p.value, p.low, p.high) if v is not None]
    return Point(min(held), min(held), max(held)) if held else None


def _told(values: Iterable[Sequence[str]]) -> str:
    return "; ".join(" ".join(name(part) for part in pair) for pair in values) + "."
