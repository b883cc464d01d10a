"""A heat map, drawn by matplotlib: coloured cells, each with its value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from vilbench.display.text import visible
from vilbench.report import style
from vilbench.report.charts import cut
from vilbench.report.frame import Frame
from vilbench.report.style import LABEL, SMALL, TICK, WIDTH, colour
from vilbench.report.svg import written


@dataclass(frozen=True)
class Cell:
    """A cell of a heat map.

    Attributes:
        level: 0 (far below) to 6 (far above); 3 is neither.
        text: What stands in it; "" leaves it empty.
        told: Its title: value and interval in words.
        strong: The interval is clear of 0.
    """

    level: int
    text: str
    told: str
    strong: bool = False


def heat_map(
    title: str,
    desc: str,
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Sequence[Sequence[Cell]],
) -> Markup:
    """Coloured cells, each with its value.

    Args:
        title: Read out instead of the figure.
        desc: What the figure shows, longer.
        rows: Labels from top to bottom.
        columns: Labels from left to right; about five have room.
        cells: `[rows][columns]`.
    """
    from matplotlib.patches import Rectangle

    top, height = 30.0, 28.0
    longest = max((len(cut(label, 20)) for label in rows), default=0)
    left = max(60.0, 16.0 + 0.62 * LABEL * longest)
    wide = (WIDTH - left) / max(1, len(columns))
    titles = {}
    with style.drawing():
        frame = Frame(WIDTH, top + height * len(rows) + 6)
        axes = frame.axes(0, 0, WIDTH, frame.height)
        axes.set_xlim(0, WIDTH)
        axes.set_ylim(frame.height, 0)
        axes.set_axis_off()
        for j, label in enumerate(columns):
            room = max(4, int(wide / 6.0))
            frame.text(cut(label, room), left + wide * (j + 0.5), 20, SMALL, "soft", "center")
        for i, (label, line) in enumerate(zip(rows, cells, strict=True)):
            y = top + height * i
            frame.text(cut(label, 20), left - 8, y + height / 2 + 4, LABEL, "ink", "right")
            for j, cell in enumerate(line):
                x, gid = left + wide * j, f"cell-{i}-{j}"
                axes.add_patch(
                    Rectangle(
                        (x + 1, y + 1),
                        wide - 2,
                        height - 2,
                        facecolor=colour(f"s{cell.level}"),
                        linewidth=0,
                        gid=gid,
                    )
                )
                titles[gid] = f"{visible(label, 80)}, {visible(columns[j], 80)}: {cell.told}"
                frame.text(
                    cell.text,
                    x + wide / 2,
                    y + height / 2 + 4,
                    TICK,
                    f"i{cell.level}",
                    "center",
                    strong=cell.strong,
                )
        return written(frame.figure, title, desc, titles)
