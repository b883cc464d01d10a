"""ReST-MCTS*: tree search guided by an evaluator of steps (Zhang et al., 2024).

A round chooses leaves by UCT, draws a few next steps behind each, has them judged, looks some
greedy steps ahead of the best of them, and carries the visits up. Values are the evaluator's;
what trains a reward model is made of the finished tree (`targets.rest_targets`).

Three things differ from the published code, which looks for one solution where we want a tree:
a finished solution is visited once, and a branch with nothing left to visit not at all; the
search is over when a *finished* solution is worth `enough`; several leaves are chosen at a
time, kept apart by virtual loss.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field

from vilbench.search.requests import Continuation, Draw, Judge, Judged, Search, draws, judgements
from vilbench.search.tree import Node, Tree, backup, expand
from vilbench.types import Number, Record, Whole

_UNKNOWN = 0.5
"""Stands for the value of a step that nobody has judged, nor one above it."""


class RestMcts(Record):
    """Settings; the defaults are the published ones, where there are any.

    Attributes:
        branch: Steps drawn behind a leaf.
        exploration: c of UCT.
        unvisited: What a child without visits is preferred by.
        enough: A finished solution of this value ends the search; None goes on.
        ahead: Greedy steps that are looked ahead; 0 for none, None to the solution's end.
        blend: Share of the best value ahead in the new value, a.
        keep_ahead: The steps looked ahead become nodes (the published code drops them).
        rounds: Most rounds.
        leaves: Leaves chosen in a round.
        deepest: Steps behind which nothing is drawn.
        certain: So many finished solutions, all right, end the search; 0 for never.
        hopeless: So many, none right, likewise.
    """

    rule: Literal["rest-mcts"] = "rest-mcts"
    branch: Annotated[Whole, Field(ge=1)] = 3
    exploration: Annotated[Number, Field(ge=0)] = 0.7
    unvisited: Annotated[Number, Field(ge=0)] = 1.0
    enough: Annotated[Number, Field(ge=0, le=1)] | None = 0.9
    ahead: Annotated[Whole, Field(ge=0)] | None = 3
    blend: Annotated[Number, Field(ge=0, le=1)] = 0.5
    keep_ahead: bool = False
    rounds: Annotated[Whole, Field(ge=1)] = 50
    leaves: Annotated[Whole, Field(ge=1)] = 1
    deepest: Annotated[Whole, Field(ge=1)] = 20
    certain: Annotated[Whole, Field(ge=0)] = 0
    hopeless: Annotated[Whole, Field(ge=0)] = 0


def search(tree: Tree, settings: RestMcts) -> Search:
    """Grows `tree` from its root; returns "solved", "certain", "hopeless", "exhausted", "rounds".

    A step without a value because the evaluator failed ends its branch with the reason.
    """
    for _ in range(settings.rounds):
        leaves = _leaves(tree, settings)
        if not leaves:
            return "exhausted"
        going = [leaf for leaf in leaves if not tree.nodes[leaf].finished]
        if going:
            yield from _expand(tree, going, settings)
        for leaf in leaves:
            backup(tree, leaf)
        if stopped := _verdict(tree, settings):
            return stopped
    return "rounds"


def select(tree: Tree, settings: RestMcts) -> int | None:
    """The leaf to expand next: the child of the highest UCT at every node on the way.

    UCT is `V + c sqrt(2 ln N_parent / N)`, `V + unvisited` for a child without visits. A
    pending visit counts as a visit that brought nothing: it adds to N, and V shrinks to
    `V (N + 1) / (N + 1 + pending)`. Ties go to the child that was made first.

    Returns:
        The leaf; None when nothing is left to visit.
    """
    here = tree.nodes[0]
    if here.closed:
        return None
    fallback = _UNKNOWN
    while here.expanded:
        if here.value is not None:
            fallback = here.value
        over = 2 * math.log(max(here.visits + here.pending, 1))
        best: Node | None = None
        highest = -math.inf
        for place in here.children:
            child = tree.nodes[place]
            if child.closed:
                continue
            score = _uct(child, over, fallback, settings)
            if score > highest:
                best, highest = child, score
        if best is None:
            return None
        here = best
    return here.node


def simulate(tree: Tree, node: int, ahead: Sequence[float | None], blend: float) -> None:
    """Blends the best value `ahead` of a node into its own: `V <- (1 - a) V + a max(ahead)`.

    A node that nobody has judged takes the best value ahead; values that are missing count
    for nothing.
    """
    known = [value for value in ahead if value is not None]
    if not known:
        return
    here = tree.nodes[node]
    best = max(known)
    here.value = best if here.value is None else (1 - blend) * here.value + blend * best


def _uct(child: Node, over: float, fallback: float, settings: RestMcts) -> float:
    value = fallback if child.value is None else child.value
    visits = child.visits + child.pending
    if visits == 0:
        return value + settings.unvisited
    share = (child.visits + 1) / (visits + 1)
    return value * share + settings.exploration * math.sqrt(over / visits)


def _leaves(tree: Tree, settings: RestMcts) -> list[int]:
    """Leaves of a round; it ends early where selection comes back to one of them."""
    chosen: list[int] = []
    while len(chosen) < settings.leaves:
        leaf = select(tree, settings)
        if leaf is None or leaf in chosen:
            break
        chosen.append(leaf)
        for here in tree.up(leaf):
            here.pending += 1
    return chosen


def _expand(tree: Tree, leaves: Sequence[int], settings: RestMcts) -> Search:
    """Draws and judges the next steps of leaves, and looks ahead."""
    answers = yield [
        Draw(tree.steps(leaf), settings.branch, tree.nodes[leaf].drawn, length=1) for leaf in leaves
    ]
    families: list[tuple[int, ...]] = []
    for leaf, continuations in zip(leaves, draws(answers), strict=True):
        families.append(expand(tree, leaf, continuations))
        tree.nodes[leaf].drawn += settings.branch
    children = [child for family in families for child in family]
    yield from _judge(tree, children)
    if settings.ahead != 0:
        yield from _look_ahead(tree, families, settings)
    for child in children:
        node = tree.nodes[child]
        if not node.ended and node.depth >= settings.deepest:
            node.reason, node.closed = "too-deep", True
    return ""


def _judge(tree: Tree, children: Sequence[int]) -> Search:
    """Values of new steps; nobody is asked about one that broke off."""
    asked = [
        child
        for child in dict.fromkeys(children)
        if not tree.nodes[child].reason and tree.nodes[child].judged is None
    ]
    if not asked:
        return ""
    answers = yield [Judge(tree.steps(child), 1, tree.nodes[child].correct) for child in asked]
    for child, answer in zip(asked, judgements(answers), strict=True):
        _value(tree.nodes[child], answer.values[-1] if answer.values else None, answer.reason)
    return ""


def _value(node: Node, value: float | None, reason: str) -> None:
    node.judged = node.value = value
    if value is None and reason and not node.reason:
        node.reason, node.closed = reason, True


def _look_ahead(tree: Tree, families: Sequence[Sequence[int]], settings: RestMcts) -> Search:
    """Looks ahead from the best new child of each family that can go on.

    Where an earlier look ahead came through the child, its way is known: greedy steps do not
    depend on where they began.
    """
    chosen = [
        max(going, key=lambda child: _known(tree.nodes[child]))
        for family in families
        if (going := [c for c in family if _goes_on(tree.nodes[c], settings)])
    ]
    best = [child for child in chosen if not tree.nodes[child].children]
    for child in chosen:
        if child not in best:
            simulate(tree, child, [node.judged for node in _below(tree, child)], settings.blend)
    if not best:
        return ""
    answers = yield [Draw(tree.steps(c), 1, length=settings.ahead, greedy=True) for c in best]
    paths: list[tuple[int, Continuation]] = []
    for child, continuations in zip(best, draws(answers), strict=True):
        paths += [(child, one) for one in continuations if _usable(one)]
    if not paths:
        return ""
    answers = yield [
        Judge((*tree.steps(child), *_usable(path)), len(_usable(path)), path.correct)
        for child, path in paths
    ]
    for (child, path), answer in zip(paths, judgements(answers), strict=True):
        if settings.keep_ahead:
            _keep(tree, child, path, answer)
        simulate(tree, child, answer.values, settings.blend)
    return ""


def _usable(path: Continuation) -> tuple[str, ...]:
    """Steps of a continuation without the one that it broke off at."""
    return path.steps[:-1] if path.reason else path.steps


def _keep(tree: Tree, child: int, path: Continuation, answer: Judged) -> None:
    here = child
    for place, step in enumerate(path.steps):
        last = place + 1 == len(path.steps)
        here = tree.grow(here, step, finished=path.finished and last)
        node = tree.nodes[here]
        if last and path.finished:
            node.correct = path.correct
        if last and path.reason and not node.reason:
            node.reason, node.closed = path.reason, True
        if node.judged is None and place < len(answer.values):
            _value(node, answer.values[place], answer.reason)


def _below(tree: Tree, child: int) -> Iterator[Node]:
    """The kept steps behind a child that was not expanded."""
    here = tree.nodes[child]
    while here.children:
        here = tree.nodes[here.children[0]]
        yield here


def _known(node: Node) -> float:
    return _UNKNOWN if node.value is None else node.value


def _goes_on(node: Node, settings: RestMcts) -> bool:
    return not node.ended and node.depth < settings.deepest


def _verdict(tree: Tree, settings: RestMcts) -> str:
    ends = [node for node in tree.nodes if node.finished]
    enough = settings.enough
    if enough is not None and any(e.value is not None and e.value >= enough for e in ends):
        return "solved"
    right = sum(1 for end in ends if end.correct)
    if settings.certain and len(ends) >= settings.certain and right == len(ends):
        return "certain"
    if settings.hopeless and len(ends) >= settings.hopeless and right == 0:
        return "hopeless"
    return ""
