"""A searched tree with a label at every node that a value rule can tell."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from vilbench.errors import RunError
from vilbench.search import NodeRecord, TreeRecord, normalized

ValueRule = Callable[[TreeRecord], Mapping[int, float | None]]
"""Values of a tree's nodes as training targets, in [0, 1]; None where there is none."""


@dataclass(frozen=True)
class LabelledTree:
    """A tree and what its steps are worth.

    Attributes:
        tree: The whole of it, also where labels were taken away.
        values: Labels by node, in [0, 1]; the root has none.
        progress: A label tells how far its solution has come (ReST-MCTS*: k/K behind the k-th of
            K right steps), not how likely the prefix is right: a step is right where it rises.
        cut: Nodes that are left out with all that is below them.
    """

    tree: TreeRecord
    values: Mapping[int, float]
    progress: bool = False
    cut: frozenset[int] = frozenset()

    @cached_property
    def nodes(self) -> Mapping[int, NodeRecord]:
        """Nodes that hold a step, by number: not the root, nothing blank or cut or below it."""
        kept: dict[int, NodeRecord] = {}
        for node in self.tree.nodes:
            below = node.parent == 0 or node.parent in kept
            if below and node.step.strip() and node.node not in self.cut:
                kept[node.node] = node
        return kept

    @cached_property
    def children(self) -> Mapping[int, tuple[int, ...]]:
        """Numbers of the children of every node that has some, the root's under 0."""
        found: dict[int, list[int]] = {}
        for node in self.nodes.values():
            found.setdefault(node.parent or 0, []).append(node.node)
        return {parent: tuple(below) for parent, below in found.items()}

    def path(self, node: int) -> tuple[int, ...]:
        """Numbers from the first step to `node`."""
        found: list[int] = []
        here = node
        while here:
            found.append(here)
            here = self.nodes[here].parent or 0
        return tuple(reversed(found))

    def prefix(self, node: int) -> tuple[str, ...]:
        """The steps up to `node`, in the form by which they are told apart."""
        return tuple(normalized(self.nodes[place].step) for place in self.path(node))

    def labelled(self) -> Iterator[NodeRecord]:
        """The nodes that have a label, in the order of their making."""
        return (node for number, node in self.nodes.items() if number in self.values)

    def right(self, node: int, line: float) -> bool | None:
        """Whether a step is right; None where labels do not tell.

        Args:
            node: Its number.
            line: Labels from here on are right, where they are not progress.
        """
        value, before = self.values.get(node), self.nodes[node].parent
        if value is None:
            return None
        if not self.progress:
            return value >= line
        last = self.values.get(before) if before else 0.0
        return None if last is None else value > last

    def without(self, gone: Container[int]) -> LabelledTree:
        """The same tree, without the labels of some nodes."""
        kept = {node: value for node, value in self.values.items() if node not in gone}
        return replace(self, values=kept)

    def pruned(self, gone: Container[int]) -> LabelledTree:
        """The tree without some nodes and what is below them."""
        cut = self.cut | {node for node in self.nodes if node in gone}
        bare = replace(self, cut=cut)
        return bare.without({node for node in self.values if node not in bare.nodes})


def label(tree: TreeRecord, rule: ValueRule, *, progress: bool = False) -> LabelledTree:
    """The tree with the values that a rule gives, which are `progress` or not.

    Raises:
        RunError: One is outside of [0, 1].
    """
    nodes = LabelledTree(tree, {}).nodes
    values: dict[int, float] = {}
    for node, value in rule(tree).items():
        if value is None or node not in nodes:
            continue
        # Written so that NaN fails, too.
        if not 0 <= value <= 1:
            raise RunError(f"problem {tree.problem_id!r}, node {node}: {value} is not in [0, 1]")
        values[node] = float(value)
    return LabelledTree(tree, values, progress)
