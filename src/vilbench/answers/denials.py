"""Denials: what a phrase says not to be the answer."""

from __future__ import annotations

import re
from typing import Final

_WINDOW: Final = 120
"""Characters around a mention that are looked at."""
_NOT: Final = r"\b(?:not(?!\sonly\b)|cannot|never|neither|nor)\b|n['’]t\b"
_HAN: Final = r"[不非没][\u3400-\u9fff]{0,3}"
_DENIES: Final = re.compile(
    rf"{_NOT}|\bno\b(?!\s(?:doubt|question)\b)"
    r"|\b(?:except|without(?!\s(?:a\s)?doubt\b)|(?:instead|rather|other)\s(?:of|than))\b"
    rf"|{_HAN}\s?$",
    re.IGNORECASE,
)
_DENIES_LETTER: Final = re.compile(
    rf"(?:{_NOT}|\b(?:instead\sof|(?:rather|other)\sthan)\b|{_HAN})"
    r"(?:\s(?:be|is|equals?|the|an?|correct|right|best|options?|choices?|answers?|letter"
    r"|choose|pick|select|with|so|(?!only)\w{1,20}ly)\b)*+[\s\"'(\[“‘]*$",
    re.IGNORECASE,
)
_CLAUSE: Final = re.compile(
    r"[,;:!?。，；：–—]|\.(?!\d)|\s-\s|\b(?:but|because|since|thus|hence|therefore|while|though"
    r"|although)\b|(?<!\bnot\s)\bso\b",
    re.IGNORECASE,
)
_AFTER: Final = r"[\"')\]’”]*(?:\s\([^()]{0,80}\))?\s"
_RIGHT: Final = r"(?:correct|right|the\s(?:answer|correct|right))\b"
_WRONG: Final = r"(?:wrong|incorrect|ruled\sout|excluded|eliminated)\b"
_REJECTED: Final = re.compile(
    rf"{_AFTER}(?:(?:is|are)\s(?:\w{{1,20}}ly\s|also\s)?(?:{_WRONG}|not\s{_RIGHT})"
    rf"|(?:(?:isn|aren)['’]t|cannot\sbe|can['’]t\sbe)\s{_RIGHT})"
)
_REJECTED_LETTER: Final = re.compile(
    rf"{_AFTER}(?:isn['’]t\b|is\s(?:\w{{1,20}}ly\s|also\s)?"
    rf"(?:{_WRONG}|not\b(?!\s(?:wrong|incorrect)\b))|(?:cannot|can['’]t|can\snot)\sbe\b)"
)
_CLUELESS: Final = re.compile(
    r"\bno\s(?:idea|clue|way\s(?:to|of)\s(?:tell|know|say|determin)\w{0,4})\b", re.IGNORECASE
)


def denied(text: str, start: int, end: int) -> bool:
    """Whether the clause of a text denies the words from `start` to `end`, as "no red" does."""
    clause = _CLAUSE.split(text[max(0, start - _WINDOW) : start])[-1]
    return _DENIES.search(clause) is not None or _REJECTED.match(text, end) is not None


def denied_letter(text: str, start: int, end: int) -> bool:
    """Whether a text denies the letter from `start` to `end`: "cannot be A", "A is wrong"."""
    before = text[max(0, start - _WINDOW) : start]
    return (
        _DENIES_LETTER.search(before) is not None or _REJECTED_LETTER.match(text, end) is not None
    )


def told(text: str) -> str:
    """`text` without the words that say that nothing is known: their "no" is no answer."""
    return _CLUELESS.sub(" ", text)
