"""Chart reading with arithmetic, after MathVista: four bars, values drawn or told."""

from __future__ import annotations

import random

from vilbench.problems.puzzles.canvas import CELL, COLORS, INK, RULE, SIDE, Canvas
from vilbench.problems.puzzles.scene import Compute, Look, Node, Scene, Twin

UNIT = 8
"""Pixels of one unit of height; numbered grid lines stand five units apart."""

HIGHEST = 15


def draw(rng: random.Random, level: int) -> Scene:
    """A puzzle of the family at a level."""
    order = list(COLORS)
    rng.shuffle(order)
    value = {color: rng.randint(1, HIGHEST) for color in order}
    a, b, c = rng.sample(order, 3)
    k = rng.randint(2, 5)
    extra: tuple[str, ...] = ()
    if rng.random() < 0.5:
        if value[a] < value[b]:
            a, b = b, a
        sign, ask = "-", f"the {a} bar minus the {b} bar"
    else:
        sign, ask = "+", f"the {a} bar plus the {b} bar"
    nodes: list[Node] = [Look(f"{a} bar"), Look(f"{b} bar")]
    if level == 3 and sign == "+":
        ask += f" plus the {c} bar"
        nodes += [Look(f"{c} bar"), Compute(0, "+", 1), Compute(3, "+", 2)]
        x, y, z = value[a], value[b], value[c]
        extra = (f"{x} + {z}", f"{x + z} + {y}", f"{y} + {z}", f"{y + z} + {x}")
    else:
        nodes.append(Compute(0, "-" if sign == "-" else "+", 1))
    if level >= 2:
        ask += f", times {k}"
        nodes.append(Compute(len(nodes) - 1, "*", str(k)))
    if level == 3 and sign == "-":
        ask += f", plus the {c} bar"
        nodes += [Look(f"{c} bar"), Compute(len(nodes) - 1, "+", len(nodes))]
    told = ", ".join(f"{color} {value[color]}" for color in order)

    def paint(canvas: Canvas, twin: Twin, jitter: random.Random) -> None:
        for mark in range(5, HIGHEST + 1, 5):
            y = SIDE - 1 - mark * UNIT
            canvas.draw.line([0, y, SIDE - 1, y], fill=RULE)
            canvas.glyphs(0 if mark > 9 else 5, y + 2, str(mark), 1, INK)
        for number, color in enumerate(order):
            left = number * CELL + 14 + jitter.randint(-1, 1)
            top = SIDE - value[color] * UNIT
            width = jitter.randint(14, 16)
            canvas.draw.rectangle([left, top, left + width, SIDE - 1], fill=canvas.tint(color))

    return Scene(
        level=level,
        questions={
            "text": f"The bars are {told}. What is {ask}?",
            "visual": f"What is {ask}?",
        },
        facts={f"{color} bar": str(number) for color, number in value.items()},
        nodes=nodes,
        answer_kind="number",
        paint=paint,
        content=(tuple(order), tuple(value.values()), ask),
        extra=extra,
    )
