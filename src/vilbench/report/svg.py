"""SVG elements as escaped strings, and the scale that places numbers on them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from markupsafe import Markup, escape


def element(tag: str, *children: str | Markup, **attributes: str | float | None) -> Markup:
    """One SVG element; children and attribute values are escaped unless they are markup.

    Attribute names are Python's: `class_` is `class`, `text_anchor` is `text-anchor`.
    None leaves the attribute out. Numbers are written with at most one decimal.
    """
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _plain(value))
        for key, value in attributes.items()
        if value is not None
    )
    inside = Markup("").join(escape(child) for child in children)
    return Markup("<{0}{1}>{2}</{0}>").format(tag, written, inside)


def text(content: str, x: float, y: float, **attributes: str | float | None) -> Markup:
    """A line of text with its baseline at `y`."""
    return element("text", content, x=x, y=y, **attributes)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def figure(width: float, height: float, title: str, desc: str, *children: Markup) -> Markup:
    """The outermost element, with a title and a description for readers who do not see it."""
    return element(
        "svg",
        element("title", title),
        element("desc", desc),
        *children,
        viewBox=f"0 0 {_plain(width)} {_plain(height)}",
        role="img",
        class_="chart",
    )


def _plain(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.1f}".removesuffix(".0")


@dataclass(frozen=True)
class Scale:
    """Linear map of numbers in [low, high] to pixels in [start, end]; `low` < `high`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Pixel of `value`, held inside the range."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)

    def ticks(self, about: int = 7) -> tuple[float, ...]:
        """Round numbers inside the range, about that many."""
        step = tick_step(self.high - self.low, about)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return tuple(i * step for i in range(first, last + 1))


def tick_step(length: float, about: int) -> float:
    """The number among 1, 2, 5 times a power of ten that cuts `length` into about as many."""
    rough = length / max(1, about)
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= rough * 0.999)


def covering(low: float, high: float, start: float, end: float, about: int = 16) -> Scale:
    """The scale over [low, high] widened to multiples of about a sixteenth of it."""
    if high - low < 1e-9:
        low, high = low - 0.05, high + 0.05
    step = tick_step(high - low, about)
    return Scale(math.floor(low / step) * step, math.ceil(high / step) * step, start, end)


def spread(wanted: list[float], gap: float, low: float, high: float) -> list[float]:
    """Places as near to `wanted` as they can be with `gap` between neighbours.

    The order of `wanted` is kept for equal places; results stay within [low, high] as long
    as there is room for all.
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = [0.0] * len(wanted)
    floor = low
    for i in order:
        placed[i] = max(wanted[i], floor)
        floor = placed[i] + gap
    ceiling = high
    for i in reversed(order):
        placed[i] = min(placed[i], ceiling)
        ceiling = placed[i] - gap
    return placed
