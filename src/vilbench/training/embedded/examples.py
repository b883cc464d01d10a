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
import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from vilbench.problems.puzzles.canvas import CELLS, COLORS, SHAPES, Cell
from vilbench.problems.puzzles.checker import StepCheck, check
from vilbench.problems.puzzles.claims import WORDINGS, Claim, read
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

SPOILT = 0.3
"""Share of what may be replaced that `spoil` replaces."""

_ALIKE = (("empty", *COLORS), SHAPES)
_LETTERS = tuple("ABCDEFGHIJ")
_SPOILT = re.compile(rf"\d|\b(?:{'|'.join((*_ALIKE[0], *SHAPES))})\b|\b[A-J]\b")

Task = Literal["solve", "caption", "judge-step", "judge-whole"]


class Mark(NamedTuple):
    """Characters `start` to `end - 1` of a reply: up to there it is right (1) or not (0)."""

    start: int
    end: int
    value: float


class Attempt(NamedTuple):
    """A solution of a training puzzle, for judging."""

    puzzle: Puzzle
    text: str


class Marked(NamedTuple):
    """A solution and what is known of it.

    Attributes:
        marks: Where it is known whether it is right so far; in order, disjoint.
        right_until: So many characters are right.
    """

    text: str
    marks: tuple[Mark, ...]
    right_until: int

    def value_at(self, place: int) -> float:
        """Value of the text up to and with a character; NaN where it is unknown."""
        for mark in self.marks:
            if mark.start <= place < mark.end:
                return mark.value
        return math.nan


class Example(NamedTuple):
    """A prompt and the reply to learn.

    Attributes:
        solution: In the reply or, of one to judge, in the prompt: what is right of it is learnt
            like a reply, and whether it is right so far; None for captions.
    """

    task: Task
    family: str
    prompt: Prompt
    reply: str
    content: str
    solution: Marked | None = None


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
    prompt, content = FORMAT.ask(problem), attempt.puzzle.content
    return Example("solve", problem.source, prompt, attempt.text, content, marked(attempt))


def marked(attempt: Attempt) -> Marked:
    """An attempt and what the exact checker tells of it."""
    marks = tuple(mark(attempt))
    right = max((one.end for one in marks if one.value == 1), default=0)
    return Marked(attempt.text, marks, right)


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
    return Example("caption", family, prompt, reply, puzzle.content)


def find(puzzle: Puzzle, rng: random.Random) -> Example:
    """Up to five options of a puzzle, found by what they say."""
    problem = puzzle.problem
    places = rng.sample(range(len(problem.choices)), min(5, len(problem.choices)))
    wanted = [(chr(ord("A") + place), problem.choices[place]) for place in places]
    ask = f"Find {', '.join(said for _, said in wanted)}."
    listed = "\n".join(f"{chr(ord('A') + k)}. {said}" for k, said in enumerate(problem.choices))
    prompt = Prompt((*problem.images, f"{listed}\n{ask}"))
    if rng.random() < 0.5:
        reply = ", ".join(f"{said} is option {letter}" for letter, said in wanted)
    else:
        reply = ", ".join(f"option {letter} says {said}" for letter, said in wanted)
    return Example("caption", "options", prompt, reply, puzzle.content)


def spoil(example: Example, rng: random.Random) -> Example:
    """The example with digits, letters of options, colours and shapes replaced at random.

    Nothing of the reply is to be learnt: such a text is there to be read with surprise, which
    what a model writes itself gives little occasion for.
    """
    text = _SPOILT.sub(lambda match: _other(match, rng), example.reply)
    return example._replace(reply=text, solution=Marked(text, (), 0))


def _other(match: re.Match[str], rng: random.Random) -> str:
    word = match[0]
    if rng.random() >= SPOILT:
        return word
    if word.isdigit():
        return str(rng.randrange(10))
    alike = next((words for words in _ALIKE if word in words), _LETTERS)
    return rng.choice(alike)


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
        said = _said(attempt.text[slice(*spans[-1])]) if spans else ""
        reply = whole_verdict(checks, attempt.text, problem.answer, said)
    else:
        place = rng.randrange(len(spans)) if spans else 0
        wrong = next((k for k, step in enumerate(checks) if step.label == "wrong"), None)
        if wrong is not None and rng.random() < 0.5:
            place = wrong
        attempt = attempt._replace(text=attempt.text[: spans[place].end] if spans else attempt.text)
        prompt = JUDGE.ask_step(problem, attempt.text)
        said = _said(attempt.text[slice(*spans[place])]) if spans else ""
        reply = step_verdict(checks, place, said)
    content = attempt.puzzle.content
    return Example(task, problem.source, prompt, reply, content, marked(attempt))


def step_verdict(checks: Sequence[StepCheck], place: int, said: str) -> str:
    """Reasoning and score of one step.

    5 right; 4 right, but said before; 3 right after an error, or not to be checked; 2 it
    works with a wrong value; 1 false. The reasoning repeats what the step says and gives no
    verdict: that is the score's alone, so that its probabilities tell how sure the model is.
    """
    if not checks:
        return _reply(said, 1)
    this = checks[place]
    clean = place == 0 or checks[place - 1].sound
    if this.label == "unchecked":
        score = 3
    elif this.label == "wrong":
        score = 2 if this.cause == "inherited" else 1
    elif not clean:
        score = 3
    else:
        score = 4 if this.repeats else 5
    return _reply(said, score)


def whole_verdict(checks: Sequence[StepCheck], text: str, answer: str, said: str) -> str:
    """Reasoning and score of a whole solution.

    5 every step right; else 1 to 3 by how far it is right (first, second, last third); 4
    when the answer is right all the same.
    """
    if not checks:
        return _reply(said, 1)
    faulty = next((k for k, step in enumerate(checks) if not step.sound), None)
    if faulty is None:
        return _reply(said, 5)
    right_answer = text.rstrip().endswith(f"Answer: {answer}")
    return _reply(said, 4 if right_answer else 1 + (3 * faulty) // len(checks))


def _said(step: str) -> str:
    """What a step comes to: its answer, or the value of its last claim."""
    statement = read(step)
    values = statement.answers or [claim.value for claim in statement.claims]
    return values[-1] if values else ""


def _reply(said: str, score: int) -> str:
    reasoning = f"it says {said}." if said else "it says nothing."
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
