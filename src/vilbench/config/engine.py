"""Which model answers: a checkpoint in a folder, or one behind a server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    Tag,
    field_validator,
    model_serializer,
    model_validator,
)

from vilbench.types import Number, Record, Whole

Dtype = Literal["auto", "float32", "bfloat16", "float16"]


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|(cpu|cuda|mps|xpu)(:[0-9]{1,3})?", name):
        raise ValueError(f"'{name}' is none of auto, cpu, cuda, mps, xpu, or one by number: cuda:1")
    return name


Device = Annotated[str, AfterValidator(_device)]

Omittable = Literal["temperature", "top_p", "seed"]
"""Fields of a request that may be left out; the server's own values hold then."""

Server = Literal["openai", "vllm", "sglang", "other"]
"""Whose dialect a server speaks beyond what all of them share."""

CONTINUING: tuple[Server, ...] = ("vllm", "sglang")
"""Servers that go on from the beginning of a reply that a request gives them."""

OWN_FIELDS = frozenset(
    {
        *("model", "messages", "n", "stream", "stream_options", "seed", "stop", "temperature"),
        *("top_p", "max_tokens", "max_completion_tokens", "logprobs", "top_logprobs", "tools"),
        *("continue_final_message", "add_generation_prompt", "prompt_logprobs", "echo"),
    }
)
"""Fields of a request that follow from the recipe's other keys or that replies are read by."""


