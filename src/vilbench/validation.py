"""What a validation by pydantic found, in our words and at the place that was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

Fault = TypeVar("Fault", bound=Mapping[str, object])

_MUST_BE: Final[Mapping[str, str]] = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "tuple": "a list",
    "dict": "a mapping of keys",
    "mapping": "a mapping of keys",
    "model": "a mapping of keys",
    "none": "null",
    "literal": "{expected}",
    "enum": "{expected}",
}
"""What was expected, by the first word of a validation's kind of error."""

_SAID: Final[Mapping[str, str]] = {
    "missing": "is missing",
    "extra_forbidden": "is no key that is known here",
    "union_tag_not_found": "needs a kind",
    "union_tag_invalid": "must be one of {expected_tags}, not '{tag}'",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must have {min_length} or more characters",
    "string_too_long": "must have {max_length} or fewer characters",
    "string_pattern_mismatch": "must match {pattern}",
    "too_short": "must have {min_length} or more items",
    "too_long": "must have {max_length} or fewer items",
    "json_invalid": "is no JSON",
    "value_error": "{error}",
    "assertion_error": "{error}",
}
_TRUTHS: Final = {"True": "true", "False": "false"}


def in_words(fault: Mapping[str, object]) -> str:
    """What one fault of a pydantic validation is, in the words of this package, without its place.

    Args:
        fault: An entry of `ValidationError.errors()`.
    """
    kind, message, context = str(fault["type"]), str(fault["msg"]), fault.get("ctx")
    words = _SAID.get(kind)
    if words is None and (expected := _MUST_BE.get(kind.split("_")[0])):
        words = f"must be {expected}"
    if words is None or ("{" in words and not isinstance(context, Mapping)):
        # A kind of a validator's own, or one that no schema here has.
        return message.removeprefix("Value error, ").replace("Input should", "must")
    known = context if isinstance(context, Mapping) else {}
    return words.format_map({key: _shown(one) for key, one in known.items()})


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else _TRUTHS.get(str(value), str(value))


def place_of(fault: Mapping[str, object], data: object) -> list[str | int]:
    """Keys and indices that lead to a fault in `data`, as whoever wrote it has them.

    Pydantic puts among them which kind of thing it took a value for.

    Args:
        fault: An entry of `ValidationError.errors()`.
        data: All that was validated.
    """
    location = fault["loc"]
    parts = location if isinstance(location, tuple) else ()
    last = len(parts) - 1
    place: list[str | int] = []

    def leads_on(value: object, number: int) -> bool:
        """Whether a value has the part of that number, or lacks it and that is the fault."""
        if fault["type"] == "missing" and number == last:
            return isinstance(value, Mapping)
        return number <= last and _below(value, parts[number]) is not _NOTHING

    for number, part in enumerate(parts):
        below = _below(data, part)
        # A kind may have the name of a key beside the one that is meant.
        is_kind = leads_on(data, number + 1) and not leads_on(below, number + 1)
        if leads_on(data, number) and not is_kind:
            place.append(part)
            data = below
    return place


def foremost(faults: Sequence[Fault], data: object) -> Fault:
    """The first of the faults; of a value that was tried as several things, the one deepest in it.

    Args:
        faults: What `ValidationError.errors()` gives.
        data: All that was validated.
    """
    place = place_of(faults[0], data)
    within = [one for one in faults if place_of(one, data)[: len(place)] == place]
    return max(within, key=lambda one: len(place_of(one, data)))


def dotted(place: Sequence[str | int]) -> str | None:
    """A place as messages have it, `scorers[0].name`; None for the whole."""
    words = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return words.lstrip(".") or None


_NOTHING: Final = object()


def _below(value: object, part: str | int) -> object:
    if isinstance(value, Mapping):
        return value.get(part, _NOTHING)
    if isinstance(value, list | tuple) and isinstance(part, int) and part < len(value):
        return value[part]
    return _NOTHING
