"""An engine whose server misbehaves, and what it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import fault_server as server
from fault_server import Request

from vilbench.engines.openai.attempts import Patience
from vilbench.engines.openai.engine import OpenAIEngine
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
