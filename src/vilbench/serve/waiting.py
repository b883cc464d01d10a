"""Requests in a bounded queue, and batches of what waits.

A unit is one solution of one request. A batch takes units in the order of their requests, up
to a budget of estimated tokens; units about the same problem go first behind the first one,
for its prefix is computed once. What a batch leaves of a request goes to the end of the queue,
so that a long request does not hold up the short ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from vilbench.errors import EngineError
from vilbench.serve.faults import busy
from vilbench.types import Problem, Solution, StepScorer, StepScores

Scoring = asyncio.Future[StepScores]


@dataclass(frozen=True)
class Group:
    """Solutions of one problem, of one request or of several."""

    problem: Problem
    solutions: tuple[Solution, ...]


@runtime_checkable
class ManyScorer(Protocol):
    """A scorer that takes several problems in one call."""

    async def score_groups(
        self, groups: Sequence[Group]
    ) -> Sequence[Sequence[StepScores] | EngineError]:
        """Scores of every group, or why there are none."""
        ...


@dataclass(eq=False)
class _Unit:
    """A solution that waits, and who waits for it."""

    solution: Solution
    tokens: int
    scoring: Scoring


@dataclass(eq=False)
class Ticket:
    """A request in the queue.

    Attributes:
        problem: Its id is the hash of its content, so that equal problems meet.
        prompt_tokens: Estimate for the question and its images.
        scorings: One per solution; equal solutions share one.
        left: Units that no batch has taken.
    """

    problem: Problem
    prompt_tokens: int
    scorings: tuple[Scoring, ...]
    left: deque[_Unit] = field(default_factory=deque)

    def cancel(self) -> None:
        """Lets go of what has not been scored."""
        self.left.clear()
        for scoring in self.scorings:
            scoring.cancel()


@dataclass
class Load:
    """What the queue has done and is doing.

    Attributes:
        batches: Batches scored.
        groups: Groups of solutions of one problem in them.
        solutions: Solutions in them.
        refused: Requests that found the queue full.
        running: Batches being scored.
        rate: Estimated tokens a second of a batch, smoothed; 0 before the first.
    """

    batches: int = 0
    groups: int = 0
    solutions: int = 0
    refused: int = 0
    running: int = 0
    rate: float = 0.0


class ScoringQueue:
    """Gathers solutions to score; runs between `async with`.

    Args:
        scorer: Who scores; a `ManyScorer` is given whole batches.
        waiting: Most requests that wait.
        budget: Most estimated tokens of a batch; one solution may exceed it.
        width: Batches that are scored at a time: 1 for a local model.
    """

    def __init__(self, scorer: StepScorer, *, waiting: int, budget: int, width: int = 1) -> None:
        self._scorer = scorer
        self._waiting = waiting
        self._budget = budget
        self._width = width
        self._tickets: dict[Ticket, None] = {}
        self._wake = asyncio.Event()
        self._workers: list[asyncio.Task[None]] = []
        self.load = Load()

    async def __aenter__(self) -> Self:
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._width)]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    @property
    def waiting(self) -> int:
        """Requests that no batch has taken whole."""
        return len(self._tickets)

    @contextlib.contextmanager
    def submitted(
        self, problem: Problem, solutions: Sequence[Solution], *, admitted: bool = False
    ) -> Iterator[Ticket]:
        """The request's place in the queue; leaving early cancels what has not been scored.

        Args:
            problem: Its id is the hash of its content.
            solutions: In any number.
            admitted: Whether it was let in elsewhere already and is never refused here.

        Raises:
            Refusal: The queue is full.
        """
        if not admitted:
            self.check_room()
        ticket = self._ticket(problem, solutions)
        if ticket.left:
            self._tickets[ticket] = None
            self._wake.set()
        try:
            yield ticket
        finally:
            self._tickets.pop(ticket, None)
            ticket.cancel()

    def check_room(self) -> None:
        """Whether another request may wait.

        Raises:
            Refusal: The queue is full.
        """
        if len(self._tickets) >= self._waiting:
            self.load.refused += 1
            raise busy("too many requests wait for scores", self.seconds_to_wait())

    def seconds_to_wait(self) -> int:
        """After how many seconds there may be room again, from 1 to 60."""
        if not self.load.rate:
            return 1
        tokens = sum(unit.tokens for ticket in self._tickets for unit in ticket.left)
        return min(60, max(1, math.ceil(tokens / self.load.rate)))

    def _ticket(self, problem: Problem, solutions: Sequence[Solution]) -> Ticket:
        loop = asyncio.get_running_loop()
        # Equal solutions are one unit: their values are equal to the last bit, and so ties.
        units: dict[tuple[str, object], _Unit] = {}
        scorings = []
        for solution in solutions:
            key = (solution.text, solution.steps)
            if key not in units:
                tokens = _tokens(solution.text) + len(solution.steps)
                units[key] = _Unit(solution, tokens, loop.create_future())
            scorings.append(units[key].scoring)
        shown = "".join((problem.question, *problem.choices))
        prompt = _tokens(shown) + _IMAGE_TOKENS * len(problem.images)
        return Ticket(problem, prompt, tuple(scorings), deque(units.values()))

    async def _work(self) -> None:
        while True:
            while not self._tickets:
                self._wake.clear()
                await self._wake.wait()
            batch = self._take()
            if batch:
                await self._score(batch)

    def _take(self) -> dict[str, tuple[Problem, list[_Unit]]]:
        """Units for one batch, by their problem; they leave the queue."""
        first = next(iter(self._tickets))
        alike = [one for one in self._tickets if one.problem.id == first.problem.id]
        others = [one for one in self._tickets if one.problem.id != first.problem.id]
        batch: dict[str, tuple[Problem, list[_Unit]]] = {}
        spent = 0
        for ticket in (*alike, *others):
            prompt = 0 if ticket.problem.id in batch else ticket.prompt_tokens
            taken: list[_Unit] = []
            while ticket.left:
                unit = ticket.left[0]
                first_of_all = not batch and not taken
                if not first_of_all and spent + prompt + unit.tokens > self._budget:
                    break
                ticket.left.popleft()
                if not unit.scoring.done():
                    taken.append(unit)
                    spent += unit.tokens
            if taken:
                spent += prompt
                batch.setdefault(ticket.problem.id, (ticket.problem, []))[1].extend(taken)
            if not ticket.left:
                del self._tickets[ticket]
                continue
            if taken:
                del self._tickets[ticket]
                self._tickets[ticket] = None  # at the end
            break
        return batch

    async def _score(self, batch: dict[str, tuple[Problem, list[_Unit]]]) -> None:
        groups = [
            Group(
                problem,
                tuple(
                    unit.solution.model_copy(update={"index": k, "problem_id": problem.id})
                    for k, unit in enumerate(units)
                ),
            )
            for problem, units in batch.values()
        ]
        self.load.running += 1
        begun = time.perf_counter()
        try:
            outcomes = await self._outcomes(groups)
        finally:
            self.load.running -= 1
        self._note(groups, batch, time.perf_counter() - begun)
        for (_, units), outcome in zip(batch.values(), outcomes, strict=True):
            for place, unit in enumerate(units):
                if unit.scoring.done():
                    continue
                if isinstance(outcome, Exception):
                    unit.scoring.set_exception(outcome)
                else:
                    unit.scoring.set_result(outcome[place])

    async def _outcomes(
        self, groups: Sequence[Group]
    ) -> Sequence[Sequence[StepScores] | Exception]:
        """Scores of every group, or the error that it met."""
        if isinstance(self._scorer, ManyScorer) and len(groups) > 1:
            try:
                return await self._scorer.score_groups(groups)
            except Exception as error:  # a fault of the program is told to all of the batch
                return [error] * len(groups)
        found = await asyncio.gather(
            *(self._scorer.score(one.problem, one.solutions) for one in groups),
            return_exceptions=True,
        )
        outcomes: list[Sequence[StepScores] | Exception] = []
        for one in found:
            if isinstance(one, BaseException) and not isinstance(one, Exception):
                raise one
            outcomes.append(one)
        return outcomes

    def _note(
        self,
        groups: Sequence[Group],
        batch: dict[str, tuple[Problem, list[_Unit]]],
        seconds: float,
    ) -> None:
        load = self.load
        load.batches += 1
        load.groups += len(groups)
        load.solutions += sum(len(one.solutions) for one in groups)
        tokens = sum(unit.tokens for _, units in batch.values() for unit in units)
        rate = tokens / max(seconds, 1e-6)
        load.rate = rate if not load.rate else 0.8 * load.rate + 0.2 * rate


_IMAGE_TOKENS = 256
_CHARACTERS = 3


def _tokens(text: str) -> int:
    """A rough number of tokens; only the sizes of batches rest on it."""
    return len(text) // _CHARACTERS + 1
