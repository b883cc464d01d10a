"""Several stored runs beside each other: accuracies of their methods, and differences.

Two runs are paired where they hold the same problems in the same order: their samples differ,
their problems do not, so that a difference is judged problem by problem. Other runs are
compared as independent samples, which shows less, and is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vilbench.evaluate.analysis import Plan, stored
from vilbench.metrics import Bootstrap, Comparison, Estimate, compare
from vilbench.metrics.bootstrap import percentiles
from vilbench.problems.clusters import clusters
from vilbench.selection import best_of, majority, oracle, random
from vilbench.store.run import Run
from vilbench.types import Problem

Pairing = Literal["paired", "other problems", "another order", "same ids, other problems"]
"""Why two runs are paired or are not."""

_OTHER_SEED = 1
"""Runs that are not paired are resampled apart from each other."""


@dataclass(frozen=True)
class Measured:
    """What a comparison needs of a run.

    Attributes:
        label: What the run is called in the comparison.
        policy: Who solved the problems.
        problem_set: Their name.
        seed: Of the run.
        fingerprint: The same.
        problems: In the run's order, P of them.
        accuracy: Chance of a right choice among k solutions, `[P, N]`, by the name of the
            reference or scorer.
        methods: The method behind each of these: the one that stands for the scorer.
    """

    label: str
    policy: str
    problem_set: str
    seed: int
    fingerprint: str
    problems: tuple[Problem, ...]
    accuracy: Mapping[str, NDArray[np.float64]]
    methods: Mapping[str, str]

    @property
    def n(self) -> int:
        """Solutions of a problem."""
        return int(self.accuracy["cot"].shape[1])

    def bootstrap(self, seed: int = 0) -> Bootstrap:
        """Resamples of the problems, versions of one another together."""
        return Bootstrap(len(self.problems), seed=seed, clusters=clusters(self.problems))


@dataclass(frozen=True)
class Difference:
    """A reference or scorer of one run against the same of another, 95 % interval.

    Attributes:
        name: Of the reference or scorer.
        run: Place of the run among those compared.
        delta: In [-1, 1].
        p_value: None without pairs.
    """

    name: str
    run: int
    delta: float
    low: float
    high: float
    p_value: float | None


def measured(label: str, run: Run, plan: Plan) -> Measured:
    """The references and the standing methods of a stored run, problem by problem.

    Raises:
        RunError: There are no problems, or nothing has been sampled yet.
    """
    held, manifest = stored(run, plan), run.manifest
    correct = held.pools.correct()
    found = {
        "cot": random(correct).accuracy,
        "majority": majority(held.pools.answers(), correct).accuracy,
    }
    methods = {name: name for name in ("cot", "majority", "oracle")}
    for scorer in held.scorers:
        standing = scorer.standing(manifest.problem_set)
        if standing is not None:
            scores = held.pools.scores(scorer, held.values[scorer.name])[standing.name]
            found[scorer.name] = best_of(scores, correct).accuracy
            methods[scorer.name] = standing.name
    found["oracle"] = oracle(correct).accuracy
    return Measured(
        label=label,
        policy=held.policy,
        problem_set=manifest.problem_set,
        seed=manifest.seed,
        fingerprint=manifest.fingerprint,
        problems=held.pools.problems,
        accuracy=found,
        methods=methods,
    )


def interval(run: Measured, name: str) -> Estimate:
    """Accuracies for every k with their intervals, each `[N]`."""
    return run.bootstrap().mean_interval(run.accuracy[name])


def gain(run: Measured, name: str) -> Comparison:
    """A scorer or reference against cot within a run, paired, at N; each `[1]`."""
    mine, cot = run.accuracy[name][:, -1:], run.accuracy["cot"][:, -1:]
    return compare(mine, cot, run.bootstrap())


def pairing(one: Measured, other: Measured) -> Pairing:
    """Whether two runs can be compared problem by problem."""
    mine, theirs = ([problem.id for problem in run.problems] for run in (one, other))
    if mine != theirs:
        return "another order" if sorted(mine) == sorted(theirs) else "other problems"
    same = all(_asked(a) == _asked(b) for a, b in zip(one.problems, other.problems, strict=True))
    return "paired" if same else "same ids, other problems"


def _asked(problem: Problem) -> tuple[object, ...]:
    """What makes two problems of one id the same."""
    images = tuple(image.digest for image in problem.images)
    return problem.question, problem.choices, problem.answer, images


def differences(runs: Sequence[Measured]) -> Iterator[Difference]:
    """Every later run against the first at the largest k of each, by what both have."""
    first = runs[0]
    for place, run in enumerate(runs[1:], 1):
        paired = pairing(run, first) == "paired"
        for name, mine in run.accuracy.items():
            if name in first.accuracy:
                ends = mine[:, -1], first.accuracy[name][:, -1]
                yield (
                    _paired(name, place, *ends, run.bootstrap())
                    if paired
                    else _apart(name, place, *ends, run.bootstrap(), first.bootstrap(_OTHER_SEED))
                )


def _paired(
    name: str,
    place: int,
    mine: NDArray[np.float64],
    theirs: NDArray[np.float64],
    bootstrap: Bootstrap,
) -> Difference:
    found = compare(mine[:, None], theirs[:, None], bootstrap)
    delta, low, high, p_value = (float(one[0]) for one in found)
    return Difference(name, place, delta, low, high, p_value)


def _apart(
    name: str,
    place: int,
    mine: NDArray[np.float64],
    theirs: NDArray[np.float64],
    one: Bootstrap,
    other: Bootstrap,
) -> Difference:
    drawn = one.means(mine[:, None]) - other.means(theirs[:, None])
    low, high = (float(end[0]) for end in percentiles(drawn))
    return Difference(name, place, float(mine.mean() - theirs.mean()), low, high, None)
