"""Extraction, normal form and verdict of final answers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Final, NamedTuple, TypeVar

from vilbench.answers.chinese import spaced
from vilbench.answers.choices import chosen, headed, lettered
from vilbench.answers.comparison import equal
from vilbench.answers.formulas import formula, written
from vilbench.answers.kinds import kind_of
from vilbench.answers.lists import letters, same_pair, same_values, values
from vilbench.answers.numbers import Quantity, canonical, converted, quantities, rounded, unit_of
from vilbench.answers.statements import (
    LONGEST,
    SENTENCE_END,
    ending,
    first_line,
    is_whole,
    last_line,
    stated,
)
from vilbench.answers.wording import opinion, plain, worded
from vilbench.types import AnswerKind, Problem, Verdict

T = TypeVar("T")

_REASON: Final = re.compile(
    r",?\s(?:because|since|rather than|instead of)\s|,\s(?:and\s)?not\s", re.IGNORECASE
)
_NEGATIVE: Final = re.compile(r"(?<![\d)]\s)\b(?:negative|minus)\s(?=[\d.])", re.IGNORECASE)
_PERCENT: Final = unit_of("%")
_PARENTHESIS: Final = re.compile(r"\([^()]*\)")
_SAYS: Final = re.compile(
    r"\S\s(?:is|are|was|were|be|shows?|showing|reads?|reading|says?|saying|displays?|displaying|indicates?|indicating|points?|pointing|turns?|turning|faces?"
    r"|facing|seems?|appears?|looks?|located|has|have|called|heading|headed|moving|going|coming|driving|walking|standing|wearing|of|to|on|in|at|towards?|an?|the)$"
)
_DENIES: Final = re.compile(
    r"\b(?:not|no|never|neither|nor|cannot|or|than|except|without)\b|n['’]t\b"
)


class Reading(NamedTuple):
    """What a reply answers: its normalized answer, None when there is none, and the verdict."""

    answer: str | None
    verdict: Verdict


def read(text: str, problem: Problem) -> Reading:
    """Extract, normalize and grade the final answer of a reply.

    Raises:
        ComparisonError: An expression has to be understood and math-verify is not there.
    """
    answer = extract(text, problem)
    if answer is None:
        return Reading(None, "unparsed")
    normal = normalize(answer, problem)
    return Reading(normal, grade(normal, problem))


async def soon(problem: Problem, work: Callable[[], T]) -> T:
    """Result of `work`, which reads or grades answers to `problem`, for an event loop.

    What may wait for the process that understands LaTeX is done in a thread, all else at once.
    """
    return await asyncio.to_thread(work) if _kind(problem) == "expression" else work()


def extract(text: str, problem: Problem) -> str | None:
    """The final answer of a reply, None when none can be read.

    A choice comes as its letter, a number as the last number of its phrase with its unit, a
    text as the phrase, an expression as it is written.
    """
    kind = _kind(problem)
    phrase = stated(text)
    if phrase is not None:
        return _from_phrase(phrase, problem, kind)
    last = last_line(text)
    if last is None:
        return None
    if is_whole(text):
        return _from_phrase(last, problem, kind)
    end = ending(text)
    if kind == "text":
        return opinion(plain(end)) if end and _is_opinion(problem) else None
    if end is not None:
        return _from_phrase(end, problem, kind)
    if kind != "choice":
        return None
    named = lettered(spaced(plain(last)), problem.choices)
    first = first_line(text)
    return headed(plain(first), problem.choices) if named is None and first else named


def normalize(answer: str, problem: Problem) -> str:
    """The form of `answer` that is compared and counted in votes; applying it twice is safe.

    A choice becomes its letter, a number a decimal or a fraction in lowest terms in the
    problem's unit, an expression one spelling, a text is folded. What cannot be read as its
    kind is folded too.
    """
    kind = _kind(problem)
    if kind == "expression":
        return written(answer)
    folded = worded(answer)
    # What folding brings to light is read too: applying this twice must change nothing.
    for form in (answer, folded):
        normal = _read_as(kind, form, problem)
        if normal is not None:
            return normal
    return folded


def _read_as(kind: AnswerKind, answer: str, problem: Problem) -> str | None:
    if kind == "choice":
        return chosen(spaced(plain(answer)[:LONGEST]), problem.choices)
    if kind == "choices":
        return letters(answer, problem.choices)
    if kind == "list":
        return values(answer)
    if kind == "number":
        value = _value(answer, problem)
        if value is not None:
            return canonical(value)
    return None


def grade(answer: str | None, problem: Problem) -> Verdict:
    """Compare an answer, normalized or not, with the gold one.

    Numbers are compared exactly, or after rounding both to `problem.precision` decimals
    (halves away from zero; MathVista's convention), in the problem's unit.

    Raises:
        ComparisonError: An expression has to be understood and math-verify is not there.
    """
    if answer is None:
        return "unparsed"
    kind = _kind(problem)
    given, gold = normalize(answer, problem), normalize(problem.answer, problem)
    if given == gold:
        return "correct"
    same = False
    if kind == "number":
        same = problem.precision is not None and _close(given, gold, problem)
    elif kind == "list":
        same = same_values(given, gold, problem.precision)
    elif kind == "expression":
        same = equal(answer, problem.answer)
    elif kind == "text":
        same = _same_text(given, gold)
    return "correct" if same else "wrong"


def _kind(problem: Problem) -> AnswerKind:
    """The answer kind, after the gold answer.

    A number problem whose gold answer is no plain number is a text one, and an expression
    whose gold answer is one is a number.
    """
    return _kind_by_gold(problem.answer_kind, problem.answer)


@lru_cache(maxsize=4096)
def _kind_by_gold(kind: AnswerKind, gold: str) -> AnswerKind:
    """It is asked several times of every answer of a problem."""
    if kind == "number" and not quantities(plain(gold)):
        return "text"
    if kind == "expression" and kind_of(gold) == "number":
        return "number"
    return kind


def _is_opinion(problem: Problem) -> bool:
    return worded(problem.answer) in ("yes", "no")


def _quantity(phrase: str) -> Quantity | None:
    """The last number of a plain phrase, one in parentheses only when no other is there."""
    outside = _PARENTHESIS.sub(lambda match: " " * len(match[0]), phrase)
    found = quantities(outside) or quantities(phrase)
    return found[-1] if found else None


def _value(answer: str, problem: Problem) -> Fraction | None:
    quantity = _quantity(_signed(plain(answer)[-LONGEST:]))
    if quantity is None:
        return None
    value = converted(quantity, problem.unit)
    if value is not None and quantity.unit == _PERCENT and problem.unit is None and value > 1:
        gold = _quantity(plain(problem.answer))
        if gold is not None and gold.unit is None and 0 < gold.value < 1:
            return value / 100  # a share is asked, a percentage is said
    return value


def _signed(phrase: str) -> str:
    """A plain phrase with its Chinese translated and "negative 3" as "-3"."""
    return _NEGATIVE.sub("-", spaced(phrase))


def _close(given: str, gold: str, problem: Problem) -> bool:
    value, wanted = _value(given, problem), _value(gold, problem)
    if value is None or wanted is None or problem.precision is None:
        return False
    return rounded(value, problem.precision) == rounded(wanted, problem.precision)


def _same_text(given: str, gold: str) -> bool:
    """Whether a folded text means the gold one: a ratio, a range, or a sentence that says it.

    "The arrow points to the left" says "left"; "dark red" does not say "red", and what
    denies or offers alternatives says nothing.
    """
    pair = same_pair(given, gold)
    if pair is not None:
        return pair
    before = given.removesuffix(gold).rstrip(" \"'“‘")
    return (
        given.endswith(gold)
        and len(before) < LONGEST
        and _SAYS.search(before) is not None
        and _DENIES.search(before) is None
    )


def _from_phrase(phrase: str, problem: Problem, kind: AnswerKind) -> str | None:
    if kind == "choice":
        return chosen(spaced(plain(phrase)), problem.choices)
    if kind == "choices":
        return letters(phrase, problem.choices)
    if kind == "list":
        return values(phrase)
    if kind == "text":
        said = plain(phrase).strip()
        return (_is_opinion(problem) and opinion(said)) or said or None
    if kind == "expression":
        end = SENTENCE_END.search(_REASON.split(phrase, maxsplit=1)[0])
        return formula(phrase[: end.start()] if end else phrase)
    words = _signed(plain(_REASON.split(phrase, maxsplit=1)[0]))
    quantity = _quantity(SENTENCE_END.split(words, maxsplit=1)[0])
    return words[quantity.start : quantity.end] if quantity else None
