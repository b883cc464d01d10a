"""Geometry with chains of angles, after MathVerse: the angles in the text or drawn."""

from __future__ import annotations

import random

from vilbench.problems.puzzles.canvas import INK, RULE, SIDE, Canvas, Cell
from vilbench.problems.puzzles.scene import Compute, Look, Node, Scene, Twin

_TOTALS = {"triangle": 180, "line": 180, "point": 360}
_NAMES = {
    "triangle": "The angles of a triangle are A",
    "line": "The angles on a line are A",
    "point": "The angles around a point are A",
}
_ASK = {
    1: "What is angle C?",
    2: "What is 400 minus angle C?",
    3: "What is 400 minus angle C, times {k}?",
}


def draw(rng: random.Random, level: int) -> Scene:
    """A puzzle of the family at a level."""
    kind = rng.choice(list(_TOTALS))
    a, b = rng.randint(12, 84), rng.randint(12, 84)
    k = rng.randint(2, 4)
    nodes: list[Node] = [
        Look("angle A"),
        Look("angle B"),
        Compute(0, "+", 1),
        Compute(str(_TOTALS[kind]), "-", 2),
    ]
    if level >= 2:
        nodes.append(Compute("400", "-", 3))
    if level >= 3:
        nodes.append(Compute(4, "*", str(k)))
    ask = _ASK[level].format(k=k)

    def paint(canvas: Canvas, twin: Twin, jitter: random.Random) -> None:
        visual = twin == "visual"
        _picture(canvas, kind, str(a) if visual else "A", str(b) if visual else "B", jitter)

    return Scene(
        level=level,
        questions={
            "text": f"{_NAMES[kind]} = {a}, B = {b}, C. {ask}",
            "visual": f"{_NAMES[kind]} (left), B (right), C. {ask}",
        },
        facts={"angle A": str(a), "angle B": str(b)},
        nodes=nodes,
        answer_kind="number",
        paint=paint,
        content=(kind, a, b, level, k if level >= 3 else 0),
        extra=(
            f"{_TOTALS[kind]} - {a}",
            f"{_TOTALS[kind]} - {b}",
            f"{_TOTALS[kind] - a} - {b}",
            f"{_TOTALS[kind] - b} - {a}",
        ),
    )


def _picture(canvas: Canvas, kind: str, a: str, b: str, jitter: random.Random) -> None:
    shift = jitter.randint(-16, 16)
    low = SIDE - 6
    if kind == "triangle":
        base = SIDE - 22
        canvas.draw.polygon([(64 + shift, 6), (12, base), (116, base)], outline=RULE, width=2)
        canvas.text(Cell(4, 1), a)
        canvas.text(Cell(4, 4), b)
        canvas.glyphs(59 + shift * 2 // 3, 40, "?", 2, INK)
        return
    if kind == "line":
        canvas.draw.line([4, low, SIDE - 4, low], fill=RULE, width=2)
        canvas.draw.line([64, low, 40 + shift // 2, 8], fill=RULE, width=2)
        canvas.draw.line([64, low, 88 + shift // 2, 8], fill=RULE, width=2)
        canvas.text(Cell(3, 1), a)
        canvas.text(Cell(3, 4), b)
        canvas.glyphs(59 + shift * 3 // 8, 28, "?", 2, INK)
        return
    canvas.draw.ellipse([3, 3, SIDE - 4, SIDE - 4], outline=RULE, width=2)
    canvas.draw.line([64, 64, 64 + shift // 2, 4], fill=RULE, width=2)
    canvas.draw.line([64, 64, 12, 98], fill=RULE, width=2)
    canvas.draw.line([64, 64, SIDE - 12, 98], fill=RULE, width=2)
    canvas.text(Cell(2, 1), a)
    canvas.text(Cell(2, 4), b)
    canvas.glyphs(59, 92, "?", 2, INK)
