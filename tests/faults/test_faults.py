"""Every fault of a server: bounded attempts, no sample lost, none twice."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import fault_server as server
import pytest
from fault_data import KEY, OTHER, PROMPT, QUICK, SAMPLING, all_distinct, engine, until, wanted
from fault_server import FaultServer, Request, Script

from vilbench.engines.openai.attempts import Patience
from vilbench.errors import EngineError

PASSING: dict[str, tuple[Script, str]] = {
    "429, seconds": (server.refuse(429, headers={"Retry-After": "0.05"}), "429"),
    "429, milliseconds": (server.refuse(429, headers={"retry-after-ms": "20"}), "429"),
    "429, past date": (
        server.refuse(429, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        "429",
    ),
    "429, no word": (server.refuse(429), "429"),
    "429, nonsense": (server.refuse(429, headers={"Retry-After": "soon"}), "429"),
    "500": (server.refuse(500), "500"),
    "502 with a page": (server.page(502), "502"),
    "503": (server.refuse(503, headers={"Retry-After": "0"}), "503"),
    "reset in the body": (server.reset(), "broken-connection"),
    "reset before the body": (server.reset(0), "broken-connection"),
    "truncated JSON": (server.cut(), "broken-json"),
    "nothing": (server.raw(b""), "broken-json"),
    "JSON that is no object": (server.raw(b"[1]"), "broken-json"),
    "JSON nested deeply": (server.raw(b"[" * 100_000), "broken-json"),
    "200 with HTML": (server.page(), "web-page"),
    "200 with an error": (server.raw(b'{"error": {"code": 503, "message": "busy"}}'), "503"),
    "no choices": (server.changed(lambda a: a.update(choices=[])), "no-choices"),
    "choices of null": (server.changed(lambda a: a.update(choices=None)), "no-choices"),
    "choices that are none": (server.raw(b'{"choices": [null]}'), "no-content"),
}


@pytest.mark.parametrize("name", PASSING)
async def test_a_fault_that_passes_costs_one_more_attempt(name: str) -> None:
    act, kind = PASSING[name]
    async with FaultServer([act]) as there, engine(there.url) as client:
        completions = await client.generate(PROMPT, 4, SAMPLING, 7)
    assert [c.text for c in completions] == wanted(there.requests[1], 4)
    assert all_distinct(completions)
    assert len(there.requests) == client.counts.requests == 2
    assert there.requests[0].body == there.requests[1].body  # the same samples, asked again
    assert client.counts.retries == {kind: 1}
    assert client.counts.failures == {}


@pytest.mark.parametrize("name", PASSING)
async def test_a_fault_that_stays_ends_after_all_attempts(name: str) -> None:
    act, kind = PASSING[name]
    async with FaultServer(otherwise=act) as there, engine(there.url) as client:
        with pytest.raises(EngineError) as caught:
            await client.generate(PROMPT, 4, SAMPLING, 7)
    assert len(there.requests) == client.counts.requests == QUICK.attempts
    assert client.counts.retries == {kind: QUICK.attempts - 1}
    assert client.counts.failures == {kind: 1}
    assert str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_the_wait_that_a_server_names_is_kept(form: str) -> None:
    if form == "seconds":
        said = "1.2"
    else:  # dates have whole seconds
        said = format_datetime(datetime.now(UTC) + timedelta(seconds=2.5), usegmt=True)
    begun = time.monotonic()
    async with (
        FaultServer([server.refuse(429, headers={"Retry-After": said})]) as there,
        engine(there.url) as client,
    ):
        assert len(await client.generate(PROMPT, 1, SAMPLING, 0)) == 1
    assert time.monotonic() - begun >= (1.2 if form == "seconds" else 1.0)


async def test_a_wait_too_long_is_not_waited_for() -> None:
    act = server.refuse(429, headers={"Retry-After": "3600"})
    begun = time.monotonic()
    async with FaultServer([act]) as there, engine(there.url) as client:
        for prompt in (PROMPT, OTHER):
            with pytest.raises(EngineError, match=r"asks to wait 3600 s.*429"):
                await client.generate(prompt, 1, SAMPLING, 0)
    assert len(there.requests) == 1  # others would be refused too
    assert time.monotonic() - begun < 60


async def test_while_a_server_asks_to_wait_no_other_request_is_sent() -> None:
    times: list[float] = []

    def well(request: Request) -> server.Act:
        times.append(time.monotonic())
        return server.well(request)

    refusal = server.refuse(429, headers={"Retry-After": "1"})
    async with FaultServer([refusal], well) as there, engine(there.url) as client:
        first = asyncio.create_task(client.generate(PROMPT, 1, SAMPLING, 0))
        await until(lambda: bool(client.counts.retries))
        refused = time.monotonic()
        await asyncio.gather(first, client.generate(OTHER, 1, SAMPLING, 0))
    assert min(times) - refused > 0.8


@pytest.mark.parametrize(
    ("act", "kind"),
    [(server.drip(0.05), "too-slow"), (server.late(30), "no-answer")],
    ids=["slow drip", "never answers"],
)
async def test_time_limits(act: Script, kind: str) -> None:
    limits = Patience(attempts=2, first_wait_s=0.01, first_byte_s=0.4, call_s=0.9)
    begun = time.monotonic()
    async with FaultServer([act]) as there, engine(there.url, patience=limits) as client:
        assert len(await client.generate(PROMPT, 2, SAMPLING, 0)) == 2
        assert client.counts.retries == {kind: 1}
    async with FaultServer(otherwise=act) as there, engine(there.url, patience=limits) as client:
        with pytest.raises(EngineError, match="within the limit"):
            await client.generate(PROMPT, 2, SAMPLING, 0)
        assert client.counts.requests == 2
    assert time.monotonic() - begun < 30


async def test_no_server_at_all() -> None:
    async with FaultServer() as there:
        url = there.url
    async with engine(url) as client:
        for prompt in (PROMPT, OTHER):
            with pytest.raises(EngineError, match=rf"{url} .*running.*no connection"):
                await client.generate(prompt, 2, SAMPLING, 0)
        assert client.counts.requests == QUICK.attempts


@pytest.mark.parametrize("act", [server.well, server.refuse(400)], ids=["well", "refused"])
async def test_a_server_that_was_there_may_come_back(act: Script) -> None:
    async with FaultServer([act]) as there, engine(there.url) as client:
        await asyncio.gather(client.generate(PROMPT, 1, SAMPLING, 0), return_exceptions=True)
        port = int(there.url.split(":")[2].split("/")[0])
        await there.__aexit__(None, None, None)
        with pytest.raises(EngineError, match="no connection"):
            await client.generate(PROMPT, 1, SAMPLING, 0)
        back = await asyncio.start_server(there._serve, "127.0.0.1", port)
        assert len(await client.generate(PROMPT, 1, SAMPLING, 0)) == 1
        back.close()


@pytest.mark.parametrize("status", [400, 403, 413, 422, 301])
async def test_a_request_that_cannot_be_answered_is_not_repeated(status: int) -> None:
    acts = [server.refuse(status, "the image is too large", headers={"Location": "/v2"})]
    async with FaultServer(acts) as there, engine(there.url) as client:
        with pytest.raises(EngineError, match=str(status)):
            await client.generate(PROMPT, 2, SAMPLING, 0)
        assert len(there.requests) == 1
        assert len(await client.generate(OTHER, 2, SAMPLING, 0)) == 2  # others are untouched


FATAL: dict[str, Script] = {
    "expired key": server.refuse(401, f"Incorrect API key provided: {KEY}.", code="expired"),
    "quota exceeded": server.refuse(
        429, "You exceeded your current quota", code="insufficient_quota"
    ),
    "no money": server.refuse(402, "pay first"),
    "no such model": server.refuse(404, "the model `model` does not exist"),
}


@pytest.mark.parametrize("name", FATAL)
async def test_what_every_request_would_meet_is_asked_once(name: str) -> None:
    async with FaultServer(otherwise=FATAL[name]) as there, engine(there.url) as client:
        for prompt in (PROMPT, OTHER, PROMPT):
            with pytest.raises(EngineError) as caught:
                await client.generate(prompt, 3, SAMPLING, 0)
            assert KEY not in str(caught.value)
            assert KEY not in repr(caught.value)
        assert len(there.requests) == 1
        assert client.counts.retries == {}


TELLING: dict[str, Callable[[str], Script]] = {
    "an error": lambda words: server.refuse(400, words),
    "an error with status 200": lambda words: server.raw(
        json.dumps({"error": {"code": 400, "message": words}}).encode()
    ),
    "an error as text": lambda words: lambda _: server.Act(400, body=words.encode()),
    "broken JSON": lambda words: server.raw(words.encode()),
    "an unknown end": lambda words: server.changed(
        lambda answer: answer["choices"][0].update(finish_reason=words)
    ),
    "another model": lambda words: server.changed(lambda answer: answer.update(model=words)),
}


@pytest.mark.parametrize("name", TELLING)
async def test_no_part_of_a_key_across_the_cut_is_told(name: str) -> None:
    once = Patience(attempts=1)
    parts = [KEY[:length] for length in range(6, len(KEY) + 1)]
    for before in (*range(80, 105, 6), *range(175, 205, 6), *range(270, 305, 6)):
        act = TELLING[name]("x" * before + KEY + "y" * 2000)
        async with FaultServer(otherwise=act) as there, engine(there.url, patience=once) as client:
            with pytest.raises(EngineError, match="xxx") as caught:
                await client.generate(PROMPT, 1, SAMPLING, 0)
        assert not any(part in str(caught.value) for part in parts), before
        assert len(str(caught.value)) < 500


async def test_what_is_under_way_outlives_a_spent_quota() -> None:
    slow = server.late(0.4)
    async with (
        FaultServer([slow, FATAL["quota exceeded"]]) as there,
        engine(there.url) as client,
    ):
        paid = asyncio.create_task(client.generate(PROMPT, 2, SAMPLING, 0))
        await until(lambda: bool(there.requests))
        with pytest.raises(EngineError, match="quota"):
            await client.generate(OTHER, 1, SAMPLING, 0)
        assert len(await paid) == 2
