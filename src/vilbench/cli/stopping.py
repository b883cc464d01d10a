"""Ctrl-C while models are at work: once ends in order, twice at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from vilbench.cli.screen import complain
from vilbench.executors import Halt


@contextmanager
def halted_by_interrupts() -> Iterator[Halt]:
    """A `Halt` that the first Ctrl-C asks for; the second cancels the running task.

    Where the platform or the thread takes no handler, Ctrl-C is what it always is.

    Raises:
        KeyboardInterrupt: It was pressed, at the end of what was under way or at once.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    halt = Halt()

    def pressed() -> None:
        if halt.asked and task is not None:
            task.cancel()
            return
        halt.asked = True
        complain("stopping: what is under way is finished and stored; Ctrl-C again ends at once")

    try:
        loop.add_signal_handler(signal.SIGINT, pressed)
    except (NotImplementedError, RuntimeError, ValueError):
        yield halt
        return
    try:
        yield halt
    except asyncio.CancelledError:
        if not halt.asked:
            raise
    finally:
        loop.remove_signal_handler(signal.SIGINT)
    if halt.asked:
        raise KeyboardInterrupt
