"""Number machines with up to ten options, after MMMU-Pro's multi-step multiple choice."""

from __future__ import annotations

import random

from vilbench.problems.puzzles.canvas import RULE, Canvas, Cell
from vilbench.problems.puzzles.claims import evaluate
from vilbench.problems.puzzles.scene import Compute, Look, Match, Node, Scene, Twin

_OPTIONS = {1: 4, 2: 6, 3: 10}
_BOXES = {1: 1, 2: 2, 3: 3}


def draw(rng: random.Random, level: int) -> Scene:
    """A puzzle of the family at a level."""
    start = rng.randint(11, 60)
    boxes: list[tuple[str, int]] = []
    value = start
    for _ in range(_BOXES[level]):
        sign = rng.choice("+*" if value < 20 else "+-*" if value <= 90 else "+-")
        number = rng.randint(2, 4) if sign == "*" else rng.randint(2, 9)
        boxes.append((sign, number))
        value = evaluate(f"{value} {sign} {number}") or 0
    facts = {"start": str(start)}
    nodes: list[Node] = [Look("start")]
    for number, (sign, operand) in enumerate(boxes, 1):
        facts[f"box {number}"] = f"{sign} {operand}"
    last = 0
    for sign, operand in boxes:
        nodes.append(_step(last, sign, operand))
        last = len(nodes) - 1
    nodes.append(Match(last))
    options = _distractors(rng, start, boxes, value, _OPTIONS[level])
    told = ", then ".join(f"{sign} {operand}" for sign, operand in boxes)

    def paint(canvas: Canvas, twin: Twin, jitter: random.Random) -> None:
        row = 2 + jitter.randint(0, 1)
        texts = [str(start)] + [f"{sign}{operand}" for sign, operand in boxes]
        for column in range(1, len(texts) + 1):
            left, top = Cell(row, column).corner
            canvas.draw.rectangle([left, top + 12, left + 31, top + 35], outline=RULE)
            if twin == "visual":
                canvas.text(Cell(row, column), texts[column - 1])
            else:
                canvas.text(Cell(row, column), "?")

    return Scene(
        level=level,
        questions={
            "text": f"A machine starts with {start}, then {told}. What comes out?",
            "visual": "Follow the machine. What comes out?",
        },
        facts=facts,
        nodes=nodes,
        answer_kind="choice",
        paint=paint,
        content=(start, tuple(boxes)),
        options=options,
    )


def _step(last: int, sign: str, operand: int) -> Compute:
    return Compute(last, "+" if sign == "+" else "-" if sign == "-" else "*", str(operand))


def _distractors(
    rng: random.Random, start: int, boxes: list[tuple[str, int]], value: int, count: int
) -> tuple[str, ...]:
    """The value among results of typical slips, `count` options in random order."""
    wrong: set[int] = set()
    if len(boxes) > 1:
        wrong.add(evaluate(f"{start} {boxes[-1][0]} {boxes[-1][1]}") or 0)
    while len(wrong) < count - 1:
        slip = value + rng.choice((-10, -9, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 9, 10, 20))
        if slip >= 0:
            wrong.add(slip)
        wrong.discard(value)
    options = [value, *sorted(wrong)]
    rng.shuffle(options)
    return tuple(str(option) for option in options)
