"""The figures of the report as inline SVG, coloured by the page's CSS classes.

Every figure is drawn about 400 units wide so that its text stays legible on a phone; wide
screens set several side by side. Series have a colour class and a mark shape of their own,
so that no reading depends on colour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from vilbench.display import numerals
from vilbench.display.text import visible
from vilbench.evaluate.results import Histogram
from vilbench.report.svg import Scale, covering, element, figure, line, spread, text

Tick = Literal["percent", "points", "plain"]

WIDTH = 400.0
_LABEL_LIMIT = 24
_ROW = 24.0
_K_TICKS = (1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 128.0, 256.0)


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
    """One mark of a row; `style` is its colour class."""

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


def _label(text: str, limit: int = _LABEL_LIMIT) -> str:
    shown = visible(text[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _percent_tick(value: float) -> str:
    return f"{100 * value:z.0f}"


def _points_tick(value: float) -> str:
    return numerals.points(value).removesuffix(".0")


def _plain_tick(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


_TICKS: Mapping[Tick, Callable[[float], str]] = {
    "percent": _percent_tick,
    "points": _points_tick,
    "plain": _plain_tick,
}


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)


def mark(x: float, y: float, style: str, shape: str = "circle") -> Markup:
    """A data mark: "circle", "square" or "diamond"."""
    if shape == "square":
        return element("rect", x=x - 4, y=y - 4, width=8, height=8, class_=f"mark {style}")
    if shape == "diamond":
        place = _path([(x, y - 5.5), (x + 5.5, y), (x, y + 5.5), (x - 5.5, y)]) + "Z"
        return element("path", d=place, class_=f"mark {style}")
    return element("circle", cx=x, cy=y, r=4.5, class_=f"mark {style}")


def interval_bar(point: Point, scale: Scale, reference: float | None, style: str) -> Markup:
    """A small bar for a table cell: the interval, its value, and where the reference lies."""
    low = point.value if point.low is None else point.low
    high = point.value if point.high is None else point.high
    parts = [line(scale.start, 9, scale.end, 9, "track")]
    if reference is not None:
        parts.append(line(scale(reference), 1, scale(reference), 17, "reference"))
    parts.append(line(scale(low), 9, scale(high), 9, f"interval {style}"))
    parts.append(mark(scale(point.value), 9, style))
    return element(
        "svg", *parts, viewBox="0 0 140 18", class_="bar", aria_hidden="true", focusable="false"
    )


def curves(
    title: str,
    desc: str,
    series: Sequence[Series],
    y_low: float,
    y_high: float,
    axis: str = "k solutions",
) -> Markup:
    """Accuracy over whole numbers, lines labelled at their right ends; shares in percent."""
    top, bottom, left, right = 14.0, 228.0, 30.0, 258.0
    x_high = max((x for s in series for x in s.x), default=1.0)
    x = Scale(1.0, max(2.0, x_high), left, right)
    y = covering(y_low, y_high, bottom, top)
    parts: list[Markup] = []
    for tick in y.ticks():
        parts.append(line(left, y(tick), right, y(tick), "grid"))
        parts.append(text(_percent_tick(tick), left - 5, y(tick) + 4, class_="tick end"))
    parts.extend(
        text(f"{tick:.0f}", x(tick), bottom + 16, class_="tick middle") for tick in _k_ticks(x_high)
    )
    parts.append(text(axis, right, bottom + 31, class_="tick end"))
    for s in series:
        edges = [(x(k), p.low, p.high) for k, p in zip(s.x, s.points, strict=True)]
        upper = [(px, y(high)) for px, low, high in edges if low is not None and high is not None]
        lower = [(px, y(low)) for px, low, high in edges if low is not None and high is not None]
        if s.band and len(upper) > 1:
            outline = _path([*upper, *reversed(lower)]) + "Z"
            parts.append(element("path", d=outline, class_=f"band {s.style}"))
    for s in series:
        places = [(x(k), y(p.value)) for k, p in zip(s.x, s.points, strict=True)]
        if len(places) > 1:
            parts.append(element("path", d=_path(places), class_=f"line {s.style}"))
    drawn = [s for s in series if s.points]
    ends = [y(s.points[-1].value) for s in drawn]
    for s, end, place in zip(drawn, ends, spread(ends, 15, top, bottom), strict=True):
        at = x(s.x[-1])
        parts.append(mark(at, end, s.style))
        if abs(place - end) > 2 or at < right - 1:
            parts.append(line(at + 6, end, right + 12, place, "leader"))
        words = f"{_label(s.label, 17)} {numerals.percent(s.points[-1].value)}"
        parts.append(text(words, right + 15, place + 4, class_=f"label {s.style}"))
    return figure(WIDTH, bottom + 38, title, desc, *parts)


def _k_ticks(high: float) -> list[float]:
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
    ends = [
        v
        for row in rows
        for d in row.dots
        for v in (d.point.value, d.point.low, d.point.high)
        if v is not None
    ] + [r.value for r in references]
    if span is not None:
        ends += [v for v in (span.low, span.high) if v is not None]
    x = covering(min(ends, default=0.0), max(ends, default=1.0), left, right)
    top = 26.0 if any(r.label for r in references) else 8.0
    parts: list[Markup] = []
    y = top
    body: list[Markup] = []
    for row in rows:
        height = max(_ROW, 13.0 * len(row.dots) + 9.0)
        middle = y + height / 2
        body.append(text(_label(row.label), left - 8, middle + 4, class_="label end"))
        if row.value:
            body.append(text(row.value, WIDTH - 2, middle + 4, class_="label end"))
        for i, dot in enumerate(row.dots):
            at = middle + 13.0 * (i - (len(row.dots) - 1) / 2)
            if dot.point.low is not None and dot.point.high is not None:
                body.append(
                    line(x(dot.point.low), at, x(dot.point.high), at, f"interval {dot.style}")
                )
            body.append(mark(x(dot.point.value), at, dot.style, dot.shape))
        y += height
    write = _TICKS[tick]
    for value in x.ticks():
        parts.append(line(x(value), top, x(value), y, "grid"))
        parts.append(text(write(value), x(value), y + 16, class_="tick middle"))
    wanted = [x(r.value) for r in references]
    for r, place in zip(references, spread(wanted, 46, left, right), strict=True):
        parts.append(line(x(r.value), top - 6, x(r.value), y, f"reference {r.style}"))
        parts.append(text(r.label, place, 12, class_="tick middle"))
    if axis:
        parts.append(text(axis, right, y + 31, class_="tick end"))
    return figure(WIDTH, y + (38 if axis else 22), title, desc, *parts, *body)


def histogram(title: str, desc: str, data: Histogram) -> Markup:
    """Values of right solutions upwards, of wrong ones downwards, each as a share of its kind."""
    left, right, top, half = 34.0, WIDTH - 8.0, 24.0, 80.0
    middle = top + half
    bins = len(data.counts)
    x = Scale(0.0, float(max(1, bins)), left, right)
    right_total, wrong_total = sum(data.correct), sum(data.wrong)
    up = [n / right_total if right_total else 0.0 for n in data.correct]
    down = [n / wrong_total if wrong_total else 0.0 for n in data.wrong]
    y = Scale(0.0, 1.05 * max([0.01, *up, *down]), 0.0, half)
    parts: list[Markup] = []
    for tick in y.ticks(2)[1:]:
        for place in (middle - y(tick), middle + y(tick)):
            parts.append(line(left, place, right, place, "grid"))
            parts.append(text(_percent_tick(tick), left - 5, place + 4, class_="tick end"))
    gap = 1.0 if bins > 12 else 4.0
    for i, (u, d) in enumerate(zip(up, down, strict=True)):
        wide = max(0.5, x(i + 1) - x(i) - 2 * gap)
        if u:
            parts.append(
                element(
                    "rect",
                    x=x(i) + gap,
                    y=middle - y(u),
                    width=wide,
                    height=y(u),
                    class_="fill right",
                )
            )
        if d:
            parts.append(
                element(
                    "rect", x=x(i) + gap, y=middle, width=wide, height=y(d), class_="fill wrong"
                )
            )
    parts.append(line(left, middle, right, middle, "axis"))
    foot = middle + half
    parts.extend(_edge_labels(data, x, foot + 16))
    steps = "" if data.granularity == "solution" else "steps of "
    parts.append(
        text(
            f"{steps}right solutions ({numerals.count(right_total)})",
            left,
            14,
            class_="label right",
        )
    )
    parts.append(
        text(
            f"{steps}wrong solutions ({numerals.count(wrong_total)})",
            left,
            foot + 34,
            class_="label wrong",
        )
    )
    parts.append(text("% of its kind", right, 14, class_="tick end"))
    return figure(WIDTH, foot + 42, title, desc, *parts)


def _edge_labels(data: Histogram, x: Scale, y: float) -> list[Markup]:
    """Integer bins are named by their value in the middle, others by a few of their edges."""
    bins = len(data.counts)
    centres = [(a + b) / 2 for a, b in zip(data.edges, data.edges[1:], strict=False)]
    if bins <= 12 and all(abs(c - round(c)) < 1e-6 for c in centres):
        return [
            text(numerals.score(round(c)), x(i + 0.5), y, class_="tick middle")
            for i, c in enumerate(centres)
        ]
    step = max(1, -(-bins // 5))
    width = abs(data.edges[-1] - data.edges[0])
    decimals = max(0, math.ceil(-math.log10(width))) + 1 if width > 0 else 1
    return [
        text(
            numerals.decimal(data.edges[i], decimals),
            x(i),
            y,
            class_="tick " + ("start" if i == 0 else "end" if i == bins else "middle"),
        )
        for i in range(0, bins + 1, step)
    ]
