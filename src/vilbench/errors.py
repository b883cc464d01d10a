"""The errors that vilbench raises on purpose (floor 0, below `types`).

VilbenchError
|- InputError            unusable input; names file, row and field (exit code 2)
|  |- ImageError         an image that is missing, damaged or beyond a limit
|  |- ProblemError       a problem row that breaks its schema
|  |- RecipeError        a recipe with an unknown key or a wrong value
|  `- CheckpointError    a model folder that cannot or must not be loaded
|- RunError              a run folder that cannot be used (exit code 2)
|  |- RunMismatchError   it was made by another recipe; carries the differences
|  |- RunLockedError     another process writes to it
|  `- RunStorageError    read-only folder, full disk, damaged file
|- ExecutorError         no worker of a cluster is left, or none can be had (exit code 1)
|- ComparisonError       answers that are LaTeX cannot be compared here (exit code 1)
`- EngineError           one generation or scoring request failed; the run goes on
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

Fault = TypeVar("Fault", bound=Mapping[str, object])

_DIFFERENCES_SHOWN = 8


class VilbenchError(Exception):
    """Root of every error that vilbench raises on purpose."""


class InputError(VilbenchError):
    """Unusable input, told with the place where it was found.

    Args:
        message: What is wrong, without the place.
        file: File the input came from.
        row: 1-based row or line in that file.
        field: Name of the offending field.
    """

    def __init__(
        self,
        message: str,
        *,
        file: str | Path | None = None,
        row: int | None = None,
        field: str | None = None,
    ) -> None:
        self.message = message
        self.file = str(file) if file is not None else None
        self.row = row
        self.field = field
        place = [
            self.file,
            f"row {row}" if row is not None else None,
            f"field '{field}'" if field is not None else None,
        ]
        where = ", ".join(part for part in place if part)
        super().__init__(f"{where}: {message}" if where else message)

    def at(
        self,
        *,
        file: str | Path | None = None,
        row: int | None = None,
        field: str | None = None,
    ) -> InputError:
        """The same error with more of its place known; what is known already stays."""
        return type(self)(
            self.message,
            file=self.file or file,
            row=self.row if self.row is not None else row,
            field=self.field or field,
        )


class ImageError(InputError):
    """An image that is missing, damaged or beyond a limit."""


class ProblemError(InputError):
    """A problem row that breaks its schema."""


class RecipeError(InputError):
    """A recipe with an unknown key or a wrong value."""


class CheckpointError(InputError):
    """A model folder that cannot or must not be loaded."""


class RunError(VilbenchError):
    """A run folder that cannot be used."""


class RunMismatchError(RunError):
    """The run was made by another recipe; `differences` has a line per changed key.

    The message shows the first of them: one scorer more is already dozens of keys.
    """

    def __init__(self, message: str, differences: Sequence[str]) -> None:
        self.differences = tuple(differences)
        lines = [message, *self.differences[:_DIFFERENCES_SHOWN]]
        if len(self.differences) > _DIFFERENCES_SHOWN:
            lines.append(f"... and {len(self.differences) - _DIFFERENCES_SHOWN} more")
        super().__init__("\n".join(lines))


class RunLockedError(RunError):
    """Another process writes to the run."""


class RunStorageError(RunError):
    """Read-only folder, full disk or damaged file."""


class ExecutorError(VilbenchError):
    """Workers of a cluster cannot be had, or none is left."""


class ComparisonError(VilbenchError):
    """The process that compares LaTeX answers cannot be started."""


class EngineError(VilbenchError):
    """One generation or scoring request failed; its neighbours are untouched."""


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
