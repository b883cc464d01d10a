"""Which choice a phrase names: by its letter or by its text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_uppercase

from vilbench.answers.numbers import canonical, quantities
from vilbench.answers.wording import worded

_ALONE = re.compile(r"[\W_]*([A-Za-z])[\W_]*")
_SEVERAL = re.compile(
    r"(?:^|\b(?:[Oo]ptions?|[Cc]hoices?|is|are|[Ee]ither|[Bb]oth)\s)"
    r"[(\[]?[A-Z][)\]]?(?:\s*[,/&]\s*(?:and\s|or\s)?|\s+(?:and|or)\s+)[(\[]?[A-Z](?![\w'’]|\s[a-z])"
)
_LEADING = re.compile(
    r"[(\[]?([A-Z])(?:[)\]]|[.:,;](?!\w)|\s(?=[-–—=(])|(?=\s(?:because|since|is|as|which)\b))"
    r"|([a-z])\)\s|[(\[]([a-z])[)\]]"
)
_NAMED = re.compile(
    r"\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer|[Ll]etter|OPTION|CHOICE|ANSWER)\s?(?:is\s)?"
    r"[(\[\"']?([A-Z])(?![\w'’-])"
)
_IN_PARENTHESES = re.compile(r"(?<![\w)])[(\[]([A-Z])[)\]](?!\w)")
_AFTER_VERB = re.compile(
    r"\b(not\s)?(?:is|be|choose|pick|select|with|therefore|thus|so|hence)[,:]?\s(not\s)?[\"']?([A-Z])"
    r"(?=[\"']?(?:[.,;:!?)]|\s*$|\s(?:because|since|as|which)\b))",
)


def chosen(phrase: str, choices: Sequence[str]) -> str | None:
    """Letter of the choice that a plain phrase names, None when that is none or unclear.

    The article "A" and the pronoun "I" are no letters. Without `choices` (they stand in the
    question) every letter counts.
    """
    named = lettered(phrase, choices)
    return named if named is not None else _by_text(phrase, choices)


def lettered(phrase: str, choices: Sequence[str]) -> str | None:
    """Like `chosen`, by letter alone."""
    letters = ascii_uppercase[: len(choices)] if choices else ascii_uppercase
    if match := _ALONE.fullmatch(phrase):
        letter = match[1].upper()
        return letter if letter in letters else None
    if _SEVERAL.search(phrase):
        return None
    if match := _LEADING.match(phrase):
        letter = (match[1] or match[2] or match[3]).upper()
        if letter in letters:
            return letter
    for pattern in (_NAMED, _IN_PARENTHESES):
        found = [letter for letter in pattern.findall(phrase) if letter in letters]
        if found:
            return str(found[-1])
    for match in reversed(list(_AFTER_VERB.finditer(phrase))):
        if match[3] in letters and not match[1] and not match[2]:
            return str(match[3])
    letter, _, rest = phrase.partition(" ")  # "B 12 cm"
    if len(letter) == 1 and letter in letters and _by_text(rest, choices) == letter:
        return letter
    return None


def _by_text(phrase: str, choices: Sequence[str]) -> str | None:
    """The choice whose text the phrase is, or the only one that it holds."""
    said = worded(phrase)
    texts = [worded(choice) for choice in choices]
    if said in texts:
        return ascii_uppercase[texts.index(said)]
    value = _number(said)
    if value is not None:
        values = [_number(text) for text in texts]
        if value in values:
            return ascii_uppercase[values.index(value)]
    held = [
        index
        for index, text in enumerate(texts)
        if text and re.search(rf"(?<![\w.,-]){re.escape(text)}(?![\w%]|[.,]\d)", said)
    ]
    # "12" inside of "12 cm" is not said on its own.
    longest = [
        index
        for index in held
        if not any(other != index and texts[index] in texts[other] for other in held)
    ]
    return ascii_uppercase[longest[0]] if len(longest) == 1 else None


def _number(text: str) -> str | None:
    """Canonical number of a text that is a number with its unit and no more."""
    found = quantities(text)
    if len(found) == 1 and (found[0].start, found[0].end) == (0, len(text)):
        unit = found[0].unit
        return f"{canonical(found[0].value)} {unit.dimension if unit else ''}"
    return None
