from __future__ import annotations

import asyncio
import dataclasses
import itertools
import math
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import engine_data as data
import numpy as np
import pytest
import torch

from vilbench.backbone.prefixes import common
from vilbench.embedded import model_folder
from vilbench.engines import decoding, local
from vilbench.engines.decoding import Row
from vilbench.engines.demand import check_demand
from vilbench.engines.local import LocalEngine
from vilbench.errors import EngineError
from vilbench.problems.puzzles.puzzle import puzzles
from vilbench.steps import FORMATS
from vilbench.types import (
    BytesSource,
    Completion,
    Generator,
    Image,
    LikelihoodModel,
    Prompt,
    Sampling,
)

BRIEF = Sampling(max_tokens=5)


@pytest.fixture
async def engine() -> AsyncIterator[LocalEngine]:
    async with LocalEngine(data.checkpoint()) as engine:
        yield engine


def texts(completions: Sequence[Completion]) -> list[str]:
    return [completion.text for completion in completions]


def inner_model(engine: LocalEngine) -> Any:
    return engine._backbone.model


async def test_it_is_a_generator_and_a_likelihood_model(engine: LocalEngine) -> None:
    assert isinstance(engine, Generator)
    assert isinstance(engine, LikelihoodModel)
    assert engine.name == data.checkpoint().name
    assert engine.fingerprint.endswith("-float32")


async def test_batches_do_not_change_completions(engine: LocalEngine) -> None:
    """216 completions: all at once, and one by one without anything to share."""
    prompts = [data.prompt(k, "word " * (k % 4)) for k in range(9)]
    together = await asyncio.gather(
        *(engine.generate(p, 24, BRIEF, k) for k, p in enumerate(prompts))
    )
    alone = LocalEngine(data.checkpoint(), max_batch_tokens=1)
    async with alone:
        for k, prompt in enumerate(prompts):
            for index in range(24):
                [single] = await alone.generate(prompt, 1, BRIEF, k, first=index)
                whole = together[k][index]
                assert (single.text, single.finish_reason) == (whole.text, whole.finish_reason)
    said = [text for completions in together for text in texts(completions)]
    assert len(set(said)) > 150
    assert len({len(text) for text in said}) > 5


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(max_tokens=7),
        Sampling(max_tokens=7, temperature=0.6, top_p=0.7),
        Sampling(max_tokens=7, temperature=0.0),
    ],
)
async def test_completions_are_those_of_the_plain_loop(
    engine: LocalEngine, sampling: Sampling
) -> None:
    """Against the model's own forward over everything, anew for every token."""
    checked = 0
    for number in range(2):
        prompt = data.prompt(number)
        encoded = engine.encoder.encode(prompt)
        pixels = engine.encoder.pixels(encoded.images)
        completions = await engine.generate(prompt, 4, sampling, 11)
        for index, completion in enumerate(completions):
            plain = data.plain_sample(inner_model(engine), encoded.ids, pixels, sampling, 11, index)
            if plain[-1] == inner_model(engine).config.image_token_id:
                continue
            ended = plain[-1] in inner_model(engine).generation_config.eos_token_id
            said = data.tokenizer().decode(plain[:-1] if ended else plain, skip_special_tokens=True)
            assert completion.text == said
            assert completion.finish_reason == ("stop" if ended else "length")
            assert completion.usage.completion_tokens == len(plain)
            checked += 1
    assert checked >= 6


async def test_samples_of_a_problem_compute_it_once(engine: LocalEngine) -> None:
    tokens = len(engine.encoder.encode(data.prompt(1)).ids)
    completions = await engine.generate(data.prompt(1), 24, BRIEF, 3)
    counts = engine.counts
    assert counts.prompt_tokens_computed == tokens
    assert counts.prompt_tokens_asked == 24 * tokens
    assert counts.image_encodings == 1
    assert counts.decoded_tokens == sum(c.usage.completion_tokens for c in completions)
    assert counts.forwards <= BRIEF.max_tokens
    paid = [c.usage.prompt_tokens - c.usage.cached_tokens for c in completions]
    assert paid == [tokens] + [0] * 23


