"""A prompt as the body of a request, in the dialect of the server."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import JsonValue

from vilbench.errors import EngineError
from vilbench.types import Prompt, Sampling

Dialect = Literal["openai", "vllm", "sglang", "other"]

# A server would else take them from the model's generation_config.json, where Qwen2.5-VL has
# a repetition penalty of 1.05: the sampling would not be the one that the recipe names.
_NEUTRAL: Mapping[str, JsonValue] = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
_CONTINUE: Mapping[Dialect, Mapping[str, JsonValue]] = {
    "vllm": {"continue_final_message": True, "add_generation_prompt": False},
    "sglang": {"continue_final_message": True},
}
_NEUTRALIZED: tuple[Dialect, ...] = ("vllm", "sglang")
_SEEDS = 2**31 - 2**20
"""First seeds of streams: below 2**31, which every server takes, with room for a pool's."""


class Model(NamedTuple):
    """Whom a request goes to.

    Attributes:
        name: Its name at the server.
        dialect: Whose dialect the server speaks.
        extra: Further fields of every request.
        top_logprobs: Most alternatives a token that it gives.
        omit: Fields that no request has.
    """

    name: str
    dialect: Dialect
    extra: Mapping[str, JsonValue]
    top_logprobs: int
    omit: tuple[str, ...] = ()


def first_seed(seed: int, first: int, round_number: int) -> int:
    """Seed of the first sample of a round of requests; the others count on from it.

    vLLM draws choice `i` of a request from the request's seed plus `i`.

    Args:
        seed: The stream's.
        first: Index of the first completion of the call.
        round_number: 0, or how often samples that were lacking have been asked for.
    """
    words = f"{seed}:{first}:{round_number}".encode()
    return int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), "little") % _SEEDS


def fields(
    model: Model, prompt: Prompt, n: int, sampling: Sampling, seed: int
) -> dict[str, JsonValue]:
    """All fields of a request but its messages.

    Raises:
        EngineError: The server cannot go on from the beginning of a reply.
    """
    made: dict[str, JsonValue] = {
        "model": model.name,
        "seed": seed,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
    }
    for name in model.omit:
        made.pop(name, None)
    if n > 1:
        made["n"] = n  # there are servers that refuse even an n of 1
    limit = "max_completion_tokens" if model.dialect == "openai" else "max_tokens"
    made[limit] = sampling.max_tokens
    if sampling.stop:
        made["stop"] = list(sampling.stop)
    top = min(sampling.top_logprobs, model.top_logprobs)
    if top:
        made["logprobs"] = True
        made["top_logprobs"] = top
    if model.dialect in _NEUTRALIZED:
        made.update(_NEUTRAL)
    made.update(model.extra)
    if prompt.prefill:
        if model.dialect not in _CONTINUE:
            raise EngineError(
                f"a server of kind '{model.dialect}' does not go on from the beginning of a "
                f"reply; {', '.join(_CONTINUE)} do"
            )
        made.update(_CONTINUE[model.dialect])
    return made


def body(prompt: Prompt, pictures: Sequence[bytes], made: Mapping[str, JsonValue]) -> bytes:
    """The whole request as JSON.

    Args:
        prompt: Its text is sent as it is.
        pictures: The parts of its images, in order; joined as bytes, for base64 text of
            megabytes need not be looked at again.
        made: The other fields.

    Raises:
        EngineError: A text is not valid Unicode.
    """
    messages = []
    try:
        if prompt.system:
            messages.append(_message("system", _json(prompt.system)))
        messages.append(_message("user", _content(prompt, iter(pictures))))
        if prompt.prefill:
            messages.append(_message("assistant", _json(prompt.prefill)))
        head = _json(dict(made))[:-1]
    except UnicodeEncodeError as error:
        raise EngineError(f"the request is not valid Unicode: {error.reason}") from error
    return b"".join((head, b',"messages":[', b",".join(messages), b"]}"))


def _content(prompt: Prompt, pictures: Any) -> bytes:
    if len(prompt.parts) == 1 and isinstance(prompt.parts[0], str):
        return _json(prompt.parts[0])
    parts = (
        b'{"type":"text","text":' + _json(part) + b"}" if isinstance(part, str) else next(pictures)
        for part in prompt.parts
    )
    return b"[" + b",".join(parts) + b"]"


def _message(role: str, content: bytes) -> bytes:
    return b'{"role":"' + role.encode() + b'","content":' + content + b"}"


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
