"""The empty figure: its size in units, where its axes lie, and what stands beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from vilbench.report.style import TICK, colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DPI = 72
"""Units of the figure to an inch of matplotlib."""


class Span(NamedTuple):
    """Both ends of an axis."""

    low: float
    high: float


class Frame:
    """A figure whose places are in units from its upper left corner; made under `style.drawing`.

    Args:
        width: In units.
        height: The same.
    """

    def __init__(self, width: float, height: float) -> None:
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)

    def axes(self, left: float, top: float, right: float, bottom: float) -> Axes:
        """Axes without a frame around them."""
        axes = self.figure.add_axes(
            (
                left / self.width,
                1 - bottom / self.height,
                (right - left) / self.width,
                (bottom - top) / self.height,
            )
        )
        axes.tick_params(length=0, labelsize=TICK, labelcolor=colour("soft"), pad=5)
        axes.set_xticks([])
        axes.set_yticks([])
        return axes

    def x(self, axes: Axes, value: float) -> float:
        """Place of a value on the level axis."""
        return float(axes.transData.transform((value, axes.get_ylim()[0]))[0])

    def y(self, axes: Axes, value: float) -> float:
        """Place of a value on the upright axis."""
        return self.height - float(axes.transData.transform((axes.get_xlim()[0], value))[1])

    def text(
        self,
        content: str,
        x: float,
        y: float,
        size: float,
        role: str,
        aligned: str,
        *,
        strong: bool = False,
    ) -> None:
        """A line of text with its base at `y`; `aligned` is "left", "center" or "right"."""
        self.figure.text(
            x / self.width,
            1 - y / self.height,
            content,
            fontsize=size,
            color=colour(role),
            horizontalalignment=aligned,
            verticalalignment="baseline",
            fontweight="bold" if strong else "normal",
        )

    def line(
        self,
        x: Sequence[float],
        y: Sequence[float],
        role: str,
        width: float,
        *,
        dashed: bool = False,
    ) -> None:
        """A line between places of the figure."""
        from matplotlib.lines import Line2D

        self.figure.add_artist(
            Line2D(
                [one / self.width for one in x],
                [1 - one / self.height for one in y],
                color=colour(role),
                linewidth=width,
                linestyle=(0, (3, 3)) if dashed else "-",
                zorder=2.5,
            )
        )

    def level_grid(self, axes: Axes, write: Callable[[float], str], most: int = 8) -> None:
        """Level lines at round numbers of the upright axis."""
        self._grid(axes, "y", write, most)

    def upright_grid(self, axes: Axes, write: Callable[[float], str], most: int = 7) -> None:
        """Upright lines at round numbers of the level axis."""
        self._grid(axes, "x", write, most)

    def _grid(
        self, axes: Axes, which: Literal["x", "y"], write: Callable[[float], str], most: int
    ) -> None:
        from matplotlib.ticker import FuncFormatter, MaxNLocator

        axis = axes.xaxis if which == "x" else axes.yaxis
        axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))
        axes.grid(visible=True, axis=which, color=colour("grid"), linewidth=1)
        axes.set_axisbelow(True)

    def ticks_at(self, axes: Axes, places: Sequence[float], write: Callable[[float], str]) -> None:
        """Numbers below the axes at these places."""
        axes.set_xticks(list(places), labels=[write(place) for place in places])

    def log_ticks(self, axes: Axes) -> None:
        """Numbers 1, 2 and 5 times a power of ten below logarithmic axes, as far as they fit.

        Axes so short that fewer than two of them lie there have other round numbers.
        """
        from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator

        low, high = axes.get_xlim()
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for steps in ((1, 2, 5), (1, 3), (1,)):
            places = [m * 10.0**d for d in decades for m in steps if low <= m * 10.0**d <= high]
            if len(places) <= 6:
                break
        if len(places) < 2:
            places = [one for one in MaxNLocator(4).tick_values(low, high) if low <= one <= high]
        axes.set_xticks(places, labels=[short(place) for place in places])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())


def short(value: float) -> str:
    """A number of any size in few letters: 0.002, 350, 12k, 3M."""
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{sign}"
    return f"{value:.3g}"


def covering(low: float, high: float, about: int = 16) -> Span:
    """[low, high] widened to multiples of about a sixteenth of it."""
    if high - low < 1e-9:
        low, high = low - 0.05, high + 0.05
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= rough * 0.999)
    return Span(math.floor(low / step) * step, math.ceil(high / step) * step)


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
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
