"""Progress on the terminal: a bar where there is one, plain lines where there is not."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

_EVERY_S = 10.0


def _nothing() -> str:
    return ""


class _Watch(ProgressColumn):
    """What a function says, looked at twice a second."""

    max_refresh = 0.5

    def __init__(self, watch: Callable[[], str]) -> None:
        super().__init__()
        self._watch = watch

    def render(self, task: Task) -> Text:
        """The words, beside a stage that is not at its end."""
        return Text("" if task.finished else self._watch())


class Bars:
    """One live bar per stage.

    Args:
        console: Where.
        watch: Words beside the bar, such as what a server refused.
    """

    def __init__(self, console: Console, watch: Callable[[], str] = _nothing) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<14}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            _Watch(watch),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._failed: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def begin(self, stage: str, total: int, done: int) -> None:
        """A stage begins."""
        self._failed[stage] = 0
        self._tasks[stage] = self._progress.add_task(
            stage, total=total, completed=done, note=f"{done} stored already" if done else ""
        )

    def advance(self, stage: str, *, failed: bool) -> None:
        """One more problem."""
        self._failed[stage] += failed
        note = f"{self._failed[stage]} failed" if self._failed[stage] else ""
        self._progress.update(self._tasks[stage], advance=1, note=note)

    def end(self, stage: str) -> None:
        """The stage has ended."""
        self._progress.refresh()


class Lines:
    """A line at the beginning and the end of a stage, and every ten seconds between.

    Args:
        console: Where.
        watch: Words at the end of a line, such as what a server refused.
    """

    def __init__(self, console: Console, watch: Callable[[], str] = _nothing) -> None:
        self._console = console
        self._watch = watch
        self._began = self._told = 0.0
        self._total = self._done = self._failed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to put back."""

    def begin(self, stage: str, total: int, done: int) -> None:
        """A stage begins."""
        self._began = self._told = time.monotonic()
        self._total, self._done, self._failed = total, done, 0
        self._say(f"{stage}: {total} problems, {done} stored already")

    def advance(self, stage: str, *, failed: bool) -> None:
        """One more problem."""
        self._done += 1
        self._failed += failed
        if time.monotonic() - self._told >= _EVERY_S:
            self._told = time.monotonic()
            words = self._watch()
            more = f", {words}" if words else ""
            self._say(f"{stage}: {self._done}/{self._total}, {self._failed} failed{more}")

    def end(self, stage: str) -> None:
        """The stage has ended."""
        seconds = time.monotonic() - self._began
        self._say(f"{stage}: done in {seconds:.1f} s, {self._failed} failed")

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def meter(console: Console, *, plain: bool, watch: Callable[[], str] = _nothing) -> Bars | Lines:
    """Bars on a terminal, lines elsewhere or when asked for; `watch` gives words beside them."""
    return Lines(console, watch) if plain or not console.is_terminal else Bars(console, watch)
