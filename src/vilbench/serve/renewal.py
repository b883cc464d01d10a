"""What outlives its engines: one that gave up for good is made anew.

An engine of a run stops at a fault that every further request would meet, such as a wrong key
or a server that was never there. A server goes on: the next request gets a new engine.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from vilbench.types import Granularity, Problem, Solution, StepScorer, StepScores

Made = TypeVar("Made")


@dataclass(eq=False)
class _Place(Generic[Made]):
    """One that was made, and how many use it."""

    made: Made
    users: int = 0
    worn: bool = False


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
        self._place = _Place(first)
        self._make = make
        self._engines = engines
        self.under_way = 0

    @asynccontextmanager
    async def using(self) -> AsyncIterator[Made]:
        """The one that takes requests; where it gave up, the next use gets another.

        One that gave up is closed when the last of its users has left.
        """
        place = self._place
        place.users += 1
        self.under_way += 1
        try:
            yield place.made
        finally:
            place.users -= 1
            self.under_way -= 1
            if place is self._place and any(_ended(one) for one in self._engines(place.made)):
                place.worn = True
                self._place = _Place(self._make())
            if place.worn and not place.users:
                await self._close(place)

    async def aclose(self) -> None:
        """Closes the engines."""
        await self._close(self._place)

    async def _close(self, place: _Place[Made]) -> None:
        for engine in self._engines(place.made):
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
