"""What is served, and the state of the server."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.requests import Request

from vilbench.evaluate.pools import LEARNED, ScorerPlan
from vilbench.selection import aggregation
from vilbench.serve.faults import Refusal, stopping, wrong
from vilbench.serve.limits import Limits
from vilbench.serve.reading import Pictures
from vilbench.serve.upstream import Upstream
from vilbench.serve.waiting import ScoringQueue
from vilbench.steps import StepFormat
from vilbench.types import StepScorer

Result = TypeVar("Result")

_ON_UNIT_SCALE = frozenset({"product", "geometric-mean"})


@dataclass(frozen=True)
class Served:
    """A scorer and how its values are used.

    Attributes:
        scorer: Who scores.
        plan: Its scale, its aggregations, and the one that stands for it.
        format: How texts are split into steps, and how candidates are asked for.
        behind_server: Whether it asks another server.
        width: Batches that it takes at a time.
    """

    scorer: StepScorer
    plan: ScorerPlan
    format: StepFormat
    behind_server: bool = False
    width: int = 1

    @property
    def aggregations(self) -> tuple[str, ...]:
        """What is made of step scores where a request names nothing."""
        learned = (LEARNED,) if self.plan.learned else ()
        return (*self.plan.aggregations, *learned) if self.scorer.granularity == "step" else ()

    @property
    def standing(self) -> str:
        """The aggregation that candidates are chosen by where a request names none."""
        method = self.plan.standing("requests")
        return (method.aggregation if method else None) or "mean"

    def check(self, names: tuple[str, ...], param: str) -> None:
        """Looks at aggregations before anything is scored.

        Raises:
            Refusal: There is none of that name, or it does not fit the scorer's scale.
        """
        for name in names:
            if name == LEARNED and self.plan.learned is not None:
                continue
            try:
                aggregation(name)
            except ValueError as error:
                raise wrong(str(error), param) from None
            if name in _ON_UNIT_SCALE and self.plan.scale is None:
                raise wrong(f"'{name}' needs bounded scores, which this scorer has not", param)

    def aggregate(self, name: str, values: tuple[float | None, ...]) -> float | None:
        """One score of a solution's values, as the analysis of a run makes it."""
        if not values:
            return None
        if self.scorer.granularity == "solution":
            return values[0]
        if name == LEARNED and self.plan.learned is not None:
            return self.plan.learned.score({self.plan.learned.scorers[0]: values})
        scale = self.plan.scale
        if scale is not None and name in _ON_UNIT_SCALE:
            values = tuple(scale.unit(value) for value in values)
        return aggregation(name)(values)


@dataclass
class Service:
    """The server's state.

    Attributes:
        served: The scorer.
        limits: Bounds of requests.
        queue: Where requests wait for it.
        pictures: Reads images.
        upstream: Who draws candidates for the proxy; None for a server without one.
        stopping: Whether new requests are refused.
        halted: Set when requests under way are given up.
        running: Requests under way.
    """

    served: Served
    limits: Limits
    queue: ScoringQueue
    pictures: Pictures
    upstream: Upstream | None = None
    stopping: bool = False
    halted: asyncio.Event = field(default_factory=asyncio.Event)
    running: int = 0

    async def drained(self) -> None:
        """Waits until nothing is under way; what takes longer than the grace is given up."""
        self.stopping = True
        for _ in range(int(self.limits.grace_seconds * 20)):
            if not self.running or self.halted.is_set():
                return
            await asyncio.sleep(0.05)
        self.halted.set()


def service(request: Request) -> Service:
    """The state that a request meets."""
    found: Service = request.app.state.service
    return found


async def attended(request: Request, work: Coroutine[Any, Any, Result], seconds: float) -> Result:
    """The result of some work for a client that waits for it.

    Raises:
        Refusal: The client is gone, it took too long, or the server ends; the work is
            cancelled then.
    """
    task = asyncio.create_task(work)
    gone = asyncio.create_task(_gone(request))
    halted = asyncio.create_task(service(request).halted.wait())
    all_of_it: set[asyncio.Task[Any]] = {task, gone, halted}
    first = asyncio.FIRST_COMPLETED
    try:
        done, _ = await asyncio.wait(all_of_it, timeout=seconds, return_when=first)
        if task in done:
            return task.result()
        if gone in done:
            raise Refusal(499, "client_gone", "the client is gone")
        if halted in done:
            raise stopping()
        raise Refusal(504, "timeout", f"not done within {seconds:g} seconds")
    finally:
        for one in all_of_it:
            one.cancel()
        await asyncio.gather(*all_of_it, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
