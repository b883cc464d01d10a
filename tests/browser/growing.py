"""A process that writes a run when it is told to: FOLDER, then a word a line on its input.

`solve` stores the solutions of the next problem, `score` the values of them, `grow` the search
tree of the next problem. Each is answered with a line when it is stored.
"""

from __future__ import annotations

import sys
from pathlib import Path

from vilbench import config
from vilbench.evaluate.stages import note_sampling, note_scoring
from vilbench.search import NodeRecord, TreeRecord
from vilbench.store import trees
from vilbench.store.manifest import Manifest
from vilbench.store.records import Spent
from vilbench.store.run import Run
from vilbench.testing import make_problem, make_solution
from vilbench.types import Problem, StepScores

PROBLEMS = 9
RECIPE = """\
name: growing
problems: {source: puzzles, split: dev, limit: 9}
sample: {engine: {kind: local, model: "embedded:small"}, n: 2}
scorers:
  - {kind: prm, name: prm, model: some/folder, aggregations: [mean]}
main: prm
"""


def begin(folder: Path) -> Run:
    """The run with its problems, before anything is paid for."""
    recipe = config.parse_text(RECIPE, "recipe")
    manifest = Manifest.of("growing", recipe.identity(), seed=0, problem_set="puzzles:dev")
    run = Run.open(folder, manifest)
    run.add_problems([make_problem(id=f"p{n}", question=f"What is {n}?") for n in range(PROBLEMS)])
    run.event("command", {"line": "vilbench run", "recipe": recipe.model_dump(mode="json")})
    return run


def solve(run: Run, problem: Problem) -> None:
    """Two solutions, the first of them right."""
    note_sampling(run, "drawn", 2, "policy")
    texts = ("Step 1: it is 4.\nStep 2: so it is.", "Step 1: it is 5.\nStep 2: so it is.")
    answers = (problem.answer, None)
    pairs = enumerate(zip(texts, answers, strict=True))
    run.put_solutions("drawn", [make_solution(problem, i, t, answer=a) for i, (t, a) in pairs])


def score(run: Run, problem: Problem) -> None:
    """Values of both."""
    note_scoring(run, "prm", "by prm", "drawn")
    records = [
        StepScores(
            problem_id=one.problem_id,
            solution_index=one.index,
            scorer="prm",
            granularity="step",
            values=(0.9 - one.index / 2,) * len(one.steps),
        )
        for one in run.solutions("drawn")[problem.id]
    ]
    run.put_scores("by prm", records)


def grow(run: Run, problem: Problem) -> None:
    """A tree of one step."""
    nodes = (
        NodeRecord(node=0),
        NodeRecord(node=1, parent=0, step="4", finished=True, correct=True),
    )
    tree = TreeRecord(problem_id=problem.id, rule="rollouts", seed=0, nodes=nodes)
    trees.put(run, "grown", (), [trees.Grown(tree, Spent())])


def main(folder: Path) -> None:
    """Does what it is told until its input ends."""
    done = {"solve": 0, "score": 0, "grow": 0}
    with begin(folder) as run:
        problems = run.problems()
        sys.stdout.write("open\n")
        sys.stdout.flush()
        for line in sys.stdin:
            word = line.strip()
            {"solve": solve, "score": score, "grow": grow}[word](run, problems[done[word]])
            done[word] += 1
            sys.stdout.write(f"{word} {done[word]}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
