"""Every fault of a server: bounded attempts, no sample lost, none twice."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import fault_server as server
import pytest
from fault_server import FaultServer, Request, Script

from vilbench.engines.openai.attempts import Patience
from vilbench.engines.openai.engine import OpenAIEngine
from vilbench.engines.openai.money import TokenPrice
from vilbench.errors import EngineError
from vilbench.testing import tiny_png
from vilbench.types import BytesSource, Completion, Image, Prompt, Sampling

PROMPT = Prompt((Image.of(BytesSource(tiny_png())), "How many are left?"))
OTHER = Prompt(("How many are right?",))
SAMPLING = Sampling(max_tokens=40)
QUICK = Patience(attempts=3, first_wait_s=0.01, first_byte_s=5, call_s=10)
KEY = "sk-a-secret-key-of-a-test"


def engine(url: str, **more: Any) -> OpenAIEngine:
    settings = {"patience": QUICK, "api_key": KEY, **more}
    return OpenAIEngine("model", settings.pop("dialect", "vllm"), base_url=url, **settings)


def wanted(request: Request, count: int) -> list[str]:
    """Texts that a good answer to this request would have."""
    said = server.texts(request, count)
    return [server.choice(request, k, text)["message"]["content"] for k, text in enumerate(said)]


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - nothing tells when
        await asyncio.sleep(0.01)


def all_distinct(completions: list[Completion]) -> bool:
    return len({completion.text for completion in completions}) == len(completions)


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


async def test_null_content_is_asked_for_again() -> None:
    def spoil(answer: dict[str, Any]) -> None:
        answer["choices"][1]["message"]["content"] = None

    async with FaultServer([server.changed(spoil)]) as there, engine(there.url) as client:
        completions = await client.generate(PROMPT, 4, SAMPLING, 7)
    first, second = there.requests
    good = wanted(first, 4)
    assert [c.text for c in completions] == [good[0], good[2], good[3], *wanted(second, 1)]
    assert (first.n, second.n) == (4, 1)
    assert len(set(there.seeds)) == 5
    assert client.counts.topped_up == 1


async def test_null_content_for_ever_ends() -> None:
    def spoil(answer: dict[str, Any]) -> None:
        for item in answer["choices"]:
            item["message"]["content"] = None

    async with FaultServer(otherwise=server.changed(spoil)) as there, engine(there.url) as client:
        with pytest.raises(EngineError, match="no content"):
            await client.generate(PROMPT, 4, SAMPLING, 7)
    assert len(there.requests) == QUICK.attempts


async def test_one_good_choice_of_many_for_ever_ends() -> None:
    def spoil(answer: dict[str, Any]) -> None:
        for item in answer["choices"][1:]:
            item["message"]["content"] = None

    async with FaultServer(otherwise=server.changed(spoil)) as there, engine(there.url) as client:
        completions = await client.generate(PROMPT, 20, SAMPLING, 7)
    assert len(there.requests) == len(completions) == QUICK.attempts + 1


@pytest.mark.parametrize("reason", ["length", "content_filter"])
@pytest.mark.parametrize("content", ["as far as it", None])
async def test_finish_reasons_are_told(reason: str, content: str | None) -> None:
    def end(answer: dict[str, Any]) -> None:
        answer["choices"][0]["finish_reason"] = reason
        answer["choices"][0]["message"]["content"] = content

    async with FaultServer([server.changed(end)]) as there, engine(there.url) as client:
        [completion] = await client.generate(PROMPT, 1, SAMPLING, 0)
    assert (completion.text, completion.finish_reason) == (content or "", reason)
    assert len(there.requests) == 1


async def test_unknown_finish_reasons_are_no_samples() -> None:
    def abort(answer: dict[str, Any]) -> None:
        answer["choices"][0]["finish_reason"] = "abort"

    async with FaultServer([server.changed(abort)]) as there, engine(there.url) as client:
        assert len(await client.generate(PROMPT, 2, SAMPLING, 0)) == 2
    assert [r.n for r in there.requests] == [2, 1]


async def test_fewer_choices_are_topped_up() -> None:
    acts = [server.changed(lambda a: a["choices"].__delitem__(slice(3, None)))]
    async with FaultServer(acts) as there, engine(there.url) as client:
        completions = await client.generate(PROMPT, 5, SAMPLING, 0)
        assert client.counts.topped_up == 1
    assert [r.n for r in there.requests] == [5, 2]
    assert len(completions) == 5
    assert all_distinct(completions)


def one_alone(request: Request) -> server.Act:
    return server.as_json(server.completion(request, server.texts(request, 1)))


@pytest.mark.parametrize("attempts", [1, 3])
async def test_a_server_without_n_is_asked_one_by_one_from_then_on(attempts: int) -> None:
    patience = Patience(attempts=attempts)
    async with (
        FaultServer(otherwise=one_alone) as there,
        engine(there.url, patience=patience) as client,
    ):
        completions = await client.generate(PROMPT, 6, SAMPLING, 0)
        assert [r.n for r in there.requests] == [6, 5, 1, 1, 1, 1]
        assert all_distinct(completions)
        assert len(await client.generate(OTHER, 4, SAMPLING, 0)) == 4
        assert [r.n for r in there.requests[6:]] == [1, 1, 1, 1]
        assert there.most_at_once > 1


async def test_one_answer_with_a_single_choice_does_not_end_n() -> None:
    acts = [one_alone, server.well, one_alone]
    async with FaultServer(acts) as there, engine(there.url) as client:
        for prompt in (PROMPT, OTHER, PROMPT):
            assert len(await client.generate(prompt, 4, SAMPLING, 0)) == 4
        assert [r.n for r in there.requests] == [4, 3, 4, 3, 4]


async def test_more_choices_are_dropped_and_the_same_index_counts_once() -> None:
    def more(answer: dict[str, Any]) -> None:
        answer["choices"].append(dict(answer["choices"][0]))
        answer["choices"].append({**answer["choices"][0], "index": 9})

    async with FaultServer([server.changed(more)]) as there, engine(there.url) as client:
        completions = await client.generate(PROMPT, 3, SAMPLING, 0)
    assert [c.text for c in completions] == wanted(there.requests[0], 3)


async def test_a_call_that_fails_in_part_gives_what_it_has_and_goes_on_with_new_seeds() -> None:
    acts = [server.well, server.refuse(400), server.well]
    async with FaultServer(acts) as there, engine(there.url, max_n=2) as client:
        completions = await client.generate(PROMPT, 6, SAMPLING, 0)
        assert len(completions) == 4
        rest = await client.generate(PROMPT, 2, SAMPLING, 0, first=4)
        assert client.counts.failures == {"400": 1}
    assert len(set(there.seeds)) == len(there.seeds) == 8
    assert all_distinct([*completions, *rest])


async def test_another_model_in_the_answer() -> None:
    def another(answer: dict[str, Any]) -> None:
        answer["model"] = "a-cheaper-one"

    act = server.changed(another)
    async with FaultServer(otherwise=act) as there, engine(there.url) as client:
        for _ in range(3):
            with pytest.raises(EngineError, match="'a-cheaper-one' answered in place of 'model'"):
                await client.generate(PROMPT, 1, SAMPLING, 0)
        assert len(there.requests) == 1  # no answer has been right yet: none is paid any more
    async with FaultServer([server.well, act]) as there, engine(there.url) as client:
        await client.generate(PROMPT, 1, SAMPLING, 0)
        with pytest.raises(EngineError, match="in place of"):
            await client.generate(PROMPT, 1, SAMPLING, 1)
        assert len(await client.generate(PROMPT, 1, SAMPLING, 2)) == 1
    async with (
        FaultServer(otherwise=act) as there,
        engine(there.url, answers_as=["a-cheaper-one"]) as client,
    ):
        assert len(await client.generate(PROMPT, 1, SAMPLING, 0)) == 1
        assert client.counts.models == {"a-cheaper-one": 1}


def entry(answer: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = answer["choices"][0]["logprobs"]["content"][0]
    return found


BAD_LOGPROBS: dict[str, Callable[[dict[str, Any]], object]] = {
    "none": lambda a: a["choices"][0].update(logprobs=None),
    "no list": lambda a: a["choices"][0].update(logprobs={"content": "x"}),
    "above 0": lambda a: entry(a).update(logprob=0.5),
    "not a number": lambda a: entry(a).update(logprob=float("nan")),
    "infinite": lambda a: entry(a).update(logprob=float("inf")),
    "a word": lambda a: entry(a).update(logprob="high"),
    "true": lambda a: entry(a).update(logprob=True),
    "alternative above 0": lambda a: entry(a)["top_logprobs"][0].update(logprob=2),
    "alternatives beyond certain": lambda a: entry(a).update(
        top_logprobs=[{"token": str(k), "logprob": -0.01} for k in range(5)]
    ),
    "other tokens": lambda a: entry(a).update({"token": "else", "bytes": None}),
    "too few tokens": lambda a: a["choices"][0]["logprobs"]["content"].pop(),
    "no token": lambda a: entry(a).pop("token"),
    "bytes out of range": lambda a: entry(a).update(bytes=[300]),
    "bytes of a word": lambda a: entry(a).update(bytes="x"),
}


@pytest.mark.parametrize("name", BAD_LOGPROBS)
async def test_invalid_log_probabilities_lose_no_sample(name: str) -> None:
    sampling = Sampling(max_tokens=40, top_logprobs=4)
    acts = [server.changed(BAD_LOGPROBS[name])]
    async with FaultServer(acts) as there, engine(there.url) as client:
        completions = await client.generate(PROMPT, 3, sampling, 0)
        assert client.counts.unread_logprobs == 1
    assert [c.text for c in completions] == wanted(there.requests[0], 3)
    assert completions[0].tokens == ()
    assert all(c.tokens for c in completions[1:])
    assert len(there.requests) == 1


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


async def test_an_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vilbench.engines.openai.connections._LONGEST_ANSWER", 1000)
    act = server.raw(b" " * 5000)
    async with FaultServer([act]) as there, engine(there.url) as client:
        assert len(await client.generate(OTHER, 1, SAMPLING, 0)) == 1
        assert client.counts.retries == {"too-long": 1}


async def test_a_compressed_answer_is_not_unpacked() -> None:
    acts = [lambda request: server.Act(headers={"Content-Encoding": "gzip"}, body=b"x")]
    async with FaultServer(acts) as there, engine(there.url) as client:
        assert len(await client.generate(OTHER, 1, SAMPLING, 0)) == 1
        assert client.counts.retries == {"compressed": 1}
