"""How long the report of a run takes, and how large it is.

A run of puzzles with solutions and three scorers is made from a seed, without a model, and
reported as `vilbench report` does it:

    python -m benchmarks.report --problems 600 -n 24
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from vilbench import config
from vilbench.cli import job
from vilbench.evaluate.effort import effort
from vilbench.evaluate.stages import note_sampling, note_scoring
from vilbench.problems.puzzles import puzzles
from vilbench.problems.puzzles.claims import word
from vilbench.problems.puzzles.puzzle import Puzzle, gold_claims
from vilbench.store.manifest import Manifest
from vilbench.store.run import Run
from vilbench.testing import make_solution
from vilbench.types import Solution, StepScores, Usage

RECIPE = """\
name: made
problems: {source: puzzles, split: test, limit: 1}
sample: {engine: {kind: local, model: "embedded:small"}, n: 1}
scorers:
  - kind: judge
    name: judge-orm
    granularity: solution
    engine: {kind: local, model: "embedded:base"}
  - kind: judge
    name: judge-prm
    granularity: step
    engine: {kind: local, model: "embedded:base"}
  - {kind: prm, name: prm, model: "embedded:vilprm"}
main: prm
"""

SCORERS = ("judge-orm", "judge-prm", "prm")


class Measured(NamedTuple):
    """What a report took: seconds on the wall and of the processor, and megabytes."""

    wall: float
    cpu: float
    page: float
    results: float


def make_run(folder: Path, problems: int, n: int, seed: int) -> None:
    """A run of puzzles; scores lean to right steps, by noise of the seed."""
    recipe = config.parse_text(RECIPE, "recipe").changed(
        {"sample.n": n, "problems.limit": problems}
    )
    rng = random.Random(seed)
    manifest = Manifest.of("made", recipe.identity(), seed=seed, problem_set="puzzles:test")
    with Run.open(folder, manifest, fresh=True) as run:
        drawn = list(puzzles("test", problems))
        run.add_problems([one.problem for one in drawn])
        job.note_command(run, recipe, "python -m benchmarks.report")
        note_sampling(run, "drawn", n, "made")
        pools = [[_solution(one, index, rng) for index in range(n)] for one in drawn]
        with effort(run, "drawn") as tally:
            for pool in pools:
                run.put_solutions("drawn", pool)
                tally.problems += 1
        for scorer in SCORERS:
            note_scoring(run, scorer, scorer, "drawn")
            with effort(run, scorer) as tally:
                for pool in pools:
                    run.put_scores(scorer, [_scores(scorer, one, rng) for one in pool])
                    tally.problems += 1


def _solution(puzzle: Puzzle, index: int, rng: random.Random) -> Solution:
    steps = [word(claim, 0) for claim in gold_claims(puzzle.scene)]
    right = rng.random() < 0.4
    if not right:
        at = rng.randrange(len(steps))
        steps[at] = "It is 7 and 8, so 99 + 99 = 7."
    answer = puzzle.problem.answer if right else str(rng.randrange(1, 9))
    usage = Usage(prompt_tokens=60, completion_tokens=20 * len(steps))
    return make_solution(puzzle.problem, index, "\n".join(steps), answer=answer, usage=usage)


def _scores(scorer: str, solution: Solution, rng: random.Random) -> StepScores:
    whole = scorer == "judge-orm"
    lean = 0.15 if solution.verdict == "correct" else -0.15
    drawn = [
        min(1.0, max(0.0, rng.gauss(0.5 + lean, 0.25)))
        for _ in range(1 if whole else len(solution.steps))
    ]
    return StepScores(
        problem_id=solution.problem_id,
        solution_index=solution.index,
        scorer=scorer,
        granularity="solution" if whole else "step",
        values=tuple(drawn if scorer == "prm" else (float(round(1 + 4 * v)) for v in drawn)),
        usage=Usage(prompt_tokens=200 * len(drawn), completion_tokens=0 if scorer == "prm" else 12),
    )


def measure(folder: Path) -> Measured:
    """Reports a run once, as the command does."""
    with job.go_on(folder) as run:
        wall, cpu = time.perf_counter(), time.process_time()
        with Path("/dev/null").open("w", encoding="utf-8") as nothing:
            job.report(run, job.recipe_of(run), Console(file=nothing), plain=True)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    sizes = [(folder / name).stat().st_size / 1e6 for name in ("report.html", "results.json")]
    return Measured(wall, cpu, *sizes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes a run, reports it, prints what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=600)
    parser.add_argument("-n", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=Path, help="report this run instead of a made one")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as made:
        folder = given.run or Path(made) / "run"
        if given.run is None:
            make_run(folder, given.problems, given.n, given.seed)
        found = measure(folder)
    print(
        f"report of {given.run or f'{given.problems} x {given.n}, {len(SCORERS)} scorers'}: "
        f"{found.wall:.1f} s on the wall, {found.cpu:.1f} s of the processor; "
        f"page {found.page:.2f} MB, results.json {found.results:.2f} MB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
