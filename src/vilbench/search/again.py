"""Another tree's prefixes, continued once more: what a second policy makes of the same steps.

The tree that comes out has the nodes of the other one, without its broken ends, and estimates
of its own. Two policies of different strength that agree on a step are surer of it than one
(weak-strong consensus, after Athena-PRM, Wang et al., 2025).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, Self

from pydantic import Field, PrivateAttr

from vilbench.errors import EngineError
from vilbench.search.requests import Draw, Search, draws
from vilbench.search.rollouts import count
from vilbench.search.tree import Tree, TreeRecord
from vilbench.types import Record, Whole

Source = Callable[[str], TreeRecord | None]
"""The other tree of a problem, by its id; None where there is none."""


class Again(Record):
    """Settings.

    Attributes:
        of: Folder of the run that holds the other trees.
        rollouts: Continuations of each prefix.
        trees: Names the other trees; known once the settings are bound to them.
    """

    rule: Literal["again"] = "again"
    of: str
    rollouts: Annotated[Whole, Field(ge=1)] = 8
    trees: str = ""
    _source: Source | None = PrivateAttr(default=None)

    def bound(self, source: Source, trees: str) -> Self:
        """The same settings with the other trees at hand."""
        found = self.model_copy(update={"trees": trees})
        found._source = source
        return found

    def other(self, problem_id: str) -> TreeRecord:
        """The other tree of a problem.

        Raises:
            EngineError: There is none.
        """
        found = None if self._source is None else self._source(problem_id)
        if found is None:
            raise EngineError(f"{self.of} holds no tree of this problem")
        return found


def search(tree: Tree, settings: Again) -> Search:
    """Grows `tree` from its root, all in one round; returns "complete".

    Raises:
        EngineError: There is no other tree, or not one continuation came.
    """
    places = {0: 0}
    for node in settings.other(tree.problem_id).nodes:
        above = None if node.parent is None else places.get(node.parent)
        if above is None or node.reason or not node.step.strip():
            continue
        place = places[node.node] = tree.grow(above, node.step, finished=node.finished)
        if node.finished:
            tree.nodes[place].correct = node.correct
            tree.nodes[place].value = None if node.correct is None else float(node.correct)
    wanted = [node.node for node in tree.nodes if not node.finished]
    answers = yield [Draw(tree.steps(place), settings.rollouts) for place in wanted]
    for place, continuations in zip(wanted, draws(answers), strict=True):
        tree.nodes[place].drawn = settings.rollouts
        count(tree, place, continuations)
    if not any(node.rollouts for node in tree.nodes):
        raise EngineError("the policy went on from none of the prefixes")
    return "complete"
