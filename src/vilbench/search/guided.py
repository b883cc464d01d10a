"""Search for one good solution, step by step, under a reward model.

One loop holds the known methods; they differ in numbers alone:

    best-of-n        whole: so many solutions to their end, all valued at once
    greedy           1 group of 1 beam: the best of `width` next steps, again and again
    beam             1 group of `beams`: the best so many of all next steps (Snell et al., 2024)
    DVTS             many groups of 1 beam: trees that never compete, for variety (Beeching et
                     al., 2024)
    annealed beam    wide first, narrow later: `beams` and `widths` by round

A group begins with `beams x width` first steps. Each round draws `width` next steps behind
every beam, merges those with the same text, has the new ones valued, and keeps the best of the
group's. A beam that finishes is set aside and takes its place along: a group is over when all
of its places are. No grade of an answer guides the search; the tree holds it for whoever
measures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, field_validator

from vilbench.search.requests import POLICY_FAILED, Draw, Judge, Search, draws, judgements
from vilbench.search.rollouts import grow
from vilbench.search.tree import NodeRecord, Tree, TreeRecord, expand
from vilbench.selection.aggregation import aggregation
from vilbench.types import Record, Whole

Places = Annotated[Whole, Field(ge=1)]


class Guided(Record):
    """Settings.

    Attributes:
        groups: Independent searches of a problem.
        beams: Prefixes that a group keeps, by round; the last number stays.
        widths: Next steps drawn behind each of them, likewise.
        whole: Solutions are drawn to their end at once: best of `groups x beams x width`.
        aggregation: What a prefix is worth, from the values of its steps in [0, 1].
        deepest: Steps behind which nothing is drawn.
    """

    rule: Literal["guided"] = "guided"
    groups: Places = 1
    beams: Annotated[tuple[Places, ...], Field(min_length=1)] = (4,)
    widths: Annotated[tuple[Places, ...], Field(min_length=1)] = (4,)
    whole: bool = False
    aggregation: str = "last-1"
    deepest: Places = 32

    @field_validator("aggregation")
    @classmethod
    def _known(cls, name: str) -> str:
        aggregation(name)
        return name


@dataclass
class _Group:
    """An independent search.

    Attributes:
        beams: Prefixes that it goes on with.
        candidates: Next steps behind them in this round, one for each time that it was drawn.
        finished: Places that finished solutions have taken.
    """

    beams: list[int] = field(default_factory=lambda: [0])
    candidates: list[int] = field(default_factory=list)
    finished: int = 0


class Found(NamedTuple):
    """A finished solution of a search.

    Attributes:
        node: Its last node.
        steps: S texts.
        values: `[S]` in [0, 1], None where the evaluator gave no verdict.
        score: What they come to; None without a verdict.
        correct: Whether its answer is right; the search never saw it.
    """

    node: int
    steps: tuple[str, ...]
    values: tuple[float | None, ...]
    score: float | None
    correct: bool | None


def search(tree: Tree, settings: Guided) -> Search:
    """Grows `tree` from its root; returns "complete", "exhausted" or "policy-failed".

    "exhausted": every branch broke off before a solution was finished.
    """
    if settings.whole:
        yield from _whole(tree, settings)
    else:
        yield from _by_step(tree, settings)
    if any(node.finished for node in tree.nodes):
        return "complete"
    lost = [node for node in tree.nodes[1:] if node.reason != POLICY_FAILED]
    return "exhausted" if lost else POLICY_FAILED


def _whole(tree: Tree, settings: Guided) -> Search:
    count = settings.groups * settings.beams[0] * settings.widths[0]
    (solutions,) = draws((yield [Draw((), count)]))
    tree.nodes[0].drawn = count
    ends = dict.fromkeys(grow(tree, 0, one, counted=False) for one in solutions)
    asked = [end for end in ends if tree.nodes[end].finished]
    for end in ends:
        # The grade that `grow` leaves as a value is for estimates; here it must not be seen.
        tree.nodes[end].value = None
    if asked:
        answers = yield [Judge(tree.steps(end), tree.nodes[end].depth) for end in asked]
        for end, answer in zip(asked, judgements(answers), strict=True):
            for place, value in zip(tree.path(end), answer.values, strict=False):
                if tree.nodes[place].judged is None:
                    tree.nodes[place].judged = value
            _keep(tree, end, settings)
    return ""


def _by_step(tree: Tree, settings: Guided) -> Search:
    groups = [_Group() for _ in range(settings.groups)]
    for turn in range(settings.deepest):
        alive = [group for group in groups if group.beams]
        if not alive:
            break
        asked = [(group, beam) for group in alive for beam in group.beams]
        answers = yield [_draw(tree, beam, settings, turn) for _, beam in asked]
        for (group, beam), drawn in zip(asked, draws(answers), strict=True):
            group.candidates += expand(tree, beam, drawn)
        new = dict.fromkeys(
            child for group in alive for child in group.candidates if _unvalued(tree, child)
        )
        if new:
            answers = yield [Judge(tree.steps(child)) for child in new]
            for child, answer in zip(new, judgements(answers), strict=True):
                tree.nodes[child].judged = answer.values[-1] if answer.values else None
        for group in alive:
            _choose(tree, group, settings, turn)
    for group in groups:
        for beam in group.beams:
            if not tree.nodes[beam].reason and beam:
                tree.nodes[beam].reason, tree.nodes[beam].closed = "too-deep", True
    return ""


def _draw(tree: Tree, beam: int, settings: Guided, turn: int) -> Draw:
    count = _at(settings.widths, turn) * (_at(settings.beams, turn) if beam == 0 else 1)
    node = tree.nodes[beam]
    drawn, node.drawn = node.drawn, node.drawn + count
    return Draw(tree.steps(beam), count, first=drawn, length=1)


def _unvalued(tree: Tree, child: int) -> bool:
    node = tree.nodes[child]
    return node.judged is None and not node.reason


def _choose(tree: Tree, group: _Group, settings: Guided, turn: int) -> None:
    """Keeps the best of a group's candidates; of equal ones those that were drawn first."""
    usable = [one for one in dict.fromkeys(group.candidates) if not tree.nodes[one].reason]
    places = max(_at(settings.beams, turn) - group.finished, 0)
    ranked = sorted(usable, key=lambda one: -_rank(_score(tree, one, settings)))
    group.beams, group.candidates = [], []
    for one in ranked[:places]:
        _keep(tree, one, settings)
        if tree.nodes[one].finished:
            group.finished += 1
        else:
            group.beams.append(one)


