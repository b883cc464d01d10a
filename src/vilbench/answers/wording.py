"""Plain wording: answers without LaTeX, Markdown and invisible characters."""

from __future__ import annotations

import re
import unicodedata

_SUPERSCRIPT = re.compile(r"[⁻⁺]?[⁰¹²³⁴-⁹]+")
_MIXED = re.compile(r"(?<=\d)(?=[¼½¾⅐-⅞])")
_THOUSANDS = re.compile(r"(?<=\d)(?:\\,|[\u2009\u202f])(?=\d{3}(?!\d))")
_WRAPPER = re.compile(
    r"\\(?:text(?:bf|it|rm|normal)?|math(?:rm|bf|it|sf)|mbox|boxed|fbox|operatorname|emph)\s?"
    r"\{([^{}]*)\}"
)
_FRACTION = re.compile(
    r"(\d)?\s?\\[dtc]?frac\s?(?:\{\s?(-?\d{1,40})\s?\}\s?\{\s?(\d{1,40})\s?\}|(\d)(\d))"
)
_DEGREE = re.compile(r"\s?(?:\^\s?)?(?:\{\s?\\circ\s?\}|\\circ\b|\\degree\b|\^o(?!\w))")
_SPACING = re.compile(r"\\[,;:! ]|\\q?quad\b|~")
_DELIMITER = re.compile(r"\\[()\[\]]|\\(?:left|right|displaystyle)\b|(?<!\\)\$|\*\*|__|`")
_ENCLOSING = re.compile(r"\\[()\[\]]|(?<!\\)\$|\*\*|`")
_ESCAPED = re.compile(r"\\([%$#&_{}])")
_EMPHASIS = re.compile(r"(?<![\w*])\*([^\s*][^*\n]*)\*(?![\w*])")
# The categories Cc and Cf, without the whitespace among them.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2"
    "\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0001\U000e0020-\U000e007f]"
)
_TRIMMED = " .,;:!?\"'`“”‘’«»()[]{}*_<>…。，"
_OPENING = re.compile(rf"(?:[{re.escape(_TRIMMED)}]++|(?:an?|the)\s++(?=\S))*+")
_YES_NO = re.compile(
    r"(yes|yeah|yep|no|nope)(?:\s*[,.;:!–—-]|\s+(?:it|there|he|she|they|this|that|these|we|i|you)\b)"
)
_PASSES = 8
_SAID = {"yes": "yes", "yeah": "yes", "yep": "yes", "no": "no", "nope": "no"} | {
    "是": "yes",
    "是的": "yes",
    "否": "no",
    "不": "no",
    "不是": "no",
}


def plain(text: str) -> str:
    r"""`text` with its LaTeX and Markdown marks taken off.

    `\boxed{}` and `\text{}` leave their content, a `\frac` of plain integers becomes "a/b",
    degrees become "°". What is not understood stays as it is.
    """
    text = _THOUSANDS.sub("", _MIXED.sub(" ", text))
    text = _SUPERSCRIPT.sub(lambda match: f"^{match[0]}", text)
    text = unicodedata.normalize("NFKC", text).replace("⁄", "/").replace("−", "-")
    text = _INVISIBLE.sub("", text)
    for _ in range(4):  # wrappers in wrappers
        text, changed = _WRAPPER.subn(r"\1", text)
        if not changed:
            break
    text = text.replace("{,}", ",")
    text = _DEGREE.sub("°", text)
    text = _FRACTION.sub(_fraction, text)
    text = _SPACING.sub(" ", text)
    text = _DELIMITER.sub("", text)
    text = _EMPHASIS.sub(r"\1", text)
    text = _ESCAPED.sub(r"\1", text)
    return " ".join(text.split())


def unmarked(text: str) -> str:
    """`text` without what encloses formulas, bold marks and invisible characters."""
    return _ENCLOSING.sub("", _INVISIBLE.sub("", text))


def _fraction(match: re.Match[str]) -> str:
    whole = f"{match[1]} " if match[1] else " " if match[0][0].isspace() else ""
    return f"{whole}{match[2] or match[4]}/{match[3] or match[5]}"


def worded(text: str) -> str:
    """The form in which texts are compared: folded, without outer punctuation and articles.

    "Yes, it is." becomes "yes". Applying it twice changes nothing.
    """
    for _ in range(_PASSES):
        before, text = text, _worded(text)
        if text == before:
            break
    return text


_OPINION = re.compile(
    r"^\W*(?:step\s*\d{1,3}\W*)?(?:(?:so|thus|therefore|hence|finally|in conclusion|overall)\b\W*)?"
    r"(yes|no)\b(?:\s*[,.;:!–—-]|\s+(?:it|there|he|she|they|this|that|these|we|i|you)\b|\W*$)"
    r"|^(?:based on|according to|from|in|looking at)\s[^,.]{1,80},\s(yes|no)\b"
    r"|[,;.]\s(?:so|thus|therefore|hence)[,:]?\s(yes|no)(?:[,.;:!]|$)",
    re.IGNORECASE,
)


def opinion(text: str) -> str | None:
    """The yes or no that a sentence begins or concludes with, None when it says neither."""
    match = _OPINION.search(text)
    return (match[1] or match[2] or match[3]).lower() if match else None


def _worded(text: str) -> str:
    folded = " ".join(unicodedata.normalize("NFKC", plain(text).casefold()).split())
    folded = folded.replace("10 ^", "10^")
    trimmed = folded.rstrip(_TRIMMED)
    opening = _OPENING.match(trimmed)
    trimmed = trimmed[opening.end() :] if opening else trimmed
    if match := _YES_NO.match(trimmed):
        return _SAID[match[1]]
    return _SAID.get(trimmed, trimmed) or folded
