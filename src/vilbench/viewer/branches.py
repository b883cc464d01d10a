"""A search tree as branches: what stands on the page of one tree.

A branch is a step and all that follow it until the tree forks or ends. Solutions that share
no more than their first steps stay lines of text that way, and only forks are nested. At most
so many steps are shown at a time, those on the best path first; the rest stands behind links.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vilbench.display import numerals
from vilbench.display.exhibit import COLOURS, Chip
from vilbench.display.text import name, visible
from vilbench.search import TARGETS, NodeRecord, Targets, TreeRecord

Reading = Literal["search", "judge", "rollouts", "omega", "rest"]
"""Which value of a step is shown: the search's own V, or one of the value rules."""

READINGS: Mapping[Reading, str] = {
    "search": "value of the search",
    "judge": "value by the scorer",
    "rollouts": "share of right continuations",
    "omega": "OmegaPRM's value",
    "rest": "ReST-MCTS* reward",
}

_USUAL: Mapping[str, Reading] = {"rest-mcts": "search", "omega": "omega", "guided": "judge"}
"""By what the steps of a rule's trees are shown first; the share of right continuations else."""

STEPS = 300
"""Most steps shown at a time."""

_CHAIN = 60
_FORKS = 24
"""Most steps of a branch, and most forks below one another, that are shown at a time."""
_SIBLINGS = 40
_TEXT_LIMIT = 3_000


@dataclass(frozen=True)
class Shape:
    """A tree with what follows from its nodes; sequences go by the node's number.

    Attributes:
        tree: The tree.
        values: What every node is worth under the chosen reading.
        children: Best first: by value, then by the best value behind it, then by visits.
        best: Nodes on the best path: from the root always to the child of the highest
            value; a child without one counts as much as the best behind it.
        right: Finished solutions with the right answer at the node and below.
        wrong: Those with another one.
        below: Nodes at the node and below.
        depth: Steps from the root.
    """

    tree: TreeRecord
    values: Targets
    children: tuple[tuple[int, ...], ...]
    best: frozenset[int]
    right: tuple[int, ...]
    wrong: tuple[int, ...]
    below: tuple[int, ...]
    depth: tuple[int, ...]

    @classmethod
    def of(cls, tree: TreeRecord, values: Targets) -> Shape:
        """The shape of a tree under a reading.

        Raises:
            ValueError: Nodes are not numbered in order, or a parent comes after its child.
        """
        nodes = tree.nodes
        children: list[list[int]] = [[] for _ in nodes]
        depth = [0] * len(nodes)
        for place, node in enumerate(nodes):
            if node.node != place or (node.parent is None) != (place == 0):
                raise ValueError(f"node {node.node} stands at place {place}")
            if node.parent is not None:
                if node.parent >= place:
                    raise ValueError(f"node {place} comes before its parent")
                children[node.parent].append(place)
                depth[place] = depth[node.parent] + 1
        right = [int(node.finished and node.correct is True) for node in nodes]
        wrong = [int(node.finished and node.correct is False) for node in nodes]
        below = [1] * len(nodes)
        worth = [-1.0] * len(nodes)
        behind = [-1.0] * len(nodes)
        for place in range(len(nodes) - 1, -1, -1):
            value = values.get(place)
            worth[place] = behind[place] if value is None else value
            parent = nodes[place].parent
            if parent is not None:
                right[parent] += right[place]
                wrong[parent] += wrong[place]
                below[parent] += below[place]
                behind[parent] = max(behind[parent], worth[place])
        ordered = tuple(
            tuple(
                sorted(some, key=lambda one: (-worth[one], -behind[one], -nodes[one].visits, one))
            )
            for some in children
        )
        best, here = {0}, 0
        while ordered[here]:
            here = ordered[here][0]
            best.add(here)
        return cls(
            tree=tree,
            values=values,
            children=ordered,
            best=frozenset(best),
            right=tuple(right),
            wrong=tuple(wrong),
            below=tuple(below),
            depth=tuple(depth),
        )

    def path(self, node: int) -> tuple[int, ...]:
        """From the first step to `node`; () for the root."""
        found: list[int] = []
        here: int | None = node
        while here:
            found.append(here)
            here = self.tree.nodes[here].parent
        return tuple(reversed(found))

    def chain(self, node: int) -> tuple[int, ...]:
        """`node` and what follows it without a fork."""
        found = [node]
        while len(self.children[found[-1]]) == 1:
            found.append(self.children[found[-1]][0])
        return tuple(found)


@dataclass(frozen=True)
class Step:
    """A step as it is shown.

    Attributes:
        text: Visible text.
        chip: Its value on its colour.
        facts: What else is known of it, each a few words.
        best: It is on the best path.
        end: What it ends as: "right", "wrong", "open" (not graded, or nothing follows), the
            class "dead" where the branch broke off; "" where something follows.
        end_text: The same in words, with its sign.
    """

    node: int
    text: str
    chip: Chip
    facts: tuple[str, ...]
    best: bool
    end: str
    end_text: str


@dataclass(frozen=True)
class More:
    """What is not shown here: branches of the fork at `node` from number `first` on.

    Attributes:
        branches: How many branches; 0 for one whose steps go on after `node`.
        steps: How many steps are in them.
        right: Right ends among them.
    """

    node: int
    first: int
    branches: int
    steps: int
    right: int


