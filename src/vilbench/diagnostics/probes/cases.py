"""Which problems and candidates are probed: a stated draw that a seed repeats."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from vilbench.evaluate.pools import Pools
from vilbench.types import Problem, Solution


@dataclass(frozen=True)
class Draw:
    """How much is probed. A larger draw holds every smaller one of its seed.

    Attributes:
        seed: Seed of the draw and of every change.
        limit: Most problems; None takes all.
        candidates: Most candidates of a problem.
        attacked: Most wrong candidates of a problem that attacks are tried on.

    Raises:
        ValueError: A number is below 1, or the seed below 0.
    """

    seed: int = 0
    limit: int | None = 60
    candidates: int = 8
    attacked: int = 3

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"a seed of {self.seed}")
        for name in ("limit", "candidates", "attacked"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, and must be at least 1")


class Case(NamedTuple):
    """A problem with the candidates that were drawn for it, in the order of their index."""

    problem: Problem
    solutions: tuple[Solution, ...]

    @property
    def correct(self) -> list[bool]:
        """Which candidates are right."""
        return [one.verdict == "correct" for one in self.solutions]

    def wrong(self, most: int) -> tuple[Solution, ...]:
        """The first candidates that give a wrong answer."""
        return tuple(one for one in self.solutions if one.verdict == "wrong")[:most]


def draw_cases(pools: Pools, draw: Draw) -> tuple[Case, ...]:
    """The drawn problems in the order of the run; those without a sampled solution are none.

    Args:
        pools: What was sampled.
        draw: How much of it.
    """
    held = [
        Case(problem, tuple(one for one in solutions if one.verdict != "failed"))
        for problem, solutions in zip(pools.problems, pools.solutions, strict=True)
    ]
    held = [case for case in held if case.solutions]
    chosen = _first([case.problem.id for case in held], draw.limit, draw.seed)
    return tuple(_thinned(case, draw) for case in held if case.problem.id in chosen)


def _thinned(case: Case, draw: Draw) -> Case:
    names = [f"{case.problem.id}/{one.index}" for one in case.solutions]
    chosen = _first(names, draw.candidates, draw.seed)
    kept = zip(names, case.solutions, strict=True)
    return Case(case.problem, tuple(one for name, one in kept if name in chosen))


def _first(names: Sequence[str], most: int | None, seed: int) -> set[str]:
    """The first of the names in the order that the seed shuffles them into."""
    return set(sorted(names, key=lambda name: stream(seed, "draw", name))[:most])


def stream(seed: int, *parts: str) -> str:
    """Names the random stream of one change, so that it depends on nothing else."""
    said = "\0".join((str(seed), *parts))
    return hashlib.sha256(said.encode()).hexdigest()


@dataclass(frozen=True)
class Deck:
    """What a change may look at beside its case.

    Attributes:
        draw: The draw.
        problems: All problems of the run, for a picture to swap with.
    """

    draw: Draw
    problems: tuple[Problem, ...]

    @cached_property
    def _alike(self) -> Mapping[tuple[str, str, int], tuple[Problem, ...]]:
        found: dict[tuple[str, str, int], list[Problem]] = {}
        for one in sorted(self.problems, key=lambda one: one.id):
            found.setdefault(_kind(one), []).append(one)
        return {kind: tuple(some) for kind, some in found.items()}

    def donors(self, problem: Problem) -> list[Problem]:
        """Problems whose images can stand for the problem's, in the order of their ids.

        They are of the same source and modality, have as many images, and share none. The
        twin of a puzzle, which shows the same scene, is of another modality.
        """
        mine = set(problem.images)
        alike = self._alike.get(_kind(problem), ())
        return [one for one in alike if one.images and mine.isdisjoint(one.images)]


def _kind(problem: Problem) -> tuple[str, str, int]:
    return problem.source, problem.modality, len(problem.images)
