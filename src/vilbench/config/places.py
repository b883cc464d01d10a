"""What is wrong with a recipe, and where: file, line and dotted key."""

from __future__ import annotations

from collections.abc import Sequence

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from vilbench.errors import RecipeError
from vilbench.validation import dotted, foremost, in_words, place_of

Location = Sequence[str | int]

_UNTAGGED = ("union_tag_invalid", "union_tag_not_found", "engine_kind")


def refusal(
    error: ValidationError, data: object, file: str | None, node: yaml.Node | None = None
) -> RecipeError:
    """The first of the faults, with their number.

    Args:
        error: What is wrong.
        data: All that was validated.
        file: Where the recipe comes from.
        node: The recipe as YAML, to find lines in.
    """
    first = foremost(error.errors(), data)
    location = _location(first, data)
    places = [place_of(one, data) for one in error.errors()]
    # A fault within a value, and what it makes of the value, are one.
    mine = place_of(first, data)
    more = sum(one != mine[: len(one)] and mine != one[: len(mine)] for one in places)
    others = f" (and {more} more error{'s' if more > 1 else ''})" if more else ""
    return RecipeError(
        _told(first) + others, file=file, row=_line(node, location), field=dotted(location)
    )


def _told(fault: ErrorDetails) -> str:
    return "is no key of a recipe" if fault["type"] == "extra_forbidden" else in_words(fault)


def _location(fault: ErrorDetails, data: object) -> Location:
    location = place_of(fault, data)
    if fault["type"] in _UNTAGGED:
        location.append("rule" if location[:1] == ["search"] else "kind")
    return location


def _line(node: yaml.Node | None, location: Location) -> int | None:
    """1-based line of the deepest part of `location` that the file has."""
    if node is None:
        return None
    line = node.start_mark.line + 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(part)]
            if not found:
                break
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line
