"""What one problem's pool comes to: who is right, whom each method picks, which values there are.

Lists, filters and the page of a problem show the same figures, so they are measured in one
place. A method's choice is the best-scored solution of the whole pool; where several are best,
each of them is chosen with equal chance, as in `selection.best_of` at k = N, and the share of
right ones among them is the chance that the method is right. A method is called right on a
problem when that share is 1, wrong when it is 0, and neither where a tie decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from vilbench.evaluate.analysis import Plan
from vilbench.evaluate.pools import Pools, ScorerPlan
from vilbench.evaluate.stages import Stages
from vilbench.selection import exponential_weights
from vilbench.store.excerpts import Placed, scores_of, solutions_of
from vilbench.store.records import ScoreRef
from vilbench.store.run import Run
from vilbench.types import Solution, StepScores

MAJORITY: Final = "majority"
WEIGHTED: Final = "weighted-majority:"

_TIED = 1e-9
"""Weighted votes this near to the best, relatively, are equal to it, as in `selection`."""


class Outcome(NamedTuple):
    """A method's choice from one pool.

    Attributes:
        share: Chance that the choice is right, in [0, 1].
        best: Score of the chosen solutions, or votes of the answer; None without a verdict.
        chosen: Indexes of the solutions that are chosen with equal chance.
    """

    share: float
    best: float | None
    chosen: tuple[int, ...]

    @property
    def tied(self) -> bool:
        """Whether chance decides."""
        return len(self.chosen) > 1


@dataclass(frozen=True)
class Measured:
    """A problem with its pool, and what methods make of it.

    Attributes:
        stored: Solutions that are stored; the others are still to come, or failed.
        scores: By method a score per solution, None without a verdict.
        outcomes: By method.
        given: By scorer the stored records, by the index of the solution.
        unsettled: Scores are stored that will be asked for again, since a request failed.
    """

    position: int
    pools: Pools
    stored: int
    scores: Mapping[str, Sequence[float | None]]
    outcomes: Mapping[str, Outcome]
    given: Mapping[str, Mapping[int, StepScores]]
    unsettled: bool

    @property
    def pool(self) -> tuple[Solution, ...]:
        """The solutions, as many as there are to be."""
        return self.pools.solutions[0]


def measure(run: Run, plan: Plan | None, stages: Stages | None, placed: Placed) -> Measured:
    """Reads a problem's pool and its scores, and lets every method choose."""
    problem = placed.problem
    if stages is None:
        return Measured(placed.position, Pools((problem,), ((),)), 0, {}, {}, {}, False)
    stored = solutions_of(run, stages.sample_key, problem.id)
    size = plan.n if plan else max(stages.n, len(stored))
    pools = Pools.of([problem], {problem.id: stored}, size)
    given = {
        scorer: {one.solution_index: one for one in scores_of(run, key, problem.id)}
        for scorer, key in stages.score_keys.items()
    }
    unsettled = any(one.error is not None for known in given.values() for one in known.values())
    scores: dict[str, Sequence[float | None]] = {}
    outcomes: dict[str, Outcome] = {}
    if stored:
        right = pools.correct()[0]
        answers = pools.answers()[0]
        outcomes[MAJORITY] = vote(answers, right, [1.0] * len(right))
        for scorer in plan.scorers if plan else ():
            known = given.get(scorer.name)
            if not known:
                continue
            refs = {ScoreRef(problem.id, index): one for index, one in known.items()}
            votes = _weights(pools, scorer, refs)
            outcomes[WEIGHTED + scorer.name] = vote(answers, right, votes)
            for method, values in pools.scores(scorer, refs).items():
                scores[method] = values[0]
                outcomes[method] = choice(values[0], right)
    return Measured(placed.position, pools, len(stored), scores, outcomes, given, unsettled)


def choice(scores: Sequence[float | None], right: Sequence[bool]) -> Outcome:
    """The best-scored solutions; all of them where none has a score."""
    best = max((one for one in scores if one is not None), default=None)
    chosen = tuple(i for i, one in enumerate(scores) if one == best)
    return Outcome(sum(right[i] for i in chosen) / len(chosen), best, chosen)


def vote(
    answers: Sequence[str | None], right: Sequence[bool], weights: Sequence[float | None]
) -> Outcome:
    """The answer with the largest sum of weights; `chosen` are the solutions that give it."""
    sums: dict[str, float] = {}
    for answer, weight in zip(answers, weights, strict=True):
        if answer is not None:
            sums[answer] = sums.get(answer, 0.0) + (weight or 0.0)
    if not sums:
        return Outcome(0.0, None, ())
    best = max(sums.values())
    winners = [one for one, votes in sums.items() if votes >= best - _TIED * abs(best)]
    shares = []
    for winner in winners:
        marks = [right[i] for i, one in enumerate(answers) if one == winner]
        shares.append(sum(marks) / len(marks))
    chosen = tuple(i for i, one in enumerate(answers) if one in winners)
    return Outcome(sum(shares) / len(shares), best, chosen)


def _weights(
    pools: Pools, scorer: ScorerPlan, refs: Mapping[ScoreRef, StepScores]
) -> Sequence[float | None]:
    weights = pools.weights(scorer, refs)[0]
    return exponential_weights(weights) if scorer.scale is None else weights
