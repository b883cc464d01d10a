"""What every Generator must do, the shipped fake included."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from fault_server import FaultServer
from PIL import Image as Pillow

from vilbench.engines.local import LocalEngine
from vilbench.engines.openai.engine import OpenAIEngine
from vilbench.engines.openai.pictures import ImagePolicy
from vilbench.errors import EngineError
from vilbench.testing import ScriptedEngine
from vilbench.training.embedded.architecture import make_model, make_processor, make_tokenizer
from vilbench.types import (
    BytesSource,
    Completion,
    Generator,
    Image,
    LikelihoodModel,
    Prompt,
    Sampling,
)

WORDS = "one two three four five six seven eight nine ten\n"
SAMPLING = Sampling(max_tokens=6)


def picture() -> Image:
    data = io.BytesIO()
    Pillow.new("RGB", (64, 64), "teal").save(data, "PNG")
    return Image.of(BytesSource(data.getvalue()))


PROMPTS = [Prompt((picture(), f"How many are {k}?")) for k in range(3)]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    tokenizer = make_tokenizer([WORDS * 20])
    make_model(tokenizer, "small", seed=2).save_pretrained(folder)
    make_processor(tokenizer).save_pretrained(folder)
    return folder


def scripted() -> ScriptedEngine:
    return ScriptedEngine(lambda prompt, index: f"{WORDS} {index} {prompt.parts[-1]}" * 3)


@pytest.fixture(params=["local", "scripted", "openai"])
async def generator(request: pytest.FixtureRequest, checkpoint: Path) -> AsyncIterator[Generator]:
    if request.param == "scripted":
        yield scripted()
        return
    if request.param == "openai":
        async with FaultServer() as server, OpenAIEngine("m", base_url=server.url) as engine:
            yield engine
        return
    async with LocalEngine(checkpoint) as engine:
        yield engine


def said(completions: list[Completion]) -> list[tuple[str, str]]:
    return [(completion.text, completion.finish_reason) for completion in completions]


async def test_it_has_a_name_and_a_fingerprint(generator: Generator) -> None:
    assert isinstance(generator, Generator)
    assert generator.name
    assert generator.fingerprint == generator.fingerprint != ""


async def test_it_makes_as_many_as_asked(generator: Generator) -> None:
    for n in (0, 1, 5):
        completions = await generator.generate(PROMPTS[0], n, SAMPLING, 0)
        assert len(completions) == n
        for completion in completions:
            assert 0 < completion.usage.completion_tokens <= SAMPLING.max_tokens
            assert completion.usage.prompt_tokens > 0
            assert completion.usage.cached_tokens <= completion.usage.prompt_tokens


async def test_it_says_the_same_again(generator: Generator) -> None:
    first = await generator.generate(PROMPTS[0], 4, SAMPLING, 7)
    assert said(await generator.generate(PROMPTS[0], 4, SAMPLING, 7)) == said(first)
    assert len({text for text, _ in said(first)}) > 1 or isinstance(generator, ScriptedEngine)


async def test_first_continues_the_stream(generator: Generator) -> None:
    if isinstance(generator, OpenAIEngine):
        # Samples of a server are exchangeable: what matters is that none is given twice.
        whole = await generator.generate(PROMPTS[1], 16, SAMPLING, 3)
        more = await generator.generate(PROMPTS[1], 16, SAMPLING, 3, first=16)
        assert len({text for text, _ in said([*whole, *more])}) == 32
        return
    whole = await generator.generate(PROMPTS[1], 16, SAMPLING, 3)
    half = await generator.generate(PROMPTS[1], 8, SAMPLING, 3, first=8)
    assert said(whole)[8:] == said(half)
    single = await generator.generate(PROMPTS[1], 1, SAMPLING, 3, first=5)
    assert said(whole)[5:6] == said(single)


async def test_requests_at_once_say_what_they_say_alone(generator: Generator) -> None:
    alone = [said(await generator.generate(p, 3, SAMPLING, k)) for k, p in enumerate(PROMPTS)]
    together = await asyncio.gather(
        *(generator.generate(p, 3, SAMPLING, k) for k, p in enumerate(PROMPTS))
    )
    assert [said(completions) for completions in together] == alone


async def test_max_tokens_ends_a_completion(generator: Generator) -> None:
    [short] = await generator.generate(PROMPTS[0], 1, Sampling(max_tokens=2, temperature=0), 0)
    [long] = await generator.generate(PROMPTS[0], 1, Sampling(max_tokens=6, temperature=0), 0)
    assert short.finish_reason == "length"
    assert short.usage.completion_tokens == 2
    assert long.text.startswith(short.text.rstrip("\ufffd"))


async def test_stop_is_not_part_of_the_text(generator: Generator) -> None:
    free = (await generator.generate(PROMPTS[0], 1, SAMPLING, 1))[0].text
    stop = free[len(free) // 2]
    [cut] = await generator.generate(PROMPTS[0], 1, Sampling(max_tokens=6, stop=(stop,)), 1)
    assert (cut.text, cut.finish_reason) == (free[: free.index(stop)], "stop")


async def test_tokens_spell_the_text(generator: Generator) -> None:
    sampling = Sampling(max_tokens=6, top_logprobs=2)
    for completion in await generator.generate(PROMPTS[0], 3, sampling, 1):
        assert "".join(token.text for token in completion.tokens) == completion.text
        for token in completion.tokens:
            assert token.logprob <= 0
            assert token.top
            assert all(logprob <= 0 for logprob in token.top.values())


async def test_likelihood_tokens_spell_the_replies(generator: Generator) -> None:
    if isinstance(generator, OpenAIEngine):
        pytest.skip("chat completions tell no likelihood of a given reply")
    assert isinstance(generator, LikelihoodModel)
    replies = ["one two", "", "你好 three"]
    scored = await generator.score_tokens(PROMPTS[0], replies)
    assert ["".join(token.text for token in tokens) for tokens in scored] == replies
    assert all(token.logprob <= 0 for tokens in scored for token in tokens)
    again = await generator.score_tokens(PROMPTS[0], replies[::-1])
    for before, after in zip(scored, again[::-1], strict=True):
        assert [t.logprob for t in before] == pytest.approx([t.logprob for t in after], abs=1e-5)


@pytest.fixture(params=["local", "scripted", "openai"])
async def failing(
    request: pytest.FixtureRequest, checkpoint: Path
) -> AsyncIterator[tuple[Generator, Prompt]]:
    """A generator with a prompt that it cannot answer."""
    if request.param == "scripted":
        yield ScriptedEngine({"": [WORDS]}, failures={"broken": 1}), Prompt(("broken",))
        return
    if request.param == "openai":
        async with FaultServer() as server, OpenAIEngine("m", base_url=server.url) as engine:
            yield engine, Prompt((Image.of(BytesSource(b"broken")), "what?"))
        return
    async with LocalEngine(checkpoint) as engine:
        yield engine, Prompt((Image.of(BytesSource(b"broken")), "what?"))


async def test_a_failed_request_touches_no_other(failing: tuple[Generator, Prompt]) -> None:
    generator, broken = failing
    results = await asyncio.gather(
        generator.generate(PROMPTS[0], 2, SAMPLING, 0),
        generator.generate(broken, 2, SAMPLING, 0),
        generator.generate(PROMPTS[1], 2, SAMPLING, 0),
        return_exceptions=True,
    )
    assert isinstance(results[1], EngineError)
    assert [len(r) for r in (results[0], results[2]) if isinstance(r, list)] == [2, 2]


async def test_a_cancelled_request_leaves_it_usable(generator: Generator) -> None:
    task = asyncio.create_task(generator.generate(PROMPTS[0], 2, SAMPLING, 0))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(await generator.generate(PROMPTS[1], 2, SAMPLING, 0)) == 2


def test_fingerprints_of_others_differ(checkpoint: Path) -> None:
    makers: list[Callable[[], Generator]] = [
        lambda: LocalEngine(checkpoint),
        lambda: LocalEngine(checkpoint, dtype="bfloat16"),
        scripted,
        lambda: OpenAIEngine("m"),
        lambda: OpenAIEngine("m", "vllm"),
        lambda: OpenAIEngine("m", revision="awq"),
        lambda: OpenAIEngine("m", extra={"top_k": 5}),
        lambda: OpenAIEngine("m", images=ImagePolicy(max_pixels=1000)),
    ]
    assert len({maker().fingerprint for maker in makers}) == len(makers)
    elsewhere = OpenAIEngine("m", base_url="http://127.0.0.1:1/v1", concurrency=3, api_key="k")
    assert elsewhere.fingerprint == OpenAIEngine("m").fingerprint
