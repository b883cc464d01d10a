"""A puzzle before it becomes a problem: facts, derivation, picture.

A family draws a `Scene` from a random stream. The derivation is a small program: each
node makes a claim from the values of the nodes before it, so that replaying it with one
value changed gives a solution with one error and honest consequences.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vilbench.problems.puzzles.canvas import Canvas
from vilbench.problems.puzzles.claims import Claim, evaluate
from vilbench.types import AnswerKind

Twin = Literal["text", "visual"]


@dataclass(frozen=True)
class Look:
    """Reads a fact off the picture or the text."""

    subject: str


@dataclass(frozen=True)
class Seek:
    """Reads the fact whose subject an earlier value names, through `subject(value)`."""

    of: int
    subject: Callable[[str], str]


@dataclass(frozen=True)
class Compute:
    """`left op right`; an operand is the index of an earlier node or a constant."""

    left: int | str
    operation: Literal["+", "-", "*", "/"]
    right: int | str


@dataclass(frozen=True)
class Judge:
    """Says which of two earlier values wins; the claim's value is `decide(a, b)`."""

    subject: str
    left: int
    right: int
    decide: Callable[[str, str], str]


@dataclass(frozen=True)
class Match:
    """Finds an earlier value among the options."""

    of: int


Node = Look | Seek | Compute | Judge | Match


@dataclass(frozen=True)
class Scene:
    """One puzzle of a family.

    Attributes:
        level: 1 (easy) to 3.
        questions: Question per twin; a family without a text twin has "visual" only.
        facts: Everything true that a step may look up: subject -> value.
        nodes: The derivation.
        answer_kind: As in `Problem`.
        options: Texts of the options, for a choice.
        extra: Further valid equations ("a op b"), beside the derivation's own.
        paint: Draws the picture of a twin.
        content: What makes this puzzle this puzzle, for keeping splits apart.
    """

    level: int
    questions: Mapping[Twin, str]
    facts: Mapping[str, str]
    nodes: Sequence[Node]
    answer_kind: AnswerKind
    paint: Callable[[Canvas, Twin, random.Random], None]
    content: tuple[object, ...]
    options: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()


def derive(
    nodes: Sequence[Node],
    facts: Mapping[str, str],
    options: Sequence[str] = (),
    changed: Mapping[int, str] | None = None,
) -> list[Claim] | None:
    """The claims of the derivation, with some nodes' values changed.

    Nodes after a change follow from it. None when the changed value leads nowhere (a
    division with a remainder, a subject that does not exist, no such option).
    """
    claims: list[Claim] = []
    changed = changed or {}
    for index, node in enumerate(nodes):
        claim = _claim(node, claims, facts, options)
        if claim is None:
            return None
        claims.append(claim._replace(value=changed.get(index, claim.value)))
    return claims


def _claim(
    node: Node, claims: Sequence[Claim], facts: Mapping[str, str], options: Sequence[str]
) -> Claim | None:
    if isinstance(node, Look):
        return Claim("look", node.subject, facts[node.subject])
    if isinstance(node, Seek):
        subject = node.subject(claims[node.of].value)
        value = facts.get(subject)
        return None if value is None else Claim("look", subject, value)
    if isinstance(node, Compute):
        left, right = (
            claims[operand].value if isinstance(operand, int) else operand
            for operand in (node.left, node.right)
        )
        key = f"{left} {node.operation} {right}"
        result = evaluate(key)
        return None if result is None else Claim("equation", key, str(result))
    if isinstance(node, Judge):
        value = node.decide(claims[node.left].value, claims[node.right].value)
        return Claim("look", node.subject, value)
    value = claims[node.of].value
    if value not in options:
        return None
    return Claim("option", value, chr(ord("A") + list(options).index(value)))
