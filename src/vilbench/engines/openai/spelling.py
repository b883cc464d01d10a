"""Log-probabilities of an answer as tokens that spell its text.

Servers differ in what they list: some add the token that ended the text, some hold the stop
string that the text was cut before, some leave blanks out of the text. Characters of several
tokens come as bytes. What cannot be brought to spell the text is not used at all, for a
score read from the wrong token would be wrong without a sign.
"""

from __future__ import annotations

import codecs
import math
from collections.abc import Mapping, Sequence
from typing import Any

from vilbench.types import Token

_ROUNDING = 1e-3
"""A log-probability may be above 0 by rounding, not by more."""


class NoSpelling(ValueError):  # noqa: N818 - not a fault of the program
    """Log-probabilities that are invalid or do not fit the text."""


def spelled(text: str, listed: object) -> tuple[Token, ...]:
    """The tokens of a text.

    Args:
        text: What was answered.
        listed: `logprobs.content` of the answer.

    Raises:
        NoSpelling: They are not a list of tokens, a number is no log-probability, or they
            do not spell the text.
    """
    if not isinstance(listed, list):
        raise NoSpelling("there are no log-probabilities")
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    pieces = [_piece(item, decoder) for item in listed]
    said = "".join(pieces)
    start = 0 if said.startswith(text) else len(said) - len(said.lstrip())
    if not said.startswith(text, start):
        raise NoSpelling("the tokens do not spell the text")
    tokens = []
    end, last = 0, start + len(text)
    for piece, item in zip(pieces, listed, strict=True):
        begin, end = end, end + len(piece)
        if begin >= last:
            break
        if end <= start and piece:
            continue
        shown = piece[max(0, start - begin) : last - begin]
        tokens.append(Token(shown, _logprob(item), _top(item)))
    return tuple(tokens)


def _piece(item: object, decoder: codecs.IncrementalDecoder) -> str:
    """The text of a token; "" for a part of a character that a later token completes."""
    if not isinstance(item, Mapping) or not isinstance(item.get("token"), str):
        raise NoSpelling("an entry is no token")
    data = item.get("bytes")
    if data is None:
        return decoder.decode(item["token"].encode("utf-8", "surrogatepass"))
    return decoder.decode(_bytes(data))


def _bytes(data: object) -> bytes:
    try:
        return bytes(data) if isinstance(data, list) else _refuse("bytes that are no list")
    except (TypeError, ValueError):
        return _refuse("bytes that are none")


def _top(item: Mapping[str, Any]) -> dict[str, float]:
    listed = item.get("top_logprobs") or []
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        raise NoSpelling("the alternatives are no list")
    top: dict[str, float] = {}
    for entry in listed:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("token"), str):
            raise NoSpelling("an alternative is no token")
        if entry.get("logprob") == -math.inf:
            continue
        data = entry.get("bytes")
        text = entry["token"] if data is None else _bytes(data).decode("utf-8", "replace")
        top.setdefault(text, _logprob(entry))
    if sum(map(math.exp, top.values())) > 1 + len(top) * _ROUNDING:
        raise NoSpelling("the alternatives are more than certain together")
    return top


def _logprob(item: Mapping[str, Any]) -> float:
    value = item.get("logprob")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise NoSpelling(f"no log-probability: {value!r}")
    if value > _ROUNDING:
        raise NoSpelling(f"a log-probability above 0: {value!r}")
    return min(0.0, float(value))


def _refuse(message: str) -> bytes:
    raise NoSpelling(message)
