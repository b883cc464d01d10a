"""A server that is not ours gives through the client what the local engine gives itself."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vilbench import config
from vilbench.embedded import model_folder
from vilbench.engines.local import LocalEngine
from vilbench.engines.openai.engine import OpenAIEngine
from vilbench.errors import EngineError
from vilbench.steps import FORMATS
from vilbench.types import Prompt, Sampling

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

MODEL = "embedded:small"
GREEDY = Sampling(temperature=0.0, max_tokens=96)
_PATIENCE_S = 120


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(__file__).with_name("serve_checkpoint.py")
    command = [sys.executable, str(program), str(port), str(model_folder(MODEL))]
    quiet = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=quiet, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        asyncio.run(_answers(port, process))
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(20)


async def _answers(port: int, process: subprocess.Popen[bytes]) -> None:
    """Waits until the port is open."""
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            if process.poll() is not None:
                told = process.stdout.read().decode() if process.stdout else ""
                raise AssertionError(f"the server ended: {told[-2000:]}")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.2)
            else:
                writer.close()
                return


def prompts(count: int) -> list[Prompt]:
    recipe = config.load("embedded").changed({"problems.limit": count})
    form = FORMATS["steps-brief"]
    return [form.ask(problem) for problem in config.load_problems(recipe).problems]


async def test_it_says_what_the_local_engine_says(url: str) -> None:
    asked = prompts(9)
    assert any(prompt.images for prompt in asked)
    folder = model_folder(MODEL)
    async with LocalEngine(folder, device="cpu", dtype="float32") as local:
        here = await asyncio.gather(*(local.generate(p, 1, GREEDY, 0) for p in asked))
    async with OpenAIEngine(str(folder), "other", base_url=url, concurrency=4) as client:
        there = await asyncio.gather(*(client.generate(p, 1, GREEDY, 0) for p in asked))
        counts = client.counts
    assert [c.text for [c] in there] == [c.text for [c] in here]
    assert [c.finish_reason for [c] in there] == [c.finish_reason for [c] in here]
    assert [c.usage.prompt_tokens for [c] in there] == [c.usage.prompt_tokens for [c] in here]
    assert (counts.requests, counts.samples) == (len(asked), len(asked))
    assert counts.retries == counts.failures == {}


async def test_what_it_lacks_is_made_up_for_or_told(url: str) -> None:
    """It leaves `n` and log-probabilities out without a word, and continues no reply."""
    folder = str(model_folder(MODEL))
    [prompt] = prompts(1)
    short = Sampling(temperature=0.0, max_tokens=4, top_logprobs=5)
    async with OpenAIEngine(folder, "other", base_url=url) as client:
        said = await client.generate(prompt, 3, short, 0)
        assert len(said) == client.counts.requests == 3
        assert client.counts.topped_up == 2
        assert {completion.tokens for completion in said} == {()}
        assert client.counts.unread_logprobs == 3
        with pytest.raises(EngineError, match="does not go on"):
            await client.generate(Prompt(prompt.parts, prefill="Step 1:"), 1, GREEDY, 0)
        with pytest.raises(EngineError, match="400"):
            await OpenAIEngine("another", "other", base_url=url).generate(prompt, 1, short, 0)
