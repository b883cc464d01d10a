"""Asynchronous work over many items, so many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from vilbench.errors import EngineError

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Outcome(Generic[T, R]):
    """What came of one item: the value, or the error that spoilt this item alone."""

    item: T
    value: R | EngineError


@dataclass
class Halt:
    """A wish to stop in order: nothing more is begun, and what is under way comes to its end."""

    asked: bool = False


async def map_bounded(
    work: Callable[[T], Awaitable[R]],
    items: Iterable[T],
    concurrency: int,
    halt: Halt | None = None,
) -> AsyncGenerator[Outcome[T, R], None]:
    """Outcomes of `work` over `items`, as they finish.

    An item is taken from `items` only when a place is free, and free places are filled
    before an outcome is handed out, so work goes on while the caller deals with it. Leave
    the loop early only inside `contextlib.aclosing`: an abandoned generator cancels its
    tasks when it is collected, which may be late.

    Args:
        work: Called once an item.
        items: May be endless.
        concurrency: Most items under way at a time, at least 1.
        halt: No item is taken any more once it is asked for.

    Raises:
        ValueError: `concurrency` is under 1.
        Exception: What `work` or `items` raised, other than `EngineError`; what is under
            way is cancelled. What finished together with the failed work is handed out first.
    """
    if concurrency < 1:
        raise ValueError(f"concurrency must be at least 1, not {concurrency}")
    remaining = iter(items)
    under_way: list[asyncio.Task[Outcome[T, R]]] = []
    finished: list[asyncio.Task[Outcome[T, R]]] = []
    try:
        while True:
            halted = halt is not None and halt.asked
            if not halted and not any(_has_failed(task) for task in finished):
                for item in islice(remaining, concurrency - len(under_way)):
                    # One by one: where `items` raises, what has begun must be known.
                    task = asyncio.create_task(_outcome(work, item))
                    under_way.append(task)
            for task in finished:
                yield task.result()
            if not under_way:
                return
            await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            # A task that failed comes last: it must not take finished work with it.
            finished = sorted((task for task in under_way if task.done()), key=_has_failed)
            under_way = [task for task in under_way if not task.done()]
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, *finished, return_exceptions=True)


async def _outcome(work: Callable[[T], Awaitable[R]], item: T) -> Outcome[T, R]:
    try:
        return Outcome(item, await work(item))
    except EngineError as error:
        return Outcome(item, error)


def _has_failed(task: asyncio.Task[Outcome[T, R]]) -> bool:
    return task.cancelled() or task.exception() is not None
