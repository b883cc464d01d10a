"""What a step says: claims, their wordings, and reading them back.

A step of a puzzle's solution makes one claim, `key` has `value`:

    look       "the red bar is 7."        key "red bar",  value "7"
    equation   "so 7 + 5 = 12."           key "7 + 5",    value "12"
    option     "12 is option C."          key "12",       value "C"

Every kind has several wordings; `read` understands all of them, and text around them.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

Kind = Literal["look", "equation", "option"]


class Claim(NamedTuple):
    """`key` has `value`; both as solutions write them."""

    kind: Kind
    key: str
    value: str


_WORDINGS: dict[Kind, tuple[str, ...]] = {
    "look": ("the {key} is {value}.", "{key}: {value}.", "I see the {key} is {value}."),
    "equation": ("{key} = {value}.", "so {key} = {value}.", "this gives {key} = {value}."),
    "option": (
        "{key} is option {value}.",
        "option {value} says {key}.",
        "so option {value} is {key}.",
    ),
}

WORDINGS = 3
"""Number of wordings of every kind."""

_EQUATION = re.compile(r"(?<![\d.])(-?\d{1,9}) ?([-+*/x×]) ?(\d{1,9}) ?= ?(-?\d{1,9})(?!\d|\.\d)")
_OPTIONS = (
    re.compile(r"^(?:so )?(?P<key>-?\d{1,9}) is option (?P<value>[A-Z])$"),
    re.compile(r"^(?:so )?option (?P<value>[A-Z]) (?:says|is) (?P<key>-?\d{1,9})$"),
)
_LOOKS = (
    re.compile(
        r"^(?:I see )?(?:the )?(?P<key>[a-z][a-zA-Z0-9, ]{0,60}?) is (?P<value>[a-z0-9+*, -]{1,40})$"
    ),
    re.compile(r"^(?:the )?(?P<key>[a-z][a-zA-Z0-9, ]{0,60}?): (?P<value>[a-z0-9+*, -]{1,40})$"),
)
_MARKER = re.compile(r"^\s*step \d{1,3}:\s*", re.IGNORECASE)
_ANSWER = re.compile(r"^\s*answer:\s*(.*?)\s*$", re.IGNORECASE)
_OPERATIONS = {"x": "*", "×": "*"}


class Statement(NamedTuple):
    """What a step's text says: its claims and the final answer, if it gives one.

    `opaque` is set when some of the text could not be understood.
    """

    claims: tuple[Claim, ...]
    answer: str | None
    opaque: bool


def word(claim: Claim, wording: int) -> str:
    """The claim as a sentence in one of its wordings."""
    return _WORDINGS[claim.kind][wording % WORDINGS].format(key=claim.key, value=claim.value)


def evaluate(key: str) -> int | None:
    """The value of "a op b"; None for a division that leaves a remainder or by zero."""
    left, operation, right = key.split(" ")
    a, b = int(left), int(right)
    if operation == "+":
        return a + b
    if operation == "-":
        return a - b
    if operation == "*":
        return a * b
    return a // b if b and a % b == 0 else None


def read(step: str) -> Statement:
    """What a step says, whatever its marker and wording."""
    claims: list[Claim] = []
    answer: str | None = None
    opaque = False
    for line in _MARKER.sub("", step[:2000]).splitlines():
        given = _ANSWER.match(line)
        if given:
            answer = given.group(1).rstrip(".")
            continue
        found = _claims(line.strip().rstrip("."))
        claims.extend(found)
        opaque = opaque or (bool(line.strip()) and not found)
    return Statement(tuple(claims), answer, opaque or len(step) > 2000)


def _claims(line: str) -> list[Claim]:
    equations = [
        Claim("equation", f"{a} {_OPERATIONS.get(operation, operation)} {b}", value)
        for a, operation, b, value in _EQUATION.findall(line)
    ]
    if equations:
        return equations
    for pattern in _OPTIONS:
        match = pattern.match(line)
        if match:
            return [Claim("option", match["key"], match["value"])]
    for pattern in _LOOKS:
        match = pattern.match(line)
        if match:
            return [Claim("look", match["key"], match["value"].strip())]
    return []
