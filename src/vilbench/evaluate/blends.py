"""Scores over several stored scorers, as scorers of their own that cost nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from vilbench.evaluate.pools import BLEND, ScorerPlan
from vilbench.selection.weights import Learned
from vilbench.store.records import ScoreRef
from vilbench.types import StepScores


@dataclass(frozen=True)
class Blend:
    """A learned score over several scorers.

    Attributes:
        name: Its name; in tables "blend:" stands before it.
        learned: The score.

    Raises:
        ValueError: The name cannot be told from others in the tables.
    """

    name: str
    learned: Learned

    def __post_init__(self) -> None:
        self.plan()

    def plan(self) -> ScorerPlan:
        """How it enters the analysis: whole solutions, scores that are logarithms."""
        return ScorerPlan(f"{BLEND}{self.name}", "solution", None, (), "mean")

    def can_judge(self, problem_set: str, scored: Collection[str]) -> bool:
        """Whether all of its scorers have scored, and it was not fitted on these problems."""
        known = all(name in scored for name in self.learned.scorers)
        return known and not self.learned.origin.is_part_of(problem_set)

    def values(
        self, stored: Mapping[str, Mapping[ScoreRef, StepScores]]
    ) -> dict[ScoreRef, StepScores]:
        """Its values of every solution that one of its scorers has scored; no tokens."""
        parts = {name: stored[name] for name in self.learned.scorers}
        name = self.plan().name
        found = {}
        for ref in dict.fromkeys(ref for part in parts.values() for ref in part):
            given = {one: part[ref].values for one, part in parts.items() if ref in part}
            found[ref] = StepScores(
                problem_id=ref.problem_id,
                solution_index=ref.solution_index,
                scorer=name,
                granularity="solution",
                values=(self.learned.score(given),),
            )
        return found
