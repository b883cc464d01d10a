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

_LONGEST = 2000
"""Characters of a step that are read; no honest step comes near."""

_OPERATIONS = {"x": "*", "×": "*", "·": "*", "÷": "/"}
_PLAIN = str.maketrans({"−": "-", "°": "", "`": "", "$": ""})
_NUMBERS = "one|two|three|four|five|six|seven|eight|nine|ten"
_MARKER = re.compile(
    r"(?:[#>•] ?|[-+*] )*+(?:\d{1,3}[.)] )?"
    rf"(?:step ?#?(?:\d{{1,3}}|{_NUMBERS})(?!\w) ?[:.)–—-]? ?)?",
    re.IGNORECASE,
)
_ANSWER = re.compile(r"(?:the )?(?:final )?answer ?(?:is:?|:) ?(.*)", re.IGNORECASE)
_END = re.compile(r"[.;!] |,? (?=so )|,? and |, (?=the )", re.IGNORECASE)
_LEAD = re.compile(
    r"(?:(?:so|thus|therefore|hence|then|next|first|now|finally|and|I see|I get|we see|we get"
    r"|we have|this gives),? ){1,4}",
    re.IGNORECASE,
)
_EQUATION = re.compile(
    r"(-?\d{1,9}) ?([-+*/x×·÷]) ?\(?(-?\d{1,9})\)? ?= ?(-?\d{1,9})", re.IGNORECASE
)
# In text that is not understood an equation still counts when it stands alone: no number
# and no operation beside it that would make it part of a longer one.
_AMID_TEXT = re.compile(
    rf"(?<![\w.,()=+*/×·÷-])(?<![\d=+*/x×·÷-] ){_EQUATION.pattern}"
    r"(?!\w|[.,]\d| ?[-=+*/×·÷%(]| x |[.,]? \d)",
    re.IGNORECASE,
)
_OPTIONS = (
    re.compile(r"(?P<key>-?\d{1,9}) is option (?P<value>[A-Z])", re.IGNORECASE),
    re.compile(r"option (?P<value>[A-Z]) (?:says|is) (?P<key>-?\d{1,9})", re.IGNORECASE),
)
_LOOK = re.compile(
    r"(?:the )?(?P<key>[a-z][a-z0-9, ]{0,60}?)(?: is|:) (?P<value>[a-z0-9+*×, -]{1,40})",
    re.IGNORECASE,
)


class Statement(NamedTuple):
    """What a step's text says.

    Attributes:
        claims: In the order of the text.
        answers: The final answers that it gives, one for each answer line.
        opaque: Whether some of the text could not be understood.
    """

    claims: tuple[Claim, ...]
    answers: tuple[str, ...]
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
    """What a step says, whatever its marker and wording.

    A claim inside of a longer text counts, but the text beside it stays `opaque`.
    """
    claims: list[Claim] = []
    answers: list[str] = []
    opaque = len(step) > _LONGEST
    text = step[:_LONGEST].replace("**", "").replace("__", "").translate(_PLAIN)
    for line in text.splitlines():
        rest = " ".join(line.split())
        rest = rest[_matched(_MARKER, rest) :]
        while rest := rest[_matched(_LEAD, rest) :]:
            given = _ANSWER.fullmatch(rest)
            if given:
                answers.append(given[1].rstrip("."))
                break
            end = _END.search(rest)
            sentence, rest = (rest[: end.start()], rest[end.end() :]) if end else (rest, "")
            found, understood = _sentence(sentence.rstrip(".;!"))
            claims += found
            opaque = opaque or not understood
    return Statement(tuple(claims), tuple(answers), opaque)


def _sentence(said: str) -> tuple[list[Claim], bool]:
    """The claims of a sentence, and whether they are all that it says."""
    match = _EQUATION.fullmatch(said)
    if match:
        return [_equation(match)], True
    for pattern in _OPTIONS:
        match = pattern.fullmatch(said)
        if match:
            return [Claim("option", number(match["key"]), match["value"].upper())], True
    match = _LOOK.fullmatch(said)
    if match:
        return [Claim("look", match["key"], match["value"])], True
    return [_equation(match) for match in _AMID_TEXT.finditer(said)], False


def _matched(pattern: re.Pattern[str], text: str) -> int:
    """How many characters at the beginning match."""
    match = pattern.match(text)
    return match.end() if match else 0


def _equation(match: re.Match[str]) -> Claim:
    a, sign, b, value = match.groups()
    operation = _OPERATIONS.get(sign.lower(), sign)
    return Claim("equation", f"{number(a)} {operation} {number(b)}", number(value))


def number(digits: str) -> str:
    """An integer as puzzles write it: no leading zero, ASCII digits."""
    return str(int(digits))
