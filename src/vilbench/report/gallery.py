"""Which problems and solutions of a run the report shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from vilbench.display.exhibit import Exhibit
from vilbench.evaluate.analysis import Plan, stored
from vilbench.evaluate.pools import Pools, ScorerPlan
from vilbench.selection import pick
from vilbench.store.records import ScoreRef
from vilbench.store.run import Run
from vilbench.types import Solution, StepScores

PROBLEMS = 12
SOLUTIONS = 4


def gallery(run: Run, plan: Plan, problems: int = PROBLEMS) -> list[Exhibit]:
    """Problems from all sources in turn, those first whose pools hold right and wrong ones."""
    _, scorers, pools, values = stored(run, plan)
    chosen = _chosen(pools, problems)
    pools = Pools(
        tuple(pools.problems[place] for place in chosen),
        tuple(pools.solutions[place] for place in chosen),
    )
    picks = _picks(pools, scorers, values, chosen)
    exhibits = []
    for place in range(len(chosen)):
        shown = _shown(pools.solutions[place], picks[place])
        scores = [
            values[scorer.name].get(ScoreRef(one.problem_id, one.index))
            for one in shown
            for scorer in scorers
        ]
        exhibits.append(
            Exhibit(
                problem=pools.problems[place],
                solutions=shown,
                scores=tuple(score for score in scores if score is not None),
                picks=picks[place],
            )
        )
    return exhibits


def _picks(
    pools: Pools,
    scorers: Sequence[ScorerPlan],
    values: Mapping[str, Mapping[ScoreRef, StepScores]],
    seeds: Sequence[int],
) -> list[dict[str, int]]:
    """Method -> picked index, for each problem; ties fall by its seed."""
    picks: list[dict[str, int]] = [{} for _ in pools.problems]
    for scorer in scorers:
        for method, scores in pools.scores(scorer, values[scorer.name]).items():
            for place, pool in enumerate(scores):
                best = pick(pool, tie_seed=seeds[place])
                if best is not None:
                    picks[place][method] = best
    return picks


def _chosen(pools: Pools, count: int) -> list[int]:
    """Places of the problems to show: sources take turns, open questions come first."""
    by_source: dict[str, list[int]] = {}
    for place, problem in enumerate(pools.problems):
        by_source.setdefault(problem.source, []).append(place)

    def settled(place: int) -> bool:
        return len({one.verdict == "correct" for one in pools.solutions[place]}) < 2

    queues = [sorted(places, key=settled) for places in by_source.values()]
    turns = [queue[turn] for turn in range(count) for queue in queues if turn < len(queue)]
    return turns[:count]


def _shown(pool: Sequence[Solution], picks: Mapping[str, int]) -> tuple[Solution, ...]:
    """The most picked solutions, then a right and a wrong one, no text twice."""
    wanted = [index for index, _ in Counter(picks.values()).most_common(2)]
    for right in (True, False):
        wanted += [one.index for one in pool if (one.verdict == "correct") == right][:2]
    shown: dict[str, Solution] = {}
    for index in wanted:
        shown.setdefault(pool[index].text, pool[index])
    return tuple(sorted(list(shown.values())[:SOLUTIONS], key=lambda one: one.index))
