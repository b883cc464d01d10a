r"""Comparison of expressions, part by part.

Structure is compared here, because the worker confuses it: the brackets of intervals and
points, the order of coordinates, unions, enumerations, chains of equations, units. Single
expressions whose spelling differs go to the worker (see `equality`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from vilbench.answers.equality import COMPARER
from vilbench.answers.formulas import LONGEST, formula, unitless, wordy
from vilbench.answers.spelling import spelled

_DEEPEST: Final = 30
"""Brackets within brackets."""
_PIECES: Final = 8
"""Expressions with commas between that are compared in any order."""

_SET: Final = re.compile(r"\\\{[a-z](?:\\in[^|:]{0,40})?[|:](.+)\\\}")
_POINT: Final = re.compile(r"^[A-Z](?=\([^()]*,[^()]*\)$)")
_LABEL: Final = re.compile(r"^((?:[A-Za-z]{3,}|[A-Za-z]{3,}[A-Za-z ]*))\s?(?==)")
_FUNCTION: Final = re.compile(r"^([A-Za-z](?:_\{?\w\}?)?\([A-Za-z]\)|y(?:_\{?\w\}?)?)$")
_RELATION: Final = re.compile(r"(?<![<>!])=|\\approx ?")


def equal(given: str, gold: str) -> bool:
    """Whether an expression means what the gold one means; both as they are written."""
    said, wanted = unitless(formula(given) or given), unitless(formula(gold) or gold)
    if said.unit and wanted.unit and said.unit != wanted.unit:
        return False
    left, right = _unlabelled(spelled(said.text)), _unlabelled(spelled(wanted.text))
    if left == right:
        return True
    if not left or max(len(left), len(right)) > LONGEST or _deep(left):
        return False
    if wordy(left) or wordy(right):
        return False
    return any(
        _same(one, other) for other in _readings(right) for one in _readings(left, chain=False)
    )


def _unlabelled(text: str) -> str:
    r"""Without a name: "slope=-4", "P(3,-1)", and "\{x|x<2\}" is what holds for its x."""
    if match := _SET.fullmatch(text):
        return match[1]
    return _POINT.sub("", _LABEL.sub("", text)).lstrip("=")


def _deep(text: str) -> bool:
    depth = most = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        most = max(most, depth)
    return most > _DEEPEST


def _readings(text: str, *, chain: bool = True) -> list[str]:
    r"""What an expression may be taken as: "6\sqrt{2}\approx 8.49" is either of its sides.

    Of a chain of equations the gold answer may be any link, what is given its last one.
    """
    if "," in text and not text.startswith(("(", "[")):
        return [text]
    parts = [part for part in _RELATION.split(text) if part]
    about = [part for part in text.split("\\approx ") if part] if "\\approx" in text else []
    if len(parts) < 3 and not about:
        return [text]
    name, rest = parts[0], parts[1:] or parts
    if about and len(parts) == 2:
        return parts
    links = rest if chain or about else rest[-1:]
    return [f"{name}={link}" if len(name) <= 6 else link for link in links]


def _same(given: str, gold: str) -> bool:
    given, gold = _unnamed(given, gold)
    if given == gold:
        return True
    wanted, said = _pieces(gold), _pieces(given)
    if wanted.shape == "," and said.shape in (",", "{}"):
        return _any_order(said.parts, wanted.parts)
    if wanted.shape == "{}" and said.shape == ",":
        return _any_order(said.parts, wanted.parts)
    if len(wanted.parts) > 1 and (wanted.shape or said.shape):
        if len(said.parts) != len(wanted.parts):
            # An interval may be said as an inequality.
            return not said.shape and bool(COMPARER.same(gold, given))
        if wanted.shape == "{}":
            return said.shape == "{}" and _any_order(said.parts, wanted.parts)
        if said.shape != wanted.shape:
            return wanted.shape == "()" and said.shape == "," and _each(said.parts, wanted.parts)
        return _each(said.parts, wanted.parts)
    if _ratio(gold) != _ratio(given):
        return False
    return bool(COMPARER.same(gold, given))


def _ratio(text: str) -> bool:
    return ":" in text


def _unnamed(given: str, gold: str) -> tuple[str, str]:
    """Both without the name of the function: y, f(x) and g(x) name the same."""
    left, right = given.split("=", 1), gold.split("=", 1)
    if len(left) == len(right) == 2 and _FUNCTION.match(left[0]) and _FUNCTION.match(right[0]):
        return left[1], right[1]
    if len(left) == len(right) == 2 and left[0] == right[0]:
        return left[1], right[1]
    return given, gold


class _Pieces(NamedTuple):
    """Top-level parts of an expression and the brackets around them.

    `shape` is "()", "[]", "[)", "(]" or "{}", "∪" for a union, "," for a bare enumeration and
    "" for a single expression.
    """

    shape: str
    parts: tuple[str, ...]


def _pieces(text: str) -> _Pieces:
    union = _split(text, "\\cup")
    if len(union) > 1:
        return _Pieces("∪", union)
    parts = _split(text, ",")
    if len(parts) > 1:
        return _Pieces(",", parts)
    if text.count("\\pm ") == 1:
        return _Pieces(",", (text.replace("\\pm ", ""), text.replace("\\pm ", "-")))
    if text.startswith("\\{") and text.endswith("\\}"):
        return _Pieces("{}", _split(text[2:-2], ","))
    if text[:1] in ("(", "[") and text[-1:] in (")", "]"):
        parts = _split(text[1:-1], ",")
        if len(parts) > 1:
            return _Pieces(text[0] + text[-1], parts)
    return _Pieces("", (text,))


def _split(text: str, mark: str) -> tuple[str, ...]:
    """`text` cut at every `mark` outside of brackets; whole when the brackets do not close."""
    parts: list[str] = []
    depth = start = 0
    for place, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth < 0:
            return (text,)
        if depth == 0 and text.startswith(mark, place):
            parts.append(text[start:place].strip())
            start = place + len(mark)
    parts.append(text[start:].strip())
    return tuple(parts) if depth == 0 else (text,)


def _each(given: Sequence[str], gold: Sequence[str]) -> bool:
    return len(given) == len(gold) and all(map(_same, given, gold))


def _any_order(given: Sequence[str], gold: Sequence[str]) -> bool:
    if len(given) != len(gold) or len(gold) > _PIECES:
        return tuple(given) == tuple(gold)
    left = list(given)
    for wanted in gold:
        found = next((said for said in left if _same(said, wanted)), None)
        if found is None:
            return False
        left.remove(found)
    return True
