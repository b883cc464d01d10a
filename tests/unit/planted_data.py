"""A simulated world in which scorers can be given defects of known size.

Every solution says in its own text how likely it is to be right, and whether it is, so that a
scorer can be as good, as biased or as noisy as a test wants. A solution is right or wrong from
its first step on: neither length nor the number of a step tells anything.
"""

from __future__ import annotations

import hashlib
import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vilbench.evaluate.labels import Labels
from vilbench.evaluate.pools import Pools
from vilbench.store.records import ScoreRef
from vilbench.testing import make_problem, make_solution
from vilbench.types import Granularity, Problem, Solution, StepScores, Usage

SOURCES = ("maps", "sums", "words")
MODALITIES = ("text-dominant", "visual-dominant")
_CHANCE = re.compile(r"chance (0\.\d+)")
_PADS = ("so", "well", "hence", "therefore", "accordingly")


class World(NamedTuple):
    """Problems with a pool of solutions each, all pools of one size."""

    problems: tuple[Problem, ...]
    pools: tuple[tuple[Solution, ...], ...]

    def aligned(self) -> Pools:
        """As the analysis takes them."""
        return Pools(self.problems, self.pools)


def planted_world(n_problems: int = 200, n: int = 12, seed: int = 0, repeats: float = 0.2) -> World:
    """The world; `repeats` is the chance that a solution is the copy of an earlier one."""
    rng = np.random.default_rng(seed)
    problems, pools = [], []
    for place in range(n_problems):
        problem = make_problem(
            id=f"p{place}",
            source=SOURCES[place % len(SOURCES)],
            modality=MODALITIES[place // len(SOURCES) % len(MODALITIES)],
            answer="1",
        )
        ease = rng.normal()
        pool: list[Solution] = []
        for index in range(n):
            if pool and rng.random() < repeats:
                copied = pool[int(rng.integers(len(pool)))]
                pool.append(copied.model_copy(update={"index": index}))
                continue
            chance = float(f"{1 / (1 + np.exp(-(ease + 1.2 * rng.normal()))):.6f}")
            chance = min(0.999999, max(0.000001, chance))
            right = rng.random() < chance
            lines = []
            for number in range(1, int(rng.integers(2, 7)) + 1):
                pads = " ".join(rng.choice(_PADS, size=int(rng.integers(0, 9))))
                mark = "right" if right else "wrong"
                lines.append(
                    f"Step {number}: {mark}, chance {chance:.6f} {index:02d} {pads}".rstrip()
                )
            text = "\n".join(lines)
            answer = "1" if right else str(rng.integers(2, 6))
            usage = Usage(completion_tokens=len(text.split()))
            pool.append(make_solution(problem, index, text, answer=answer, usage=usage))
        problems.append(problem)
        pools.append(tuple(pool))
    return World(tuple(problems), tuple(pools))


def planted_labels(problem: Problem, solution: Solution) -> Labels:
    """Labels of the steps, as their texts tell them."""
    return tuple("right" if "right" in text else "wrong" for text in solution.step_texts())


def chance(text: str) -> float:
    """How likely a solution is to be right, from its text or a part of it."""
    found = _CHANCE.search(text)
    assert found is not None
    return float(found[1])


@dataclass(frozen=True)
class Planted:
    """A `StepScorer` that tells a solution's chance of being right, with defects.

    Without any it is calibrated to perfection, on [0, 1].

    Attributes:
        noise: Standard deviation of noise on the logit, the same for equal texts.
        wavering: The same, drawn anew for every candidate.
        overconfidence: The logit is multiplied by 1 + this.
        excess: Added to every value.
        length: Added to the logit for every 10 characters of the solution.
        number: Added to the logit for every step before the one scored.
        order: Added to the logit for every candidate before the one scored.
        ceiling: Values of at least this become 1.
        levels: Values are rounded to this many levels; 0 leaves them as they are.
        silent: Share of the candidates without a verdict.
    """

    scorer: str = "planted"
    granularity: Granularity = "step"
    noise: float = 0.0
    wavering: float = 0.0
    overconfidence: float = 0.0
    excess: float = 0.0
    length: float = 0.0
    number: float = 0.0
    order: float = 0.0
    ceiling: float = 2.0
    levels: int = 0
    silent: float = 0.0
    seed: int = 0

    @property
    def name(self) -> str:
        return self.scorer

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]

    async def score(self, problem: Problem, solutions: Sequence[Solution]) -> list[StepScores]:
        return [self.scored(problem, solution) for solution in solutions]

    def scored(self, problem: Problem, solution: Solution) -> StepScores:
        """The record of one solution."""
        where = f"{problem.id}/{solution.index}"
        places = len(solution.steps) if self.granularity == "step" else 1
        silent = self.silent > 0 and self._random("silent", where).random() < self.silent
        told = chance(solution.text)
        logit = math.log(told / (1 - told)) * (1 + self.overconfidence)
        if self.noise:
            logit += self.noise * self._random(problem.id, solution.text).gauss()
        if self.wavering:
            logit += self.wavering * self._random("wavering", where).gauss()
        logit += self.length * len(solution.text) / 10 + self.order * solution.index
        values = tuple(self._value(logit + self.number * number) for number in range(places))
        return StepScores(
            problem_id=problem.id,
            solution_index=solution.index,
            scorer=self.scorer,
            granularity=self.granularity,
            values=(None,) * places if silent else values,
        )

    def values(self, world: World) -> dict[ScoreRef, StepScores]:
        """The records of all solutions, as a run gives them back."""
        return {
            ScoreRef(problem.id, solution.index): self.scored(problem, solution)
            for problem, pool in zip(world.problems, world.pools, strict=True)
            for solution in pool
        }

    def _value(self, logit: float) -> float:
        value = min(1.0, max(0.0, 1 / (1 + math.exp(-logit)) + self.excess))
        if value >= self.ceiling:
            return 1.0
        return round(value * self.levels) / self.levels if self.levels else value

    def _random(self, *names: str) -> random.Random:
        return random.Random("\0".join((str(self.seed), *names)))
