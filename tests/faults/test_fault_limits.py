"""What is in flight at a server that misbehaves, and what it may cost."""

from __future__ import annotations

import asyncio

import fault_server as server
import pytest
from fault_data import OTHER, PROMPT, SAMPLING, engine, until
from fault_server import FaultServer, Request

from vilbench.engines.openai.attempts import Patience
from vilbench.engines.openai.money import TokenPrice
from vilbench.errors import EngineError


async def test_a_fault_touches_no_neighbour() -> None:
    def act(request: Request) -> server.Act:
        spoilt = "right" in str(request.body["messages"])
        return server.cut()(request) if spoilt else server.well(request)

    async with FaultServer(otherwise=act) as there, engine(there.url) as client:
        results = await asyncio.gather(
            *(client.generate(p, 2, SAMPLING, 0) for p in (PROMPT, OTHER, PROMPT)),
            return_exceptions=True,
        )
    assert isinstance(results[1], EngineError)
    assert [len(r) for r in (results[0], results[2]) if isinstance(r, list)] == [2, 2]


async def test_refusals_shrink_what_is_in_flight_and_answers_grow_it_back() -> None:
    refusing = True

    def busy(request: Request) -> server.Act:
        return (server.refuse(429) if refusing else server.well)(request)

    patience = Patience(attempts=100, first_wait_s=0.01, longest_wait_s=0.05)
    async with (
        FaultServer(otherwise=busy) as there,
        engine(there.url, patience=patience, concurrency=32) as client,
    ):
        limits = [client.counts.limit]
        tasks = [asyncio.create_task(client.generate(OTHER, 1, SAMPLING, k)) for k in range(32)]
        while limits[-1] > 1:
            await asyncio.sleep(0.001)
            limits.append(client.counts.limit)
        refusing = False
        assert [len(said) for said in await asyncio.gather(*tasks)] == [1] * 32
        assert client.counts.limit > 1
    # Once for all requests that were under way together.
    assert set(limits) <= {32, 16, 8, 4, 2, 1}


async def test_errors_of_the_server_hold_what_is_in_flight() -> None:
    acts = [server.refuse(500)] * 10
    async with FaultServer(acts) as there, engine(there.url, concurrency=8) as client:
        await asyncio.gather(*(client.generate(OTHER, 1, SAMPLING, k) for k in range(10)))
        assert client.counts.limit == 8


async def test_no_more_in_flight_than_allowed() -> None:
    async with (
        FaultServer(otherwise=server.late(0.05)) as there,
        engine(there.url, concurrency=5, max_n=1) as client,
    ):
        await client.generate(OTHER, 20, SAMPLING, 0)
        assert client.counts.most_in_flight == there.most_at_once == 5


async def test_cancelling_leaks_no_task_and_no_place() -> None:
    async with (
        FaultServer([server.late(30)] * 4) as there,
        engine(there.url, concurrency=4, max_n=1) as client,
    ):
        before = asyncio.all_tasks()
        task = asyncio.create_task(client.generate(OTHER, 8, SAMPLING, 0))
        await until(lambda: len(there.requests) == 4)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert client.counts.in_flight == 0
        assert len(await client.generate(OTHER, 4, SAMPLING, 0)) == 4
        left = asyncio.all_tasks() - before - {task}
        # What is left are the server's own connections.
        assert all("_serve" in repr(one) for one in left)


PRICE = TokenPrice(prompt=0.0, completion=1_000_000.0)  # a dollar for each token


async def test_a_budget_is_never_passed() -> None:
    async with (
        FaultServer(otherwise=server.late(0.02)) as there,
        engine(there.url, price=PRICE, budget=150.0) as client,
    ):
        results = await asyncio.gather(
            *(client.generate(OTHER, 1, SAMPLING, k) for k in range(20)),
            return_exceptions=True,
        )
        spent = client.counts.spent_usd
    paid = [r for r in results if isinstance(r, list)]
    written = sum(r[0].usage.completion_tokens for r in paid)
    assert 150.0 - SAMPLING.max_tokens < spent == written <= 150.0
    refusals = [str(r) for r in results if isinstance(r, EngineError)]
    assert len(paid) + len(refusals) == 20
    assert all("budget of 150.00 USD" in told for told in refusals)
    assert len(there.requests) == len(paid)


async def test_a_budget_counts_what_was_lost_on_the_way() -> None:
    async with (
        FaultServer([server.reset(), server.refuse(500)]) as there,
        engine(there.url, price=PRICE, budget=100.0) as client,
    ):
        [completion] = await client.generate(OTHER, 1, SAMPLING, 0)
        lost = SAMPLING.max_tokens  # of the reset; an error is not billed
        assert client.counts.spent_usd == completion.usage.completion_tokens + lost


async def test_answers_without_token_counts_cost_the_most() -> None:
    acts = [server.changed(lambda a: a.pop("usage"))]
    async with FaultServer(acts) as there, engine(there.url, price=PRICE) as client:
        await client.generate(OTHER, 2, SAMPLING, 0)
        assert client.counts.spent_usd == 2 * SAMPLING.max_tokens
        assert client.counts.unmetered == 1
