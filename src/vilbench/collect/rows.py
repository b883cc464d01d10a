"""From a labelled tree to solutions with a value at every step.

A row is a path from the question to a leaf. Paths of one problem share their first steps, and a
shared prefix is one node with one label: by default it is labelled in the first row only, so
that each node counts once; everywhere else, and where a rule or a filter left a node without a
label, its value is null.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from vilbench.collect.labels import LabelledTree
from vilbench.types import Number, Problem, Record, Whole


class RowsConfig(Record):
    """Which solutions of a tree become rows, and where they carry labels.

    Attributes:
        chains: Of every leaf, or of finished solutions only.
        most: Most rows of a problem: those that hold the most labels together. None takes all.
        labels: A node that several rows share is labelled in the first of them, or in every.
        spread: A label also holds for the text of its step, and not at its end alone, where the
            step before has a label that differs by no more than this, the question counting as
            right. None marks no text.
        right: Labels from here on say "right" in formats that know right and wrong alone; labels
            that are progress say it where they rise.
    """

    chains: Literal["all", "finished"] = "all"
    most: Whole | None = Field(default=None, ge=1)
    labels: Literal["once", "every"] = "once"
    spread: Number | None = Field(default=None, ge=0, le=1)
    right: Number = Field(default=0.5, gt=0, le=1)


@dataclass(frozen=True, slots=True)
class DataRow:
    """A solution of S steps with its labels.

    Attributes:
        id: Of problem and leaf; unique in a collection.
        problem: What is solved.
        nodes: `[S]` numbers in the tree.
        steps: `[S]` texts, blanks around them taken off; none is empty.
        values: `[S]` in [0, 1], None where there is no label.
        spread: `[S]` whether the label holds for the whole of the step's text.
        right: `[S]` the labels as truth values.
    """

    id: str
    problem: Problem
    nodes: tuple[int, ...]
    steps: tuple[str, ...]
    values: tuple[float | None, ...]
    spread: tuple[bool, ...]
    right: tuple[bool | None, ...]


Chain = tuple[int, ...]
"""Numbers of the nodes from the first step to a leaf."""


def rows_of(tree: LabelledTree, problem: Problem, config: RowsConfig) -> tuple[DataRow, ...]:
    """The rows of a tree, in the order of their texts; those without any label are left out."""
    done: set[int] = set()
    rows: list[DataRow] = []
    for chain in chains(tree, config):
        told = [node in tree.values and node not in done for node in chain]
        if not any(told):
            continue
        if config.labels == "once":
            done.update(chain)
        rows.append(
            DataRow(
                id=f"{problem.id}/{chain[-1]}",
                problem=problem,
                nodes=chain,
                steps=tuple(tree.nodes[node].step.strip() for node in chain),
                values=tuple(
                    tree.values[node] if is_told else None
                    for node, is_told in zip(chain, told, strict=True)
                ),
                spread=tuple(
                    is_told and _holds_throughout(tree, node, config.spread)
                    for node, is_told in zip(chain, told, strict=True)
                ),
                right=tuple(
                    tree.right(node, config.right) if is_told else None
                    for node, is_told in zip(chain, told, strict=True)
                ),
            )
        )
    return tuple(rows)


def chains(tree: LabelledTree, config: RowsConfig) -> list[Chain]:
    """The chosen paths to leaves, in the order of their texts."""
    ends = [
        number
        for number, node in tree.nodes.items()
        if number not in tree.children and (node.finished or config.chains == "all")
    ]
    found = sorted((tree.path(end) for end in ends), key=lambda chain: _texts(tree, chain))
    return found if config.most is None else _widest(tree, found, config.most)


def _widest(tree: LabelledTree, found: Sequence[Chain], most: int) -> list[Chain]:
    """Greedily the chains that add the most labels; in the order in which they came."""
    seen: set[int] = set()
    left = list(enumerate(found))
    taken: list[tuple[int, Chain]] = []
    while left and len(taken) < most:
        best = max(left, key=lambda one: (len(tree.values.keys() & set(one[1]) - seen), -one[0]))
        left.remove(best)
        taken.append(best)
        seen.update(best[1])
    return [chain for _, chain in sorted(taken)]


def _texts(tree: LabelledTree, chain: Chain) -> tuple[tuple[str, ...], Chain]:
    return tuple(tree.nodes[node].step.strip() for node in chain), chain


def _holds_throughout(tree: LabelledTree, node: int, spread: float | None) -> bool:
    before = tree.nodes[node].parent
    if spread is None or before is None:
        return False
    if not before:
        # What comes before the first step is the question, which is right.
        return not tree.progress and tree.values[node] >= 1 - spread
    if before not in tree.values:
        return False
    return abs(tree.values[node] - tree.values[before]) <= spread
