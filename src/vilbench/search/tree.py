"""The search tree of one problem: nodes are steps, a path from the root is a prefix.

`Tree` grows in memory; `TreeRecord` is what is stored of a finished one. Functions here keep
the tree consistent and know no rule of search: `expand` adds steps, `backup` carries a visit
up to the root. The rules are modules beside this one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field

from vilbench.search.requests import Continuation
from vilbench.types import Record

Rule = Literal["rest-mcts", "rollouts", "omega", "again", "guided"]


class NodeRecord(Record):
    """What is stored of a node.

    Attributes:
        node: Its number; 0 is the root, the others are numbered in the order of making, so
            that a parent comes before its children.
        parent: None for the root alone.
        step: As the policy wrote it, "" for the root.
        finished: The policy ended the solution with this step.
        correct: Of a finished leaf, whether its final answer is right; else None.
        judged: The evaluator's value of the prefix up to here.
        visits: N of the search: of ReST-MCTS* the visits carried up, of OmegaPRM the wrong
            continuations that were chosen here, of plain Monte Carlo the continuations, of a
            guided search how often it was kept.
        value: V of the search; None where it never had one.
        rollouts: Complete continuations of this prefix that its estimate counts.
        right: How many of them end in the right answer.
        reason: Why the branch ended, "" where it did not ("empty-step", "step-too-long",
            "repeats", "too-deep", "evaluator-failed", "policy-failed", ...).
    """

    node: int = Field(ge=0)
    parent: int | None = Field(default=None, ge=0)
    step: str = ""
    finished: bool = False
    correct: bool | None = None
    judged: float | None = Field(default=None, ge=0, le=1)
    visits: int = Field(default=0, ge=0)
    value: float | None = Field(default=None, ge=0, le=1)
    rollouts: int = Field(default=0, ge=0)
    right: int = Field(default=0, ge=0)
    reason: str = ""


class TreeRecord(Record):
    """A finished search of one problem.

    Attributes:
        rule: Which search made it.
        seed: Of the run; streams are named after it.
        nodes: By number.
        stopped: Why the search ended ("solved", "hopeless", "budget-nodes", ...).
    """

    problem_id: str = Field(min_length=1)
    rule: Rule
    seed: int
    nodes: tuple[NodeRecord, ...] = Field(min_length=1)
    stopped: str = ""


@dataclass(slots=True)
class Node:
    """A node that grows; the fields of `NodeRecord`, and what only a search needs.

    Attributes:
        depth: Steps from the root.
        children: Numbers of the children, in the order of making.
        drawn: Continuations asked for from here so far: the next `Draw.first`.
        pending: Visits chosen and not yet backed up (virtual loss).
        expanded: Its children were made.
        closed: Nothing is left to visit here and below.
    """

    node: int
    parent: int | None = None
    step: str = ""
    finished: bool = False
    correct: bool | None = None
    judged: float | None = None
    visits: int = 0
    value: float | None = None
    rollouts: int = 0
    right: int = 0
    reason: str = ""
    depth: int = 0
    children: list[int] = field(default_factory=list)
    drawn: int = 0
    pending: int = 0
    expanded: bool = False
    closed: bool = False

    @property
    def ended(self) -> bool:
        """Nothing can follow: finished, or broken off."""
        return self.finished or self.reason != ""

    def record(self) -> NodeRecord:
        """What is stored."""
        return NodeRecord(
            node=self.node,
            parent=self.parent,
            step=self.step,
            finished=self.finished,
            correct=self.correct,
            judged=self.judged,
            visits=self.visits,
            value=self.value,
            rollouts=self.rollouts,
            right=self.right,
            reason=self.reason,
        )


class Tree:
    """A tree that grows, with its root in place.

    Attributes:
        nodes: By number.
    """

    def __init__(self, problem_id: str, rule: Rule, seed: int) -> None:
        self.problem_id = problem_id
        self.rule: Rule = rule
        self.seed = seed
        self.nodes: list[Node] = [Node(0)]
        self._places: dict[tuple[int, str, bool], int] = {}

    def path(self, node: int) -> tuple[int, ...]:
        """Numbers from the first step to `node`; () for the root."""
        found: list[int] = []
        here: int | None = node
        while here:
            found.append(here)
            here = self.nodes[here].parent
        return tuple(reversed(found))

    def steps(self, node: int) -> tuple[str, ...]:
        """The prefix that ends at `node`, step by step."""
        return tuple(self.nodes[place].step for place in self.path(node))

    def up(self, node: int) -> Iterator[Node]:
        """`node` and its ancestors, the root last."""
        here: int | None = node
        while here is not None:
            yield self.nodes[here]
            here = self.nodes[here].parent

    def grow(self, parent: int, step: str, *, finished: bool = False) -> int:
        """The child of `parent` with this step, made when it is not there.

        Steps that differ in white space alone are one. A step that ends the solution and the
        same step with more to come are two.
        """
        key = (parent, normalized(step), finished)
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = len(self.nodes)
            above = self.nodes[parent]
            self.nodes.append(Node(place, parent, step, finished, depth=above.depth + 1))
            above.children.append(place)
        return place

    def find(self, parent: int, step: str, *, finished: bool = False) -> int | None:
        """The child that `grow` would give, None when it is not there."""
        return self._places.get((parent, normalized(step), finished))

    def record(self, stopped: str) -> TreeRecord:
        """What is stored of it.

        Raises:
            ValidationError: A value is outside [0, 1].
        """
        return TreeRecord(
            problem_id=self.problem_id,
            rule=self.rule,
            seed=self.seed,
            nodes=tuple(node.record() for node in self.nodes),
            stopped=stopped,
        )


def normalized(step: str) -> str:
    """The text by which steps are told apart: runs of white space are one blank."""
    return " ".join(step.split())


def expand(tree: Tree, node: int, drawn: Sequence[Continuation]) -> tuple[int, ...]:
    """Adds continuations of one step below `node`; those with identical texts are merged.

    A continuation that brought no step at all leaves its reason in a child without text, so
    that a reader of the tree sees the attempt. `node` counts as expanded from now on.

    Returns:
        Numbers of the children, each once, in the order of their first drawing.
    """
    found: dict[int, None] = {}
    for one in drawn:
        child = tree.grow(node, one.steps[0] if one.steps else "", finished=one.finished)
        made = tree.nodes[child]
        if one.finished:
            made.correct = one.correct
        reason = one.reason or ("" if one.steps else "empty-step")
        if reason and len(one.steps) <= 1 and not made.reason:
            made.reason, made.closed = reason, True
        found[child] = None
    above = tree.nodes[node]
    above.expanded = True
    return tuple(found)


def backup(tree: Tree, node: int) -> None:
    """Carries a visit of `node` up: N grows by one from it to the root, and V follows.

    The value of a node with visited children becomes the mean of theirs, weighted by visits
    (ReST-MCTS*); one without keeps what the evaluator gave. A pending visit is taken away.
    An end that was visited is closed, and so is what has nothing but closed branches below.
    Backing up several nodes gives the same tree in any order.
    """
    if tree.nodes[node].ended:
        tree.nodes[node].closed = True
    for here in tree.up(node):
        here.visits += 1
        here.pending = max(here.pending - 1, 0)
        weight, total = 0, 0.0
        for place in here.children:
            child = tree.nodes[place]
            if child.visits and child.value is not None:
                weight += child.visits
                total += child.visits * child.value
        if weight:
            here.value = min(max(total / weight, 0.0), 1.0)
        if here.expanded and not here.closed:
            here.closed = all(tree.nodes[place].closed for place in here.children)
