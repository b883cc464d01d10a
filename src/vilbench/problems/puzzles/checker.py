"""The exact checker: is a step of any solution of a puzzle right, wrong, or neither to tell?

It reads what the step claims (`claims.read`) and holds it against the facts and valid
equations that every puzzle carries in its metadata; no model, no tolerance.

* `right`: every claim is true of this puzzle and serves its derivation;
* `wrong`, cause `false`: a claim contradicts the picture or arithmetic;
* `wrong`, cause `inherited`: sound in itself, but it works with a value that an earlier
  step got wrong, or that the puzzle does not have;
* `unchecked`: the text makes no claim that can be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from vilbench.problems.puzzles.claims import Claim, evaluate, read
from vilbench.types import Problem, ProblemError

Label = Literal["right", "wrong", "unchecked"]
Cause = Literal["", "false", "inherited"]


class StepCheck(NamedTuple):
    """What the checker says of one step.

    Attributes:
        label: Of the step by itself.
        cause: Why it is wrong.
        truth: The value that its (first faulty or else last) claim should have had, ""
            where the puzzle does not tell.
        repeats: It says again what an earlier step said.
        sound: This step and all before it are right.
    """

    label: Label
    cause: Cause
    truth: str
    repeats: bool
    sound: bool


class Key(NamedTuple):
    """What the checker needs to know of a puzzle."""

    facts: Mapping[str, str]
    equations: Mapping[str, str]
    options: tuple[str, ...]
    answer: str
    value: str

    @classmethod
    def of(cls, problem: Problem) -> Key:
        """Read from a puzzle's metadata.

        Raises:
            ProblemError: The problem is no puzzle.
        """
        facts, equations = problem.metadata.get("facts"), problem.metadata.get("equations")
        if not isinstance(facts, Mapping) or not isinstance(equations, Mapping):
            raise ProblemError(f"'{problem.id}' is no puzzle: it has no facts to check against")
        swapped: dict[str, str] = {}
        for key, value in equations.items():
            left, operation, right = key.split(" ")
            if operation in "+*":
                swapped[f"{right} {operation} {left}"] = str(value)
        value = problem.answer
        if problem.choices:
            value = problem.choices[ord(problem.answer) - ord("A")]
        return cls(
            {str(key): str(fact) for key, fact in facts.items()},
            {**swapped, **{str(key): str(fact) for key, fact in equations.items()}},
            problem.choices,
            problem.answer,
            value,
        )


def check(problem: Problem, steps: Sequence[str]) -> list[StepCheck]:
    """What each step of a solution is worth, in order.

    Args:
        problem: A puzzle.
        steps: Texts of the steps, with or without their markers; the last one may carry
            the answer line.

    Raises:
        ProblemError: The problem is no puzzle.
    """
    key = Key.of(problem)
    said: set[Claim] = set()
    sound = True
    checks: list[StepCheck] = []
    for step in steps:
        label, cause, truth, claims = _step(step, key)
        sound = sound and label == "right"
        checks.append(
            StepCheck(label, cause, truth, bool(claims) and said.issuperset(claims), sound)
        )
        said.update(claims)
    return checks


def _step(step: str, key: Key) -> tuple[Label, Cause, str, tuple[Claim, ...]]:
    statement = read(step)
    label: Label = "unchecked"
    truth = ""
    for claim in statement.claims:
        verdict, cause, truth = _claim(claim, key)
        if verdict == "wrong":
            return "wrong", cause, truth, statement.claims
        if verdict == "unchecked":
            return "unchecked", "", truth, statement.claims
        label = "right"
    if statement.answer is not None and statement.answer != key.answer:
        last = statement.claims[-1].value if statement.claims else ""
        cause = "inherited" if label != "right" and statement.answer == last else "false"
        return "wrong", cause, key.answer, statement.claims
    if statement.answer is not None and not statement.claims:
        label, truth = "right", key.answer
    if statement.opaque and label == "right":
        label = "unchecked"
    return label, "", truth, statement.claims


def _claim(claim: Claim, key: Key) -> tuple[Label, Cause, str]:
    if claim.kind == "look":
        truth = key.facts.get(claim.key)
        if truth is None:
            return "unchecked", "", ""
        return ("right", "", truth) if claim.value == truth else ("wrong", "false", truth)
    if claim.kind == "equation":
        result = evaluate(claim.key)
        truth = "" if result is None else str(result)
        if claim.value != truth:
            return "wrong", "false", truth
        return ("right", "", truth) if claim.key in key.equations else ("wrong", "inherited", truth)
    place = ord(claim.value) - ord("A")
    if place >= len(key.options) or key.options[place] != claim.key:
        true_place = key.options.index(claim.key) if claim.key in key.options else None
        truth = "" if true_place is None else chr(ord("A") + true_place)
        return "wrong", "false", truth
    return (
        ("right", "", claim.value)
        if claim.key == key.value
        else ("wrong", "inherited", claim.value)
    )
