"""Scorers with a planted defect of a known size, and a run of puzzles that they have scored."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vilbench.diagnostics.probes import (
    PROBES,
    Deck,
    Draw,
    ProbeFinding,
    draw_cases,
    findings,
    probe,
)
from vilbench.evaluate.analysis import Plan, stored
from vilbench.evaluate.pools import Scale, ScorerPlan
from vilbench.evaluate.scoring import score
from vilbench.evaluate.stages import note_sampling
from vilbench.problems.puzzles import puzzles
from vilbench.problems.puzzles.puzzle import gold_claims, solution
from vilbench.steps import FORMATS
from vilbench.store.manifest import Manifest
from vilbench.store.run import Run
from vilbench.types import Granularity, Problem, Solution, StepScores, Usage

PROBLEMS, CANDIDATES = 18, 8
ALL = Draw(seed=0, limit=None, candidates=CANDIDATES, attacked=3)
PLAN = Plan(CANDIDATES, (ScorerPlan("planted", "step", Scale(0, 1), ("mean",), "mean"),))


@dataclass
class Planted:
    """Knows right from wrong by answer and picture; every other influence is planted.

    With the picture that belongs to the problem a right answer gets 0.6 and a wrong one 0.3,
    and with any other picture an answer gets what its hash says. That is all of it by
    default: words, boundaries, order and neighbours leave it alone.

    Attributes:
        truth: Problem id to the digest of its picture and its answer.
        blind: It does not look at the picture.
        noise: Standard deviation of a Gaussian that it adds to each solution, anew each time.
        by_place: What it adds per place in the call.
        by_neighbour: What it adds per solution of the call.
        by_step: What it adds per step.
        by_word: What it adds where a word stands in the text.
        key: A text that gets 0.95.
        reads: Any other picture than the problem's gets 0.95: it obeys what is drawn.
        asked: Solutions that it was asked about, by problem and index.
    """

    truth: Mapping[str, tuple[str, str]]
    blind: bool = False
    noise: float = 0.0
    by_place: float = 0.0
    by_neighbour: float = 0.0
    by_step: float = 0.0
    by_word: tuple[str, float] = ("", 0.0)
    key: str | None = None
    reads: bool = False
    name: str = "planted"
    granularity: Granularity = "step"
    fingerprint: str = "planted"
    asked: list[tuple[str, int]] = field(default_factory=list)
    rng: random.Random = field(default_factory=lambda: random.Random(0))

    async def score(self, problem: Problem, solutions: Sequence[Solution]) -> list[StepScores]:
        await asyncio.sleep(0)
        self.asked += [(problem.id, one.index) for one in solutions]
        return [
            StepScores(
                problem_id=problem.id,
                solution_index=one.index,
                scorer=self.name,
                granularity="step",
                values=(self._value(problem, one, place, len(solutions)),) * len(one.steps),
                usage=Usage(prompt_tokens=7 * len(one.steps)),
            )
            for place, one in enumerate(solutions)
        ]

    def _value(self, problem: Problem, one: Solution, place: int, size: int) -> float:
        digest, answer = self.truth[problem.id]
        shown = problem.images[0].digest if problem.images else digest
        word, amount = self.by_word
        if (self.reads and shown != digest) or (self.key and self.key in one.text):
            return 0.95
        if self.blind or shown == digest:
            value = 0.6 if one.answer == answer else 0.3
        else:
            hashed = hashlib.sha256(f"{shown}/{one.answer}".encode()).digest()
            value = 0.3 + 0.3 * hashed[0] / 255
        value += self.by_place * place + self.by_neighbour * size + self.by_step * len(one.steps)
        value += amount * (word in one.text if word else 0)
        return value + self.rng.gauss(0.0, self.noise)


def truth(problems: Sequence[Problem]) -> dict[str, tuple[str, str]]:
    return {one.id: (one.images[0].digest if one.images else "", one.answer) for one in problems}


def sampled(folder: Path, *, problems: int = PROBLEMS) -> Run:
    """Puzzles with three right and five wrong candidates each, in wordings of the puzzles."""
    manifest = Manifest.of("probed", {}, seed=0, problem_set="puzzles:dev")
    run = Run.open(folder, manifest, fresh=True)
    drawn = list(puzzles("dev", problems))
    run.add_problems([one.problem for one in drawn])
    note_sampling(run, "drawn", CANDIDATES, "policy")
    for puzzle in drawn:
        rng = random.Random(puzzle.problem.id)
        claims = gold_claims(puzzle.scene)
        made: list[Solution] = []
        for index in rng.sample(range(CANDIDATES), CANDIDATES):
            right = index < 3
            value = claims[-1].value if right else str(90 + index)
            said = [*claims[:-1], claims[-1]._replace(value=value)]
            text = solution(said, value, [rng.randrange(3) for _ in said])
            made.append(
                Solution(
                    problem_id=puzzle.problem.id,
                    index=len(made),
                    text=text,
                    steps=FORMATS["steps-brief"].split(text),
                    answer=value,
                    verdict="correct" if right else "wrong",
                    finish_reason="stop",
                )
            )
        run.put_solutions("drawn", made)
    return run


def scored(run: Run, scorer: Planted) -> None:
    asyncio.run(score(run, scorer, "drawn"))


def probed(
    run: Run, scorer: Planted, names: Sequence[str] = tuple(PROBES), draw: Draw = ALL
) -> None:
    """Scores the probes' changes."""
    pools = stored(run, PLAN).pools
    cases, deck = draw_cases(pools, draw), Deck(draw, pools.problems)
    asyncio.run(probe(run, scorer, [PROBES[name] for name in names], cases, deck))


class Found(dict[tuple[str, str, str], ProbeFinding]):
    """Findings by variant, measure and modality."""

    def __call__(self, variant: str, measure: str, modality: str = "all") -> float:
        value = self[variant, measure, modality].value
        assert value is not None
        return value


def found(run: Run) -> Found:
    return Found(((one.variant, one.measure, one.modality), one) for one in findings(run, PLAN))
