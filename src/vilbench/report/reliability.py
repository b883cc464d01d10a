"""Whether values are chances of being right, as a figure: the share that is right over them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from markupsafe import Markup

from vilbench.diagnostics.records import Bin, Fit, Reliability
from vilbench.display import numerals
from vilbench.display.text import name
from vilbench.report import style
from vilbench.report.charts import TICKS, mark
from vilbench.report.diagnosis import FITS
from vilbench.report.figures import Panel
from vilbench.report.frame import Frame
from vilbench.report.sheet import Sheet, Value
from vilbench.report.style import LABEL, SMALL, TICK, WIDTH, colour
from vilbench.report.svg import written

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOOKS: dict[Fit, tuple[str, str]] = {
    "none": ("scorer", "circle"),
    "platt": ("second", "square"),
    "isotonic": ("majority", "diamond"),
}
"""Colour and mark of each; line, mark and word tell them apart without colour too."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, WIDTH - 12.0, 30.0, 262.0
_STRIP_TOP, _STRIP_BOTTOM = _BOTTOM + 14.0, _BOTTOM + 54.0


@dataclass(frozen=True)
class ReliabilityCurves:
    """The reliability curves of a record: a panel for each thing that a scorer values."""

    found: Sequence[Reliability]

    @cached_property
    def panels(self) -> tuple[Panel, ...]:
        """One for the solutions and one for the steps of each scorer, all fits in it."""
        grouped: dict[tuple[str, str | None], list[Reliability]] = {}
        for one in self.found:
            if one.bins:
                grouped.setdefault((one.scorer, one.method), []).append(one)
        return tuple(
            Panel(title, _drawn(title, curves))
            for (scorer, method), curves in grouped.items()
            for title in [f"steps of {name(scorer)}" if method is None else name(method)]
        )

    @cached_property
    def sheet(self) -> Sheet:
        """Every bin of every curve, those with the fits' too."""
        rows: list[tuple[Value, ...]] = [
            (
                *(one.scorer, "steps" if one.method is None else one.method, one.fit),
                *(place, b.said, b.right, b.low, b.high, b.n),
            )
            for one in self.found
            for place, b in enumerate(one.bins, 1)
        ]
        head = ("scorer", "of", "fit", "bin", "said", "right", "right_low", "right_high", "values")
        return Sheet(head, rows)


def _drawn(title: str, curves: Sequence[Reliability]) -> Markup:
    """Curves upon the diagonal; the first has its intervals, and its bins' sizes below."""
    first = curves[0]
    with style.drawing():
        frame = Frame(WIDTH, _STRIP_BOTTOM + 40)
        axes = frame.axes(_LEFT, _TOP, _RIGHT, _BOTTOM)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        frame.level_grid(axes, TICKS["percent"], most=5)
        frame.upright_grid(axes, lambda _: "", most=5)
        axes.plot([0, 1], [0, 1], color=colour("cot"), linewidth=1.2, linestyle=(0, (3, 3)))
        frame.text("right, %", 2, _TOP - 12, TICK, "soft", "left")
        for one in reversed(curves):
            _curve(axes, one, strong=one is first)
        _key(frame, curves)
        _sizes(frame, first)
        frame.text("value, %", _RIGHT, _STRIP_BOTTOM + 33, TICK, "soft", "right")
        return written(frame.figure, f"Reliability of {title}", _told(curves))


def _curve(axes: Axes, one: Reliability, *, strong: bool) -> None:
    role, shape = _LOOKS[one.fit]
    said, right = [b.said for b in one.bins], [b.right for b in one.bins]
    axes.plot(
        said,
        right,
        color=colour(role),
        linewidth=2.0 if strong else 1.2,
        linestyle="-" if strong else (0, (5, 2)),
        clip_on=False,
        zorder=3,
    )
    for b in one.bins:
        if strong and math.isfinite(b.low) and math.isfinite(b.high):
            axes.plot(
                [b.said, b.said],
                [b.low, b.high],
                color=colour(role),
                linewidth=2,
                alpha=0.45,
                solid_capstyle="round",
                clip_on=False,
            )
        mark(axes, b.said, b.right, role, shape)


def _key(frame: Frame, curves: Sequence[Reliability]) -> None:
    """The fits in words above the curves, from the right."""
    axes = frame.axes(0, 0, WIDTH, _TOP)
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(_TOP, 0)
    axes.set_axis_off()
    at = _RIGHT
    for one in reversed(curves):
        role, shape = _LOOKS[one.fit]
        frame.text(FITS[one.fit], at, 16, LABEL, role, "right")
        at -= 0.55 * LABEL * len(FITS[one.fit]) + 9
        mark(axes, at, 12, role, shape)
        at -= 16


def _sizes(frame: Frame, one: Reliability) -> None:
    """How many values each bin of a curve holds, below it."""
    axes = frame.axes(_LEFT, _STRIP_TOP, _RIGHT, _STRIP_BOTTOM)
    most = max(b.n for b in one.bins)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, most)
    frame.upright_grid(axes, TICKS["percent"], most=5)
    # Bins are as wide as they must be to hold equally many: a line each, at what it says.
    for b in one.bins:
        axes.plot(
            [b.said, b.said],
            [0, b.n],
            color=colour(_LOOKS[one.fit][0]),
            linewidth=4,
            solid_capstyle="butt",
            clip_on=False,
            zorder=3,
        )
    axes.plot([0, 1], [0, 0], color=colour("soft"), linewidth=1, clip_on=False)
    frame.text(numerals.count(most), _LEFT - 5, _STRIP_TOP + 8, SMALL, "soft", "right")
    frame.text("0", _LEFT - 5, _STRIP_BOTTOM + 3, SMALL, "soft", "right")
    frame.text("values in each bin", _LEFT, _STRIP_BOTTOM + 33, TICK, "soft", "left")


def _told(curves: Iterable[Reliability]) -> str:
    return " ".join(_sentences(curves)) + " All numbers are in the table below."


def _sentences(curves: Iterable[Reliability]) -> Iterator[str]:
    yield "Share that is right over the value, in percent; on the dashed diagonal they are equal."
    for one in curves:
        held = f"{len(one.bins)} bins of {numerals.count(one.n)} values"
        yield (
            f"{FITS[one.fit].capitalize()}, {held}: {_bin(one.bins[0])}, {_bin(one.bins[-1])}; "
            f"expected calibration error {numerals.auroc(one.ece)}."
        )


def _bin(one: Bin) -> str:
    return f"{numerals.percent(one.right)} right of those valued {numerals.percent(one.said)}"
