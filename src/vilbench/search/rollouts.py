"""Plain Monte Carlo: every step of some solutions is continued to the end a number of times.

The share of right answers is the step's value (Math-Shepherd, Wang et al., 2024). With `shared`
a continuation also counts for every prefix of the tree that it runs through, and a prefix that
many have run through already is continued the less: given that it runs through a prefix, the
rest of a solution is a continuation of that prefix like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from vilbench.search.requests import POLICY_FAILED, Continuation, Draw, Search, draws
from vilbench.search.tree import Tree
from vilbench.types import Record, Whole


class Rollouts(Record):
    """Settings.

    Attributes:
        solutions: Drawn from the question; their steps are what gets values.
        rollouts: Continuations of each prefix; 0 draws the solutions and no more.
        shared: Continuations count for all prefixes that they run through.
        skip_sure: Solutions that are all right, or all not, are not continued.
    """

    rule: Literal["rollouts"] = "rollouts"
    solutions: Annotated[Whole, Field(ge=1)] = 8
    rollouts: Annotated[Whole, Field(ge=0)] = 16
    shared: bool = False
    skip_sure: bool = False


def search(tree: Tree, settings: Rollouts) -> Search:
    """Grows `tree` from its root; returns "complete", "certain", "hopeless" or "policy-failed"."""
    (solutions,) = draws((yield [Draw((), settings.solutions)]))
    for one in solutions:
        grow(tree, 0, one, counted=settings.shared)
    root = tree.nodes[0]
    if not settings.shared:
        count(tree, 0, solutions)
    root.drawn = settings.solutions
    if root.rollouts == 0:
        root.reason = POLICY_FAILED
        return POLICY_FAILED
    if settings.skip_sure and root.right in (0, root.rollouts):
        return "certain" if root.right else "hopeless"
    wanted = [node.node for node in tree.nodes[1:] if not node.ended]
    depths = sorted({tree.nodes[place].depth for place in wanted})
    # A prefix can profit from those above it when they have been continued before it.
    levels = (
        [[place for place in wanted if tree.nodes[place].depth == depth] for depth in depths]
        if settings.shared
        else [wanted]
    )
    for level in levels:
        asked = [
            (place, lacking)
            for place in level
            if (lacking := settings.rollouts - tree.nodes[place].rollouts) > 0
        ]
        if not asked:
            continue
        answers = yield [Draw(tree.steps(place), lacking) for place, lacking in asked]
        for (place, lacking), continuations in zip(asked, draws(answers), strict=True):
            tree.nodes[place].drawn = lacking
            if settings.shared:
                for one in continuations:
                    pass_through(tree, place, one)
            else:
                count(tree, place, continuations)
    return "complete"


def count(tree: Tree, node: int, continuations: Sequence[Continuation]) -> None:
    """Adds continuations to the estimate of the prefix that they were drawn from."""
    here = tree.nodes[node]
    for one in continuations:
        if one.counts:
            here.rollouts += 1
            here.right += bool(one.correct)
    if here.rollouts:
        here.value = here.right / here.rollouts
    if tree.rule == "rollouts":
        here.visits = here.rollouts


def pass_through(tree: Tree, node: int, one: Continuation) -> None:
    """Adds a continuation to the estimates of `node` and of the nodes that it runs through."""
    count(tree, node, (one,))
    here = node
    for place, step in enumerate(one.steps):
        finished = one.finished and place + 1 == len(one.steps)
        below = tree.find(here, step, finished=finished)
        if below is None:
            return
        here = below
        count(tree, here, (one,))


def grow(tree: Tree, node: int, one: Continuation, *, counted: bool) -> int:
    """Makes the steps of a continuation nodes, and counts it for them where `counted`.

    Returns:
        The last of its nodes.
    """
    here = node
    for place, step in enumerate(one.steps):
        last = place + 1 == len(one.steps)
        here = tree.grow(here, step, finished=one.finished and last)
        if last and one.finished:
            tree.nodes[here].correct = one.correct
            tree.nodes[here].value = float(bool(one.correct))
        if last and one.reason and not tree.nodes[here].reason:
            tree.nodes[here].reason, tree.nodes[here].closed = one.reason, True
    if counted:
        pass_through(tree, node, one)
    return here
