"""Answers of a server that are not what was asked for: no sample lost, none twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fault_server as server
import pytest
from fault_data import OTHER, PROMPT, QUICK, SAMPLING, all_distinct, engine, wanted
from fault_server import FaultServer, Request

from vilbench.engines.openai.attempts import Patience
from vilbench.errors import EngineError
from vilbench.types import Sampling


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
