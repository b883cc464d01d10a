"""Answers of several values: lists in order, sets of letters, ratios, ranges."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from string import ascii_uppercase
from typing import Final

from vilbench.answers.numbers import canonical, quantities, rounded
from vilbench.answers.wording import plain, worded

_LONGEST: Final = 1000
_ENCLOSED: Final = re.compile(r"[\[({]([^\[\](){}]*)[\])}]")
_LEAD: Final = re.compile(r"^.*?(?:\b(?:is|are|be|between|from)\b|[:：])\s+", re.IGNORECASE)
_COMMA: Final = re.compile(r"[,;、，；]\s+(?:and\s+)?|、|，|；|\s+(?:and|to|&)\s+|[和与到]")
_TIGHT: Final = re.compile(r"\s*[,;]\s*")
_LETTER: Final = re.compile(
    r"(?<![\w'’])[(\[]?([A-Z])[)\]]?(?![\w'’])(?!\s(?!(?:and|or|as|because|since|is|are)\b)[a-z])"
)
_TOGETHER: Final = re.compile(r"\W*([A-Z]{2,26})\W*")
_VALUE = r"[-+]?\d{1,40}(?:\.\d{1,40})?"
_RATIO: Final = re.compile(rf"({_VALUE})\s?(?::|∶|/|\bto\b|比)\s?({_VALUE})(?!\s?[:∶/]\s?\d)")
_GOLD_RATIO: Final = re.compile(rf"({_VALUE})\s?[:∶]\s?({_VALUE})")
_RANGE: Final = re.compile(
    rf"({_VALUE})(?:\s?[^\W\d]{{1,12}}|\s?[%°$])?\s?(?:-|–|—|~|\bto\b|\band\b|,|到|至)\s?[$]?({_VALUE})"
)
_GOLD_RANGE: Final = re.compile(rf"({_VALUE})\s?(?:-|–|—|~|to)\s?({_VALUE})")


def values(phrase: str) -> str | None:
    """The list that a phrase states as "[a, b]", numbers in their normal form."""
    text = plain(phrase)[-_LONGEST:]
    enclosed = [match for match in _ENCLOSED.findall(text) if match.strip()]
    if enclosed:
        inside = enclosed[-1]
    else:
        lead = _LEAD.match(text)
        inside = text[lead.end() :] if lead else text
    parts = _COMMA.split(inside) if _COMMA.search(inside) else _TIGHT.split(inside)
    found = [_value(part) for part in parts if part.strip()]
    return f"[{', '.join(found)}]" if found else None


def _value(text: str) -> str:
    said = worded(text)
    found = quantities(said)
    if len(found) == 1 and (found[0].start, found[0].end) == (0, len(said)):
        return canonical(found[0].value)
    return said


def same_values(given: str, gold: str, precision: int | None) -> bool:
    """Whether two lists in normal form hold the same values in the same order."""
    said, wanted = (_TIGHT.split(text.strip("[]")) for text in (given, gold))
    return len(said) == len(wanted) and all(
        _same_value(one, other, precision) for one, other in zip(said, wanted, strict=True)
    )


def _same_value(given: str, gold: str, precision: int | None) -> bool:
    if given == gold or precision is None:
        return given == gold
    try:
        return rounded(Fraction(given), precision) == rounded(Fraction(gold), precision)
    except ValueError:
        return False


def letters(phrase: str, choices: Sequence[str]) -> str | None:
    """All letters that a phrase names, sorted and with commas between; None when none is."""
    text = plain(phrase)[-_LONGEST:]
    known = ascii_uppercase[: len(choices)] if choices else ascii_uppercase
    if match := _TOGETHER.fullmatch(text):
        named = set(match[1])
    else:
        named = set(_LETTER.findall(text))
    return ",".join(sorted(named)) if named and named <= set(known) else None


def same_pair(given: str, gold: str) -> bool | None:
    """Whether a text means the gold ratio ("3:4") or range ("5-10"); None for other golds.

    The last pair of the text counts. A ratio may be said in other terms ("6 to 8", "3/4").
    """
    if wanted := _GOLD_RATIO.fullmatch(gold):
        said = _pairs(_RATIO, given)
        one, other = Fraction(wanted[1]), Fraction(wanted[2])
        return bool(said) and said[-1][0] * other == said[-1][1] * one and said[-1][1] != 0
    if wanted := _GOLD_RANGE.fullmatch(gold):
        said = _pairs(_RANGE, given)
        return bool(said) and said[-1] == (Fraction(wanted[1]), Fraction(wanted[2]))
    return None


def _pairs(pattern: re.Pattern[str], text: str) -> list[tuple[Fraction, Fraction]]:
    return [(Fraction(one), Fraction(other)) for one, other in pattern.findall(text)]
