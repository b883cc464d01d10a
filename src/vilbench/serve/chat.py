"""Requests and answers of chat completions, as far as the proxy takes part in the protocol."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Discriminator,
    Field,
    JsonValue,
    StrictBool,
    StrictFloat,
    StrictInt,
    Tag,
    field_validator,
)

from vilbench.serve.protocol import Text, TokenUsage
from vilbench.types import FinishReason, Record


class TextPart(Record):
    """Text of a message."""

    type: Literal["text"]
    text: Text


class ImageAddress(Record):
    """Where an image is.

    Attributes:
        url: A data URL, or an address of a host that the server may fetch images from.
        detail: A hint for the engine that only some take; it changes nothing here.
    """

    url: str
    detail: Literal["auto", "low", "high"] | None = None


class ImagePart(Record):
    """An image of a message."""

    type: Literal["image_url"]
    image_url: ImageAddress


def _kind(value: object) -> str:
    named = value.get("type") if isinstance(value, dict) else getattr(value, "type", "")
    return str(named)


Part = Annotated[
    Annotated[TextPart, Tag("text")] | Annotated[ImagePart, Tag("image_url")],
    Discriminator(
        _kind,
        custom_error_type="part_type",
        custom_error_message="is none of text, image_url",
    ),
]


class Message(Record):
    """A turn of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Text | tuple[Part, ...] | None = None
    name: str | None = None
    tool_calls: JsonValue = None
    tool_call_id: str | None = None
    refusal: JsonValue = None


class Selection(Record):
    """What this server adds to a request, under the key `vilbench`.

    Attributes:
        n: Candidates to draw; the server's own number for null.
        aggregation: What they are chosen by; the one that stands for the scorer for null.
        return_all: Whether the answer tells all candidates with their scores.
        instruct: Whether the scorer's instruction to answer in steps is put behind the
            question, unless it stands there already.
    """

    n: StrictInt | None = Field(default=None, ge=1)
    aggregation: str | None = None
    return_all: StrictBool = False
    instruct: StrictBool = True


class StreamOptions(Record):
    """What a stream carries."""

    include_usage: StrictBool = False
    include_obfuscation: StrictBool = False


class ResponseFormat(Record):
    """The form of the answer; text alone is served."""

    type: Literal["text"]


class ChatRequest(Record):
    """A request for chat completions.

    Attributes:
        model: The upstream engine's name, or "best-of-n".
        n: How many of the best candidates are wanted.
        vilbench: How many are drawn and how they are chosen.
    """

    model: str
    messages: tuple[Message, ...] = Field(min_length=1)
    n: StrictInt | None = Field(default=None, ge=1)
    max_tokens: StrictInt | None = Field(default=None, ge=1)
    max_completion_tokens: StrictInt | None = Field(default=None, ge=1)
    temperature: StrictFloat | None = Field(default=None, ge=0, le=2, allow_inf_nan=False)
    top_p: StrictFloat | None = Field(default=None, gt=0, le=1, allow_inf_nan=False)
    stop: Text | tuple[Text, ...] | None = None
    seed: StrictInt | None = None
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    logprobs: Literal[False] | None = None
    presence_penalty: Literal[0] | None = None
    frequency_penalty: Literal[0] | None = None
    user: str | None = None
    metadata: JsonValue = None
    store: Literal[False] | None = None
    vilbench: Selection = Selection()

    @field_validator("presence_penalty", "frequency_penalty", mode="before")
    @classmethod
    def _is_nothing(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError("must be 0")
        return 0 if isinstance(value, float) and value == 0 else value

    @field_validator("logprobs", "store", mode="before")
    @classmethod
    def _is_false(cls, value: object) -> object:
        if value is not None and not isinstance(value, bool):
            raise ValueError("must be false")
        return value

    @field_validator("stop")
    @classmethod
    def _few_stops(cls, stop: str | tuple[str, ...] | None) -> tuple[str, ...]:
        given = (stop,) if isinstance(stop, str) else stop or ()
        if len(given) > 4 or not all(1 <= len(one) <= 100 for one in given):
            raise ValueError("at most 4 strings of 1 to 100 characters")
        return given


class Said(Record):
    """The message of a choice."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Choice(Record):
    """One of the best candidates."""

    index: int
    message: Said
    finish_reason: FinishReason
    logprobs: None = None


class Candidate(Record):
    """A candidate with its score.

    Attributes:
        index: Place among the candidates as they were drawn.
        score: None where the scorer gave no verdict.
        values: A value per step.
        chosen: Place among the choices; None for one that is not among them.
        content: Its text.
        error: Why it has no score.
    """

    index: int
    score: float | None
    values: tuple[float | None, ...]
    chosen: int | None
    content: str
    finish_reason: FinishReason
    error: str | None = None


class Outcome(Record):
    """How the answer was chosen.

    Attributes:
        scorer: The scorer's name.
        aggregation: What candidates were chosen by.
        n: Candidates drawn.
        scores: Of the choices.
        tied: Candidates that share the best score; of several the first drawn is chosen.
        candidates: All of them, where the request wants them.
        scoring: Tokens of the scorer.
    """

    scorer: str
    aggregation: str
    n: int
    scores: tuple[float | None, ...]
    tied: int
    candidates: tuple[Candidate, ...] | None = None
    scoring: TokenUsage


class ChatAnswer(Record):
    """Chat completions; `usage` counts every candidate that was drawn."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: tuple[Choice, ...]
    usage: TokenUsage
    vilbench: Outcome
