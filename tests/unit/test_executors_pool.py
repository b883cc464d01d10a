"""Jobs on workers: a bounded number at a time, again where one is lost, set aside in the end."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pool_data import Crew, Ending, Model

from vilbench.errors import CheckpointError, EngineError, ExecutorError, InputError
from vilbench.executors.bench import Facts, Job, Refusal
from vilbench.executors.pool import Pool


@asynccontextmanager
async def working(crew: Crew, size: int, tries: int = 3) -> AsyncIterator[Pool]:
    pool = crew.pool(size, tries)
    await pool.open()
    try:
        yield pool
    finally:
        await pool.aclose()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left
        assert all(worker.dismissed for worker in crew.workers)


async def double(pool: Pool, item: Any, at_once: int = 2) -> Any:
    return await pool.call(Job(0, "double", (item,)), at_once)


async def doubled(pool: Pool, items: Any, at_once: int = 2) -> list[Any]:
    calls = (double(pool, item, at_once) for item in items)
    return await asyncio.gather(*calls, return_exceptions=True)


async def test_every_job_is_done_once() -> None:
    crew = Crew()
    async with working(crew, 3) as pool:
        assert await doubled(pool, range(40)) == [2 * item for item in range(40)]
        assert (pool.counts.jobs, pool.counts.again, pool.state()) == (40, 0, "")
    assert set(crew.tried.values()) == {1}


@pytest.mark.parametrize("at_once", [1, 2, 5])
async def test_a_worker_has_so_many_at_a_time(at_once: int) -> None:
    crew = Crew()
    async with working(crew, 2) as pool:
        await doubled(pool, range(30), at_once)
    assert crew.most == at_once


async def test_jobs_go_where_the_fewest_are() -> None:
    crew = Crew()
    async with working(crew, 3) as pool:
        for _ in range(5):  # turns, in which all three get ready
            await asyncio.sleep(0)
        assert pool.state() == ""
        await doubled(pool, range(3), 5)
    assert crew.most == 1


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.dictionaries(st.integers(0, 14), st.integers(1, 4), max_size=5),
)
def test_workers_end_and_every_job_has_its_own_end(
    size: int, at_once: int, deadly: dict[int, int]
) -> None:
    crew = Crew()
    crew.deadly.update(deadly)

    async def main() -> list[Any]:
        async with working(crew, size) as pool:
            return await doubled(pool, range(15), at_once)

    for item, value in enumerate(asyncio.run(main())):
        if deadly.get(item, 0) >= 3:
            assert isinstance(value, EngineError)
            assert str(value) == "set aside, tried 3 times: its worker ended: gone"
        elif isinstance(value, EngineError):
            # Once in company, from then on alone: a neighbour can take it along only once.
            raise AssertionError(f"{item} of {deadly} was set aside")
        else:
            assert value == 2 * item
        assert crew.tried[item] <= 3


async def test_a_suspect_is_tried_alone() -> None:
    crew = Crew()
    crew.deadly["poison"] = 9
    async with working(crew, 1) as pool:
        found = await doubled(pool, ["poison", *range(8)], at_once=4)
    assert isinstance(found[0], EngineError)
    assert found[1:] == [2 * item for item in range(8)]
    _, *again = crew.company["poison"]
    assert again == [set(), set()]
    assert max(crew.tried[item] for item in range(8)) == 2


async def test_what_a_model_refuses_is_not_tried_again() -> None:
    crew = Crew()
    async with working(crew, 1) as pool:
        with pytest.raises(EngineError, match="no such thing"):
            await double(pool, "refused")
        with pytest.raises(InputError, match="cannot be read"):
            await double(pool, "unreadable")
        assert pool.counts.again == 0
    assert crew.tried == {"refused": 1, "unreadable": 1}


async def test_a_defect_is_tried_again_and_set_aside() -> None:
    crew = Crew()
    async with working(crew, 2) as pool:
        with pytest.raises(EngineError, match="set aside, tried 3 times: ZeroDivisionError"):
            await double(pool, "defect")
        assert (pool.counts.again, pool.counts.set_aside, pool.counts.lost) == (2, 1, 0)
        assert pool.state() == "2 of 2 workers, 1 set aside"
        assert "2 tried again, 1 set aside" in pool.counts.told()
    assert crew.tried["defect"] == 3


async def test_a_job_without_an_end_is_set_aside_after_its_time() -> None:
    crew = Crew()
    pool = crew.pool(2, tries=2, seconds=0.05)
    await pool.open()
    with pytest.raises(EngineError, match=r"tried 2 times: no answer within 0\.05 s"):
        await double(pool, "endless")
    assert await double(pool, 4) == 8
    assert pool.counts.lost == crew.tried["endless"] == 2
    await pool.aclose()


async def test_a_worker_on_which_everything_breaks_is_replaced() -> None:
    class Broken(Model):
        async def double(self, item: Any) -> Any:
            raise RuntimeError("the device is in a bad state")

    crew = Crew(lambda number: [Model() if number else Broken()])
    async with working(crew, 1) as pool:
        assert await doubled(pool, range(6)) == [2 * item for item in range(6)]
        assert pool.counts.lost == 1
    assert len(crew.workers) == 2


async def test_a_model_that_cannot_be_loaded_anywhere_is_unusable_input() -> None:
    def build(number: int) -> list[Any]:
        raise CheckpointError("there is no such folder", file="models/x")

    pool = Crew(build).pool(2)
    with pytest.raises(InputError, match="models/x: there is no such folder"):
        await pool.open()
    with pytest.raises(InputError, match="models/x"):
        await double(pool, 1)
    await pool.aclose()


async def test_a_machine_without_the_model_is_done_without() -> None:
    def build(number: int) -> list[Any]:
        if number == 0:
            raise CheckpointError("there is no such folder")
        return [Model()]

    async with working(Crew(build), 2) as pool:
        assert await doubled(pool, range(5)) == [0, 2, 4, 6, 8]
        assert pool.state() == "1 of 2 workers"


async def test_a_worker_with_other_weights_gets_no_job() -> None:
    crew = Crew(lambda number: [Model("new weights" if number == 1 else "weights")])
    async with working(crew, 3) as pool:
        assert pool.state() != ""
        await doubled(pool, range(20))
        assert pool.state() == "2 of 3 workers"
        assert crew.workers[1].dismissed


async def test_workers_that_end_before_they_are_ready_are_given_up() -> None:
    crew = Crew()
    crew.hire = lambda: Ending(crew, 0)  # type: ignore[method-assign]
    pool = Pool(crew.hire, 2, tries=3)
    with pytest.raises(ExecutorError, match="ended before it was ready"):
        await pool.open()
    assert pool.counts.lost == 6
    await pool.aclose()


async def test_jobs_that_wait_are_told_that_no_worker_is_left() -> None:
    crew = Crew()
    crew.deadly[0] = 1
    async with working(crew, 1) as pool:
        crew.build = _missing
        found = await doubled(pool, range(4), at_once=1)
        assert [type(one) for one in found] == [ExecutorError] * 4
        assert "no worker is left: weights were deleted" in str(found[0])
        with pytest.raises(ExecutorError):
            await double(pool, 1)


async def test_closing_ends_what_waits() -> None:
    crew = Crew()
    pool = crew.pool(1)
    await pool.open()
    calls = [asyncio.ensure_future(double(pool, item, 1)) for item in range(3)]
    await asyncio.sleep(0)
    await pool.aclose()
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(one) for one in found} == {ExecutorError}
    await pool.aclose()


async def test_a_caller_that_goes_away_leaves_no_job() -> None:
    crew = Crew()
    async with working(crew, 1) as pool:
        calls = [asyncio.ensure_future(double(pool, item, 1)) for item in range(5)]
        await asyncio.sleep(0)
        for call in calls[2:]:
            call.cancel()
        assert await asyncio.gather(*calls[:2]) == [0, 2]
        assert await double(pool, 9) == 18
    assert set(crew.tried) == {0, 1, 9}


async def test_a_job_that_cannot_be_sent_is_a_defect_here() -> None:
    crew = Crew()
    async with working(crew, 1) as pool:
        with pytest.raises(ValueError, match="unpack"):
            await pool.call(Job(0, "double", ()), 1)
        assert await double(pool, 2) == 4


@pytest.mark.parametrize(("size", "tries"), [(0, 3), (1, 0)])
def test_no_workers_and_no_tries_are_refused(size: int, tries: int) -> None:
    with pytest.raises(ValueError, match="one at least"):
        Crew().pool(size, tries)


async def test_facts_come_from_the_model() -> None:
    pool = Crew().pool(1)
    assert await pool.open() == (Facts("doubler", "weights", None),)
    await pool.aclose()


def test_what_travels_can_be_pickled() -> None:
    for one in (
        Job(0, "double", (1,), (("first", 2),)),
        Refusal("input", "x"),
        Facts("", "", "step"),
    ):
        assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301 - our own


def _missing(number: int) -> list[Any]:
    raise CheckpointError("weights were deleted")
