"""Step values against labels of the steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from vilbench.evaluate.labels import Labeller, soundness
from vilbench.evaluate.pools import Pools
from vilbench.evaluate.results import StepEvidence
from vilbench.evaluate.slices import Slice
from vilbench.metrics import Calls, Separation, Stratified
from vilbench.store.records import ScoreRef
from vilbench.types import StepScores

Sound = list[list[tuple[bool | None, ...]]]
"""Whether each step ends a sound prefix, `[P][N][steps]`; no steps where nothing is known."""


def sound_steps(pools: Pools, labeller: Labeller) -> Sound:
    """Labels of all steps; equal solutions of a problem are labelled once."""
    found: Sound = []
    for problem, pool in zip(pools.problems, pools.solutions, strict=True):
        known: dict[tuple[str, ...], tuple[bool | None, ...]] = {}
        row = []
        for solution in pool:
            texts = solution.step_texts()
            if texts not in known:
                labels = labeller(problem, solution)
                known[texts] = () if labels is None else soundness(labels)
            row.append(known[texts])
        found.append(row)
    return found


@dataclass(frozen=True)
class LabelledSteps:
    """The steps with a label, by problem, and what a scorer says of them.

    Attributes:
        scores: Its values, `[P][*]`; None is no verdict.
        right: Whether each step ends a sound prefix, in the same shape.
        numbers: Of each step within its solution, in the same shape.
        unchecked: Steps without a label, `[P]`.
    """

    scores: Sequence[Sequence[float | None]]
    right: Sequence[Sequence[bool]]
    numbers: Sequence[Sequence[int]]
    unchecked: Sequence[int]

    @classmethod
    def of(cls, pools: Pools, sound: Sound, values: Mapping[ScoreRef, StepScores]) -> LabelledSteps:
        """The labelled steps of the pools with a step scorer's values."""
        scores: list[list[float | None]] = []
        right: list[list[bool]] = []
        numbers: list[list[int]] = []
        unchecked = []
        for pool, labels in zip(pools.solutions, sound, strict=True):
            scores.append([])
            right.append([])
            numbers.append([])
            left_out = 0
            for solution, marks in zip(pool, labels, strict=True):
                record = values.get(ScoreRef(solution.problem_id, solution.index))
                given = record.values if record else (None,) * len(marks)
                for number, (value, mark) in enumerate(zip(given, marks, strict=False)):
                    if mark is None:
                        left_out += 1
                    else:
                        scores[-1].append(value)
                        right[-1].append(mark)
                        numbers[-1].append(number)
            unchecked.append(left_out)
        return cls(scores, right, numbers, unchecked)


def step_evidence(
    scorer: str, steps: LabelledSteps, parts: Sequence[Slice], threshold: float | None
) -> Iterator[StepEvidence]:
    """How well the values tell right from wrong steps, for every slice that has labels.

    Args:
        scorer: Its name.
        steps: The labelled steps of all problems.
        parts: The slices.
        threshold: Values of at least this are called right; chosen on other problems.
    """
    separation = Separation(steps.scores, steps.right)
    level = Stratified(steps.scores, steps.right, steps.numbers)
    calls = None if threshold is None else Calls(steps.scores, steps.right, threshold)
    for part in parts:
        right = [steps.right[place] for place in part.places]
        n_steps = sum(map(len, right))
        if not n_steps:
            continue
        within = separation.within(part.bootstrap, part.places)
        pooled = separation.pooled(part.bootstrap, part.places)
        same = level.pooled(part.bootstrap, part.places)
        f1 = calls and calls.macro_f1(part.bootstrap, part.places)
        yield StepEvidence(
            scorer=scorer,
            source=part.source,
            modality=part.modality,
            n_problems=sum(bool(one) for one in right),
            n_steps=n_steps,
            n_right=sum(map(sum, right)),
            unchecked=sum(steps.unchecked[place] for place in part.places),
            missing=within.missing,
            pooled=pooled.value,
            pooled_low=pooled.low,
            pooled_high=pooled.high,
            within=within.value,
            within_low=within.low,
            within_high=within.high,
            n_within=within.n_problems,
            same=same.value,
            same_low=same.low,
            same_high=same.high,
            threshold=threshold,
            macro_f1=f1 and f1.value,
            f1_low=f1 and f1.low,
            f1_high=f1 and f1.high,
            f1_right=f1 and f1.right,
            f1_wrong=f1 and f1.wrong,
        )
