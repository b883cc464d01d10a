"""What is known of the steps of a solution, whoever wrote it."""

from __future__ import annotations

from collections.abc import Callable

from vilbench.problems.puzzles.checker import Label, check
from vilbench.types import Problem, Solution

Labels = tuple[Label, ...]
"""A label per step."""

Labeller = Callable[[Problem, Solution], Labels | None]
"""Labels of a solution's steps; None where nothing is known of them."""


def checked(problem: Problem, solution: Solution) -> Labels | None:
    """Labels by the exact checker; None for a problem that is no puzzle."""
    if "facts" not in problem.metadata or "equations" not in problem.metadata:
        return None
    return tuple(one.label for one in check(problem, solution.step_texts()))


def remembered(labeller: Labeller) -> Labeller:
    """The labeller, asked once for each problem and steps however often it is called."""
    known: dict[tuple[str, tuple[str, ...]], Labels | None] = {}

    def labels(problem: Problem, solution: Solution) -> Labels | None:
        key = (problem.id, solution.step_texts())
        if key not in known:
            known[key] = labeller(problem, solution)
        return known[key]

    return labels


def soundness(labels: Labels) -> tuple[bool | None, ...]:
    """For each step whether it and all steps before it are right, which a PRM's value means.

    False from the first wrong step on. None where no step is wrong yet and one cannot be
    told ("unchecked"): nobody knows, so that the step is left out of the figures.
    """
    sound: bool | None = True
    found: list[bool | None] = []
    for label in labels:
        if label == "wrong":
            sound = False
        elif label == "unchecked" and sound:
            sound = None
        found.append(sound)
    return tuple(found)
