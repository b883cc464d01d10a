"""What kind of answer a gold answer is."""

from __future__ import annotations

import re
from typing import Final

from vilbench.answers.formulas import is_formula
from vilbench.answers.numbers import quantities
from vilbench.answers.wording import plain
from vilbench.types import AnswerKind

_BEFORE: Final = re.compile(r"(?:[A-Za-z∠][A-Za-z ]{0,40}\s?[=≈:]\s?)?\$?")
_AFTER: Final = re.compile(r"\s?(?:[A-Za-z°%./ ]|\^?[23]){0,30}")
_PAIR: Final = re.compile(r"\d[\d.]*\s?(?:[:∶]|-|–|\bto\b)\s?\d[\d.]*")


def kind_of(answer: str) -> AnswerKind:
    r"""Kind of a gold answer that has no choices: "number", "expression" or "text".

    "14", "slope = -4" and "10 km/h" are numbers, "2\sqrt{3}", "y = x - 5" and "[-5,3)" are
    expressions, "Yes", "3:4" and "5-10" are texts. Lists are told by their source only:
    "[1, 2]" may be an interval.
    """
    text = plain(answer)
    if _PAIR.fullmatch(text):
        return "text"
    found = quantities(text)
    if len(found) == 1 and re.search(r"\d", text):
        before, after = text[: found[0].start], text[found[0].end :]
        if _BEFORE.fullmatch(before) and _AFTER.fullmatch(after):
            return "number"
    return "expression" if is_formula(answer) else "text"
