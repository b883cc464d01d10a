"""What is wrong with a recipe, and where: file, line and dotted key."""

from __future__ import annotations

from collections.abc import Sequence

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from vilbench.errors import RecipeError

Location = Sequence[str | int]

_WORDS = {
    "extra_forbidden": "is no key of a recipe",
    "missing": "is missing",
    "union_tag_not_found": "needs a kind",
}
_UNTAGGED = ("union_tag_invalid", "union_tag_not_found", "engine_kind")


def refusal(error: ValidationError, file: str | None, node: yaml.Node | None = None) -> RecipeError:
    """The first of the faults, with their number.

    Args:
        error: What is wrong.
        file: Where the recipe comes from.
        node: The recipe as YAML, to find lines in.
    """
    first = error.errors()[0]
    location = _location(first)
    more = len(error.errors()) - 1
    others = f" (and {more} more error{'s' if more > 1 else ''})" if more else ""
    return RecipeError(
        _told(first) + others, file=file, row=_line(node, location), field=_dotted(location)
    )


def _told(error: ErrorDetails) -> str:
    if error["type"] in _WORDS:
        return _WORDS[error["type"]]
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return error["msg"]


def _location(error: ErrorDetails) -> Location:
    """The keys as the file has them: pydantic adds which kind of thing it took one for."""
    location = list(error["loc"])
    if location[:1] == ["scorers"] and len(location) > 2:
        del location[2]
    if location[:1] == ["problems"] and len(location) > 1:
        del location[1]
    if location[:2] == ["evaluator", "scorer"] and len(location) > 3:
        del location[2]
    if location[:1] == ["search"] and len(location) > 2:
        del location[1]
    if "engine" in location[:-1]:
        del location[location.index("engine") + 1]
    if error["type"] in _UNTAGGED:
        location.append("rule" if location[:1] == ["search"] else "kind")
    return location


def _dotted(location: Location) -> str | None:
    words = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return words.lstrip(".") or None


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
