"""A run over four puzzles, with solutions whose steps the exact checker knows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vilbench import config
from vilbench.cli import job
from vilbench.evaluate.choice import Choice
from vilbench.evaluate.pools import Scale, ScorerPlan
from vilbench.evaluate.stages import note_sampling, note_scoring
from vilbench.problems.puzzles import puzzles
from vilbench.problems.puzzles.claims import word
from vilbench.problems.puzzles.puzzle import gold_claims
from vilbench.store.manifest import Manifest
from vilbench.store.run import Run
from vilbench.testing import make_solution
from vilbench.types import StepScores

PRM = ScorerPlan("prm", "step", Scale(0, 1), ("mean", "last-1", "min", "last-2"), "mean")
RECIPE = """\
name: tiny
problems: {source: puzzles, split: dev, limit: 4}
sample: {engine: {kind: local, model: "embedded:small"}, n: 2}
scorers:
  - {kind: prm, name: prm, model: some/folder, aggregations: [mean, last-1, min, last-2]}
  - {kind: prm, name: prm-untrained, model: some/folder, untrained: true, aggregations: [last-1]}
  - {kind: likelihood, engine: {kind: local, model: "embedded:small"}}
main: prm
"""


def choice(**changes: object) -> Choice:
    given = {"aggregation": "last-1", "threshold": 0.5, "problem_set": "puzzles:dev"}
    return Choice.model_validate({**given, "n_problems": 4, "n": 2, "seed": 3, **changes})


def puzzle_run(folder: Path, split: str = "dev", scorers: Sequence[str] = ("prm",)) -> Run:
    """Four puzzles with a right and a wrong solution each, open for writing.

    Only the last step of the wrong one is wrong. The first scorer's values tell the two apart
    at their ends. The earlier steps of a right solution have lower values than those of a
    wrong one, so that `mean` takes a long one for worse; the other aggregations find it. Any
    further scorer gives the opposite values.
    """
    recipe = config.parse_text(RECIPE, "recipe")
    manifest = Manifest.of("tiny", recipe.identity(), seed=3, problem_set=f"puzzles:{split}")
    run = Run.open(folder, manifest, fresh=True)
    drawn = list(puzzles("dev", 4))
    run.add_problems([puzzle.problem for puzzle in drawn])
    job.note_command(run, recipe, "vilbench run")
    note_sampling(run, "drawn", 2, "policy")
    for scorer in scorers:
        note_scoring(run, scorer, f"scored by {scorer}", "drawn")
    for puzzle in drawn:
        steps = [word(claim, 0) for claim in gold_claims(puzzle.scene)]
        wrong = [*steps[:-1], "It is 7 and 8, so 99 + 99 = 7."]
        answers: Sequence[str | None] = (puzzle.problem.answer, None)
        solutions = [
            make_solution(puzzle.problem, index, "\n".join(text), answer=answer)
            for index, (text, answer) in enumerate(zip((steps, wrong), answers, strict=True))
        ]
        run.put_solutions("drawn", solutions)
        early = len(steps) - 1
        values = ((0.6,) * early + (0.9,), (1.0,) * early + (0.2,))
        for place, scorer in enumerate(scorers):
            records = [
                StepScores(
                    problem_id=puzzle.problem.id,
                    solution_index=index,
                    scorer=scorer,
                    granularity="step",
                    values=tuple(1 - value for value in given) if place else given,
                )
                for index, given in enumerate(values)
            ]
            run.put_scores(f"scored by {scorer}", records)
    return run
