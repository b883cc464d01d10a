"""Where solutions go wrong, inferred from all continuations of a tree together.

A share of right continuations speaks of one prefix alone and of the policy as much as of the
prefix: in a hard problem right steps are seldom continued to a right answer. What is wanted is
whether the prefix is right, and for that a tree tells more. Behind a wrong step everything is
wrong, so prefixes above and below speak of each other, and the tree as a whole tells how hard
its problem is. That is a hidden Markov model on the tree:

* the question is right; a step after a right prefix is wrong with probability `slip`, a step
  after a wrong prefix is wrong;
* a continuation of a right prefix ends in the right answer with probability `right[m]`, m being
  the steps still to come, one of a wrong prefix with probability `wrong`;
* problems come in kinds, each with such numbers of its own.

Its numbers are found from the trees alone by expectation maximization: nothing is labelled by
hand. Each continuation must count for one node only, the one it was drawn from: where a search
shares continuations, or grows what it has counted (OmegaPRM), some speak twice, and the values are
more certain than they should be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vilbench.search.targets import Targets
from vilbench.search.tree import TreeRecord

Floats = NDArray[np.float64]

KINDS = 4
"""Kinds of problems."""

DEPTH = 5
"""Steps still to come are counted up to here."""

ROUNDS = 40
"""Most rounds of expectation maximization."""

LIKENESS = 0.2
"""How alike the continuations of one prefix are beyond what the model says of it, for right
prefixes differ: n of them tell as much as n / (1 + (n - 1) LIKENESS), the design effect of Kish
(1965)."""


class FaultModel(NamedTuple):
    """Probabilities, for K kinds of problems.

    Attributes:
        kinds: `[K]` share of each kind.
        slip: `[K]` of a wrong step after a right prefix.
        right: `[K, DEPTH + 1]` of a right answer from a right prefix, by steps to come.
        wrong: `[K]` of a right answer from a wrong prefix.
    """

    kinds: Floats
    slip: Floats
    right: Floats
    wrong: Floats


class _Shape(NamedTuple):
    """A tree as arrays, the root first and parents before children.

    Attributes:
        parents: `[N]`, -1 for the root.
        ahead: `[N]` steps still to come, at most `DEPTH`.
        good: `[N]` continuations that came out right, weighed for their likeness; a finished
            node is one of its own.
        bad: `[N]` those that did not.
    """

    parents: list[int]
    ahead: NDArray[np.intp]
    good: Floats
    bad: Floats


class _Belief(NamedTuple):
    """What is held of a tree.

    Attributes:
        kind: `[K]` probabilities of its kind.
        right: `[N, K]` that a prefix is right, given the kind.
        evidence: Log-probability of what was seen.
    """

    kind: Floats
    right: Floats
    evidence: float


def fault_targets(tree: TreeRecord, model: FaultModel) -> Targets:
    """The probability of every prefix to be right, in [0, 1].

    A finished solution is worth what its answer is, as under the other rules. None where it
    could not be graded, and where nothing was seen of a prefix: no continuation of it or of
    what is below it, and no answer there.
    """
    shape = _shape(tree)
    belief = _believe(shape, model)
    held = belief.right @ belief.kind
    seen = shape.good + shape.bad
    for node in reversed(tree.nodes):
        if node.parent is not None:
            seen[node.parent] += seen[node.node]
    values: dict[int, float | None] = {}
    for node in tree.nodes:
        known = float(np.clip(held[node.node], 0.0, 1.0)) if seen[node.node] else None
        values[node.node] = known
        if node.finished:
            values[node.node] = None if node.correct is None else float(node.correct)
    return values


def fit(trees: Sequence[TreeRecord], rounds: int = ROUNDS) -> FaultModel:
    """The model under which the trees are most probable, held back by weak priors.

    Args:
        trees: Searched by one policy; a few hundred are enough.
        rounds: Most of them; it ends before when the evidence grows no more.
    """
    shapes = [_shape(tree) for tree in trees]
    model = _first()
    before = -np.inf
    for _ in range(rounds):
        sums = _Counts.none()
        evidence = 0.0
        for shape in shapes:
            belief = _believe(shape, model)
            evidence += belief.evidence
            sums.add(shape, belief)
        model = sums.model()
        # The priors are in the model and not in the evidence, which may fall a little for them.
        if abs(evidence - before) < 1e-5 * abs(evidence):
            break
        before = evidence
    return model


def _first() -> FaultModel:
    """Where the search for the model begins: from hard problems to easy ones."""
    level = (np.arange(KINDS) + 0.5) / KINDS
    steps = np.arange(DEPTH + 1)
    return FaultModel(
        kinds=np.full(KINDS, 1 / KINDS),
        slip=0.4 * (1 - level) + 0.05,
        right=0.1 + 0.8 * level[:, None] ** (steps / (1 + steps)),
        wrong=0.3 * level,
    )


def _shape(tree: TreeRecord) -> _Shape:
    nodes = tree.nodes
    height = [0] * len(nodes)
    for node in reversed(nodes):
        if node.parent is not None:
            height[node.parent] = max(height[node.parent], height[node.node] + 1)
    good, bad = np.zeros(len(nodes)), np.zeros(len(nodes))
    # The draws from the question are the tree's own solutions, but where another run wrote these.
    for node in nodes[tree.rule != "again" :]:
        if node.finished and node.correct is not None:
            good[node.node], bad[node.node] = node.correct, not node.correct
        elif not node.finished:
            weight = 1 / (1 + LIKENESS * max(node.rollouts - 1, 0))
            good[node.node] = weight * node.right
            bad[node.node] = weight * (node.rollouts - node.right)
    return _Shape(
        parents=[-1 if node.parent is None else node.parent for node in nodes],
        ahead=np.minimum(height, DEPTH),
        good=good,
        bad=bad,
    )


def _believe(shape: _Shape, model: FaultModel) -> _Belief:
    """Sum-product on the tree: leaves to root, then root to leaves."""
    told = model.right[:, shape.ahead].T
    good, bad = shape.good[:, None], shape.bad[:, None]
    # `[N, K]` log-likelihoods of a node's continuations and all below it.
    if_right = good * np.log(told) + bad * np.log1p(-told)
    if_wrong = good * np.log(model.wrong) + bad * np.log1p(-model.wrong)
    stay, slip = np.log1p(-model.slip), np.log(model.slip)
    turned = np.zeros_like(if_right)
    for node in range(len(shape.parents) - 1, 0, -1):
        parent = shape.parents[node]
        kept, lost = stay + if_right[node], slip + if_wrong[node]
        either = np.logaddexp(kept, lost)
        if_right[parent] += either
        if_wrong[parent] += if_wrong[node]
        turned[node] = np.exp(kept - either)
    right = np.ones_like(if_right)
    for node in range(1, len(shape.parents)):
        right[node] = right[shape.parents[node]] * turned[node]
    joint = np.log(model.kinds) + if_right[0]
    evidence = float(np.logaddexp.reduce(joint))
    return _Belief(np.exp(joint - evidence), right, evidence)


class _Counts:
    """Expected counts, with priors in them."""

    def __init__(self, slips: Floats, right: Floats, wrong: Floats, kinds: Floats) -> None:
        self._slips, self._right, self._wrong, self._kinds = slips, right, wrong, kinds

    @classmethod
    def none(cls) -> _Counts:
        """Priors alone: one success and one failure everywhere."""
        return cls(
            np.ones((2, KINDS)), np.ones((2, KINDS, DEPTH + 1)), np.ones((2, KINDS)), np.ones(KINDS)
        )

    def add(self, shape: _Shape, belief: _Belief) -> None:
        """Adds what is held of a tree."""
        self._kinds += belief.kind
        right = belief.right * belief.kind
        parents = np.array(shape.parents[1:], dtype=np.intp)
        above = right[parents]
        self._slips += np.stack([(above - right[1:]).sum(0), right[1:].sum(0)])
        wrong = belief.kind - right
        for place, seen in enumerate((shape.good[:, None], shape.bad[:, None])):
            np.add.at(self._right[place].T, shape.ahead, seen * right)
            self._wrong[place] += (seen * wrong).sum(0)

    def model(self) -> FaultModel:
        """The numbers that make the counts most probable."""
        return FaultModel(
            kinds=self._kinds / self._kinds.sum(),
            slip=self._slips[0] / self._slips.sum(0),
            right=self._right[0] / self._right.sum(0),
            wrong=self._wrong[0] / self._wrong.sum(0),
        )
