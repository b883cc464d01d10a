"""A whole tree at a glance: one row per depth, as wide as the ends that are below."""

from __future__ import annotations

from dataclasses import dataclass

from vilbench.viewer.branches import Shape, level

WIDTH, ROW = 720, 12
"""Width of the map and height of a row, in its own units."""

_NARROWEST = 1.2
_MOST_BOXES = 2_000
_MOST_ROWS = 40


@dataclass(frozen=True)
class Box:
    """A node on the map; `style` is the class of its colour."""

    node: int
    x: float
    y: float
    width: float
    style: str
    best: bool


@dataclass(frozen=True)
class Minimap:
    """The boxes in the order of drawing.

    Attributes:
        height: Of the whole, in the map's units.
        complete: No node was too small, too deep or one too many to be drawn.
    """

    boxes: tuple[Box, ...]
    height: int
    complete: bool


def minimap(shape: Shape) -> Minimap:
    """The map of a tree without its root, best branches on the left."""
    ends = _ends(shape)
    boxes: list[Box] = []
    complete = True
    row: list[tuple[int, float, float]] = [(0, 0.0, float(WIDTH))]
    for depth in range(_MOST_ROWS):
        below: list[tuple[int, float, float]] = []
        for parent, start, width in row:
            left = start
            for child in shape.children[parent]:
                mine = width * ends[child] / ends[parent]
                if mine < _NARROWEST or len(boxes) >= _MOST_BOXES:
                    complete = False
                else:
                    boxes.append(_box(shape, child, left, depth, mine))
                    below.append((child, left, mine))
                left += mine
        if not below:
            break
        row = below
    else:
        complete = complete and not any(shape.children[node] for node, _, _ in row)
    rows = 1 + max((round(box.y / ROW) for box in boxes), default=0)
    return Minimap(tuple(boxes), rows * ROW, complete)


def _box(shape: Shape, node: int, left: float, depth: int, width: float) -> Box:
    value = shape.values.get(node)
    style = "none" if value is None else f"s{level(value)}"
    return Box(node, left, depth * ROW, width, style, node in shape.best)


def _ends(shape: Shape) -> list[int]:
    """Nodes without children at each node and below."""
    ends = [0] * len(shape.tree.nodes)
    for node in reversed(shape.tree.nodes):
        ends[node.node] = ends[node.node] or 1
        if node.parent is not None:
            ends[node.parent] += ends[node.node]
    return ends
