r"""Expressions in prose: whether a gold answer is one, and where a reply states one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from vilbench.answers.numbers import Unit, unit_of
from vilbench.answers.spelling import spelled, unwrapped
from vilbench.answers.wording import unmarked

LONGEST: Final = 400
"""Characters of an expression that is looked at."""

_SPAN: Final = re.compile(r"\$\$?([^$]+)\$\$?|\\\((.+?)\\\)|\\\[(.+?)\\\]")
_BETWEEN: Final = re.compile(r"\s*(?:[,;]|,?\s?\b(?:and|or)\b|[=≈∪<>≤≥:])\s*", re.IGNORECASE)
_LEAD: Final = re.compile(
    r"^.*?(?:\b(?:is|are|be|equals?|becomes?|gives?|get|obtain|have)\b(?:\s(?:equal\sto|given\sby))?"
    r"|[:：])\s+(?=\S)",
    re.IGNORECASE,
)
_REMARK: Final = re.compile(
    r"[,;]?\s(?:where|because|since|which|when|if)\s.*|\s\((?=[^()]*[A-Za-z]{3}).*", re.IGNORECASE
)
_TAIL: Final = re.compile(r"[,;]?\s(?:with|as|so|in|for|on)\s.*", re.IGNORECASE)
_SPLIT_UNIT: Final = re.compile(r"\$\s*([a-z]{1,12})\s*\$\s*(\^\s*\{?[23]\}?)\s*\$")
_NOUNS: Final = re.compile(
    r"^(?:(?!(?:sin|cos|tan|cot|log|ln|exp|pi|sqrt)\b)[A-Za-z]{2,}[,\s]+|[Aa]\s)+"
    r"(?=[-\\(\[|√]?[-\\\d(]|[A-Za-z](?:\([a-z]\))?\s?[-=<>+*/^≤≥\\])"
)
_WORDS: Final = re.compile(
    r"(?<![\\A-Za-z])(?!(?:sin|cos|tan|cot|sec|csc|log|ln|exp|lim|max|min|abs|arcsin|arccos|arctan)"
    r"(?![A-Za-z]))[A-Za-z]{4,}"
)
_UNITS: Final = re.compile(
    r"(?<=[\d)}A-Za-z%])\s?(?:(?:square|cubic|sq\.?|cu\.?)\s)?"
    r"(?:units?|[a-z]{1,12})\.?(?:\s?(?:\^\s?\{?[23]\}?|/\s?[a-z]{1,10}))?$"
)
_UNIT_WORDS: Final = re.compile(
    r"(?:units?|[mck]?m|in|inch|inches|ft|foot|feet|yards?|yd|miles?|mi|[mk]?g|s|secs?|seconds?"
    r"|mins?|minutes?|h|hrs?|hours?|ml|l|lit(?:er|re)s?|(?:centi|milli|kilo)?met(?:er|re)s?"
    r"|degrees?|deg|radians?|rad|dollars?|percent|square|cubic|sq|cu)"
)
_MARK: Final = re.compile(
    r"[\\^=<>√π∞≤≥∪|²³]|\d\s?[A-Za-z]\b|[(\[]\s?[-\d\\]|[A-Za-z]\s?[-+*/]\s?\d|\d\s?,\s?-?\d"
    r"|\b(?:sin|cos|tan|log|ln)\s?\("
)


def is_formula(text: str) -> bool:
    r"""Whether a gold answer has to be understood as LaTeX: "2\sqrt{3}", "y=x-5", "(1,2)"."""
    bare = unwrapped(text)
    return _MARK.search(bare) is not None and not wordy(spelled(text))


def formula(phrase: str) -> str | None:
    """The expression that a phrase states, as it is written; None when it states none."""
    phrase = _SPLIT_UNIT.sub(r" \\text{ \1}\2$", phrase[-LONGEST * 2 :])
    spans = list(_SPAN.finditer(phrase))
    if spans:
        return _joined(phrase, spans)
    phrase = _REMARK.sub("", unmarked(phrase)).strip()
    while wordy(spelled(unitless(phrase).text)) and (lead := _LEAD.match(phrase)):
        phrase = phrase[lead.end() :]
    phrase = _NOUNS.sub("", _TAIL.sub("", phrase)).strip(" .,;:")
    return phrase if phrase and not wordy(spelled(unitless(phrase).text)) else None


def _joined(phrase: str, spans: Sequence[re.Match[str]]) -> str:
    """The last expression between dollars, with those that a connective joins to it."""
    parts = [_inside(spans[-1])]
    for earlier, later in zip(spans[-2::-1], spans[:0:-1], strict=True):
        between = phrase[earlier.end() : later.start()]
        if not _BETWEEN.fullmatch(between):
            break
        word = between.strip()
        parts[:0] = [_inside(earlier), word if word in "=≈∪<>≤≥" else ","]
    after = phrase[spans[-1].end() :].strip(" .*")
    before = phrase[: spans[0].start()].rstrip()
    if len(parts) == 1 and before.endswith(("=", "√", "-")):
        parts.insert(0, before[-1].replace("=", ""))
    return " ".join([*parts, after] if _is_unit(after) else parts).strip(" =")


def _inside(match: re.Match[str]) -> str:
    return (match[1] or match[2] or match[3]).strip()


def _is_unit(text: str) -> bool:
    words = re.findall(r"[a-z]+", text)
    return bool(words) and len(text) < 30 and all(map(_UNIT_WORDS.fullmatch, words))


def wordy(text: str) -> bool:
    """Whether words stand in a spelled expression: then nothing is to be computed."""
    return _WORDS.search(text) is not None


class Measure(NamedTuple):
    """An expression without its unit; the unit if it is a known one, and as it is written."""

    text: str
    unit: Unit | None = None
    name: str = ""


def unitless(text: str) -> Measure:
    r"""An expression and the unit that follows it: "16\pi cm^2", "16\pi square units"."""
    bare = " ".join(unwrapped(text).split()).rstrip(" .,")
    match = _UNITS.search(bare)
    # "3m" may be an expression in m, "3 m" and "3\text{ m}" are lengths.
    if match is None or not _is_unit(match[0]) or len(match[0]) == 1:
        return Measure(text)
    name = match[0].strip()
    unit = unit_of(name)
    return Measure(bare[: match.start()], unit, " ".join(name.split()) if unit else "")


def written(text: str) -> str:
    """The normal form of an expression: one spelling, and its unit if that is known."""
    measure = unitless(text)
    return f"{spelled(measure.text)} {measure.name}".strip()
