"""Spatial relations, after RealWorldQA: perception with few steps, visual only."""

from __future__ import annotations

import random

from vilbench.problems.puzzles.canvas import CELLS, COLORS, SHAPES, Canvas, Cell
from vilbench.problems.puzzles.scene import Compute, Judge, Look, Node, Scene, Seek, Twin

_OBJECTS = {1: (3, 4), 2: (5, 7), 3: (8, 10)}
_SIDES = {"left of": (0, -1), "right of": (0, 1), "above": (-1, 0), "below": (1, 0)}


def draw(rng: random.Random, level: int) -> Scene:
    """A puzzle of the family at a level; objects are unlike each other."""
    kinds = [f"{color} {shape}" for color in COLORS for shape in SHAPES]
    names = rng.sample(kinds, rng.randint(*_OBJECTS[level]))
    cells = [Cell(r, c) for r in range(1, CELLS + 1) for c in range(1, CELLS + 1)]
    places = dict(zip(names, rng.sample(cells, len(names)), strict=True))
    facts = {cell.words: "empty" for cell in cells}
    for name, cell in places.items():
        facts[name] = cell.words
        facts[cell.words] = name
        facts[f"row of {name}"] = str(cell.row)
        facts[f"column of {name}"] = str(cell.column)

    pairs = [
        (name, side, places[name])
        for name in names
        for side, (down, across) in _SIDES.items()
        if Cell(places[name].row + down, places[name].column + across) in places.values()
    ]
    style = rng.random()
    if pairs and style < 0.4:
        name, side, _ = rng.choice(pairs)
        down, across = _SIDES[side]
        ask = f"What is directly {side} the {name}?"
        nodes: list[Node] = [Look(name), Seek(0, lambda words: _shifted(words, down, across))]
        return _scene(level, ask, facts, nodes, "text", places)
    one, two = rng.sample(names, 2)
    if style < 0.7:
        axis, word = rng.choice((("row", "higher"), ("column", "further left")))
        first, second = (
            (place.row if axis == "row" else place.column) for place in (places[one], places[two])
        )
        if first != second:
            ask = f"Which is {word}, the {one} or the {two}?"
            nodes = [
                Look(f"{axis} of {one}"),
                Look(f"{axis} of {two}"),
                Judge(f"{word} one", 0, 1, lambda a, b: one if int(a) <= int(b) else two),
            ]
            facts[f"{word} one"] = one if first < second else two
            return _scene(level, ask, facts, nodes, "text", places)
    axis = rng.choice(("row", "column"))
    first, second = (
        (place.row if axis == "row" else place.column) for place in (places[one], places[two])
    )
    if first < second:
        one, two = two, one
    ask = f"How many {axis}s is the {one} away from the {two}?"
    nodes = [Look(f"{axis} of {one}"), Look(f"{axis} of {two}"), Compute(0, "-", 1)]
    return _scene(level, ask, facts, nodes, "number", places)


def _shifted(words: str, down: int, across: int) -> str:
    row, column = (int(part.split()[-1]) for part in words.split(","))
    return Cell(row + down, column + across).words


def _scene(
    level: int,
    ask: str,
    facts: dict[str, str],
    nodes: list[Node],
    kind: str,
    places: dict[str, Cell],
) -> Scene:
    def paint(canvas: Canvas, twin: Twin, jitter: random.Random) -> None:
        for name, cell in places.items():
            color, shape = name.split(" ")
            canvas.shape(cell, color, shape)

    return Scene(
        level=level,
        questions={"visual": ask},
        facts=facts,
        nodes=nodes,
        answer_kind="number" if kind == "number" else "text",
        paint=paint,
        content=(tuple(sorted(places.items())), ask),
    )
