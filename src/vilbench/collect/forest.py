"""All trees of a run: many grow at a time, each is stored as soon as it is finished."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

from vilbench.collect.budget import Account, Budget
from vilbench.collect.growth import Growth, Method, Places
from vilbench.collect.journal import Journal
from vilbench.errors import EngineError
from vilbench.executors import Halt, map_bounded
from vilbench.progress import Progress, Silence
from vilbench.store import trees
from vilbench.store.records import Call, Failure, Spent
from vilbench.store.run import Run
from vilbench.types import Problem, Usage

COLLECT: Final = "collect"
"""Name of the stage, and kind of the event that notes what a run collects."""


@dataclass(frozen=True)
class Width:
    """How much happens at a time; no tree depends on it, but for rounding.

    Attributes:
        trees: Trees that grow. More than there are places keeps the places full: a tree that
            waits for its evaluator, or for the disk, needs none of the policy's.
        policy: Requests to the policy under way.
        evaluator: Calls of the evaluator under way.
    """

    trees: int = 64
    policy: int = 32
    evaluator: int = 32


@dataclass
class Harvest:
    """What came of a start.

    Attributes:
        key: Names the trees in the store.
        finished: Trees finished since the start.
        failed: Problems of which no tree could be grown.
        request_errors: Requests that failed within finished trees.
        stopped: Limit of the run that was reached; "" for none.
        ended: How often a search ended for each reason, in trees finished since the start.
    """

    key: str
    finished: int = 0
    failed: int = 0
    request_errors: int = 0
    stopped: str = ""
    ended: Counter[str] = field(default_factory=Counter)


async def collect(
    run: Run,
    method: Method,
    *,
    width: Width | None = None,
    total: Budget | None = None,
    progress: Progress | None = None,
    halt: Halt | None = None,
    called: str = COLLECT,
) -> Harvest:
    """Grows a tree of every problem of the run that has none yet.

    A problem of which no tree can be grown, because the policy fails, is noted as a failure
    and tried again the next time.

    Args:
        run: Open for writing, with its problems.
        method: How trees are grown.
        width: How much happens at a time; the default width where None.
        total: Limits of the run; none where None.
        progress: Told of every problem.
        halt: No tree, and no round of requests of one, is begun once it is asked for; what is
            under way is waited for and stored.
        called: The stage's name, where its progress is told.

    Raises:
        RunStorageError: An answer or a tree cannot be stored.
    """
    progress, width = progress or Silence(), width or Width()
    harvest = Harvest(method.key)
    note(run, method)
    done = trees.finished(run, harvest.key)
    known = trees.calls(run, harvest.key)
    halt = halt or Halt()
    account = Account(total or Budget(), method.prices, halt=halt)
    for spent in (*done.values(), *map(_paid, known.values())):
        account.ledger.add(spent)
    problems = run.problems()
    todo = [problem for problem in problems if problem.id not in done]
    journal = Journal(run, harvest.key)
    places = Places(asyncio.Semaphore(width.policy), asyncio.Semaphore(width.evaluator))
    progress.begin(called, len(problems), len(problems) - len(todo))

    async def grow(problem: Problem) -> bool:
        """Whether the run's budget let the tree be finished."""
        growth = Growth(problem, method, places, journal, account, known.get(problem.id, {}))
        grown = await growth.grow()
        if grown is None:
            return False
        await journal.finish(grown)
        harvest.request_errors += len(growth.errors)
        harvest.ended[grown.tree.stopped] += 1
        return True

    async with aclosing(map_bounded(grow, todo, width.trees, halt)) as outcomes:
        async for outcome in outcomes:
            if isinstance(outcome.value, EngineError):
                error, problem_id = str(outcome.value), outcome.item.id
                run.put_failure(
                    Failure(
                        stage=COLLECT,
                        key=harvest.key,
                        problem_id=problem_id,
                        error=error,
                        attempts=1,
                    )
                )
                harvest.failed += 1
                progress.advance(called, failed=True)
            elif outcome.value:
                harvest.finished += 1
                progress.advance(called, failed=False)
            else:
                harvest.stopped = account.reached()
    if halt.asked and harvest.finished + harvest.failed < len(todo):
        harvest.stopped = account.reached()
    progress.end(called)
    return harvest


def note(run: Run, method: Method) -> None:
    """Notes under which key the trees of a method are stored from here on."""
    data = {
        "key": method.key,
        "rule": method.search.rule,
        "policy": method.policy.generator.name,
        "evaluator": "" if method.evaluator.scorer is None else method.evaluator.scorer.name,
    }
    notes = [event.data for event in run.events() if event.kind == COLLECT]
    if not notes or dict(notes[-1]) != data:
        run.event(COLLECT, data)


def noted_key(run: Run) -> str | None:
    """Key of the trees that were collected last; None where none were."""
    keys = [str(event.data["key"]) for event in run.events() if event.kind == COLLECT]
    return keys[-1] if keys else None


def _paid(calls: Mapping[str, Call]) -> Spent:
    """What was paid for an unfinished tree, as far as it is stored."""
    draws = [one for one in calls.values() if isinstance(one.answer, tuple)]
    judged = [one for one in calls.values() if not isinstance(one.answer, tuple)]
    return Spent(
        policy=sum((one.usage for one in draws), Usage()),
        policy_calls=len(draws),
        continuations=sum(len(one.answer) for one in draws if isinstance(one.answer, tuple)),
        evaluator=sum((one.usage for one in judged), Usage()),
        evaluator_calls=sum(
            len(one.answer.values) for one in judged if not isinstance(one.answer, tuple)
        ),
    )
