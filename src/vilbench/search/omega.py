"""OmegaPRM: the first wrong step of wrong solutions, found by halving (Luo et al., 2024).

A state is a prefix with its continuations to the end, of which the share of right ones is its
MC. A wrong continuation of a state that can still come right (MC > 0) goes wrong somewhere:
the search halves its steps, continuing the prefix up to the middle each time, until it has
the step from which on nothing comes right. Every prefix continued is a state of its own whose
wrong continuations wait for their turn, the most telling first: those of nearly certain states
and of few words, `Q = alpha^(1 - MC) beta^(words / L)`, and those of states seldom chosen,
`U = c sqrt(sum N) / (1 + N(s))`.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from vilbench.search.requests import POLICY_FAILED, Answer, Continuation, Draw, Round, Search, draws
from vilbench.search.rollouts import count, grow, pass_through
from vilbench.search.tree import Tree
from vilbench.types import Number, Record, Whole

_Drawing = Generator[Round, Sequence[Answer], list[list[Continuation]]]


class Omega(Record):
    """Settings; the defaults are those of the published code.

    Attributes:
        solutions: Continuations of the root; None for as many as of any state.
        rollouts: Continuations of a state, k.
        searches: Wrong continuations that are halved, in all.
        together: Of them, halved side by side; the ones of a batch do not profit from each
            other in the order of choice.
        alpha: Base of `1 - MC`.
        beta: Base of the length.
        length: Words of a long continuation, L.
        exploration: c of U.
        shared: Continuations count for all prefixes of the tree that they run through.
        chunk: Continuations of a state are drawn so many at a time until one is right;
            0 draws all at once, as published.
    """

    rule: Literal["omega"] = "omega"
    solutions: Annotated[Whole, Field(ge=1)] | None = None
    rollouts: Annotated[Whole, Field(ge=1)] = 16
    searches: Annotated[Whole, Field(ge=1)] = 20
    together: Annotated[Whole, Field(ge=1)] = 1
    alpha: Annotated[Number, Field(gt=0, le=1)] = 0.5
    beta: Annotated[Number, Field(gt=0, le=1)] = 0.9
    length: Annotated[Number, Field(gt=0)] = 500.0
    exploration: Annotated[Number, Field(ge=0)] = 0.125
    shared: bool = False
    chunk: Annotated[Whole, Field(ge=0)] = 0


@dataclass(slots=True)
class _Waiting:
    """A wrong continuation of a state, not chosen yet."""

    state: int
    path: Continuation
    words: int


@dataclass(slots=True)
class Pool:
    """Wrong continuations that wait, and how often each state was chosen.

    A continuation leaves the pool when it is chosen; the same words from the same state do
    not enter it a second time.
    """

    settings: Omega
    waiting: list[_Waiting] = field(default_factory=list)
    chosen: dict[int, int] = field(default_factory=dict)
    _seen: set[tuple[int, tuple[str, ...]]] = field(default_factory=set)

    def add(self, state: int, continuations: Sequence[Continuation]) -> None:
        """Lets the wrong ones among the continuations of a state wait."""
        for one in continuations:
            words = " ".join(one.steps).split()
            key = (state, tuple(words))
            if one.finished and not one.correct and key not in self._seen:
                self._seen.add(key)
                self.waiting.append(_Waiting(state, one, len(words)))

    def take(self, tree: Tree) -> tuple[int, Continuation] | None:
        """State and continuation of the highest Q + U, the first of equals; None when empty."""
        settings = self.settings
        spread = settings.exploration * math.sqrt(sum(self.chosen.values()))
        best, highest = None, -math.inf
        for place, one in enumerate(self.waiting):
            share = tree.nodes[one.state].value
            if not share:
                continue
            score = settings.alpha ** (1 - share) * settings.beta ** (one.words / settings.length)
            score += spread / (1 + self.chosen.get(one.state, 0))
            if score > highest:
                best, highest = place, score
        if best is None:
            return None
        found = self.waiting.pop(best)
        self.chosen[found.state] = self.chosen.get(found.state, 0) + 1
        return found.state, found.path


@dataclass(slots=True)
class _Halving:
    """A search for the first wrong step among the nodes of a path below a state.

    Attributes:
        path: Nodes of the continuation's steps.
        low: Steps before this place are known to leave a way.
        high: Step that is known to leave none.
    """

    path: list[int]
    low: int
    high: int

    @property
    def done(self) -> bool:
        """The first wrong step is found."""
        return self.low >= self.high

    @property
    def middle(self) -> int:
        """Place of the step to try next."""
        return (self.low + self.high) // 2


def search(tree: Tree, settings: Omega) -> Search:
    """Grows `tree` from its root.

    Returns:
        "hopeless" where no continuation of the root is right, "certain" where all are,
        "policy-failed" where there is none, "exhausted" when nothing wrong is left to halve,
        "searches" when so many are done as were asked for.
    """
    root, pool = tree.nodes[0], Pool(settings)
    root.drawn = settings.solutions or settings.rollouts
    (solutions,) = draws((yield [Draw((), root.drawn)]))
    for one in solutions:
        grow(tree, 0, one, counted=settings.shared)
    if not settings.shared:
        count(tree, 0, solutions)
    if root.rollouts == 0:
        root.reason = POLICY_FAILED
        return POLICY_FAILED
    if root.right in (0, root.rollouts):
        return "certain" if root.right else "hopeless"
    pool.add(0, solutions)
    left = settings.searches
    while left > 0:
        halvings = []
        for _ in range(min(left, settings.together)):
            taken = pool.take(tree)
            if taken is None:
                break
            state, path = taken
            tree.nodes[state].visits += 1
            last = grow(tree, state, path, counted=False)
            places = [n for n in tree.path(last) if tree.nodes[n].depth > tree.nodes[state].depth]
            halvings.append(_Halving(places, 0, len(places) - 1))
        if not halvings:
            return "exhausted"
        left -= len(halvings)
        yield from _halve(tree, halvings, pool, settings)
    return "searches"


def _halve(tree: Tree, halvings: list[_Halving], pool: Pool, settings: Omega) -> Search:
    """Halves side by side; a prefix that has its estimate is not continued again."""
    while open_ones := [one for one in halvings if not one.done]:
        middles = dict.fromkeys(one.path[one.middle] for one in open_ones)
        fresh = [place for place in middles if tree.nodes[place].drawn == 0]
        drawn = yield from _estimate(tree, fresh, settings)
        for place, continuations in zip(fresh, drawn, strict=True):
            pool.add(place, continuations)
        for one in open_ones:
            node = tree.nodes[one.path[one.middle]]
            if node.right:
                one.low = one.middle + 1
            elif node.rollouts:
                one.high = one.middle
            else:
                # Nothing could be drawn: where this solution goes wrong stays unknown.
                node.reason = node.reason or POLICY_FAILED
                one.low = one.high
    return ""


def _estimate(tree: Tree, places: Sequence[int], settings: Omega) -> _Drawing:
    """Continues prefixes until their estimates stand; gives what was drawn for each."""
    found: dict[int, list[Continuation]] = {place: [] for place in places}
    while asked := [(p, n) for p in places if (n := _lacking(tree, p, settings)) > 0]:
        answers = yield [Draw(tree.steps(p), n, tree.nodes[p].drawn) for p, n in asked]
        for (place, number), continuations in zip(asked, draws(answers), strict=True):
            tree.nodes[place].drawn += number
            found[place] += continuations
            if settings.shared:
                for one in continuations:
                    pass_through(tree, place, one)
            else:
                count(tree, place, continuations)
    return [found[place] for place in places]


def _lacking(tree: Tree, place: int, settings: Omega) -> int:
    """How many continuations to draw next for the estimate of a prefix."""
    node = tree.nodes[place]
    known = max(node.drawn, node.rollouts) if settings.shared else node.drawn
    lacking = settings.rollouts - known
    if not settings.chunk:
        return lacking
    return 0 if node.right else min(lacking, settings.chunk)
