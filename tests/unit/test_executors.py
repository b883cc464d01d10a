import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import aclosing
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vilbench.errors import EngineError
from vilbench.executors import Outcome, map_bounded


def others() -> set[asyncio.Task[object]]:
    """Tasks of the loop other than the test's own."""
    me = asyncio.current_task()
    return {task for task in asyncio.all_tasks() if task is not me}


async def double(item: int) -> int:
    await asyncio.sleep(0)
    return 2 * item


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(), max_size=20), st.integers(1, 25), st.sets(st.integers(0, 19)))
def test_every_item_has_one_outcome(items: list[int], concurrency: int, bad: set[int]) -> None:
    async def work(place: int) -> int:
        for _ in range(abs(items[place]) % 5):
            await asyncio.sleep(0)
        if place in bad:
            raise EngineError(f"item {place}")
        return items[place]

    async def main() -> list[Outcome[int, int]]:
        return [one async for one in map_bounded(work, range(len(items)), concurrency)]

    outcomes = asyncio.run(main())
    assert sorted(one.item for one in outcomes) == list(range(len(items)))
    for one in outcomes:
        if one.item in bad:
            assert isinstance(one.value, EngineError)
            assert str(one.value) == f"item {one.item}"
        else:
            assert one.value == items[one.item]


async def test_outcomes_come_as_they_finish() -> None:
    gates = {name: asyncio.Event() for name in "abc"}

    async def work(name: str) -> str:
        await gates[name].wait()
        return name

    async with aclosing(map_bounded(work, "abc", 3)) as outcomes:
        for name in "cab":
            gates[name].set()
            assert (await anext(outcomes)).value == name


@pytest.mark.parametrize("concurrency", [1, 3, 8])
async def test_at_most_so_many_are_under_way(concurrency: int) -> None:
    now = most = 0

    async def work(item: int) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        for _ in range(1 + item % 3):
            await asyncio.sleep(0)
        now -= 1

    assert len([one async for one in map_bounded(work, range(30), concurrency)]) == 30
    assert most == concurrency


async def test_items_are_pulled_lazily() -> None:
    pulled = 0

    def endless() -> Iterator[int]:
        nonlocal pulled
        for item in count():
            pulled += 1
            yield item

    async with aclosing(map_bounded(double, endless(), 2)) as outcomes:
        for _ in range(5):
            await anext(outcomes)
        assert pulled <= 5 + 1 + 2  # handed out, finished beside the last, under way
    assert not others()


async def test_places_are_refilled_before_the_caller_deals_with_an_outcome() -> None:
    started: list[int] = []

    async def work(item: int) -> int:
        started.append(item)
        return item

    async with aclosing(map_bounded(work, range(4), 1)) as outcomes:
        assert (await anext(outcomes)).value == 0
        await asyncio.sleep(0)
        assert started == [0, 1]


async def test_a_defect_cancels_the_rest_and_is_raised() -> None:
    cancelled: list[int] = []

    async def work(item: int) -> int:
        if item == 2:
            raise ZeroDivisionError
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(item)
            raise
        return item

    with pytest.raises(ZeroDivisionError):
        [one async for one in map_bounded(work, range(100), 4)]
    assert sorted(cancelled) == [0, 1, 3]
    assert not others()


async def test_work_that_finished_beside_a_defect_is_handed_out_first() -> None:
    async def work(item: int) -> int:
        if item == 0:
            raise ZeroDivisionError
        return item

    async with aclosing(map_bounded(work, range(10), 3)) as outcomes:
        assert [(await anext(outcomes)).item for _ in range(2)] == [1, 2]
        with pytest.raises(ZeroDivisionError):
            await anext(outcomes)
    assert not others()


async def test_two_defects_at_once_leave_no_unread_exception(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work(item: int) -> int:
        raise ZeroDivisionError(item)

    with pytest.raises(ZeroDivisionError, match="0"):
        [one async for one in map_bounded(work, range(3), 3)]
    assert "never retrieved" not in caplog.text


async def test_a_plain_function_that_raises_is_an_outcome_too() -> None:
    def work(item: int) -> Awaitable[int]:
        if item == 1:
            raise EngineError("refused before it began")
        return double(item)

    outcomes = [one async for one in map_bounded(work, range(3), 1)]
    assert [str(one.value) for one in outcomes] == ["0", "refused before it began", "4"]


async def test_failing_items_stop_the_work() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the list is gone")

    with pytest.raises(OSError, match="gone"):
        [one async for one in map_bounded(double, items(), 2)]
    assert not others()


async def test_cancelling_the_caller_leaks_no_task() -> None:
    running = asyncio.Event()
    ended: list[int] = []

    async def work(item: int) -> int:
        running.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)  # cleaning up takes a moment
            ended.append(item)
        return item

    async def caller() -> None:
        async with aclosing(map_bounded(work, range(10), 3)) as outcomes:
            async for _ in outcomes:
                pass

    task = asyncio.create_task(caller())
    await running.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(ended) == [0, 1, 2]
    assert not others()


async def test_leaving_the_loop_early_leaks_no_task() -> None:
    async def work(item: int) -> int:
        await asyncio.sleep(0 if item == 0 else 60)
        return item

    async with aclosing(map_bounded(work, range(10), 4)) as outcomes:
        async for one in outcomes:
            assert one.item == 0
            break
    assert not others()


@pytest.mark.parametrize("concurrency", [0, -1])
async def test_no_places_is_refused(concurrency: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        [one async for one in map_bounded(double, [1], concurrency)]


async def test_nothing_to_do() -> None:
    nothing: list[int] = []
    assert [one async for one in map_bounded(double, nothing, 3)] == []
