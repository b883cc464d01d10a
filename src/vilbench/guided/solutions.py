"""From finished searches to a run's pools, which are reported and viewed like any others.

The first solution of a problem is the one that the search would answer with; it carries what
the whole search cost. A search that finished none leaves its best beginning, as a solution
that gives no answer.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from vilbench.answers import read
from vilbench.collect.growth import Method
from vilbench.evaluate.pools import Scale
from vilbench.evaluate.scoring import score_key
from vilbench.evaluate.stages import note_sampling, note_scoring
from vilbench.search import Guided, found
from vilbench.search.tree import NodeRecord, TreeRecord
from vilbench.selection.aggregation import aggregation
from vilbench.store import trees
from vilbench.store.records import ScoreRef
from vilbench.store.run import Run
from vilbench.store.trees import Grown
from vilbench.types import Problem, Solution, Span, StepScorer, StepScores, Usage


@dataclass(frozen=True)
class Answering:
    """How searches become pools.

    Attributes:
        method: How they were grown, by a guided search under a scorer.
        scale: Of the scorer; values go back to it.
        keep: Solutions of a problem, the best first.
    """

    method: Method
    scale: Scale
    keep: int = 1

    @property
    def settings(self) -> Guided:
        """Of the search."""
        assert isinstance(self.method.search, Guided)  # noqa: S101 - what a recipe of a search has
        return self.method.search

    @property
    def scorer(self) -> StepScorer:
        """What guides it."""
        assert self.method.evaluator.scorer is not None  # noqa: S101 - likewise
        return self.method.evaluator.scorer

    @property
    def key(self) -> str:
        """Names everything that changes a solution, save the problem and the index."""
        return hashlib.sha256(f"answers\0{self.method.key}".encode()).hexdigest()


@dataclass(frozen=True)
class _Candidate:
    steps: tuple[str, ...]
    values: tuple[float | None, ...]
    finished: bool


def answer(run: Run, answering: Answering) -> int:
    """Stores the solutions of searches that are finished and have none stored yet.

    Returns:
        How many problems had their solutions stored.
    """
    key = answering.key
    scorer = answering.scorer
    scored = score_key(scorer, key)
    name = f"{answering.method.policy.generator.name}, {told(answering.settings)}"
    note_sampling(run, key, answering.keep, name)
    note_scoring(run, scorer.name, scored, key)
    # Solutions and scores are two units: a problem is done when it has both.
    done = Counter(
        ref.problem_id
        for ref in run.scores(scored).keys()
        & {
            ScoreRef(one.problem_id, one.index)
            for pool in run.solutions(key).values()
            for one in pool
        }
    )
    problems = {problem.id: problem for problem in run.problems()}
    count = 0
    for grown in trees.trees(run, answering.method.key):
        problem = problems[grown.tree.problem_id]
        if done[problem.id] >= answering.keep:
            continue
        solutions = list(_solutions(problem, grown, answering))
        run.put_solutions(key, [one for one, _ in solutions])
        run.put_scores(scored, [scores for _, scores in solutions])
        count += 1
    return count


def told(settings: Guided) -> str:
    """The search in a few words, for tables: "beam 4 x 4", "4 groups of beam 1 x 4"."""
    beams, widths = ("/".join(map(str, one)) for one in (settings.beams, settings.widths))
    if settings.whole:
        return f"best of {settings.groups * settings.beams[0] * settings.widths[0]}"
    beam = f"beam {beams} x {widths}"
    return beam if settings.groups == 1 else f"{settings.groups} groups of {beam}"


def _solutions(
    problem: Problem, grown: Grown, answering: Answering
) -> Iterator[tuple[Solution, StepScores]]:
    spent = grown.spent
    for index, one in enumerate(_candidates(grown.tree, answering)):
        text, spans = _written(one.steps, answering.method.policy.joint)
        reading = read(text, problem)
        yield (
            Solution(
                problem_id=problem.id,
                index=index,
                text=text,
                steps=spans,
                answer=reading.answer if one.finished else None,
                verdict=reading.verdict if one.finished else "unparsed",
                finish_reason="stop" if one.finished else "length",
                usage=Usage() if index else spent.policy,
                seed=grown.tree.seed,
            ),
            StepScores(
                problem_id=problem.id,
                solution_index=index,
                scorer=answering.scorer.name,
                granularity="step",
                values=tuple(_native(value, answering.scale) for value in one.values),
                usage=Usage() if index else spent.evaluator,
            ),
        )


def _candidates(tree: TreeRecord, answering: Answering) -> list[_Candidate]:
    rule = answering.settings.aggregation
    ends = found(tree, rule)[: answering.keep]
    if ends:
        return [_Candidate(one.steps, one.values, True) for one in ends]
    return [_beginning(tree, rule)]


def _beginning(tree: TreeRecord, rule: str) -> _Candidate:
    """The longest prefix that a search kept, the best of several; nothing where it kept none."""
    kept = [node for node in tree.nodes[1:] if node.visits]
    paths = [_path(tree, node) for node in kept]
    paths.sort(key=lambda path: (-len(path), -_worth(path, rule)))
    path = paths[0] if paths else ()
    return _Candidate(tuple(node.step for node in path), tuple(node.judged for node in path), False)


def _worth(path: tuple[NodeRecord, ...], rule: str) -> float:
    score = aggregation(rule)([node.judged for node in path])
    return -1.0 if score is None else score


def _path(tree: TreeRecord, node: NodeRecord) -> tuple[NodeRecord, ...]:
    """Nodes from the first step to this one."""
    path = [node]
    while (above := path[-1].parent) is not None:
        path.append(tree.nodes[above])
    return tuple(reversed(path[:-1]))


def _written(steps: tuple[str, ...], joint: str) -> tuple[str, tuple[Span, ...]]:
    """The text of steps, and where they are in it."""
    spans, start = [], 0
    for step in steps:
        spans.append(Span(start, start + len(step)))
        start += len(step) + len(joint)
    return joint.join(steps), tuple(spans)


def _native(value: float | None, scale: Scale) -> float | None:
    return None if value is None else scale.low + value * (scale.high - scale.low)
