"""What outlives its engines: one that gave up for good is made anew.

An engine of a run stops at a fault that every further request would meet, such as a wrong key
or a server that was never there. A server goes on: the next request gets a new engine.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, Protocol, TypeVar

from vilbench.types import Granularity, Problem, Solution, StepScorer, StepScores

Made = TypeVar("Made")


class Renewed(Generic[Made]):
    """Something that asks engines, as long as they take requests; then something new.

    Args:
        first: What is used until one of its engines has ended.
        make: Makes another one.
        engines: The engines of it.

    Attributes:
        under_way: Uses that have not ended.
    """

    def __init__(
        self, first: Made, make: Callable[[], Made], engines: Callable[[Made], Sequence[Any]]
    ) -> None:
        self._current = first
        self._make = make
        self._engines = engines
        self._worn: list[Made] = []
        self.under_way = 0

    @asynccontextmanager
    async def using(self) -> AsyncIterator[Made]:
        """The one that takes requests; where it gave up, the next use gets another."""
        made = self._current
        self.under_way += 1
        try:
            yield made
        finally:
            if made is self._current and any(_ended(one) for one in self._engines(made)):
                self._worn.append(made)
                self._current = self._make()
            self.under_way -= 1
            if not self.under_way:
                await self._close_worn()

    async def aclose(self) -> None:
        """Closes the engines."""
        self._worn.append(self._current)
        await self._close_worn()

    async def _close_worn(self) -> None:
        while self._worn:
            for engine in self._engines(self._worn.pop()):
                close = getattr(engine, "aclose", None)
                if close is not None:
                    await close()


def _ended(engine: Any) -> bool:
    return bool(getattr(engine, "ended", ""))


class WithScorer(Protocol):
    """A scorer, and the engines that it asks."""

    @property
    def scorer(self) -> StepScorer:
        """Who scores."""
        ...

    @property
    def engines(self) -> Sequence[Any]:
        """Whom it asks."""
        ...


class LastingScorer:
    """A `StepScorer` behind a server that may be away for a while.

    Args:
        first: The scorer, with its engines.
        make: Makes another one that is configured alike.
    """

    def __init__(self, first: WithScorer, make: Callable[[], WithScorer]) -> None:
        self._renewed = Renewed(first, make, lambda made: made.engines)
        self.name = first.scorer.name
        self.granularity: Granularity = first.scorer.granularity
        self.fingerprint = first.scorer.fingerprint

    async def score(self, problem: Problem, solutions: Sequence[Solution]) -> list[StepScores]:
        """Scores of `solutions`.

        Raises:
            EngineError: None of them can be scored.
        """
        async with self._renewed.using() as made:
            return await made.scorer.score(problem, solutions)

    async def aclose(self) -> None:
        """Closes the engines."""
        await self._renewed.aclose()