def server_address(url: str) -> str:
    """An address that requests can be sent to, without a slash at its end.

    Raises:
        ValueError: It is none.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"'{url}' is no http(s) address of a server")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("takes no password, query or fragment: name a key by api_key_env")
    return url.rstrip("/")


class LocalEngineConfig(Record):
    """A checkpoint in a folder, or one that ships (`embedded:base`).

    Attributes:
        max_batch_tokens: Budget of a batch, by default what memory there is.
        recall: Whether keys and values are kept for requests that begin like earlier ones.
            Results are then the same but for rounding, which depends on what was asked before.
            Searches do so unless told otherwise.
    """

    kind: Literal["local"] = "local"
    model: str
    dtype: Dtype = "auto"
    device: Device = "auto"
    max_batch_tokens: Whole | None = Field(default=None, ge=1)
    recall: bool = False


class ImagePolicyConfig(Record):
    """What a server is sent of an image.

    Attributes:
        max_pixels: An image of more pixels is made smaller.
        max_bytes: One of more encoded bytes is sent as JPEG, and refused where that is no
            smaller.
        detail: The hint of that name, of servers that have one; None sends none.
    """

    max_pixels: Whole = Field(default=4_000_000, ge=784)
    max_bytes: Whole = Field(default=15_000_000, ge=1024)
    detail: Literal["auto", "low", "high"] | None = None


class TokenPriceConfig(Record):
    """Money for a million tokens.

    Attributes:
        cached: Of prompt tokens that the server had computed before; like `prompt` for None.
    """

    prompt: Number = Field(ge=0)
    completion: Number = Field(ge=0)
    cached: Number | None = Field(default=None, ge=0)


class PatienceConfig(Record):
    """Time limits and attempts of one request.

    Attributes:
        connect_s: Until there is a connection.
        first_byte_s: Without a byte of the answer, at its beginning or within it. A server
            that does not stream sends none before the last token is made.
        call_s: Of one attempt, all in all.
        attempts: Most attempts, the first one included.
        first_wait_s: Most seconds before the second attempt; the bound doubles with each.
        longest_wait_s: Most seconds between two attempts; a server that asks for more is
            given up, with all that would be asked of it.
    """

    connect_s: Number = Field(default=30.0, gt=0)
    first_byte_s: Number = Field(default=300.0, gt=0)
    call_s: Number = Field(default=600.0, gt=0)
    attempts: Whole = Field(default=6, ge=1, le=100)
    first_wait_s: Number = Field(default=1.0, ge=0)
    longest_wait_s: Number = Field(default=120.0, ge=0)


class OpenAIEngineConfig(Record):
    """A model behind a server that speaks the chat completions protocol of OpenAI.

    Attributes:
        model: Its name there.
        base_url: The server, up to and with `/v1`; None is OpenAI's own. It is no part of a
            run's identity: a server that moves serves the same model.
        server: Whose dialect; None is "openai" without a `base_url` and "other" with one.
        revision: Any word for what the model's name does not say, such as a quantization. It
            is sent nowhere and part of the run's identity.
        api_key_env: Name of the environment variable that holds the key. None is
            `OPENAI_API_KEY` without a `base_url`; with one no key is sent.
        concurrency: Most requests in flight.
        price: None takes the model's from the table of prices, where it has one.
        budget_usd: Most money that one start may spend, by `price`.
        image: What is sent of images.
        max_n: Most samples asked for in one request; 1 where a server takes no more.
        top_logprobs: Most alternatives a token that the server gives; 0 where it gives none.
        answers_as: Other names that answers may bear.
        patience: Time limits and attempts.
        extra: Further fields of every request.
        omit: Fields that no request has, for models that refuse them; the server's own values
            hold then, whatever the recipe says.
    """

    kind: Literal["openai"] = "openai"
    model: str = Field(min_length=1)
    base_url: str | None = None
    server: Server | None = None
    revision: str = ""
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    concurrency: Whole = Field(default=64, ge=1, le=10_000)
    price: TokenPriceConfig | None = None
    budget_usd: Number | None = Field(default=None, gt=0)
    image: ImagePolicyConfig = ImagePolicyConfig()
    max_n: Whole = Field(default=128, ge=1)
    top_logprobs: Whole = Field(default=20, ge=0, le=20)
    answers_as: tuple[str, ...] = ()
    patience: PatienceConfig = PatienceConfig()
    extra: Mapping[str, JsonValue] = Field(default_factory=dict)
    omit: tuple[Omittable, ...] = ()

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, JsonValue]:
        """Runs that were begun before there was `omit` can go on."""
        data: dict[str, JsonValue] = dump(self)
        return {key: value for key, value in data.items() if key != "omit" or value}

    @field_validator("omit")
    @classmethod
    def _in_one_order(cls, omit: tuple[Omittable, ...]) -> tuple[Omittable, ...]:
        return tuple(sorted(set(omit)))

    @field_validator("base_url")
    @classmethod
    def _is_a_server(cls, url: str | None) -> str | None:
        return None if url is None else server_address(url)

    @field_validator("extra")
    @classmethod
    def _leaves_our_fields(cls, extra: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
        taken = sorted(OWN_FIELDS & extra.keys())
        if taken:
            raise ValueError(f"{', '.join(taken)} cannot be set here")
        return extra

    @model_validator(mode="after")
    def _names_a_server_once(self) -> OpenAIEngineConfig:
        if self.base_url is None and self.server not in (None, "openai"):
            raise ValueError(f"base_url: a server of kind {self.server} needs an address")
        return self

    @property
    def dialect(self) -> Server:
        """Whose dialect the server speaks."""
        return self.server or ("openai" if self.base_url is None else "other")

    @property
    def continues(self) -> bool:
        """Whether it goes on from the beginning of a reply."""
        return self.dialect in CONTINUING

    def __hash__(self) -> int:
        return hash(self.model_dump_json())


def _kind(value: object) -> str:
    """A recipe that names no kind means a folder."""
    named = value.get("kind", "local") if isinstance(value, dict) else getattr(value, "kind", "")
    return str(named)


EngineConfig = Annotated[
    Annotated[LocalEngineConfig, Tag("local")] | Annotated[OpenAIEngineConfig, Tag("openai")],
    Discriminator(
        _kind,
        custom_error_type="engine_kind",
        custom_error_message="is none of local, openai",
    ),
]
"""A model that generates."""
