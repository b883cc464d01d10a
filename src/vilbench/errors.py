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

from collections.abc import Sequence
from pathlib import Path

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