def _keep(tree: Tree, node: int, settings: Guided) -> None:
    """Notes in the tree that a prefix was kept, and at what worth."""
    tree.nodes[node].visits += 1
    tree.nodes[node].value = _score(tree, node, settings)


def _score(tree: Tree, node: int, settings: Guided) -> float | None:
    values = [tree.nodes[place].judged for place in tree.path(node)]
    score = aggregation(settings.aggregation)(values)
    return None if score is None else min(max(score, 0.0), 1.0)


def _rank(score: float | None) -> float:
    """No verdict ranks behind every verdict."""
    return -1.0 if score is None else score


def _at(schedule: Sequence[int], turn: int) -> int:
    return schedule[min(turn, len(schedule) - 1)]


def found(record: TreeRecord, name: str) -> list[Found]:
    """Finished solutions of a stored search, the best first; of equal ones the first made.

    Args:
        record: The tree.
        name: Aggregation of the step values; another than the search's own may rank.
    """
    rule = aggregation(name)
    solutions = []
    for end in record.nodes:
        if end.finished:
            path = list(_path(record, end))
            values = tuple(node.judged for node in path)
            steps = tuple(node.step for node in path)
            solutions.append(Found(end.node, steps, values, rule(values), end.correct))
    return sorted(solutions, key=lambda one: -_rank(one.score))


def _path(record: TreeRecord, end: NodeRecord) -> Iterator[NodeRecord]:
    """Nodes from the first step to `end`."""
    if end.parent is not None:
        yield from _path(record, record.nodes[end.parent])
        yield end
