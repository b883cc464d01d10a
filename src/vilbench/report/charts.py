"""The kinds of figure that a report has, drawn by matplotlib.

Every figure is about 400 units wide so that its text stays legible on a phone; wide screens
set several side by side. Series have a colour and a mark shape or a label of their own, so
that no reading depends on colour. Colours are roles of `style.palette`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from markupsafe import Markup

from vilbench.display import numerals
from vilbench.display.text import visible
from vilbench.evaluate.results import Histogram
from vilbench.report import style
from vilbench.report.frame import Frame, covering, spread
from vilbench.report.style import LABEL, TICK, WIDTH, colour
from vilbench.report.svg import written

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Tick = Literal["percent", "points", "plain"]

_LABEL_LIMIT = 24
_ROW = 24.0
_K_TICKS = (1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 128.0, 256.0)
_SHAPES: Mapping[str, tuple[str, float]] = {
    "circle": ("o", 9.0),
    "square": ("s", 8.0),
    "diamond": ("D", 7.8),
}
"""Mark shape -> matplotlib's sign for it, and its size in units."""


@dataclass(frozen=True)
class Point:
    """A value with its interval, on the axis of its chart."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """A line of a chart: `points[i]` lies at `x[i]`."""

    label: str
    style: str
    x: tuple[float, ...]
    points: tuple[Point, ...]
    band: bool


@dataclass(frozen=True)
class Dot:
    """One mark of a row; `style` is its colour."""

    point: Point
    style: str
    shape: str = "circle"


@dataclass(frozen=True)
class DotRow:
    """A labelled row of marks, `value` written at its right end."""

    label: str
    dots: tuple[Dot, ...]
    value: str = ""


@dataclass(frozen=True)
class Reference:
    """A vertical line through all rows."""

    label: str
    value: float
    style: str


def cut(text: str, limit: int = _LABEL_LIMIT) -> str:
    """A name as a figure has room for it, what it hides made visible."""
    shown = visible(text[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _percent_tick(value: float) -> str:
    return f"{100 * value:z.0f}".replace("-", numerals.MINUS)


def _points_tick(value: float) -> str:
    return numerals.points(value).removesuffix(".0")


def _plain_tick(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".").replace("-", numerals.MINUS)


TICKS: Mapping[Tick, Callable[[float], str]] = {
    "percent": _percent_tick,
    "points": _points_tick,
    "plain": _plain_tick,
}


def mark(axes: Axes, x: float, y: float, role: str, shape: str = "circle") -> None:
    """A data mark: "circle", "square" or "diamond"."""
    sign, size = _SHAPES[shape]
    axes.plot(
        [x],
        [y],
        sign,
        markersize=size,
        color=colour(role),
        markeredgecolor=colour("paper"),
        markeredgewidth=1.2,
        clip_on=False,
        zorder=4,
    )


def curves(
    title: str,
    desc: str,
    series: Sequence[Series],
    y_low: float,
    y_high: float,
    axis: str = "k solutions",
    *,
    tick: Tick = "percent",
    log: bool = False,
    marks: bool = False,
) -> Markup:
    """Shares over numbers, lines labelled at their right ends.

    Args:
        title: Read out instead of the figure.
        desc: What the figure shows, longer.
        series: The lines.
        y_low: Lowest value of the upright axis.
        y_high: Highest one.
        axis: What the level axis measures.
        tick: How numbers of the upright axis are written.
        log: The level axis is logarithmic, with powers of ten below it.
        marks: Every point has a mark, and not the last one alone.
    """
    top, bottom, left = 14.0, 228.0, 30.0
    drawn = [s for s in series if s.points]
    words = [f"{cut(s.label, 17)} {_end(s.points[-1].value, tick)}" for s in drawn]
    # Words stand behind the lines: their room is that of the widest common letters.
    right = min(258.0, WIDTH - 17 - 0.6 * LABEL * max(map(len, words), default=0))
    every = [x for s in series for x in s.x]
    x_low, x_high = (
        (min(every, default=1.0), max(every, default=1.0)) if log else (1.0, max(2.0, *every, 2.0))
    )
    low, high = covering(y_low, y_high)
    with style.drawing():
        frame = Frame(WIDTH, bottom + 38)
        axes = frame.axes(left, top, right, bottom)
        if log:
            axes.set_xscale("log")
            x_low, x_high = x_low / 1.15, x_high * 1.15
        axes.set_xlim(x_low, x_high)
        axes.set_ylim(low, high)
        frame.level_grid(axes, TICKS[tick])
        if log:
            frame.log_ticks(axes)
        else:
            frame.ticks_at(axes, k_ticks(x_high), "{:.0f}".format)
        frame.text(axis, right, bottom + 31, TICK, "soft", "right")
        for s in series:
            _line(axes, s, marks=marks)
        ends = [frame.y(axes, s.points[-1].value) for s in drawn]
        places = spread(ends, 15, top, bottom)
        for s, told, end, place in zip(drawn, words, ends, places, strict=True):
            at = frame.x(axes, s.x[-1])
            mark(axes, s.x[-1], s.points[-1].value, s.style)
            if abs(place - end) > 2 or at < right - 1:
                frame.line((at + 6, right + 12), (end, place), "rule", 1.0)
            frame.text(told, right + 15, place + 4, LABEL, s.style, "left")
        return written(frame.figure, title, desc)


def _end(value: float, tick: Tick) -> str:
    if tick == "plain":
        return numerals.auroc(value)
    return numerals.percent(value) if tick == "percent" else numerals.points(value)


def _line(axes: Axes, s: Series, *, marks: bool) -> None:
    values = [p.value for p in s.points]
    held = [
        (x, p.low, p.high)
        for x, p in zip(s.x, s.points, strict=True)
        if p.low is not None and p.high is not None
    ]
    if s.band and len(held) > 1:
        places, lows, highs = zip(*held, strict=True)
        fill: Any = axes.fill_between
        fill(places, lows, highs, color=colour(s.style), alpha=0.13, linewidth=0, clip_on=False)
    if len(values) > 1:
        axes.plot(s.x, values, color=colour(s.style), linewidth=2, clip_on=False, zorder=3)
    if marks:
        for x, value in list(zip(s.x, values, strict=True))[:-1]:
            mark(axes, x, value, s.style)


def k_ticks(high: float) -> list[float]:
    """Round numbers up to `high`, itself among them, that leave each other room."""
    kept: list[float] = []
    for tick in [t for t in _K_TICKS if t < high] + [high]:
        while kept and tick - kept[-1] < high / 14:
            kept.pop()
        kept.append(tick)
    return kept


def dot_rows(
    title: str,
    desc: str,
    rows: Sequence[DotRow],
    references: Sequence[Reference],
    *,
    tick: Tick = "percent",
    axis: str = "",
    span: Point | None = None,
) -> Markup:
    """Rows of values with intervals on one horizontal axis.

    Args:
        title: Read out instead of the figure.
        desc: What the figure shows, longer.
        rows: From top to bottom; several marks of one row are set below each other.
        references: Vertical lines, labelled above the rows.
        tick: How axis numbers are written.
        axis: What the axis measures.
        span: Lowest and highest value of the axis, for charts that share it.
    """
    left, right = 124.0, WIDTH - 46.0 if any(r.value for r in rows) else WIDTH - 10.0
    ends = [v for row in rows for d in row.dots for v in _held(d.point)]
    ends += [r.value for r in references] + ([] if span is None else _held(span))
    low, high = covering(min(ends, default=0.0), max(ends, default=1.0))
    top = 26.0 if any(r.label for r in references) else 8.0
    heights = [max(_ROW, 13.0 * len(row.dots) + 9.0) for row in rows]
    bottom = top + max(_ROW, sum(heights))
    with style.drawing():
        frame = Frame(WIDTH, bottom + (38 if axis else 22))
        axes = frame.axes(left, top, right, bottom)
        axes.set_xlim(low, high)
        axes.set_ylim(bottom, top)
        frame.upright_grid(axes, TICKS[tick])
        y = top
        for row, height in zip(rows, heights, strict=True):
            middle = y + height / 2
            frame.text(cut(row.label), left - 8, middle + 4, LABEL, "ink", "right")
            if row.value:
                frame.text(row.value, WIDTH - 2, middle + 4, LABEL, "ink", "right")
            for i, dot in enumerate(row.dots):
                _dot(axes, dot, middle + 13.0 * (i - (len(row.dots) - 1) / 2))
            y += height
        wanted = [frame.x(axes, r.value) for r in references]
        for r, place in zip(references, spread(wanted, 46, left, right), strict=True):
            at = frame.x(axes, r.value)
            frame.line((at, at), (top - 6, bottom), r.style, 1.2, dashed=True)
            frame.text(r.label, place, 12, TICK, "soft", "center")
        if axis:
            frame.text(axis, right, bottom + 31, TICK, "soft", "right")
        return written(frame.figure, title, desc)


def _held(point: Point) -> list[float]:
    return [v for v in (point.value, point.low, point.high) if v is not None]


def _dot(axes: Axes, dot: Dot, at: float) -> None:
    if dot.point.low is not None and dot.point.high is not None:
        axes.plot(
            [dot.point.low, dot.point.high],
            [at, at],
            color=colour(dot.style),
            linewidth=2,
            alpha=0.6,
            solid_capstyle="round",
            clip_on=False,
        )
    mark(axes, dot.point.value, at, dot.style, dot.shape)


def histogram(title: str, desc: str, data: Histogram) -> Markup:
    """Values of right solutions upwards, of wrong ones downwards, each as a share of its kind."""
    left, right, top, half = 34.0, WIDTH - 8.0, 24.0, 80.0
    bins = len(data.counts)
    totals = sum(data.correct), sum(data.wrong)
    up, down = (
        [n / total if total else 0.0 for n in kind]
        for kind, total in zip((data.correct, data.wrong), totals, strict=True)
    )
    most = 1.05 * max([0.01, *up, *down])
    with style.drawing():
        frame = Frame(WIDTH, top + 2 * half + 42)
        axes = frame.axes(left, top, right, top + 2 * half)
        axes.set_xlim(0, max(1, bins))
        axes.set_ylim(-most, most)
        frame.level_grid(axes, lambda value: _percent_tick(abs(value)), most=5)
        gap = (1.0 if bins > 12 else 4.0) * bins / (right - left)
        for values, role in ((up, "scorer"), ([-v for v in down], "second")):
            places = [i + 0.5 for i, v in enumerate(values) if v]
            heights = [v for v in values if v]
            width = max(0.1, 1 - 2 * gap)
            axes.bar(places, heights, width, color=colour(role), linewidth=0, zorder=2)
        axes.plot([0, max(1, bins)], [0, 0], color=colour("soft"), linewidth=1, zorder=3)
        for place, words, aligned in _edge_labels(data):
            frame.text(words, frame.x(axes, place), top + 2 * half + 16, TICK, "soft", aligned)
        kind = "" if data.granularity == "solution" else "steps of "
        told = [
            f"{kind}{one} solutions ({numerals.count(n)})"
            for one, n in zip(("right", "wrong"), totals, strict=True)
        ]
        frame.text(told[0], left, 14, LABEL, "scorer", "left")
        frame.text(told[1], left, top + 2 * half + 34, LABEL, "second", "left")
        frame.text("% of its kind", right, 14, TICK, "soft", "right")
        return written(frame.figure, title, desc)


def _edge_labels(data: Histogram) -> list[tuple[float, str, str]]:
    """Integer bins are named by their value in the middle, others by a few of their edges."""
    bins = len(data.counts)
    centres = [(a + b) / 2 for a, b in zip(data.edges, data.edges[1:], strict=False)]
    if bins <= 12 and all(abs(c - round(c)) < 1e-6 for c in centres):
        return [(i + 0.5, numerals.score(round(c)), "center") for i, c in enumerate(centres)]
    step = max(1, -(-bins // 5))
    width = abs(data.edges[-1] - data.edges[0])
    decimals = max(0, math.ceil(-math.log10(width))) + 1 if width > 0 else 1
    return [
        (
            float(i),
            numerals.decimal(data.edges[i], decimals),
            "left" if i == 0 else "right" if i == bins else "center",
        )
        for i in range(0, bins + 1, step)
    ]
