"""The exact checker: is a step of any solution of a puzzle right, wrong, or neither to tell?

It reads what the step claims (`claims.read`) and holds it against the facts and valid
equations that every puzzle carries in its metadata; no model, no tolerance.

* `right`: all of its text is understood, what it observes is true of this puzzle, what it
  computes serves the puzzle's derivation (in any order that a family knows), and the final
  answer, where it gives one, is the puzzle's;
* `wrong`, cause `false`: a claim contradicts the picture, the question or arithmetic;
* `wrong`, cause `inherited`: sound in itself, but it works with a value that an earlier
  step got wrong, or that has no place in this puzzle, true as it may be;
* `unchecked`: nothing in it is wrong, and it holds something that cannot be told: no claim,
  text around a claim, a claim on what the puzzle does not know.

A step of several claims is as bad as the worst of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from vilbench.errors import ProblemError
from vilbench.problems.puzzles.canvas import COLORS, SHAPES
from vilbench.problems.puzzles.claims import Claim, Statement, evaluate, number, read
from vilbench.types import Problem

Label = Literal["right", "wrong", "unchecked"]
Cause = Literal["", "false", "inherited"]

_NUMBER = re.compile(r"(-?\d{1,9})(?: (?:degree|object|row|column|unit)s?)?")
_THING = re.compile(rf"(?:{'|'.join(COLORS)}) (?:{'|'.join(SHAPES)})")
_CELL = re.compile(r"row \d{1,2}, column \d{1,2}")
_OPERATION = re.compile(r"[-+*x×/] ?\d{1,9}")
_OPTION = re.compile(r"\(?([a-z])\)?(?:[.:)]? (.+))?", re.IGNORECASE)


class StepCheck(NamedTuple):
    """What the checker says of one step.

    Attributes:
        label: Of the step by itself.
        cause: Why it is wrong.
        truth: The value that its first faulty claim should have had, or else that of the
            last claim that can be told; "" where the puzzle does not tell.
        repeats: It says again what an earlier step said.
        sound: This step and all before it are right.
    """

    label: Label
    cause: Cause
    truth: str
    repeats: bool
    sound: bool


class Key(NamedTuple):
    """What the checker needs to know of a puzzle.

    Attributes:
        facts: Values of what can be observed, by subject in lower case.
        equations: Values of the equations that serve the derivation, by "a op b".
        options: Texts of the options.
        answer: The gold answer, a letter where there are options.
        value: What the derivation arrives at; the text of the right option.
    """

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
        valid: dict[str, str] = {}
        for key, result in equations.items():
            valid[key] = str(result)
            left, operation, right = key.split(" ")
            if operation in "+*":
                valid[f"{right} {operation} {left}"] = str(result)
        value = problem.answer
        if problem.choices:
            value = problem.choices[ord(problem.answer) - ord("A")]
        return cls(
            {key.lower(): str(fact) for key, fact in facts.items()},
            valid,
            problem.choices,
            problem.answer,
            value,
        )


def check(problem: Problem, steps: Sequence[str]) -> list[StepCheck]:
    """What each step of a solution is worth, in order; any text is welcome.

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
    wrong_value = ""
    checks: list[StepCheck] = []
    for step in steps:
        statement = read(step)
        finding = _worst(_findings(statement, key, wrong_value))
        claims = statement.claims
        sound = sound and finding.label == "right"
        repeats = bool(claims) and said.issuperset(claims)
        checks.append(StepCheck(*finding, repeats, sound))
        said.update(claims)
        if claims:
            wrong_value = claims[-1].value if finding.label == "wrong" else ""
    return checks


class _Finding(NamedTuple):
    label: Label
    cause: Cause
    truth: str


_UNTOLD = _Finding("unchecked", "", "")


def _findings(statement: Statement, key: Key, wrong_value: str) -> list[_Finding]:
    """One for each thing that a step says.

    Args:
        statement: The step.
        key: The puzzle.
        wrong_value: What the last step that claims something arrived at, if it is wrong.
    """
    findings = [_claim(claim, key) for claim in statement.claims]
    for given in statement.answers:
        label = _answer(given, key)
        cause: Cause = ""
        if label == "wrong":
            honest = not statement.claims and given == wrong_value
            cause = "inherited" if honest else "false"
        # The truth of a right step is that of its last claim, if it makes one.
        silent = label == "right" and findings
        findings.append(_Finding(label, cause, findings[-1].truth if silent else key.answer))
    if statement.opaque or not findings:
        findings.append(_UNTOLD)
    return findings


def _worst(findings: Sequence[_Finding]) -> _Finding:
    for finding in findings:
        if finding.label == "wrong":
            return finding
    told = [finding for finding in findings if finding.label == "right"]
    if len(told) < len(findings):
        return _Finding("unchecked", "", told[-1].truth if told else "")
    return findings[-1]


def _claim(claim: Claim, key: Key) -> _Finding:
    if claim.kind == "look":
        return _look(claim, key)
    if claim.kind == "equation":
        result = evaluate(claim.key)
        truth = "" if result is None else str(result)
        if claim.value != truth:
            return _Finding("wrong", "false", truth)
        serves = claim.key in key.equations
        return _Finding("right", "", truth) if serves else _Finding("wrong", "inherited", truth)
    place = ord(claim.value) - ord("A")
    if place >= len(key.options) or key.options[place] != claim.key:
        held = key.options.index(claim.key) if claim.key in key.options else None
        return _Finding("wrong", "false", "" if held is None else chr(ord("A") + held))
    if claim.key != key.value:
        return _Finding("wrong", "inherited", claim.value)
    return _Finding("right", "", claim.value)


def _look(claim: Claim, key: Key) -> _Finding:
    subject = claim.key.lower()
    value = _plain(claim.value)
    truth = key.facts.get(subject)
    if truth is None:
        return _Finding("wrong", "false", "") if _is_absent(subject, key) else _UNTOLD
    if value is None:
        return _Finding("unchecked", "", truth)
    if value != _plain(truth):
        return _Finding("wrong", "false", truth)
    return _Finding("right", "", truth)


def _is_absent(subject: str, key: Key) -> bool:
    """Whether `subject` is an object, in a puzzle that lists all of its objects, not this."""
    name = subject.removeprefix("row of ").removeprefix("column of ")
    return _THING.fullmatch(name) is not None and any(map(_CELL.fullmatch, key.facts))


def _plain(value: str) -> str | None:
    """The form in which values are compared; None for what is no value of any fact."""
    words = value.lower()
    counted = _NUMBER.fullmatch(words)
    if counted:
        return number(counted[1])
    if _OPERATION.fullmatch(words):
        return words.replace(" ", "").replace("x", "*").replace("×", "*")
    for article in ("in ", "at ", "the ", "a "):
        words = words.removeprefix(article)
    is_value = words == "empty" or _CELL.fullmatch(words) or _THING.fullmatch(words)
    return words if is_value else None


def _answer(given: str, key: Key) -> Label:
    """Whether a final answer is the puzzle's; an option's letter may bring its text along."""
    value = _plain(given)
    if key.options:
        match = _OPTION.fullmatch(given)
        if match:
            place = ord(match[1].upper()) - ord("A")
            fits = match[2] is None or (
                place < len(key.options) and _plain(match[2]) == _plain(key.options[place])
            )
            return "right" if match[1].upper() == key.answer and fits else "wrong"
    if value is None:
        return "unchecked"
    return "right" if value == _plain(key.value) else "wrong"
