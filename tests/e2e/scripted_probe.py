"""Probing as a program that can be killed: FOLDER LOG SECONDS.

Every request of the scorer takes SECONDS and adds a line to LOG when it begins. The run is
made, and its solutions are scored, by the first program that finds none.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

from vilbench.diagnostics.probes import PROBES, Deck, Draw, draw_cases, probe
from vilbench.evaluate.analysis import Plan, stored
from vilbench.evaluate.pools import Scale, ScorerPlan
from vilbench.evaluate.scoring import score
from vilbench.evaluate.stages import note_sampling
from vilbench.store.manifest import Manifest
from vilbench.store.run import Run
from vilbench.testing import make_problem, make_solution, tiny_png
from vilbench.types import BytesSource, Granularity, Image, Problem, Solution, StepScores

PLAN = Plan(3, (ScorerPlan("hash", "step", Scale(0, 1), ("mean",), "mean"),))
DRAW = Draw(seed=0, limit=3, candidates=3, attacked=2)
PROBED = ("rescoring", "order", "image", "attack")


class LoggedScorer:
    """Scores by a hash of picture and step."""

    name = "hash"
    granularity: Granularity = "step"
    fingerprint = "hash"

    def __init__(self, log: Path, seconds: float) -> None:
        self._log = log
        self._seconds = seconds

    async def score(self, problem: Problem, solutions: Sequence[Solution]) -> list[StepScores]:
        """Values in [0, 1]."""
        shown = problem.images[0].digest
        said = "|".join(f"{one.index} {one.text!r} {len(one.steps)}" for one in solutions)
        with self._log.open("a") as log:
            log.write(f"{problem.id} {shown} {said}\n")
        await asyncio.sleep(self._seconds)
        return [
            StepScores(
                problem_id=problem.id,
                solution_index=one.index,
                scorer=self.name,
                granularity="step",
                values=tuple(crc32((shown + step).encode()) / 2**32 for step in one.step_texts()),
            )
            for one in solutions
        ]


def begun(folder: Path) -> Run:
    """The run with its problems and solutions, made where it is not."""
    run = Run.open(folder, Manifest.of("probed", {}, seed=0, problem_set="sums"))
    problems = [
        make_problem(id=f"p{number}", images=(Image.of(BytesSource(tiny_png(color, (32, 32)))),))
        for number, color in enumerate(("red", "lime", "blue", "teal"))
    ]
    run.add_problems(problems)
    note_sampling(run, "drawn", 3, "policy")
    for problem in problems:
        answers = (problem.answer, "7", "9")
        run.put_solutions(
            "drawn",
            [
                make_solution(problem, index, f"So {index} it is.\nAnswer: {said}", answer=said)
                for index, said in enumerate(answers)
            ],
        )
    return run


def main(folder: Path, log: Path, seconds: float) -> None:
    """Probes what is not stored yet."""
    scorer = LoggedScorer(log, seconds)
    with begun(folder) as run:
        asyncio.run(score(run, scorer, "drawn"))
        pools = stored(run, PLAN).pools
        cases, deck = draw_cases(pools, DRAW), Deck(DRAW, pools.problems)
        asyncio.run(probe(run, scorer, [PROBES[name] for name in PROBED], cases, deck))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
