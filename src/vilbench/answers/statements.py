"""Where a reply states its answer."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from typing import Final

SHORT: Final = 200
"""Characters of a reply that may be an answer as a whole."""
LONGEST: Final = 1000
"""Characters of a phrase that are looked at."""
_STATEMENTS: Final = 8
"""Statements of an answer that are tried, the last first."""
_ANSWER_LINE: Final = re.compile(
    r"\bans(?:wer)?[\"'*_ \t]*(?:[:：=]|[-–—] )"
    r"|^[#*_ \t]*(?:the )?(?:final |correct )?answer[*_ \t\r]*$"
    r"|\b(?:correct|right|best|final) (?:option|choice|value|result)[*_ \t]*[:：]"
    r"|<answer>|(?:答案|【答案】|【解答】)[*_ \t]*[:：]|【答案】",
    re.IGNORECASE | re.MULTILINE,
)
_ANSWER_IS: Final = re.compile(
    r"\b(?:answer|correct (?:option|choice|value|result))\b[^.\n:]{0,60}?"
    r"\b(?:is|was|must be|should be|would be|will be|has to be)\b[*_ \t]*[:：]?"
    r"|(?:答案|选项|结果)[^。\n:：不]{0,20}?(?:应该是|应当是|应为|应选|就是|是|为|选)[*_ \t]*[:：]?"
    r"|(?:故|应|因此|所以|因而)(?:本题|答案|应该|应|正确)?选(?:择|项)?(?:是|为)?[*_ \t]*[:：]?",
    re.IGNORECASE,
)
_CONCLUSION: Final = re.compile(
    r"\W*(?:step\s*\d{1,3}\W*)?(?:(?:so|thus|therefore|hence|consequently|finally|in conclusion"
    r"|in total|overall)\b|因此|所以|综上|故|由此|可得|即)",
    re.IGNORECASE,
)
_FINISHED: Final = re.compile(r"[.!$*)\]}°%。！]\s*$")
_IS: Final = re.compile(r"(?:\b(?:is|are|was|were|equals?)\b|=)[^.!?=]{1,80}\S*$")
_DISPLAYED: Final = re.compile(r"(?:\\\]|\$\$)\s*$")
_STEP: Final = re.compile(r"\W*step\s*\d|\(?\d{1,3}[.)]\s+[^\W\d]", re.IGNORECASE)
SENTENCE_END: Final = re.compile(r"[.!?](?=\s+[A-Z\"'(*])|\.\s*$|[。！？]")
_BRACE: Final = re.compile(r"[{}]")
_DECORATION: Final = " \t\r\n*_#>`:：="


def stated(text: str) -> str | None:
    """The phrase of the last statement of an answer, by the first rule that finds one."""
    for phrase in _after(text, _ANSWER_LINE):
        return phrase
    boxed = _boxed(text)
    if boxed is not None:
        return boxed
    for phrase in _after(text, _ANSWER_IS):
        end = SENTENCE_END.search(phrase)
        return phrase[: end.start()] if end else phrase
    return None


def last_line(text: str) -> str | None:
    """The end of the last line that says something, None for an empty text."""
    lines = _said(text[-4 * LONGEST :])
    return lines[-1][-LONGEST:] if lines else None


def first_line(text: str) -> str | None:
    """The first line that says something if it is short, None otherwise."""
    lines = _said(text[:LONGEST])
    return lines[0] if lines and len(lines[0]) <= SHORT else None


def is_whole(text: str) -> bool:
    """Whether a text is one short line, and no step: an answer as a whole."""
    if len(text) > 4 * LONGEST:
        return False
    lines = _said(text)
    line = lines[0][-LONGEST:] if len(lines) == 1 else ""
    return 0 < len(line) <= SHORT and _STEP.match(line) is None


def concludes(line: str) -> bool:
    """Whether a finished line draws a conclusion, or is a short sentence that says what is."""
    if _FINISHED.search(line) is None:
        return False
    if _CONCLUSION.match(line) is not None:
        return True
    return len(line) <= SHORT and _STEP.match(line) is None and _IS.search(line) is not None


def ending(text: str) -> str | None:
    r"""The conclusion at the end of a text, with the display that it leads to.

    "Therefore the line is:", "\[", "y = x - 5", "\]" is one conclusion, and so is an equation
    that is displayed at the end.
    """
    lines = _said(text[-4 * LONGEST :])
    if not lines:
        return None
    last = lines[-1]
    if len(lines) > 1 and lines[-2].endswith((":", "：")) and _CONCLUSION.match(lines[-2]):
        return f"{lines[-2]} {last}"[-LONGEST:]
    displayed = _DISPLAYED.search(text[-LONGEST:]) is not None and "=" in last
    return last[-LONGEST:] if displayed or concludes(last) else None


def _said(text: str) -> list[str]:
    """The lines that hold more than marks."""
    return [line.strip() for line in text.split("\n") if line.strip(_DECORATION + "\\[]()$")]


def _after(text: str, statement: re.Pattern[str]) -> Iterator[str]:
    """What follows each match, the last first: the rest of its line, else the next line.

    A line that ends in a colon goes on in the next one.
    """
    for match in reversed(deque(statement.finditer(text), maxlen=_STATEMENTS)):
        tail = text[match.end() : match.end() + LONGEST].lstrip(_DECORATION)
        lines = [line for line in tail.split("\n") if line.strip(_DECORATION + "\\[]()$")]
        if not lines or statement.match(lines[0]):
            continue
        leads = lines[0].rstrip("*_ \t\r").endswith((":", "："))
        phrase = " ".join(lines[: 2 if leads else 1])
        yield phrase.split("</answer>", 1)[0].rstrip(_DECORATION)


def _boxed(text: str) -> str | None:
    r"""Content of the last `\boxed{}`, or its beginning; None when that is not closed."""
    mark = text.rfind("\\boxed{")
    if mark < 0:
        return None
    start = mark + len("\\boxed{")
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return text[start : min(brace.start(), start + LONGEST)].strip() or None
    return None
