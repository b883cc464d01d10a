"""Counting with adding and removing, after CLEVR-Math and MMStar's counting."""

from __future__ import annotations

import random

from vilbench.problems.puzzles.canvas import CELLS, COLORS, SHAPES, Canvas, Cell
from vilbench.problems.puzzles.scene import Compute, Look, Node, Scene, Twin

_PLURAL = {shape: "crosses" if shape == "cross" else f"{shape}s" for shape in SHAPES}
_OBJECTS = {1: (4, 8), 2: (5, 9), 3: (6, 11)}


def draw(rng: random.Random, level: int) -> Scene:
    """A puzzle of the family at a level."""
    total = rng.randint(*_OBJECTS[level])
    palette = [(rng.choice(list(COLORS)), rng.choice(SHAPES)) for _ in range(rng.randint(2, 3))]
    cells = sorted(rng.sample(range(CELLS * CELLS), total))
    objects = {
        cell: rng.choice(palette)
        if rng.random() < 0.75
        else (rng.choice(list(COLORS)), rng.choice(SHAPES))
        for cell in cells
    }
    facts = {"number of objects": str(total)}
    for color in COLORS:
        facts[f"number of {color} objects"] = str(sum(c == color for c, _ in objects.values()))
    for shape in SHAPES:
        facts[f"number of {_PLURAL[shape]}"] = str(sum(s == shape for _, s in objects.values()))

    by_color = rng.random() < 0.5
    names = [f"{color} objects" for color in COLORS] if by_color else list(_PLURAL.values())
    present = [name for name in names if facts[f"number of {name}"] != "0"]
    first = rng.choice(present)
    second = rng.choice([name for name in names if name != first])
    added = rng.randint(1, 9)
    k = rng.randint(2, 4)
    looks: list[Node] = [Look("number of objects"), Look(f"number of {first}")]
    look_second = Look(f"number of {second}")
    extra: tuple[str, ...] = ()
    if level == 1:
        ask = f"Remove all {first}. How many are left?"
        nodes = [*looks, Compute(0, "-", 1)]
    elif rng.random() < 0.5:
        ask = f"Remove all {first}. Add {added} objects. How many are there?"
        nodes = [*looks, Compute(0, "-", 1), Compute(2, "+", str(added))]
        n, gone = int(facts["number of objects"]), int(facts[f"number of {first}"])
        extra = (f"{n} + {added}", f"{n + added} - {gone}")
    else:
        ask = f"Remove all {first} and all {second}. How many are left?"
        nodes = [*looks, Compute(0, "-", 1), look_second, Compute(2, "-", 3)]
        n = total
        x, y = int(facts[f"number of {first}"]), int(facts[f"number of {second}"])
        extra = (f"{n} - {y}", f"{n - y} - {x}", f"{x} + {y}", f"{n} - {x + y}")
    if level == 3:
        ask = ask.replace("How many are", f"How many, times {k}, are")
        nodes.append(Compute(len(nodes) - 1, "*", str(k)))
    counts = tuple(facts[f"number of {name}"] for name in names)
    told = ", ".join(
        f"{count} {name}" for count, name in zip(counts, names, strict=True) if count != "0"
    )

    def paint(canvas: Canvas, twin: Twin, jitter: random.Random) -> None:
        for cell, (color, shape) in objects.items():
            canvas.shape(Cell(cell // CELLS + 1, cell % CELLS + 1), color, shape)

    return Scene(
        level=level,
        questions={
            "text": f"There are {total} objects: {told}. {ask}",
            "visual": ask,
        },
        facts=facts,
        nodes=nodes,
        answer_kind="number",
        paint=paint,
        # What the text question tells: a picture tells more, but must not share it across splits.
        content=(counts, ask),
        extra=extra,
    )
