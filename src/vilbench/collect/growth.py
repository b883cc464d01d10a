"""One tree: a search is driven round by round until it ends or its budget does.

Every request is answered once. What an earlier start has stored of an unfinished tree is
answered from there; since a search that is sent the same answers makes the same requests, it
comes to where it was and goes on.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vilbench.collect.budget import Account, Budget, Ledger, Prices
from vilbench.collect.evaluator import Evaluator
from vilbench.collect.journal import Journal
from vilbench.collect.policy import Grader, Policy
from vilbench.errors import EngineError
from vilbench.search import (
    POLICY_FAILED,
    Answer,
    AnySettings,
    Draw,
    Judge,
    Request,
    Round,
    Tree,
    begin,
)
from vilbench.store.records import Call
from vilbench.store.trees import Grown
from vilbench.types import Problem

VERSION = 1
"""Raised with whatever makes other trees of the same recipe."""


@dataclass(frozen=True)
class Method:
    """How trees are grown.

    Attributes:
        search: Which search, and its settings.
        policy: Goes on from prefixes.
        evaluator: Values prefixes.
        budget: Limits of a tree.
        prices: For the limit of money.
    """

    search: AnySettings
    policy: Policy
    evaluator: Evaluator = field(default_factory=Evaluator)
    budget: Budget = field(default_factory=Budget)
    prices: Prices = field(default_factory=Prices)

    @property
    def key(self) -> str:
        """Names everything that changes a tree, save the problem."""
        said = (
            *(str(VERSION), self.search.model_dump_json()),
            *(self.policy.fingerprint, self.evaluator.fingerprint),
            repr((self.budget, self.prices if self.budget.money is not None else None)),
        )
        return hashlib.sha256("\0".join(said).encode()).hexdigest()


@dataclass(frozen=True)
class Places:
    """How many requests of each kind may be under way, over all trees."""

    policy: asyncio.Semaphore
    evaluator: asyncio.Semaphore


@dataclass
class Growth:
    """The growing of one problem's tree.

    Attributes:
        problem: Whose.
        method: How.
        places: Shared by all trees.
        journal: Where answers are stored.
        account: Limits of the run.
        known: Answers that are stored already, by name.
        errors: Why requests failed, in the order of the failures.
    """

    problem: Problem
    method: Method
    places: Places
    journal: Journal
    account: Account
    known: Mapping[str, Call]
    errors: list[str] = field(default_factory=list)
    _ledger: Ledger = field(default_factory=Ledger)
    _grader: Grader = field(init=False)

    def __post_init__(self) -> None:
        self._grader = Grader(self.problem)

    async def grow(self) -> Grown | None:
        """The finished tree; None where the run's budget was used up before.

        Raises:
            EngineError: Not one request to the policy was answered.
            RunStorageError: An answer cannot be stored.
        """
        method = self.method
        tree = Tree(self.problem.id, method.search.rule, method.policy.seed)
        search = begin(tree, method.search)
        answers: list[Answer] | None = None
        while True:
            try:
                asked = next(search) if answers is None else search.send(answers)
            except StopIteration as end:
                stopped = str(end.value)
                break
            self._count_nodes(tree)
            if stopped := method.budget.reached(self._ledger, method.prices):
                break
            names = [name(one) for one in asked]
            if self.account.reached() and any(one not in self.known for one in names):
                return None
            answers = await self._answers(asked, names)
        self._count_nodes(tree)
        if self.errors and all(node.reason == POLICY_FAILED for node in tree.nodes[1:]):
            raise EngineError(self.errors[0])
        return Grown(tree.record(stopped), self._ledger.spent())

    def _count_nodes(self, tree: Tree) -> None:
        made = len(tree.nodes) - 1 - self._ledger.nodes
        self._ledger.nodes += made
        self.account.ledger.nodes += made

    async def _answers(self, asked: Round, names: Sequence[str]) -> list[Answer]:
        """Answers of a round, in its order; what is not known is asked for, all at once."""
        requests = dict(zip(names, asked, strict=True))
        found = {one: self.known[one] for one in requests if one in self.known}
        draws, judges = dict[str, Draw](), dict[str, Judge]()
        for one, request in requests.items():
            if one not in found and isinstance(request, Draw):
                draws[one] = request
            elif one not in found and isinstance(request, Judge):
                judges[one] = request
        if len(draws) == 1 and not judges:
            ((only, draw),) = draws.items()
            found[only] = await self._draw(draw, only)
        elif draws:
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = {n: group.create_task(self._draw(one, n)) for n, one in draws.items()}
                    judging = group.create_task(self._judge(judges))
            except ExceptionGroup as failures:
                # What spoils a round spoils the run: the first of them says it.
                raise failures.exceptions[0] from None
            found |= {one: task.result() for one, task in tasks.items()}
            found |= dict(zip(judges, judging.result(), strict=True))
        else:
            found |= dict(zip(judges, await self._judge(judges), strict=True))
        self._ledger.seconds += max((call.seconds for call in found.values()), default=0.0)
        for one, request in requests.items():
            self._pay(request, found[one], self._ledger)
            if one not in self.known:
                self._pay(request, found[one], self.account.ledger)
        return [found[one].answer for one in names]

    def _pay(self, request: Request, call: Call, ledger: Ledger) -> None:
        if isinstance(request, Draw):
            ledger.draw(call.usage, request.count)
        else:
            free = self.method.evaluator.is_free(request)
            ledger.judge(call.usage, 0 if free else request.count)

    async def _draw(self, request: Draw, named: str) -> Call:
        async with self.places.policy:
            began = time.monotonic()
            drawn = await self.method.policy.draw(self._grader, request)
            seconds = time.monotonic() - began
        lost = all(one.reason == POLICY_FAILED for one in drawn.continuations)
        call = Call(
            problem_id=self.problem.id,
            name=named,
            answer=drawn.continuations,
            usage=drawn.usage,
            seconds=seconds,
        )
        return await self._kept(call, drawn.error, lost=lost, free=False)

    async def _judge(self, requests: Mapping[str, Judge]) -> list[Call]:
        """Answers to prefixes of this problem, by their names, in one call of the evaluator."""
        if not requests:
            return []
        async with self.places.evaluator:
            began = time.monotonic()
            valued = await self.method.evaluator.judge(self.problem, list(requests.values()))
            seconds = time.monotonic() - began
        kept = []
        for (named, request), one in zip(requests.items(), valued, strict=True):
            call = Call(
                problem_id=self.problem.id,
                name=named,
                answer=one.judged,
                usage=one.usage,
                seconds=seconds,
            )
            lost = all(value is None for value in one.judged.values)
            free = self.method.evaluator.is_free(request)
            kept.append(self._kept(call, one.error, lost=lost, free=free))
        return await asyncio.gather(*kept)

    async def _kept(self, call: Call, error: str, *, lost: bool, free: bool) -> Call:
        """The call, stored; one that failed and brought nothing is asked again another time.

        The grade of an answer costs nothing and is not stored.
        """
        if error:
            self.errors.append(error)
        if not free and not (error and lost):
            await self.journal.keep(call)
        return call


def name(request: Request) -> str:
    """Names a request among those of its problem."""
    return hashlib.sha256(repr(request).encode("utf-8", "surrogatepass")).hexdigest()
