"""Searched trees made by hand, for the tests of collected data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vilbench.collect.labels import LabelledTree
from vilbench.search import NodeRecord, Rule, TreeRecord
from vilbench.testing import tiny_png
from vilbench.types import BytesSource, Image, Problem

Spec = dict[str, Any]
"""A node: `step`, fields of `NodeRecord`, and `then` for its children."""


def step(text: str, *then: Spec, **fields: Any) -> Spec:
    return {"step": text, "then": then, **fields}


def end(text: str, correct: bool, **fields: Any) -> Spec:
    return {"step": text, "then": (), "finished": True, "correct": correct, **fields}


def tree(
    problem_id: str, *first: Spec, rule: Rule = "rollouts", root: Spec | None = None
) -> TreeRecord:
    """Nodes are numbered in the order of reading, a parent before its children."""
    nodes = [NodeRecord(node=0, **(root or {}))]

    def add(parent: int, given: Spec) -> None:
        fields = {key: value for key, value in given.items() if key != "then"}
        nodes.append(NodeRecord(node=len(nodes), parent=parent, **fields))
        here = len(nodes) - 1
        for below in given["then"]:
            add(here, below)

    for one in first:
        add(0, one)
    return TreeRecord(problem_id=problem_id, rule=rule, seed=0, nodes=tuple(nodes))


def share(right: int, of: int) -> Spec:
    """An estimate by continuations."""
    return {"right": right, "rollouts": of, "visits": of}


def picture(number: int) -> Image:
    return Image.of(BytesSource(tiny_png(size=(4 + number, 4))))


def problem(identity: str, *images: Image, **fields: Any) -> Problem:
    given = {"source": "own", "question": f"What is {identity}?", "answer": "3"} | fields
    return Problem(id=identity, images=images, **given)


def counted(problem_id: str = "p") -> TreeRecord:
    """Two ways on from a common first step, and one of its own; everything has a value.

    1 Step 1: two.   3/4
      2 Step 2: four.  2/4
        3 Answer: 4      right
        4 Answer: 5      wrong
      5 Answer: 3      wrong
    6 Step 1: one.   0/4
    """
    return tree(
        problem_id,
        step(
            "Step 1: two.",
            step("Step 2: four.", end("Answer: 4", True), end("Answer: 5", False), **share(2, 4)),
            end("Answer: 3", False),
            **share(3, 4),
        ),
        step("Step 1: one.", **share(0, 4)),
        root=share(2, 4),
    )


def labels(tree: LabelledTree) -> dict[tuple[str, ...], float]:
    """Labels by prefix."""
    return {tree.prefix(node): value for node, value in tree.values.items()}


def prefixes(rows: Iterator[Any] | list[Any] | tuple[Any, ...]) -> dict[tuple[str, ...], float]:
    """Labels of rows by prefix; one that stands twice must be the same."""
    found: dict[tuple[str, ...], float] = {}
    for row in rows:
        for k, value in enumerate(row.values):
            if value is not None:
                assert found.setdefault(row.steps[: k + 1], value) == value
    return found
