"""Aggregation and threshold of each step scorer, chosen on a run over problems for that."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from vilbench.errors import RunError
from vilbench.evaluate.analysis import Plan, stored
from vilbench.evaluate.choice import Choice
from vilbench.evaluate.labels import Labeller, checked
from vilbench.evaluate.origins import known_as
from vilbench.evaluate.pools import Scores
from vilbench.evaluate.stepwise import LabelledSteps, sound_steps
from vilbench.metrics import best_threshold
from vilbench.selection import best_of
from vilbench.store.run import Run


class Finding(NamedTuple):
    """A choice, with what it reached on the problems that it was made on.

    Attributes:
        accuracy: Best-of-N accuracy of the chosen aggregation, in [0, 1].
        macro_f1: Macro-F1 over steps at the chosen threshold; None without labels.
    """

    scorer: str
    choice: Choice
    accuracy: float
    macro_f1: float | None


def choose(run: Run, plan: Plan, labeller: Labeller = checked) -> list[Finding]:
    """For every step scorer of a stored run the best aggregation and threshold.

    The aggregation is the one of the scorer's list with the best Best-of-N accuracy; of
    equal ones the earliest in the list, which goes from plain to particular. The threshold
    is that of the best macro-F1 over all labelled steps.

    Args:
        run: A run over a dev split.
        plan: What was scored.
        labeller: Who knows the steps.

    Raises:
        RunError: The run is over a test split, or has nothing to choose for.
    """
    problem_set = not_reported(run)
    _, scorers, pools, values = stored(run, plan)
    correct = pools.correct()
    sound = sound_steps(pools, labeller)
    findings = []
    for scorer in scorers:
        if scorer.granularity == "solution" or not scorer.aggregations:
            continue
        given = values[scorer.name]
        scores = pools.scores(scorer, given)
        accuracies = {
            method.aggregation: _accuracy(scores[method.name], correct)
            for method in scorer.methods()
        }
        best = max(accuracies, key=lambda name: round(accuracies[name], 12))
        steps = LabelledSteps.of(pools, sound, given)
        threshold = best_threshold(
            [value for pool in steps.scores for value in pool],
            [mark for pool in steps.right for mark in pool],
        )
        choice = Choice(
            aggregation=best,
            threshold=None if threshold is None else float(f"{threshold.value:.6g}"),
            problem_set=problem_set,
            n_problems=len(pools.problems),
            n=plan.n,
            seed=run.manifest.seed,
            fingerprint=run.manifest.fingerprint,
        )
        macro = None if threshold is None else threshold.macro_f1
        findings.append(Finding(scorer.name, choice, accuracies[best], macro))
    if not findings:
        raise RunError(f"{run.folder}: no step scorer has scored this run")
    return findings


def not_reported(run: Run) -> str:
    """The problem set of a run as `known_as` has it, which is none that is reported.

    Raises:
        RunError: It is a test split, or chosen from one.
    """
    problem_set = known_as(run)
    if any(one.endswith(":test") for one in problem_set.split("+")):
        raise RunError(
            f"{run.folder}: is a run over {problem_set}; what is chosen on the problems that "
            "are reported looks better than it is: choose on a run over dev"
        )
    return problem_set


def _accuracy(scores: Scores, correct: list[list[bool]]) -> float:
    return float(best_of(scores, correct).accuracy[:, -1].mean())


def written(findings: Sequence[Finding]) -> str:
    """The choices as YAML: below each scorer's name the key that its recipe entry takes."""
    lines = []
    for one in findings:
        told = f"# {one.choice.aggregation} answers {one.accuracy:.1%} right"
        if one.macro_f1 is not None:
            told += f"; macro-F1 over steps {one.macro_f1:.1%}"
        data = one.choice.model_dump(mode="json")
        values = ", ".join(f"{key}: {json.dumps(value)}" for key, value in data.items())
        lines += [f"{json.dumps(one.scorer)}:", f"  {told}", f"  chosen: {{{values}}}"]
    return "\n".join(lines) + "\n"
