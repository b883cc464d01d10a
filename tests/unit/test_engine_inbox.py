from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field

import pytest

from vilbench.engines.inbox import Inbox
from vilbench.executors import map_bounded


@dataclass(frozen=True)
class Asked:
    number: int
    answer: Future[int] = field(default_factory=Future)


@contextmanager
def working(inbox: Inbox[Asked], dawdle: float = 0.0) -> Iterator[list[set[int]]]:
    """A worker that answers what it takes in any order; yields the numbers of each take."""
    takes: list[set[int]] = []

    def work() -> None:
        while items := inbox.take():
            takes.append({item.number for item in items})
            for item in random.sample(items, len(items)):
                time.sleep(dawdle * random.random())
                item.answer.set_result(item.number)

    worker = threading.Thread(target=work)
    worker.start()
    yield takes
    inbox.close()
    worker.join()


async def ask(inbox: Inbox[Asked], number: int, busy: float = 0.0) -> int:
    time.sleep(busy)  # noqa: ASYNC251 - the loop's thread is slow, as on a busy machine
    asked = Asked(number)
    assert inbox.put(asked)
    return await asyncio.wrap_future(asked.answer)


async def test_what_one_turn_asks_is_taken_together_however_long_the_turn() -> None:
    inbox: Inbox[Asked] = Inbox()
    with working(inbox) as takes:
        answers = await asyncio.gather(*(ask(inbox, k, busy=0.02) for k in range(5)))
    assert answers == list(range(5))
    assert takes == [set(range(5))]


async def test_what_answers_lead_to_is_taken_together_however_slow_the_answers() -> None:
    """Groups of two requests, four groups at a time, as a judge asks about a problem."""
    inbox: Inbox[Asked] = Inbox()

    async def group(number: int) -> None:
        async with asyncio.TaskGroup() as tasks:
            for place in range(2):
                tasks.create_task(ask(inbox, 2 * number + place))

    with working(inbox, dawdle=0.004) as takes:
        async with aclosing(map_bounded(group, range(12), 4)) as outcomes:
            async for outcome in outcomes:
                assert outcome.value is None
    assert takes == [set(range(8)), set(range(8, 16)), set(range(16, 24))]


async def test_a_loop_that_ends_holds_no_other_up() -> None:
    inbox: Inbox[Asked] = Inbox()
    with working(inbox):
        for number in range(20):
            assert await asyncio.to_thread(asyncio.run, ask(inbox, number)) == number
            assert await asyncio.wait_for(ask(inbox, -number), timeout=20) == -number


async def test_a_loop_that_stops_between_answer_and_next_question() -> None:
    inbox: Inbox[Asked] = Inbox()
    loop = asyncio.new_event_loop()
    with working(inbox):
        assert await asyncio.to_thread(loop.run_until_complete, ask(inbox, 1)) == 1
        assert await asyncio.wait_for(ask(inbox, 2), timeout=20) == 2
        assert await asyncio.to_thread(loop.run_until_complete, ask(inbox, 3)) == 3
    loop.close()


async def test_closing_gives_back_what_waits_and_what_was_taken() -> None:
    inbox: Inbox[Asked] = Inbox()
    first, second = Asked(1), Asked(2)
    inbox.put(first)
    assert await asyncio.to_thread(inbox.take) == [first]
    inbox.put(second)
    assert inbox.close() == [first, second]
    assert not inbox.put(Asked(3))
    assert await asyncio.to_thread(inbox.take) == []


@pytest.mark.parametrize("asked", [False, True])
async def test_closing_wakes_the_worker(asked: bool) -> None:
    inbox: Inbox[Asked] = Inbox()
    if asked:
        inbox.put(Asked(1))
    waiting = threading.Thread(target=inbox.take)
    waiting.start()
    inbox.close()
    await asyncio.to_thread(waiting.join, 20)
    assert not waiting.is_alive()