async def test_requests_that_begin_alike_compute_the_beginning_once(engine: LocalEngine) -> None:
    prompts = [
        data.prompt(1, "The angle is 40 degrees. " + letter) for letter in "bcdfghjkmnpqrsuv"
    ]
    ids = [engine.encoder.encode(prompt).ids for prompt in prompts]
    shared = next(k for k, column in enumerate(zip(*ids, strict=False)) if len(set(column)) > 1)
    completions = await asyncio.gather(*(engine.generate(p, 1, BRIEF, 3) for p in prompts))
    counts = engine.counts
    assert counts.prompt_tokens_computed == shared + sum(len(row) - shared for row in ids)
    assert counts.image_encodings == 1
    paid = sum(c.usage.prompt_tokens - c.usage.cached_tokens for [c] in completions)
    assert paid == counts.prompt_tokens_computed


async def test_what_goes_on_from_a_completion_computes_what_is_new() -> None:
    """Rounds of a step-wise search: each begins with all of the one before."""
    folder = model_folder("embedded:small")
    [problem] = (one.problem for one in puzzles("test", 1))
    prompt = FORMATS["steps-brief"].ask(problem)
    steps = Sampling(max_tokens=80, stop=("\n",))
    async with LocalEngine(folder, recall=True) as engine, LocalEngine(folder) as fresh:
        for turn in range(4):
            computed, again = engine.counts, fresh.counts
            completions = await engine.generate(prompt, 3, steps, turn)
            paid = sum(one.usage.prompt_tokens - one.usage.cached_tokens for one in completions)
            assert paid == engine.counts.prompt_tokens_computed - computed.prompt_tokens_computed
            if turn:  # the line's end alone, written by none of them but read by all
                assert paid <= 2
            assert texts(await fresh.generate(prompt, 3, steps, turn)) == texts(completions)
            whole = fresh.counts.prompt_tokens_computed - again.prompt_tokens_computed
            assert whole == completions[0].usage.prompt_tokens > 50
            prompt = dataclasses.replace(prompt, prefill=f"{prompt.prefill}{completions[1].text}\n")
        assert engine.counts.image_encodings == fresh.counts.image_encodings


async def test_prefixes_judged_one_after_the_other_share_what_they_begin_with() -> None:
    steps = [f"Step {k}: the angle at the {k}. corner is {10 * k}. " for k in range(1, 6)]
    prompts = [data.prompt(1, "".join(steps[: k + 1])) for k in range(len(steps))]
    folder = data.checkpoint()
    async with LocalEngine(folder, recall=True) as engine, LocalEngine(folder) as fresh:
        for prompt in prompts:
            [own] = await engine.score_tokens(prompt, [" Good"])
            [other] = await fresh.score_tokens(prompt, [" Good"])
            expected = [token.logprob for token in other]
            assert [token.logprob for token in own] == pytest.approx(expected, abs=1e-5)
        assert fresh.counts.prompt_tokens_computed == engine.counts.prompt_tokens_asked
    ids = [engine.encoder.encode(prompt).ids for prompt in prompts]
    known = [common(np.array(a), np.array(b)) for a, b in itertools.pairwise(ids)]
    computed = engine.counts.prompt_tokens_asked - sum(known)
    assert engine.counts.prompt_tokens_computed == computed < engine.counts.prompt_tokens_asked / 2


async def test_problems_are_prefilled_together(engine: LocalEngine) -> None:
    await asyncio.gather(
        *(engine.generate(data.prompt(k), 2, Sampling(max_tokens=1), 0) for k in range(5))
    )
    assert engine.counts.forwards == 1
    assert engine.counts.image_encodings == 5
    await engine.generate(data.prompt(3), 1, BRIEF, 0)
    assert engine.counts.image_encodings == 5


