"""Which choice a phrase names: by its letter or by its text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_uppercase

from vilbench.answers.denials import denied, denied_letter, told
from vilbench.answers.numbers import canonical, quantities
from vilbench.answers.spelling import spelled
from vilbench.answers.wording import worded

_ALONE = re.compile(r"[\W_]*([A-Za-z])[\W_]*")
_SEVERAL = re.compile(
    r"(?:^|\b(?:[Oo]ptions?|[Cc]hoices?|is|are|[Ee]ither|[Bb]oth)\s)"
    r"[(\[]?[A-Z][)\]]?(?:\s*[,/&]\s*(?:and\s|or\s)?|\s+(?:and|or)\s+)[(\[]?[A-Z](?![\w'’]|\s[a-z])"
)
_HEADED = re.compile(r"[(\[]?([A-Z])[)\]]?\s?[.:)]?\s+(.+)")
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
    r"\b(?:is|be|choose|pick|select|with|[Tt]herefore|[Tt]hus|[Ss]o|[Hh]ence|but)"
    r"[,:]?\s(?:not\s)?[\"']?([A-Z])"
    r"(?=[\"']?(?:[.,;:!?)]|\s*$|\s(?:because|since|as|which)\b))",
)
_NEXT = re.compile(r"[,;.]\s+(?:(?:and|so|but|thus|hence|therefore|while)\s+)?")
_HAN = re.compile(r"[\u3400-\u9fff]+")
_NAME = re.compile(r"(?:\W*\w{1,12}\s?=\s?)?")
_FORMULA = re.compile(r"[\\^√π∞=+*/<>|]|\w\s?-\s?\w")
_VERB = re.compile(r"\b(?:is|are|equals?|be)\b|[:：]")


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
        group = match.lastindex or 1
        letter = match[group].upper()
        if letter in letters:
            if not denied_letter(phrase, match.start(group), match.end(group)):
                return letter
            following = _NEXT.search(phrase, match.end())  # "C is wrong, D is right"
            return lettered(phrase[following.end() :], choices) if following else None
    for pattern in (_NAMED, _IN_PARENTHESES, _AFTER_VERB):
        for match in reversed(list(pattern.finditer(phrase))):
            if match[1] in letters and not denied_letter(phrase, match.start(1), match.end(1)):
                return match[1]
    letter, _, rest = phrase.partition(" ")  # "B 12 cm"
    if len(letter) == 1 and letter in letters and _by_text(rest, choices) == letter:
        return letter
    return None


def headed(line: str, choices: Sequence[str]) -> str | None:
    """The letter that is a plain line, alone or with the text of its choice."""
    if match := _ALONE.fullmatch(line):
        return lettered(match[1], choices)
    match = _HEADED.fullmatch(line)
    return match[1] if match and _by_text(match[2], choices) == match[1] else None


def _by_text(phrase: str, choices: Sequence[str]) -> str | None:
    """The choice whose text the phrase is, or the only one that it holds."""
    said = worded(phrase)
    texts = [worded(choice) for choice in choices]
    if said in texts:
        return ascii_uppercase[texts.index(said)]
    formula = _by_formula(phrase, choices)
    if formula is not None:
        return formula
    value = _number(said)
    if value is not None:
        values = [_number(text) for text in texts]
        if value in values:
            return ascii_uppercase[values.index(value)]
    said = told(said)
    held = [index for index, text in enumerate(texts) if text and _holds(said, text)]
    # "12" inside of "12 cm" is not said on its own.
    longest = [
        index
        for index in held
        if not any(other != index and texts[index] in texts[other] for other in held)
    ]
    if len(longest) == 1:
        return ascii_uppercase[longest[0]]
    return None if longest else _by_quantity(said, texts)


def _holds(said: str, text: str) -> bool:
    """Whether a text says another as a word and does not deny it.

    Chinese has no spaces between words.
    """
    word = re.escape(text)
    if not _HAN.fullmatch(text):
        word = rf"(?<![\w.,-]){word}(?![\w%]|[.,]\d)"
    return any(not denied(said, *match.span()) for match in re.finditer(word, said))


def _by_formula(phrase: str, choices: Sequence[str]) -> str | None:
    """The choice that is the phrase, or its last side, in another spelling of LaTeX."""
    if not any(_FORMULA.search(text) for text in (phrase, *choices)):
        return None
    texts = [spelled(choice) for choice in choices]
    verbs = list(_VERB.finditer(phrase))
    start = verbs[-1].end() if verbs else 0
    if denied_letter(phrase, start, len(phrase)):
        return None
    stated = spelled(phrase[start:])
    for said in (stated, stated.rpartition("=")[2]):
        if texts.count(said) == 1 and _FORMULA.search(choices[texts.index(said)]):
            return ascii_uppercase[texts.index(said)]
    return None


def _by_quantity(said: str, texts: Sequence[str]) -> str | None:
    """The choice that is the only quantity of a phrase: "55 degrees" is "55°"."""
    found = quantities(said)
    if len(found) != 1 or denied(said, found[0].start, found[0].end):
        return None
    if found[0].unit is None:  # "x = 45" is "45°", "45 dogs" is not
        if not _NAME.fullmatch(said[: found[0].start]) or found[0].end != len(said):
            return None
        values = [quantities(text) for text in texts]
        same = [at for at, one in enumerate(values) if one and one[0].value == found[0].value]
        return ascii_uppercase[same[0]] if len(same) == 1 else None
    value = _number(said[found[0].start : found[0].end])
    same = [index for index, text in enumerate(texts) if _number(text) == value]
    return ascii_uppercase[same[0]] if len(same) == 1 else None


def _number(text: str) -> str | None:
    """Canonical number of a text that is a number with its unit and no more."""
    found = quantities(text)
    if len(found) == 1 and (found[0].start, found[0].end) == (0, len(text)):
        unit = found[0].unit
        return f"{canonical(found[0].value)} {unit.dimension if unit else ''}"
    return None
