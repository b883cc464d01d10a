"""Workers in this process for tests of pools: a bench each, which jobs can break or end."""

from __future__ import annotations

import asyncio
import pickle
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from vilbench.errors import EngineError, InputError
from vilbench.executors.bench import Bench, Job, Prepared, Refusal
from vilbench.executors.pool import Pool, WorkerLostError


class Model:
    """Doubles numbers; some words break it, or end its worker."""

    name = "doubler"

    def __init__(self, fingerprint: str = "weights") -> None:
        self.fingerprint = fingerprint

    async def double(self, item: Any) -> Any:
        await asyncio.sleep(0)
        if item == "refused":
            raise EngineError("no such thing")
        if item == "unreadable":
            raise InputError("cannot be read")
        if item == "endless":
            await asyncio.Event().wait()
        if item == "defect":
            raise ZeroDivisionError("by zero")
        return 2 * item


class Crew:
    """Hires workers of this process, and remembers what they were given.

    Args:
        build: Makes a worker's models, from its number.

    Attributes:
        deadly: Items that end their worker, and how often.
        ends: Whether a job ends its worker, by the job and how many were begun with it.
        begun: Jobs begun.
        tried: How often each item was begun.
        company: Items that were under way on the same worker when each was begun.
        most: Most jobs that a worker had.
    """

    def __init__(self, build: Callable[[int], Sequence[Any]] = lambda number: [Model()]) -> None:
        self.build = build
        self.deadly: Counter[Any] = Counter()
        self.ends: Callable[[Job, int], bool] = lambda job, begun: False
        self.begun = 0
        self.tried: Counter[Any] = Counter()
        self.company: dict[Any, list[set[Any]]] = {}
        self.most = 0
        self.workers: list[InProcess] = []

    def hire(self) -> InProcess:
        self.workers.append(InProcess(self, len(self.workers)))
        return self.workers[-1]

    def pool(self, size: int, tries: int = 3, seconds: float | None = None) -> Pool:
        return Pool(self.hire, size, tries=tries, seconds=seconds)


class InProcess:
    """A worker of a crew."""

    def __init__(self, crew: Crew, number: int) -> None:
        self._crew = crew
        self._bench = Bench(lambda _: crew.build(number), [])
        self._ended = asyncio.Event()
        self.under_way: set[Any] = set()
        self.dismissed = 0

    async def prepare(self) -> Prepared | Refusal:
        await asyncio.sleep(0)
        return await self._bench.prepare()

    async def run(self, job: Job) -> Any:
        job = pickle.loads(pickle.dumps(job))  # noqa: S301 - our own; it travels
        crew = self._crew
        crew.begun += 1
        ends = crew.ends(job, crew.begun)
        item: Any = object()
        if job.method == "double":
            (item,) = job.arguments
            crew.tried[item] += 1
            crew.company.setdefault(item, []).append(set(self.under_way))
            ends = ends or crew.deadly[item] > 0
            crew.deadly[item] -= crew.deadly[item] > 0
        self.under_way.add(item)
        crew.most = max(crew.most, len(self.under_way))
        try:
            await asyncio.sleep(0)
            if ends:
                self._ended.set()
            done = asyncio.ensure_future(self._bench.run(job))
            ended = asyncio.ensure_future(self._ended.wait())
            await asyncio.wait((done, ended), return_when=asyncio.FIRST_COMPLETED)
            if self._ended.is_set():
                done.cancel()
                raise WorkerLostError("gone")
            ended.cancel()
            return pickle.loads(pickle.dumps(done.result()))  # noqa: S301 - likewise
        finally:
            self.under_way.discard(item)

    def dismiss(self) -> None:
        self.dismissed += 1
        self._ended.set()


class Ending(InProcess):
    """A worker that ends while it builds its models."""

    async def prepare(self) -> Prepared | Refusal:
        raise WorkerLostError("out of memory")
