"""Marks within a table's cell or a legend, coloured by classes of the page.

They stand in the row that they belong to, where a figure of its own would be too much.
"""

from __future__ import annotations

from markupsafe import Markup, escape

from vilbench.report.charts import Point
from vilbench.report.frame import Span

_START, _END = 6.0, 134.0


def bar(point: Point, span: Span, reference: float | None, role: str) -> Markup:
    """A small bar for a table cell: the interval, its value, and where the reference lies."""

    def place(value: float) -> float:
        share = (value - span.low) / (span.high - span.low)
        return _START + min(1.0, max(0.0, share)) * (_END - _START)

    low = point.value if point.low is None else point.low
    high = point.value if point.high is None else point.high
    parts = [_line(_START, _END, 9, 9, "track")]
    if reference is not None:
        parts.append(_line(place(reference), place(reference), 1, 17, "reference"))
    parts.append(_line(place(low), place(high), 9, 9, f"interval {role}"))
    parts.append(_mark(place(point.value), 9, role, "circle"))
    hidden = {"aria_hidden": "true", "focusable": "false"}
    return element("svg", *parts, viewBox="0 0 140 18", class_="bar", **hidden)


def key(role: str, shape: str = "circle") -> Markup:
    """The mark of a legend: "circle", "square" or "diamond"."""
    drawn = _mark(7, 7, role, shape)
    return element("svg", drawn, viewBox="0 0 14 14", class_="key", aria_hidden="true")


def _line(x1: float, x2: float, y1: float, y2: float, class_: str) -> Markup:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def _mark(x: float, y: float, role: str, shape: str) -> Markup:
    if shape == "square":
        return element("rect", x=x - 4, y=y - 4, width=8, height=8, class_=f"mark {role}")
    if shape == "diamond":
        path = f"M{x} {y - 5.5}L{x + 5.5} {y}L{x} {y + 5.5}L{x - 5.5} {y}Z"
        return element("path", d=path, class_=f"mark {role}")
    return element("circle", cx=x, cy=y, r=4.5, class_=f"mark {role}")


def element(tag: str, *children: str | Markup, **attributes: str | float | None) -> Markup:
    """One element; children and attribute values are escaped unless they are markup.

    Attribute names are Python's: `class_` is `class`, `aria_hidden` is `aria-hidden`. None
    leaves the attribute out. Numbers are written with at most one decimal.
    """
    given = Markup("").join(
        Markup(' {}="{}"').format(
            key.rstrip("_").replace("_", "-"),
            value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0"),
        )
        for key, value in attributes.items()
        if value is not None
    )
    inside = Markup("").join(escape(child) for child in children)
    return Markup("<{0}{1}>{2}</{0}>").format(tag, given, inside)
