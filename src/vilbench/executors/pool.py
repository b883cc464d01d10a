"""Workers that jobs are handed to, a bounded number at a time, and again where one is lost.

A job that broke its worker, or broke on it, is a suspect: it is tried again alone on a worker,
so that it takes no neighbour with it, and set aside when its tries are used up. A worker that
is lost is replaced, wherever the cluster has room.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from vilbench.errors import EngineError, ExecutorError, InputError
from vilbench.executors.bench import DefectError, Facts, Job, Prepared, Refusal

_BROKEN: Final = 2
"""Different jobs that break on a worker, none done between, before it is replaced."""


class WorkerLostError(Exception):
    """A worker ended, or cannot be reached; what it was doing is not known."""


class Worker(Protocol):
    """Holds models and does jobs with them, several at a time."""

    async def prepare(self) -> Prepared | Refusal:
        """Builds the models.

        Raises:
            WorkerLostError: It ended before they were built.
        """
        ...

    async def run(self, job: Job) -> Any:
        """What comes of a job, or a `Refusal`.

        Raises:
            WorkerLostError: It ended before the job did.
        """
        ...

    def dismiss(self) -> None:
        """Ends it, whatever it is doing; no error where it has ended."""
        ...


@dataclass
class Counts:
    """What became of jobs.

    Attributes:
        jobs: Done, refused ones among them.
        again: Tries beyond a job's first.
        set_aside: Jobs whose tries were used up.
        lost: Workers that ended or were replaced.
    """

    jobs: int = 0
    again: int = 0
    set_aside: int = 0
    lost: int = 0

    def told(self) -> str:
        """In a line."""
        return (
            f"{self.jobs} jobs done, {self.again} tried again, {self.set_aside} set aside, "
            f"{self.lost} workers lost"
        )


@dataclass(eq=False)
class _Ticket:
    job: Job
    at_once: int
    done: asyncio.Future[Any]
    tries: int = 0


@dataclass(eq=False)
class _Place:
    """Where a worker stands; another takes its place when it is lost."""

    worker: Worker | None = None
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    running: set[_Ticket] = field(default_factory=set)
    alone: bool = False
    strikes: int = 0
    broken: set[_Ticket] = field(default_factory=set)


class Pool:
    """Workers alike; for one event loop.

    Args:
        hire: Begins a worker, without waiting for it.
        size: Workers.
        tries: Of a job, and of a place whose workers end before they are ready.
        seconds: Longest time of a job, after which its worker counts as lost; None for no limit.
        name: For what is told.

    Attributes:
        counts: What became of jobs.
        name: For what is told.
    """

    def __init__(
        self,
        hire: Callable[[], Worker],
        size: int,
        *,
        tries: int = 3,
        seconds: float | None = None,
        name: str = "workers",
    ) -> None:
        if size < 1 or tries < 1:
            raise ValueError(f"{size} workers and {tries} tries: there must be one at least")
        self._hire = hire
        self._tries = tries
        self._seconds = seconds
        self._places = [_Place() for _ in range(size)]
        self._waiting: deque[_Ticket] = deque()
        self._suspects: deque[_Ticket] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._keepers = 0
        self._given_up: list[Exception] = []
        self._prepared: Prepared | None = None
        self._first = asyncio.Event()
        self._closed = False
        self.counts = Counts()
        self.name = name

    async def open(self) -> tuple[Facts, ...]:
        """Hires the workers; returns as soon as one of them has built its models.

        Raises:
            InputError: None can be had, since a model cannot be loaded.
            ExecutorError: None can be had for another reason.
        """
        self._keepers = len(self._places)
        for place in self._places:
            self._begin(self._keep(place))
        await self._first.wait()
        if self._prepared is None:
            raise self._given_up[0]
        return self._prepared.models

    async def call(self, job: Job, at_once: int) -> Any:
        """What comes of a job, on whichever worker is free.

        Args:
            job: The job.
            at_once: Most jobs that its worker may have, this one included.

        Raises:
            EngineError: The model said so, or the job was set aside after its tries.
            InputError: The model said so.
            ExecutorError: No worker is left.
        """
        ticket = _Ticket(job, at_once, asyncio.get_running_loop().create_future())
        if self._closed or (self._first.is_set() and not self._keepers):
            raise self._gone()
        self._waiting.append(ticket)
        self._dispatch()
        return await ticket.done

    def state(self) -> str:
        """What is worth a look; "" while every worker stands in its place."""
        standing = sum(place.worker is not None for place in self._places)
        if standing == len(self._places) and not self.counts.set_aside:
            return ""
        told = f"{standing} of {len(self._places)} workers"
        return f"{told}, {self.counts.set_aside} set aside" if self.counts.set_aside else told

    async def aclose(self) -> None:
        """Ends all workers; jobs that wait or are under way raise `ExecutorError`."""
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._fail_all(self._gone())

    def _begin(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep(self, place: _Place) -> None:
        """Keeps a worker in a place until it has to be given up."""
        try:
            while True:
                place.lost.clear()
                place.running, place.alone, place.broken = set(), False, set()
                worker = self._hire()
                try:
                    await self._prepare(place, worker)
                    await place.lost.wait()
                    self.counts.lost += 1
                except WorkerLostError as lost:
                    self.counts.lost += 1
                    place.strikes += 1
                    if place.strikes >= self._tries:
                        raise ExecutorError(f"a worker ended before it was ready: {lost}") from lost
                finally:
                    place.worker = None
                    worker.dismiss()
        except (InputError, ExecutorError) as error:
            self._give_up(error)
        except Exception as error:
            self._give_up(ExecutorError(f"{type(error).__name__}: {error}"))

    async def _prepare(self, place: _Place, worker: Worker) -> None:
        """Lets a worker build its models, and puts it in its place.

        Raises:
            WorkerLostError: It ended before.
            InputError: A model cannot be loaded.
            ExecutorError: It is not like the others.
        """
        prepared = await worker.prepare()
        if isinstance(prepared, Refusal):
            error = prepared.error()
            if isinstance(error, InputError):
                raise error
            raise ExecutorError(f"a worker cannot build its models: {error}")
        if self._prepared is None:
            self._prepared = prepared
        if prepared != self._prepared:
            raise ExecutorError(
                f"a worker is not like the others: {_differences(prepared, self._prepared)}"
            )
        place.worker = worker
        self._first.set()
        self._dispatch()

    def _give_up(self, error: Exception) -> None:
        self._given_up.append(error)
        self._keepers -= 1
        if not self._keepers:
            self._first.set()
            self._fail_all(self._gone())

    def _gone(self) -> Exception:
        if self._closed:
            return ExecutorError("the workers have been ended")
        if self._prepared is None:
            return self._given_up[0]
        return ExecutorError(f"no worker is left: {self._given_up[-1]}")

    def _fail_all(self, error: Exception) -> None:
        running = [ticket for place in self._places for ticket in place.running]
        for ticket in (*running, *self._waiting, *self._suspects):
            _fail(ticket, error)
        self._waiting.clear()
        self._suspects.clear()

    def _dispatch(self) -> None:
        """Hands out what can be handed out."""
        for queue in (self._waiting, self._suspects):
            while queue and queue[0].done.done():  # its caller has gone
                queue.popleft()
        standing = [place for place in self._places if place.worker is not None]
        idle = [place for place in standing if not place.running]
        while self._suspects and idle:
            self._start(idle.pop(), self._suspects.popleft(), alone=True)
        free = sorted((one for one in standing if not one.alone), key=lambda one: len(one.running))
        # As many as there are suspects that wait take nothing new until they are idle.
        del free[: len(self._suspects)]
        while self._waiting and free:
            place = min(free, key=lambda one: len(one.running))
            if len(place.running) >= self._waiting[0].at_once:
                return
            self._start(place, self._waiting.popleft(), alone=False)

    def _start(self, place: _Place, ticket: _Ticket, *, alone: bool) -> None:
        assert place.worker is not None  # noqa: S101 - only those that stand are chosen
        place.running.add(ticket)
        place.alone = alone
        self._begin(self._run(place, place.worker, ticket))

    async def _run(self, place: _Place, worker: Worker, ticket: _Ticket) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                value = await worker.run(ticket.job)
        except (WorkerLostError, TimeoutError) as lost:
            if place.worker is worker:
                place.worker = None
                place.lost.set()
            silent = isinstance(lost, TimeoutError)
            told = (
                f"no answer within {self._seconds:g} s" if silent else f"its worker ended: {lost}"
            )
            self._again(ticket, told)
        except Exception as error:
            _fail(ticket, error)
        else:
            self._settle(place, worker, ticket, value)
        finally:
            if ticket in place.running:
                place.running.discard(ticket)
                place.alone = False
        self._dispatch()

    def _settle(self, place: _Place, worker: Worker, ticket: _Ticket, value: Any) -> None:
        error = value.error() if isinstance(value, Refusal) else None
        if isinstance(error, DefectError):
            place.broken.add(ticket)
            if len(place.broken) >= _BROKEN and place.worker is worker:
                place.worker = None
                place.lost.set()
            self._again(ticket, str(error))
            return
        place.strikes = 0
        place.broken.clear()
        self.counts.jobs += 1
        if error is not None:
            _fail(ticket, error)
        elif not ticket.done.done():
            ticket.done.set_result(value)

    def _again(self, ticket: _Ticket, why: str) -> None:
        if ticket.done.done():
            return
        ticket.tries += 1
        if ticket.tries < self._tries:
            self.counts.again += 1
            self._suspects.append(ticket)
            return
        self.counts.set_aside += 1
        times = "once" if ticket.tries == 1 else f"{ticket.tries} times"
        _fail(ticket, EngineError(f"set aside, tried {times}: {why}"))


def _fail(ticket: _Ticket, error: Exception) -> None:
    if not ticket.done.done():
        ticket.done.set_exception(error)


def _differences(one: Prepared, other: Prepared) -> str:
    if one.version != other.version:
        return f"it has version {one.version}, another has {other.version}"
    pairs: Sequence[tuple[Facts, Facts]] = list(zip(one.models, other.models, strict=True))
    return "; ".join(f"its {mine.name} has other weights" for mine, its in pairs if mine != its)