async def test_which_requests_share_a_batch_is_no_matter_of_time(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:

    def slow(n: int, first: int, sampling: Sampling) -> None:
        time.sleep(0.02)
        check_demand(n, first, sampling)

    monkeypatch.setattr(local, "check_demand", slow)
    sampling = Sampling(max_tokens=1)
    for turn in range(1, 4):
        await asyncio.gather(*(engine.generate(data.prompt(k), 2, sampling, 0) for k in range(5)))
        assert engine.counts.forwards == turn


async def test_first_names_the_place_in_the_stream(engine: LocalEngine) -> None:
    whole = await engine.generate(data.prompt(2), 6, BRIEF, 4)
    part = await engine.generate(data.prompt(2), 3, BRIEF, 4, first=3)
    assert texts(whole)[3:] == texts(part)
    other = await engine.generate(data.prompt(2), 6, BRIEF, 5)
    assert texts(other) != texts(whole)


async def test_prompts_without_and_with_two_images(engine: LocalEngine) -> None:
    two = Prompt((data.picture(1), "and", data.picture(2, 96, 64), "alike?"))
    bare = Prompt(("How much is 2 + 3?",), system="You count.", prefill="Step 1:")
    together = await asyncio.gather(*(engine.generate(p, 3, BRIEF, 1) for p in (two, bare)))
    for prompt, completions in zip((two, bare), together, strict=True):
        encoded = engine.encoder.encode(prompt)
        pixels = engine.encoder.pixels(encoded.images) if encoded.images else {}
        plain = data.plain_sample(inner_model(engine), encoded.ids, pixels, BRIEF, 1, 2)
        ended = plain[-1] in inner_model(engine).generation_config.eos_token_id
        said = data.tokenizer().decode(plain[:-1] if ended else plain, skip_special_tokens=True)
        assert completions[2].text == said


async def test_max_tokens_and_end_tokens(engine: LocalEngine) -> None:
    completions = await engine.generate(data.prompt(4), 40, Sampling(max_tokens=5), 0)
    lengths = [completion.usage.completion_tokens for completion in completions]
    assert {c.finish_reason for c in completions} == {"stop", "length"}
    assert all(
        length == 5 if c.finish_reason == "length" else 1 <= length <= 5
        for c, length in zip(completions, lengths, strict=True)
    )


async def test_stop_strings_cut_where_they_are_complete_first(engine: LocalEngine) -> None:
    sampling = Sampling(max_tokens=20)
    free = await engine.generate(data.prompt(5), 12, sampling, 0)
    long = max(free, key=lambda completion: len(completion.text)).text
    # Three characters from the middle span two tokens or more of a random model's text.
    stop = long[len(long) // 2 : len(long) // 2 + 3]
    cut = await engine.generate(
        data.prompt(5), 12, Sampling(max_tokens=20, stop=(stop, "never said")), 0
    )
    for before, after in zip(free, cut, strict=True):
        at = before.text.find(stop)
        if at < 0:
            assert (after.text, after.finish_reason) == (before.text, before.finish_reason)
        else:
            assert (after.text, after.finish_reason) == (before.text[:at], "stop")
            assert after.usage.completion_tokens <= before.usage.completion_tokens
    assert any(stop in completion.text for completion in free)


async def test_tokens_spell_the_text_and_tell_the_plain_distribution(engine: LocalEngine) -> None:
    prompt = data.prompt(6)
    sampling = Sampling(max_tokens=6, temperature=0.5, top_p=0.8, top_logprobs=3)
    completions = await engine.generate(prompt, 6, sampling, 2)
    plain = await engine.generate(prompt, 6, Sampling(max_tokens=6, temperature=0.5, top_p=0.8), 2)
    assert texts(plain) == texts(completions)
    assert all(completion.tokens == () for completion in plain)
    encoded = engine.encoder.encode(prompt)
    pixels = engine.encoder.pixels(encoded.images)
    for completion in completions:
        assert "".join(token.text for token in completion.tokens) == completion.text
        assert all(1 <= len(token.top) <= 3 for token in completion.tokens)
    logprobs = data.own_logits(inner_model(engine), encoded.ids, pixels)[-1].log_softmax(-1)
    values, ids = logprobs.topk(3)
    top = completions[0].tokens[0].top if completions[0].tokens else {}
    assert list(top) == [engine.encoder.spelled(token) for token in ids.tolist()]
    assert list(top.values()) == pytest.approx(values.tolist(), abs=1e-5)
    first = completions[0].tokens[0]
    [token] = engine.encoder.encode_text(first.text).ids[:1]
    if first.text:
        assert first.logprob == pytest.approx(float(logprobs[token]), abs=1e-5)


async def test_a_stop_string_cuts_the_tokens_too(engine: LocalEngine) -> None:
    free = await engine.generate(data.prompt(5), 12, Sampling(max_tokens=20, top_logprobs=1), 0)
    long = max(free, key=lambda completion: len(completion.text)).text
    stop = long[len(long) // 2 : len(long) // 2 + 3]
    sampling = Sampling(max_tokens=20, top_logprobs=1, stop=(stop,))
    for completion in await engine.generate(data.prompt(5), 12, sampling, 0):
        assert "".join(token.text for token in completion.tokens) == completion.text
        assert stop not in completion.text


REPLIES = ("Step 1: I count 3 circles.\nAnswer: 12", "The angle", "", "你🙂 <|im_end|>", "T")


async def test_likelihoods_are_those_of_the_plain_forward(engine: LocalEngine) -> None:
    prompts = [data.prompt(1), data.prompt(2), Prompt(("no picture",), prefill="So ")]
    scored = await asyncio.gather(*(engine.score_tokens(p, REPLIES) for p in prompts))
    for prompt, replies in zip(prompts, scored, strict=True):
        encoded = engine.encoder.encode(prompt)
        pixels = engine.encoder.pixels(encoded.images) if encoded.images else {}
        for text, tokens in zip(REPLIES, replies, strict=True):
            assert "".join(token.text for token in tokens) == text
            ids = engine.encoder.encode_text(text).ids
            assert len(tokens) == len(ids)
            if not ids:
                continue
            logits = data.own_logits(inner_model(engine), (*encoded.ids, *ids), pixels)
            wanted = logits[len(encoded.ids) - 1 : -1].log_softmax(-1)
            expected = wanted[torch.arange(len(ids)), list(ids)].tolist()
            assert [token.logprob for token in tokens] == pytest.approx(expected, abs=1e-5)


async def test_likelihoods_share_the_prompt(engine: LocalEngine) -> None:
    replies = [f"{letter} circles are left" for letter in "bcdfghjkmnpqrsuv"]
    prompt = len(engine.encoder.encode(data.prompt(1)).ids)
    lengths = [len(engine.encoder.encode_text(reply).ids) for reply in replies]
    await engine.score_tokens(data.prompt(1), replies)
    # The prompt's last token is computed with each reply, the reply's last one with none.
    assert engine.counts.prompt_tokens_computed == prompt - 1 + sum(lengths)
    assert engine.counts.image_encodings == 1
    assert engine.counts.forwards == 2


async def test_nothing_asked_is_nothing_done(engine: LocalEngine) -> None:
    assert await engine.generate(data.prompt(1), 0, BRIEF, 0) == []
    assert await engine.score_tokens(data.prompt(1), []) == []
    assert await engine.score_tokens(data.prompt(1), ["", ""]) == [(), ()]
    assert engine.counts.forwards == 0


async def test_a_bad_request_leaves_its_neighbours_alone(engine: LocalEngine) -> None:
    broken = Prompt((Image.of(BytesSource(b"no image")), "what?"))
    good, bad, again, long = await asyncio.gather(
        engine.generate(data.prompt(1), 2, BRIEF, 0),
        engine.generate(broken, 2, BRIEF, 0),
        engine.score_tokens(data.prompt(1), ["Answer"]),
        engine.generate(Prompt(("word " * 3000,)), 1, BRIEF, 0),
        return_exceptions=True,
    )
    assert isinstance(bad, EngineError) and "image" in str(bad)
    assert isinstance(long, EngineError) and "context of 2048" in str(long)
    assert isinstance(good, list) and isinstance(again, list)
    assert texts(await engine.generate(data.prompt(1), 2, BRIEF, 0)) == texts(good)


async def test_an_error_in_the_model_stays_with_its_request(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = decoding.decode_rows

    def fail_on_marked(backbone: Any, encoder: Any, rows: Sequence[Row], *rest: Any) -> list[Row]:
        if any(row.sampling.max_tokens == 3 for row in rows):
            raise RuntimeError("kernel")
        return whole(backbone, encoder, rows, *rest)

    monkeypatch.setattr(local, "decode_rows", fail_on_marked)
    good, bad = await asyncio.gather(
        engine.generate(data.prompt(1), 2, BRIEF, 0),
        engine.generate(data.prompt(1), 2, Sampling(max_tokens=3), 0),
        return_exceptions=True,
    )
    assert isinstance(good, list) and len(good) == 2
    assert isinstance(bad, EngineError) and "RuntimeError: kernel" in str(bad)


async def test_running_out_of_memory_halves_the_batch(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = await engine.generate(data.prompt(1), 8, BRIEF, 0)
    whole = decoding.decode_rows
    sizes: list[int] = []

    def fail_when_large(backbone: Any, encoder: Any, rows: Sequence[Row], *rest: Any) -> list[Row]:
        sizes.append(len(rows))
        if len(rows) > 2:
            # Half-way, with tokens already made.
            for row in rows:
                row.ids.append(1)
            raise torch.OutOfMemoryError("no memory")
        return whole(backbone, encoder, rows, *rest)

    monkeypatch.setattr(local, "decode_rows", fail_when_large)
    assert texts(await engine.generate(data.prompt(1), 8, BRIEF, 0)) == texts(expected)
    assert sizes == [8, 4, 2, 2, 4, 2, 2]
    sizes.clear()
    async with LocalEngine(data.checkpoint(), recall=True) as recalling:
        await recalling.generate(data.prompt(1), 1, BRIEF, 0)
        assert texts(await recalling.generate(data.prompt(1), 8, BRIEF, 0)) == texts(expected)
    # Each time what is known of earlier requests is let go first.
    assert sizes == [1, 8, 8, 4, 2, 2, 4, 4, 2, 2]


@pytest.mark.parametrize("recall", [False, True])
async def test_a_batch_is_halved_that_outgrows_memory_after_its_prompt(
    recall: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it keeps of the prompt, once more each time, is no room to be gained."""
    async with LocalEngine(data.checkpoint(), recall=recall) as engine:
        whole, sizes = engine._backbone.forward, list[int]()

        def forward(embedded: torch.Tensor, *rest: Any, **more: Any) -> torch.Tensor:
            rows, tokens = embedded.shape[:2]
            sizes.append(rows)
            assert len(sizes) < 100
            if rows > 2 and tokens == 1:
                raise torch.OutOfMemoryError("no memory")
            return whole(embedded, *rest, **more)

        monkeypatch.setattr(engine._backbone, "forward", forward)
        found = await engine.generate(data.prompt(1), 8, BRIEF, 0)
    async with LocalEngine(data.checkpoint()) as other:
        assert texts(found) == texts(await other.generate(data.prompt(1), 8, BRIEF, 0))


async def test_rows_leave_a_batch_that_outgrows_its_budget(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampling = Sampling(max_tokens=40, temperature=3.0)
    expected = await engine.generate(data.prompt(1), 6, sampling, 0)
    tokens = expected[0].usage.prompt_tokens
    # Room for eight tokens more at a time, and a budget for the first eight.
    monkeypatch.setattr(decoding, "GROWTH", 8)
    async with LocalEngine(data.checkpoint(), max_batch_tokens=6 * (tokens + 8)) as narrow:
        completions = await narrow.generate(data.prompt(1), 6, sampling, 0)
        assert texts(completions) == texts(expected)
        assert narrow.counts.prompt_tokens_computed > tokens
        made = sum(completion.usage.completion_tokens for completion in completions)
        assert narrow.counts.decoded_tokens == made


def wait_until_busy(engine: LocalEngine) -> None:
    while engine.counts.decoded_tokens == 0:
        time.sleep(0.005)


async def test_cancelling_drops_the_rows_and_keeps_the_worker(engine: LocalEngine) -> None:
    endless = Sampling(max_tokens=1900, temperature=50.0)
    task = asyncio.create_task(engine.generate(data.prompt(1), 4, endless, 0))
    await asyncio.to_thread(wait_until_busy, engine)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(await engine.generate(data.prompt(2), 2, BRIEF, 0)) == 2
    assert engine.counts.decoded_tokens < 2000


async def test_closing_fails_what_is_open_and_what_comes_later() -> None:
    engine = LocalEngine(data.checkpoint())
    endless = Sampling(max_tokens=1900, temperature=50.0)
    task = asyncio.create_task(engine.generate(data.prompt(1), 4, endless, 0))
    await asyncio.to_thread(wait_until_busy, engine)
    await engine.aclose()
    with pytest.raises(EngineError, match="closed"):
        await task
    with pytest.raises(EngineError, match="closed"):
        await engine.generate(data.prompt(1), 1, BRIEF, 0)
    engine.close()


async def test_requests_of_several_event_loops(engine: LocalEngine) -> None:
    expected = await engine.generate(data.prompt(1), 2, BRIEF, 0)

    def elsewhere() -> list[Completion]:
        return asyncio.run(engine.generate(data.prompt(1), 2, BRIEF, 0))

    first, second = await asyncio.gather(*(asyncio.to_thread(elsewhere) for _ in range(2)))
    assert texts(first) == texts(second) == texts(expected)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=-1),
        Sampling(temperature=math.nan),
        Sampling(top_p=0),
        Sampling(top_p=1.5),
        Sampling(max_tokens=0),
        Sampling(top_logprobs=21),
        Sampling(stop=("",)),
    ],
)
async def test_values_out_of_range_are_refused(engine: LocalEngine, sampling: Sampling) -> None:
    with pytest.raises(EngineError, match="out of range"):
        await engine.generate(data.prompt(1), 1, sampling, 0)
