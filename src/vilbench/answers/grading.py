"""Extraction, normal form and verdict of final answers."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from vilbench.answers.choices import chosen, lettered
from vilbench.answers.numbers import Quantity, canonical, converted, quantities, rounded
from vilbench.answers.wording import plain, worded
from vilbench.types import AnswerKind, Problem, Verdict

_SHORT = 200
_STATEMENTS = 8
"""Statements of an answer that are tried, the last first."""
_LONGEST = 1000
"""Characters of a phrase that are looked at."""
_ANSWER_LINE = re.compile(
    r"\banswer[*_ \t]*(?:[:：=]|[-–—] )|^[#*_ \t]*(?:the )?(?:final |correct )?answer[*_ \t\r]*$"
    r"|<answer>",
    re.IGNORECASE | re.MULTILINE,
)
_ANSWER_IS = re.compile(
    r"\b(?:answer|correct (?:option|choice|value|result))\b[^.\n:]{0,60}?"
    r"\b(?:is|was|must be|should be|would be|will be|has to be)\b[*_ \t]*[:：]?",
    re.IGNORECASE,
)
_CONCLUSION = re.compile(
    r"\W*(?:step\s*\d{1,3}\W*)?(?:so|thus|therefore|hence|consequently|finally|in conclusion"
    r"|in total|overall)\b",
    re.IGNORECASE,
)
_FINISHED = re.compile(r"[.!$*)\]}°%]\s*$")
_STEP = re.compile(r"\W*step\s*\d|\(?\d{1,3}[.)]\s+[^\W\d]", re.IGNORECASE)
_REASON = re.compile(r",?\s(?:because|since)\s", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?](?=\s+[A-Z\"'(*])|\.\s*$")
_PARENTHESIS = re.compile(r"\([^()]*\)")
_DECORATION = " \t\r\n*_#>`:：="


class Reading(NamedTuple):
    """What a reply answers: its normalized answer, None when there is none, and the verdict."""

    answer: str | None
    verdict: Verdict


def read(text: str, problem: Problem) -> Reading:
    """Extract, normalize and grade the final answer of a reply."""
    answer = extract(text, problem)
    if answer is None:
        return Reading(None, "unparsed")
    normal = normalize(answer, problem)
    return Reading(normal, grade(normal, problem))


def extract(text: str, problem: Problem) -> str | None:
    """The final answer of a reply, None when none can be read.

    A choice comes as its letter, a number as the last number of its phrase with its unit, a
    text as the phrase.
    """
    kind = _kind(problem)
    phrase = _stated(text)
    if phrase is not None:
        return _from_phrase(phrase, problem, kind)
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        return None
    last = lines[-1].strip()[-_LONGEST:]
    direct = len(lines) == 1 and len(last) <= _SHORT and _STEP.match(last) is None
    concludes = _CONCLUSION.match(last) is not None and _FINISHED.search(last) is not None
    if direct or (kind != "text" and concludes):
        return _from_phrase(last, problem, kind)
    return lettered(plain(last), problem.choices) if kind == "choice" else None


def states(text: str) -> bool:
    """Whether a text says that something is the answer, in one of the ways 1 to 3."""
    return _stated(text) is not None


def normalize(answer: str, problem: Problem) -> str:
    """The form of `answer` that is compared and counted in votes; applying it twice is safe.

    A choice becomes its letter, a number a decimal or a fraction in lowest terms in the
    problem's unit, a text is folded. What cannot be read as its kind is folded too.
    """
    kind = _kind(problem)
    folded = worded(answer)
    # What folding brings to light is read too: applying this twice must change nothing.
    for form in (answer, folded):
        normal = _read_as(kind, form, problem)
        if normal is not None:
            return normal
    return folded


def _read_as(kind: AnswerKind, answer: str, problem: Problem) -> str | None:
    if kind == "choice":
        return chosen(plain(answer)[:_LONGEST], problem.choices)
    if kind == "number":
        value = _value(answer, problem)
        if value is not None:
            return canonical(value)
    return None


def grade(answer: str | None, problem: Problem) -> Verdict:
    """Compare an answer, normalized or not, with the gold one.

    Numbers are compared exactly, or after rounding both to `problem.precision` decimals
    (halves away from zero; MathVista's convention), in the problem's unit.
    """
    if answer is None:
        return "unparsed"
    given, gold = normalize(answer, problem), normalize(problem.answer, problem)
    if given == gold:
        return "correct"
    if _kind(problem) == "number" and problem.precision is not None:
        value, wanted = _value(given, problem), _value(gold, problem)
        if value is not None and wanted is not None:
            same = rounded(value, problem.precision) == rounded(wanted, problem.precision)
            return "correct" if same else "wrong"
    return "wrong"


def _kind(problem: Problem) -> AnswerKind:
    """The answer kind; a number problem whose gold answer is no plain number is a text one."""
    if problem.answer_kind == "number" and not quantities(plain(problem.answer)):
        return "text"
    return problem.answer_kind


def _quantity(phrase: str) -> Quantity | None:
    """The last number of a plain phrase, one in parentheses only when no other is there."""
    outside = _PARENTHESIS.sub(lambda match: " " * len(match[0]), phrase)
    found = quantities(outside) or quantities(phrase)
    return found[-1] if found else None


def _value(answer: str, problem: Problem) -> Fraction | None:
    quantity = _quantity(plain(answer)[-_LONGEST:])
    return converted(quantity, problem.unit) if quantity else None


def _from_phrase(phrase: str, problem: Problem, kind: AnswerKind) -> str | None:
    if kind == "choice":
        return chosen(plain(phrase), problem.choices)
    if kind == "text":
        return plain(phrase).strip() or None
    words = plain(_REASON.split(phrase, maxsplit=1)[0])
    quantity = _quantity(_SENTENCE_END.split(words, maxsplit=1)[0])
    return words[quantity.start : quantity.end] if quantity else None


def _stated(text: str) -> str | None:
    """The phrase of the last statement of an answer, by the first rule that finds one."""
    for phrase in _after(text, _ANSWER_LINE):
        return phrase
    boxed = _boxed(text)
    if boxed is not None:
        return boxed
    for phrase in _after(text, _ANSWER_IS):
        end = _SENTENCE_END.search(phrase)
        return phrase[: end.start()] if end else phrase
    return None


def _after(text: str, statement: re.Pattern[str]) -> Iterator[str]:
    """What follows each match, the last first: the rest of its line, else the next line.

    A line that ends in a colon goes on in the next one.
    """
    for match in reversed(deque(statement.finditer(text), maxlen=_STATEMENTS)):
        tail = text[match.end() : match.end() + _LONGEST].lstrip(_DECORATION)
        lines = [line for line in tail.split("\n") if line.strip(_DECORATION + "\\[]()$")]
        if not lines or statement.match(lines[0]):
            continue
        leads = lines[0].rstrip("*_ \t\r").endswith((":", "："))
        phrase = " ".join(lines[: 2 if leads else 1])
        yield phrase.split("</answer>", 1)[0].rstrip(_DECORATION)


def _boxed(text: str) -> str | None:
    r"""Content of the last `\boxed{}`, None when that is not closed."""
    mark = text.rfind("\\boxed{")
    if mark < 0:
        return None
    start = mark + len("\\boxed{")
    depth = 1
    for position in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return text[start:position].strip() or None
    return None
