"""Ends of sentences in solutions, which are full of decimals, factorials and initials."""

from __future__ import annotations

import re
from collections.abc import Iterator

_SENTENCE_END = re.compile(r"(?<![.!?])[.!?]++[\"'”’)\]*_]*+(?=\s)|[。！？]++")
_ABBREVIATION = re.compile(
    r"e\.g|i\.e|cf|vs|viz|resp|approx|ca|figs?|eqs?|secs?|ch|chap|refs?|thm|def|prop|cor|dr|mrs?|ms"
    r"|prof|st|jr|sr|inc|ltd|co|dept|eds?|vol|pp|al|ex|deg|min|max|avg",
    re.IGNORECASE,
)
_BEFORE_NUMBER = re.compile(r"nos?|p|step|art", re.IGNORECASE)
_OPENER = re.compile(
    r"an?|also|and|as|at|because|besides|but|by|finally|first|for|from|given|hence|here|how|however"
    r"|if|in|it|its|last|let|my|next|no|now|of|on|once|one|option|our|second|similarly|since|so|step"
    r"|that|the|then|there|therefore|these|they|third|this|those|thus|to|using|we|what|when|where"
    r"|which|while|with|yes|you|your",
    re.IGNORECASE,
)
_LETTER_NOUN = re.compile(
    r"and|angle|answer|at|be|circle|choice|figure|is|line|option|or|picture|point|segment|shape"
    r"|side|to|triangle|vertex|with",
    re.IGNORECASE,
)


def sentences(text: str) -> Iterator[int]:
    """Positions of the first characters of sentences."""
    for match in _SENTENCE_END.finditer(text):
        start, end = match.span()
        window = text[end : end + 64]
        follows = window.lstrip()
        opening = end + len(window) - len(follows)
        if match[0][0] in "。！？":
            yield opening
            continue
        if not follows or follows[0].islower():
            continue
        # "5! = 120" and "3. * 2" go on; "**So" opens.
        if follows[0] in "=+/<>,;:)≈×·÷" or (follows[0] == "*" and follows[:2] != "**"):
            continue
        if match[0].rstrip("\"'”’)]*_") == "." and _abbreviates(text, start, follows):
            continue
        yield opening


def _abbreviates(text: str, dot: int, follows: str) -> bool:
    """Whether the full stop at `dot` belongs to its word and ends no sentence."""
    window = text[max(0, dot - 40) : dot]
    if not window or window[-1].isspace():
        return False
    if window[-1].isdigit():
        # A list number or "Step 1." at the beginning of a line.
        line = window.rpartition("\n")[2]
        return re.fullmatch(r"\W*(?:step\s*)?\d{1,3}", line, re.IGNORECASE) is not None
    words = window.split()
    word = words[-1].lstrip("(['\"*_“‘")
    if _ABBREVIATION.fullmatch(word):
        return True
    if _BEFORE_NUMBER.fullmatch(word):
        return follows[0].isdigit()
    if not (len(word) == 1 and "A" <= word <= "Z"):
        return False
    # "J. Smith" goes on, "angle A. Then" and "is B. The" end.
    opener = re.match(r"[^\W\d]+", follows)
    before = words[-2] if len(words) > 1 else ""
    return (
        opener is not None
        and not _OPENER.fullmatch(opener[0])
        and not _LETTER_NOUN.fullmatch(before)
    )
