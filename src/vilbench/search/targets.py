"""Value rules: what every node of a finished tree is worth as a training target.

Each is a function of the tree alone, so that one search can be read in more than one way.
None says that the tree does not tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from vilbench.search.tree import TreeRecord

Targets = Mapping[int, float | None]
"""Values in [0, 1] by the number of the node, one for every node."""


def rest_targets(tree: TreeRecord) -> Targets:
    """The process rewards of ReST-MCTS* in their published form.

    `w_k = (1 - v_{k-1}) / (m_k + 1) * (1 - 2 r_k)`, `v_k = max(v_{k-1} + w_k, 0)`, `v_0 = 0`
    (Zhang et al., 2024, section 3.1). `m_k` is the fewest further steps to a right answer in
    the tree and `r_k` is 0 for a step on a way to one. A step on no such way that leads to a
    wrong answer has `r_k` 1 and the `m` of its nearest ancestor on a way, as in their code.
    A step that leads to no answer at all has no value, nor has what comes behind it.

    So the steps of a right chain of K are worth k/K, and a right end is worth 1.
    """
    nodes = tree.nodes
    distance: list[int | None] = [None] * len(nodes)
    answered = [False] * len(nodes)
    for node in reversed(nodes):
        if node.finished and node.correct is not None:
            answered[node.node] = True
            if node.correct:
                distance[node.node] = 0
        if node.parent is None:
            continue
        answered[node.parent] |= answered[node.node]
        here, above = distance[node.node], distance[node.parent]
        if here is not None and (above is None or here + 1 < above):
            distance[node.parent] = here + 1
    values: dict[int, float | None] = {0: 0.0}
    inherited: list[int] = [distance[0] or 0] * len(nodes)
    for node in nodes:
        if node.parent is None:
            continue
        before = values[node.parent]
        mine = distance[node.node]
        steps_left = inherited[node.node] = inherited[node.parent] if mine is None else mine
        if before is None or not answered[node.node]:
            values[node.node] = None
            continue
        weight = (1.0 - before) / (steps_left + 1)
        values[node.node] = min(max(before + (weight if mine is not None else -weight), 0.0), 1.0)
    return values


def rollout_targets(tree: TreeRecord) -> Targets:
    """Plain Monte Carlo: the share of right answers among the continuations of the prefix.

    A finished solution is worth what its answer is.
    """
    return {node.node: _grade_or_share(tree, node.node) for node in tree.nodes}


def omega_targets(tree: TreeRecord, *, fill: bool = False) -> Targets:
    """OmegaPRM: the MC of states; 0 behind a prefix from which nothing comes right.

    Args:
        tree: The tree.
        fill: Also values the steps between states, which the search has jumped over: as the
            best state or right answer behind them, since what can come right later can come
            right before; or, where there is none, as the next state above.
    """
    nodes = tree.nodes
    values: dict[int, float | None] = {}
    for node in nodes:
        value = _grade_or_share(tree, node.node)
        above = None if node.parent is None else values[node.parent]
        if node.parent is not None and above == 0.0 and not _is_right(tree, node.node):
            value = 0.0
        values[node.node] = value
    if not fill:
        return values
    behind: list[float | None] = [values[node.node] for node in nodes]
    for node in reversed(nodes):
        mine = behind[node.node]
        if node.parent is None or not mine:
            continue
        if values[node.parent] is None:
            behind[node.parent] = max(behind[node.parent] or 0.0, mine)
    for node in nodes:
        if values[node.node] is None:
            above = None if node.parent is None else values[node.parent]
            values[node.node] = behind[node.node] if behind[node.node] is not None else above
    return values


def judge_targets(tree: TreeRecord) -> Targets:
    """The evaluator's own values."""
    return {node.node: node.judged for node in tree.nodes}


TARGETS: Mapping[str, Callable[[TreeRecord], Targets]] = MappingProxyType(
    {
        "rest": rest_targets,
        "rollouts": rollout_targets,
        "omega": omega_targets,
        "judge": judge_targets,
    }
)
"""The rules by the names that recipes use."""


def _grade_or_share(tree: TreeRecord, place: int) -> float | None:
    node = tree.nodes[place]
    if node.finished and node.correct is not None:
        return float(node.correct)
    return node.right / node.rollouts if node.rollouts else None


def _is_right(tree: TreeRecord, place: int) -> bool:
    node = tree.nodes[place]
    return bool(node.correct) or node.right > 0
