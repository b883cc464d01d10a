"""Requests and answers of the scoring route; the OpenAPI document shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    field_validator,
    model_validator,
)

from vilbench.types import Granularity, Record, Span, Usage


def _unicode(text: str) -> str:
    """JSON can spell halves of characters, which no tokenizer and no answer can."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("is not valid Unicode") from None
    return text


Text = Annotated[str, AfterValidator(_unicode)]
"""Text that a model can read."""


class TokenUsage(Record):
    """Tokens, under OpenAI's names."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0

    @classmethod
    def of(cls, usage: Usage) -> Self:
        """The same tokens."""
        return cls(
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            total_tokens=usage.prompt_tokens + usage.completion_tokens,
        )


class ShownProblem(Record):
    """A question; nothing of its answer is needed.

    Attributes:
        question: Without its choices.
        choices: Texts of the choices, the first one being "A".
        images: As data URLs, or as addresses of hosts that the server may fetch images from.
    """

    question: Text
    choices: tuple[Text, ...] = ()
    images: tuple[str, ...] = ()


_NULL: Final[dict[str, JsonValue]] = {"type": "null"}


class ShownSolution(Record):
    """A solution: as steps, as text with the places of its steps, or as text to be split.

    Attributes:
        steps: Texts of the steps.
        text: The whole.
        spans: Half-open ranges of characters in `text`, in order and disjoint. Without them
            the text is split by the served scorer's format.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {
                    "properties": {"steps": {"type": "array"}, "text": _NULL, "spans": _NULL},
                    "required": ["steps"],
                },
                {
                    "properties": {"text": {"type": "string"}, "steps": _NULL},
                    "required": ["text"],
                },
            ]
        }
    )

    steps: tuple[Text, ...] | None = None
    text: Text | None = None
    spans: tuple[Span, ...] | None = None

    @field_validator("spans", mode="before")
    @classmethod
    def _whole_numbers(cls, spans: object) -> object:
        pairs = spans if isinstance(spans, list) else []
        if not all(type(end) is int for pair in pairs for end in _ends(pair)):
            raise ValueError("spans are pairs of whole numbers")
        return spans

    @model_validator(mode="after")
    def _is_one_thing(self) -> ShownSolution:
        if (self.steps is None) == (self.text is None):
            raise ValueError("give either steps or text")
        if self.spans is not None:
            if self.text is None:
                raise ValueError("spans are places in a text")
            last = 0
            for start, end in self.spans:
                if not last <= start <= end <= len(self.text):
                    raise ValueError("spans must be in order, disjoint and within the text")
                last = end
        return self


def _ends(pair: object) -> Iterable[object]:
    return pair if isinstance(pair, list | tuple) else (pair,)


class ScoreRequest(Record):
    """Solutions of one problem to score.

    Attributes:
        model: The served scorer's name; may be left out.
        aggregations: Scores to make of the step scores, such as "mean" or "last-2". Empty for
            the ones that the server was started with.
        stream: Answer with a line of JSON per solution as its scores come.
    """

    model: str | None = None
    problem: ShownProblem
    solutions: tuple[ShownSolution, ...] = Field(min_length=1)
    aggregations: tuple[str, ...] = Field(default=(), max_length=64)
    stream: StrictBool = False


class SolutionScores(Record):
    """Scores of one solution.

    Attributes:
        index: Place of the solution in the request.
        spans: Where its steps are, in characters of the text; of steps joined by line breaks
            where it was given as steps.
        values: A value per step, or one in all, on the scorer's own scale; null is "no
            verdict", never 0.
        aggregates: By the aggregation's name; null without a verdict to go by.
        notes: What the scorer said beside each value, where it says anything.
        error: Why values are missing.
    """

    index: int
    spans: tuple[Span, ...]
    values: tuple[float | None, ...]
    aggregates: Mapping[str, float | None]
    notes: tuple[str, ...] = ()
    error: str | None = None
    usage: TokenUsage


class ScoreAnswer(Record):
    """Scores of all solutions of a request, in their order.

    Attributes:
        fingerprint: Of the scorer: changes with whatever changes a value.
    """

    object: Literal["score"] = "score"
    model: str
    fingerprint: str
    granularity: Granularity
    results: tuple[SolutionScores, ...]
    usage: TokenUsage


class ServedModel(Record):
    """What `vilbench` adds to a model's entry.

    Attributes:
        role: "scorer" for `/v1/score`, "best-of-n" for `/v1/chat/completions`.
        granularity: Of the scorer's values.
        fingerprint: Changes with whatever changes a value.
        low: Lower bound of its scale; null where it has none.
        high: Upper bound.
        format: How texts are split into steps.
        aggregations: Those that are made where a request names none.
    """

    role: Literal["scorer", "best-of-n"]
    granularity: Granularity
    fingerprint: str
    low: float | None = None
    high: float | None = None
    format: str = ""
    aggregations: tuple[str, ...] = ()


class ModelEntry(Record):
    """A model in OpenAI's list."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "vilbench"
    vilbench: ServedModel


class ModelList(Record):
    """All models."""

    object: Literal["list"] = "list"
    data: tuple[ModelEntry, ...]


class Health(Record):
    """Whether requests are taken."""

    status: Literal["ok", "stopping"]


class ErrorBody(Record):
    """What went wrong."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorAnswer(Record):
    """The answer to a request that is refused or failed."""

    error: ErrorBody