@dataclass(frozen=True)
class Branch:
    """Steps without a fork, and the branches that follow them.

    Attributes:
        node: Number of its first step.
        steps: At least one.
        best: It begins on the best path.
        right: Right ends in it and below.
        wrong: Wrong ends.
        inside: Steps in it and below.
        branches: What follows its last step.
        more: What is left out behind it.
    """

    node: int
    steps: tuple[Step, ...]
    best: bool
    right: int
    wrong: int
    inside: int
    branches: tuple[Branch, ...] = ()
    more: More | None = None


@dataclass(frozen=True)
class Grove:
    """Branches below one node, and what is left out beside them."""

    branches: tuple[Branch, ...]
    more: More | None = None


def readings(tree: TreeRecord) -> dict[Reading, Targets]:
    """The readings that give a value to any step of the tree, the search's usual one first."""
    found: dict[Reading, Targets] = {
        "search": {node.node: node.value for node in tree.nodes},
        "judge": TARGETS["judge"](tree),
        "rollouts": TARGETS["rollouts"](tree),
        "omega": TARGETS["omega"](tree),
        "rest": TARGETS["rest"](tree),
    }
    usual: Reading = _USUAL.get(tree.rule, "rollouts")
    order = sorted(found, key=lambda one: one != usual)
    return {
        one: found[one]
        for one in order
        if any(value is not None for place, value in found[one].items() if place)
    }


def grove(shape: Shape, node: int = 0, first: int = 0, most: int = STEPS) -> Grove:
    """The branches below a node from number `first` on, at most about `most` steps of them.

    Steps on the best path come first, then those nearer to `node`.
    """
    chosen: set[int] = set()
    left = most
    queue: list[tuple[bool, int, int, int]] = []

    def enter(fork: int, forks: int, start: int) -> None:
        for place, child in enumerate(shape.children[fork][start : start + _SIBLINGS]):
            heapq.heappush(queue, (child not in shape.best, forks, start + place, child))

    enter(node, 0, first)
    while queue:
        _, forks, _, child = heapq.heappop(queue)
        chain = shape.chain(child)
        size = min(len(chain), _CHAIN)
        if chosen and size > left:
            break
        chosen.add(child)
        left -= size
        if len(chain) <= _CHAIN and forks + 1 < _FORKS:
            enter(chain[-1], forks + 1, 0)
    return _grove(shape, node, first, chosen)


def _grove(shape: Shape, node: int, first: int, chosen: set[int]) -> Grove:
    """Branches among the chosen; those of one fork are always its first ones."""
    children = shape.children[node][first:]
    shown = [child for child in children if child in chosen]
    rest = children[len(shown) :]
    more = None
    if rest:
        more = More(
            node,
            first + len(shown),
            len(rest),
            sum(shape.below[child] for child in rest),
            sum(shape.right[child] for child in rest),
        )
    return Grove(tuple(_branch(shape, child, chosen) for child in shown), more)


def _branch(shape: Shape, node: int, chosen: set[int]) -> Branch:
    chain = shape.chain(node)
    shown = chain[:_CHAIN]
    if len(shown) < len(chain):
        last = shown[-1]
        behind = Grove((), More(last, 0, 0, shape.below[last] - 1, shape.right[last]))
    else:
        behind = _grove(shape, chain[-1], 0, chosen)
    return Branch(
        node=node,
        steps=tuple(step(shape, place) for place in shown),
        best=node in shape.best,
        right=shape.right[node],
        wrong=shape.wrong[node],
        inside=shape.below[node],
        branches=behind.branches,
        more=behind.more,
    )


def step(shape: Shape, place: int) -> Step:
    """A node as it is shown."""
    node = shape.tree.nodes[place]
    end, end_text = _end(node, followed=bool(shape.children[place]))
    return Step(
        node=place,
        text=visible(node.step.strip(" \t\r\n"), _TEXT_LIMIT, lines=True),
        chip=_chip(shape.values.get(place)),
        facts=tuple(_facts(node)),
        best=place in shape.best,
        end=end,
        end_text=end_text,
    )


def level(value: float) -> int:
    """Colour of a value in [0, 1], from 0 to `COLOURS` - 1."""
    return min(COLOURS - 1, int(max(0.0, value) * COLOURS))


def _chip(value: float | None) -> Chip:
    if value is None:
        return Chip("value", "no value", "none")
    return Chip("value", numerals.decimal(value, 2), f"s{level(value)}")


def _end(node: NodeRecord, *, followed: bool) -> tuple[str, str]:
    if node.reason:
        return "dead", f"■ {name(node.reason).replace('-', ' ')}"
    if node.finished and node.correct is not None:
        return ("right", "✓ right") if node.correct else ("wrong", "✗ wrong")
    if node.finished:
        return "open", "· not graded"
    return ("", "") if followed else ("open", "· not followed")


def _facts(node: NodeRecord) -> Sequence[str]:
    facts = []
    if node.rollouts:
        facts.append(f"{node.right} of {node.rollouts} right")
    if node.visits and node.visits != node.rollouts:
        facts.append("1 visit" if node.visits == 1 else f"{node.visits} visits")
    if node.judged is not None:
        facts.append(f"judged {numerals.decimal(node.judged, 2)}")
    return facts
