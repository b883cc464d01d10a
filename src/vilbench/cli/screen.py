"""What the commands say, and the code they end with."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import typer

FAILURES, UNUSABLE, STOPPED = 1, 2, 130
"""Exit codes: too many units failed, the input is unusable, stopped by Ctrl-C."""


def say(line: str) -> None:
    """A line for the user; no control character passes."""
    _write(sys.stdout, line)


def complain(text: str) -> None:
    """The same about an error, each of its lines on its own."""
    for line in f"vilbench: {text}".split("\n"):
        _write(sys.stderr, line)


def _write(stream: TextIO, line: str) -> None:
    from vilbench.display.text import visible

    stream.write(visible(line) + "\n")
    stream.flush()


def spell_what_cannot_be_encoded() -> None:
    """Makes the output streams write escapes in place of what their encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def told() -> Iterator[None]:
    """Errors of the package as messages and exit codes; decorates a command.

    Raises:
        typer.Exit: In place of the error.
    """
    try:
        yield
    except Exception as error:
        # Imported late: the package's types take longer than all else that help needs.
        from vilbench.errors import InputError, RunError, VilbenchError

        if not isinstance(error, VilbenchError):
            raise
        complain(str(error))
        unusable = isinstance(error, InputError | RunError)
        raise typer.Exit(UNUSABLE if unusable else FAILURES) from error


@contextmanager
def stoppable() -> Iterator[None]:
    """Ctrl-C as a message and an exit code, around what stores as it goes.

    Raises:
        typer.Exit: In place of the interrupt.
    """
    try:
        yield
    except KeyboardInterrupt:
        complain("stopped; what was done is stored, the same command goes on from there")
        raise typer.Exit(STOPPED) from None
