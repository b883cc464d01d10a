"""The training stream: what the embedded models learn from, example by example.

Every example is drawn from the train split alone (`puzzle.draw` keeps splits apart by
content), and is a prompt exactly as the pipeline asks it, with the reply to learn:

* `solve`: the puzzle, answered in numbered steps. Gold solutions, made-up wrong ones and the
  model's own: what is right of them is learnt, and beside it, at every token, whether the
  solution is right so far (`Mark`);
* `caption`: what is in the picture, row by row, bar by bar (alignment of the vision tower);
* `judge-step` and `judge-whole`: a solution, right or wrong, with the verdict that follows
  from the exact checker. Wrong ones are gold derivations replayed with one value changed,
  or the solver's own.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
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


class Mark(NamedTuple):
    """Characters `start` to `end - 1` of a reply: up to there it is right (1) or not (0)."""

    start: int
    end: int
    value: float


class Example(NamedTuple):
    """A prompt and the reply to learn.

    Attributes:
        right_until: So many characters of the reply are right, and are learnt.
        marks: Where it is known whether the reply is right so far; in order, disjoint.
    """

    task: Task
    family: str
    prompt: Prompt
    reply: str
    content: str
    right_until: int
    marks: tuple[Mark, ...] = ()

    def value_at(self, place: int) -> float:
        """Value of the reply up to and with a character; NaN where it is unknown."""
        for mark in self.marks:
            if mark.start <= place < mark.end:
                return mark.value
        return math.nan


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


def gold(puzzle: Puzzle, rng: random.Random) -> Attempt:
    """A right solution."""
    return Attempt(puzzle, gold_solution(puzzle, rng))


def solve(attempt: Attempt) -> Example:
    """The puzzle with a solution, right or wrong, of which what is right is learnt."""
    problem = attempt.puzzle.problem
    marks = tuple(mark(attempt))
    right = max((one.end for one in marks if one.value == 1), default=0)
    prompt = FORMAT.ask(problem)
    return Example(
        "solve", problem.source, prompt, attempt.text, attempt.puzzle.content, right, marks
    )


def mark(attempt: Attempt) -> Iterator[Mark]:
    """Where the exact checker tells whether a solution is right so far.

    In the first wrong step only its end tells: from the last character of its last claim on.
    From a step that cannot be checked on, nothing is known until one is wrong.
    """
    text = attempt.text
    spans = FORMAT.split(text)
    checks = check(attempt.puzzle.problem, [text[start:end] for start, end in spans])
    failed = False
    for place, (span, step) in enumerate(zip(spans, checks, strict=True)):
        end = spans[place + 1].start if place + 1 < len(spans) else len(text)
        if failed:
            yield Mark(span.start, end, 0)
        elif step.sound:
            yield Mark(span.start, end, 1)
        elif step.label == "wrong":
            failed = True
            said = text[span.start : span.end].rstrip(" .\n")
            yield Mark(span.start + len(said) - 1, end, 0)


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
    return Example("caption", family, prompt, reply, puzzle.content, len(reply))


def corrupt(puzzle: Puzzle, rng: random.Random) -> Attempt:
    """The gold derivation with one value changed, and its consequences.

    Where the change leads to no option, an option is said to be what it is not; where it
    leads nowhere else, the rest stays as it was.
    """
    scene = puzzle.scene
    claims = gold_claims(scene)
    for _ in range(8):
        place = rng.randrange(len(claims))
        value = _slip(claims, place, puzzle, rng)
        if value == claims[place].value:
            continue
        changed = derive(scene.nodes, scene.facts, scene.options, {place: value})
        if changed is None and isinstance(scene.nodes[-1], Match):
            changed = derive(scene.nodes[:-1], scene.facts, (), {place: value})
            if changed is not None:
                letter = chr(ord("A") + rng.randrange(len(scene.options)))
                changed.append(Claim("option", changed[-1].value, letter))
        if changed is None:
            changed = [*claims[:place], claims[place]._replace(value=value), *claims[place + 1 :]]
        text = solution(changed, changed[-1].value, _wordings(changed, rng))
        return Attempt(puzzle, text)
    return gold(puzzle, rng)


def judge(attempt: Attempt, task: Task, rng: random.Random) -> Example:
    """A request to judge an attempt, with the verdict of the exact checker.

    Half of the time the step to judge is the first that is wrong, if there is one: where most
    steps are right, the verdict is learnt from anything but the step.
    """
    problem = attempt.puzzle.problem
    spans = FORMAT.split(attempt.text)
    checks = check(problem, [attempt.text[start:end] for start, end in spans])
    if task == "judge-whole":
        prompt = JUDGE.ask_whole(problem, attempt.text)
        reply = whole_verdict(checks, attempt.text, problem.answer)
    else:
        place = rng.randrange(len(spans)) if spans else 0
        wrong = next((k for k, step in enumerate(checks) if step.label == "wrong"), None)
        if wrong is not None and rng.random() < 0.5:
            place = wrong
        text = attempt.text[: spans[place].end] if spans else attempt.text
        prompt = JUDGE.ask_step(problem, text)
        reply = step_verdict(checks, place)
    return Example(task, problem.source, prompt, reply, attempt.puzzle.content, len(reply))


def step_verdict(checks: Sequence[StepCheck], place: int) -> str:
    """Reasoning and score of one step.

    5 right; 4 right, but said before; 3 right after an error, or not to be checked; 2 it
    works with a wrong value; 1 false. The verdict comes first: what the value should have
    been is said of a wrong step alone, so that it can never be copied from the step.
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
        return _reply(f"this step is wrong, I get {this.truth or 'nothing'}.", 1)
    if not clean:
        return _reply("an earlier step is wrong.", 3)
    if this.repeats:
        return _reply("this step was said before.", 4)
    return _reply("this step is right.", 5)


def whole_verdict(checks: Sequence[StepCheck], text: str, answer: str) -> str:
    """Reasoning and score of a whole solution.

    5 every step right; else 1 to 3 by how far it is right (first, second, last third); 4
    when the answer is right all the same.
    """
    if not checks:
        return _reply("there is no step.", 1)
    faulty = next((k for k, step in enumerate(checks) if not step.sound), None)
    if faulty is None:
        return _reply("all steps are right.", 5)
    right_answer = text.rstrip().endswith(f"Answer: {answer}")
    score = 4 if right_answer else 1 + (3 * faulty) // len(checks)
    return _reply(f"step {faulty + 1} is wrong.", score)


def _reply(reasoning: str, score: int) -> str:
    return f"Reasoning: {reasoning}\nOverall Score: {score}"


def _facts(problem: Problem) -> dict[str, object]:
    facts = problem.metadata["facts"]
    assert isinstance(facts, dict)  # noqa: S101 - puzzles are made so
    return dict(facts)


def _wordings(claims: Sequence[Claim], rng: random.Random) -> list[int]:
    return [rng.randrange(WORDINGS) for _ in claims]


def _slip(claims: Sequence[Claim], place: int, puzzle: Puzzle, rng: random.Random) -> str:
    """A wrong value such as a solver might give."""
    value = claims[place].value
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
    "Mark",
    "Task",
    "caption",
    "corrupt",
    "draw_puzzle",
    "gold",
    "judge",
    "mark",
    "solve",
]
