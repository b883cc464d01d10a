"""The training stream: what the embedded models learn from, example by example.

Every example is drawn from the train split alone (`puzzle.draw` keeps splits apart by
content), and is a prompt exactly as the pipeline asks it, with the reply to learn:

* `solve`: the puzzle, answered in numbered steps;
* `caption`: what is in the picture, row by row, bar by bar (alignment of the vision tower);
* `judge-step` and `judge-whole`: a solution, right or wrong, with the verdict that follows
  from the exact checker. Wrong ones are gold derivations replayed with one value changed,
  or the solver's own.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal, NamedTuple

from vilbench.problems.puzzles.canvas import CELLS, Cell
from vilbench.problems.puzzles.checker import StepCheck, check
from vilbench.problems.puzzles.claims import WORDINGS, Claim
from vilbench.problems.puzzles.puzzle import (
    KINDS,
    Puzzle,
    draw,
    gold_claims,
    gold_solution,
    solution,
)
from vilbench.problems.puzzles.scene import Compute, Match, derive
from vilbench.scorers.judge import PROMPTS
from vilbench.steps import FORMATS
from vilbench.types import Problem, Prompt

FORMAT = FORMATS["steps-brief"]
JUDGE = PROMPTS["brief"]

Task = Literal["solve", "caption", "judge-step", "judge-whole"]


class Example(NamedTuple):
    """A prompt and the reply to learn."""

    task: Task
    family: str
    prompt: Prompt
    reply: str
    content: str


class Attempt(NamedTuple):
    """A solution of a training puzzle, for judging."""

    puzzle: Puzzle
    text: str


def draw_puzzle(rng: random.Random, seed: int) -> Puzzle:
    """A training puzzle of a random kind and level."""
    family, twin = rng.choices(KINDS, WEIGHTS)[0]
    return draw(family, twin, "train", rng.randrange(10**9), seed)


WEIGHTS = [
    {"angles": 0.7, "charts": 1.0, "counting": 1.4, "machines": 0.8, "spatial": 2.0}[family]
    * (0.6 if twin == "text" else 1.0)
    for family, twin in KINDS
]


def solve(puzzle: Puzzle, rng: random.Random) -> Example:
    """The puzzle with its gold solution."""
    problem = puzzle.problem
    reply = gold_solution(puzzle, rng)
    return Example("solve", problem.source, FORMAT.ask(problem), reply, puzzle.content)


def caption(puzzle: Puzzle, rng: random.Random) -> Example | None:
    """Part of what the picture shows; None where it shows nothing to tell."""
    facts = {str(key): str(value) for key, value in _facts(puzzle.problem).items()}
    family = puzzle.problem.source
    if family == "charts":
        ask, reply = (
            "List the bars.",
            ", ".join(f"{key.removesuffix(' bar')} {value}" for key, value in facts.items()),
        )
    elif family == "spatial":
        row = rng.randint(1, CELLS)
        ask = f"List row {row}."
        reply = ", ".join(facts[Cell(row, column).words] for column in range(1, CELLS + 1))
    elif family == "counting":
        keys = rng.sample(sorted(facts), 3)
        ask = f"Count: {', '.join(key.removeprefix('number of ') for key in keys)}."
        reply = ", ".join(facts[key] for key in keys)
    elif puzzle.problem.modality == "visual-dominant":
        ask, reply = "Read the picture.", ", ".join(facts.values())
    else:
        return None
    prompt = Prompt((*puzzle.problem.images, ask))
    return Example("caption", family, prompt, reply, puzzle.content)


def corrupt(puzzle: Puzzle, rng: random.Random) -> Attempt:
    """The gold derivation with one value changed, its consequences drawn or not."""
    scene = puzzle.scene
    gold = gold_claims(scene)
    for _ in range(8):
        place = rng.randrange(len(gold))
        value = _slip(gold, place, puzzle, rng)
        if value == gold[place].value:
            continue
        claims = derive(scene.nodes, scene.facts, scene.options, {place: value})
        if claims is None:
            claims = [*gold[:place], gold[place]._replace(value=value), *gold[place + 1 :]]
        answer = claims[-1].value
        return Attempt(puzzle, solution(claims, answer, _wordings(claims, rng)))
    return Attempt(puzzle, gold_solution(puzzle, rng))


def judge(attempt: Attempt, task: Task, rng: random.Random) -> Example:
    """A request to judge an attempt, with the verdict of the exact checker."""
    problem = attempt.puzzle.problem
    spans = FORMAT.split(attempt.text)
    steps = [attempt.text[start:end] for start, end in spans]
    checks = check(problem, steps)
    if task == "judge-whole":
        prompt = JUDGE.ask_whole(problem, attempt.text)
        reply = whole_verdict(attempt.puzzle, checks, steps)
    else:
        place = rng.randrange(len(steps)) if steps else 0
        text = attempt.text[: spans[place].end] if steps else attempt.text
        prompt = JUDGE.ask_step(problem, text)
        reply = step_verdict(checks, place)
    return Example(task, problem.source, prompt, reply, attempt.puzzle.content)


def step_verdict(checks: Sequence[StepCheck], place: int) -> str:
    """Reasoning and score of one step.

    5 right; 4 right, but said before; 3 right after an error, or not to be checked; 2 it
    works with a wrong value; 1 false.
    """
    if not checks:
        return _reply("there is no step.", 1)
    this = checks[place]
    clean = place == 0 or checks[place - 1].sound
    if this.label == "unchecked":
        return _reply("this cannot be checked.", 3)
    if this.cause == "inherited":
        return _reply("an earlier value is wrong.", 2)
    if this.label == "wrong":
        return _reply(f"I get {this.truth or 'nothing'}. This step is wrong.", 1)
    if not clean:
        return _reply(f"I get {this.truth}. An earlier step is wrong.", 3)
    if this.repeats:
        return _reply(f"I get {this.truth}. It was said before.", 4)
    return _reply(f"I get {this.truth}. This step is right.", 5)


def whole_verdict(puzzle: Puzzle, checks: Sequence[StepCheck], steps: Sequence[str]) -> str:
    """Reasoning and score of a whole solution.

    5 every step right; else 1 to 3 by how far it is right (first, second, last third); 4
    when the answer is right all the same.
    """
    truths = ", ".join(claim.value for claim in gold_claims(puzzle.scene))
    faulty = next((k for k, step in enumerate(checks) if not step.sound), None)
    if faulty is None and checks:
        return _reply(f"I get {truths}. All steps are right.", 5)
    if not checks:
        return _reply(f"I get {truths}. There is no step.", 1)
    right_answer = steps[-1].rstrip().endswith(f"Answer: {puzzle.problem.answer}")
    score = 4 if right_answer else 1 + (3 * (faulty or 0)) // len(checks)
    return _reply(f"I get {truths}. Step {(faulty or 0) + 1} is wrong.", score)


def _reply(reasoning: str, score: int) -> str:
    return f"Reasoning: {reasoning}\nOverall Score: {score}"


def _facts(problem: Problem) -> dict[str, object]:
    facts = problem.metadata["facts"]
    assert isinstance(facts, dict)  # noqa: S101 - puzzles are made so
    return dict(facts)


def _wordings(claims: Sequence[Claim], rng: random.Random) -> list[int]:
    return [rng.randrange(WORDINGS) for _ in claims]


def _slip(gold: Sequence[Claim], place: int, puzzle: Puzzle, rng: random.Random) -> str:
    """A wrong value such as a solver might give."""
    value = gold[place].value
    node = puzzle.scene.nodes[place]
    if isinstance(node, Match):
        return chr(ord("A") + rng.randrange(len(puzzle.scene.options)))
    if isinstance(node, Compute):
        return str(max(0, int(value) + rng.choice((-20, -10, -2, -1, 1, 2, 10, 20))))
    if value.isdigit():
        if len(value) == 2 and rng.random() < 0.4:
            digits = list(value)
            digits[rng.randrange(2)] = str(rng.randrange(1, 10))
            return "".join(digits)
        return str(max(0, int(value) + rng.choice((-2, -1, -1, 1, 1, 2))))
    others = [fact for fact in puzzle.scene.facts.values() if not fact.isdigit()]
    alike = [fact for fact in others if fact.startswith("row") == value.startswith("row")]
    return rng.choice(sorted(alike))


__all__ = [
    "Attempt",
    "Example",
    "Task",
    "caption",
    "corrupt",
    "draw_puzzle",
    "judge",
    "solve",
]
