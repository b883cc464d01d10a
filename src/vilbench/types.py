"""Records and Protocols that every other module shares (floor 0).

Stored records are frozen pydantic models (`Record`), in-memory values are frozen
dataclasses, whatever is called is a `Protocol`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Protocol, runtime_checkable

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, PrivateAttr

from vilbench.errors import ImageError

SCHEMA_VERSION = 1
"""Version of the stored records; a store of a newer version is refused."""

AnswerKind = Literal["choice", "choices", "number", "text", "list", "expression"]
"""How an answer is read and compared.

- choice: one letter; choices: several letters, all of them and no other ("A,C");
- number: a plain number, with a unit if it has one;
- text: words, yes and no among them; also ratios and ranges;
- list: values in order ("[1, 2, 3]"), compared one by one as numbers or words;
- expression: LaTeX that has to be understood (roots, formulas, equations, intervals, points).
"""
Modality = Literal[
    "text-only",
    "text-dominant",
    "text-lite",
    "visual-intensive",
    "visual-dominant",
    "visual-only",
    "unspecified",
]
Verdict = Literal["correct", "wrong", "unparsed", "failed"]
FinishReason = Literal["stop", "length", "content_filter", "error"]
Granularity = Literal["step", "solution"]


class Record(BaseModel):
    """Base of everything that is stored: immutable, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _no_truth_value(value: object) -> object:
    """YAML reads "yes" as true, which would count as 1."""
    if isinstance(value, bool):
        raise ValueError("is a truth value, not a number")
    return value


Whole = Annotated[int, BeforeValidator(_no_truth_value)]
"""A whole number of a recipe."""

Number = Annotated[float, BeforeValidator(_no_truth_value), Field(allow_inf_nan=False)]
"""A finite number of a recipe."""


class ImageSource(Protocol):
    """Where the encoded bytes of an image come from; picklable."""

    def read(self) -> bytes:
        """Encoded bytes of the image (PNG, JPEG, ...).

        Raises:
            ImageError: The bytes cannot be read.
        """
        ...


@dataclass(frozen=True)
class BytesSource:
    """Encoded image bytes held in memory."""

    data: bytes

    def read(self) -> bytes:
        """The bytes."""
        return self.data


@dataclass(frozen=True)
class FileSource:
    """Encoded image bytes in a file, read when needed."""

    path: Path

    def read(self) -> bytes:
        """The file's bytes; raises `ImageError` when it cannot be read."""
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise ImageError(error.strerror or "unreadable", file=self.path) from error


class Image(Record):
    """An image by the hash of its encoded bytes; the bytes are read when needed.

    Two images are equal when their hashes are: equal pixel buffers of different shapes
    stay different (CVE-2025-46722).
    """

    digest: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the encoded bytes")
    _source: ImageSource | None = PrivateAttr(default=None)

    @classmethod
    def of(cls, source: ImageSource) -> Image:
        """The image that `source` holds; reads it once to hash it."""
        return cls(digest=hashlib.sha256(source.read()).hexdigest()).bound(source)

    def bound(self, source: ImageSource) -> Image:
        """The same image with its bytes to be found in `source`."""
        image = Image(digest=self.digest)
        image._source = source
        return image

    def read(self) -> bytes:
        """Encoded bytes, checked against the hash.

        Raises:
            ImageError: No source is bound, it is unreadable, or its content has changed.
        """
        if self._source is None:
            raise ImageError(f"no bytes are at hand for image {self.digest[:12]}")
        data = self._source.read()
        if hashlib.sha256(data).hexdigest() != self.digest:
            raise ImageError(f"the bytes of image {self.digest[:12]} have changed")
        return data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Image) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)


class Problem(Record):
    """A visual question with its gold answer.

    Attributes:
        id: Unique in its set.
        source: Benchmark or puzzle family it comes from.
        question: Text of the question, without choices and without instructions.
        images: In the order in which the question shows them; may be empty.
        answer: Gold answer; for a choice its letter, "A" being `choices[0]`; for several
            their letters with commas between.
        answer_kind: How answers are compared.
        choices: Texts of the choices, for `answer_kind` "choice" and "choices".
        modality: Where the information is, after MathVerse's problem versions.
        precision: Decimals that count for a number; None compares exactly.
        unit: Unit of a number, stripped from an answer that carries it.
        metadata: JSON values of the source, kept for views and breakdowns.
    """

    id: str = Field(min_length=1)
    source: str = Field(min_length=1)
    question: str
    images: tuple[Image, ...] = ()
    answer: str = Field(min_length=1)
    answer_kind: AnswerKind = "text"
    choices: tuple[str, ...] = ()
    category: str = ""
    modality: Modality = "unspecified"
    precision: int | None = Field(default=None, ge=0)
    unit: str | None = None
    metadata: Mapping[str, JsonValue] = Field(default_factory=dict)


class Span(NamedTuple):
    """Half-open range `[start, end)` of characters in a solution's text."""

    start: int
    end: int


class Usage(Record):
    """Tokens of one piece of work; `cached_tokens` are prompt tokens not computed anew."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
        )


class Solution(Record):
    """One sampled solution of a problem.

    Attributes:
        index: Place in the problem's pool, from 0; part of the sample's identity.
        steps: Spans of `text`, in order and disjoint.
        answer: Extracted and normalized final answer, None when there is none to read.
        verdict: `unparsed` when no answer was found, `failed` when sampling failed; both
            count as not correct.
        seed: Seed of the problem's random stream.
        error: Why sampling failed, for the verdict `failed`.
    """

    problem_id: str
    index: int = Field(ge=0)
    text: str
    steps: tuple[Span, ...]
    answer: str | None
    verdict: Verdict
    finish_reason: FinishReason
    usage: Usage = Usage()
    seed: int = 0
    error: str | None = None

    def step_texts(self) -> tuple[str, ...]:
        """The steps as text."""
        return tuple(self.text[start:end] for start, end in self.steps)


class StepScores(Record):
    """A scorer's values for one solution, on the scorer's own scale.

    `values` has one entry per step for granularity "step" and one in all for "solution".
    None means that the scorer gave no verdict; it is never 0. `notes` holds what the
    scorer said beside each value (a judge's reasoning), empty where it says nothing.
    `error` tells of a request that failed while others of the solution were answered: the
    record stands until the solution is scored again, at the next start.
    """

    problem_id: str
    solution_index: int = Field(ge=0)
    scorer: str
    granularity: Granularity
    values: tuple[float | None, ...]
    notes: tuple[str, ...] = ()
    usage: Usage = Usage()
    error: str | None = None


@dataclass(frozen=True)
class Prompt:
    """What a generator is asked: one user turn of text and images, in order.

    Attributes:
        parts: Text and images of the user turn. Text is data: it never becomes a
            special token, whatever it spells.
        system: System turn, "" for none (the model's own default stays out too).
        prefill: Beginning of the assistant's reply that the generator continues.
    """

    parts: tuple[str | Image, ...]
    system: str = ""
    prefill: str = ""

    @property
    def images(self) -> tuple[Image, ...]:
        """The images, in order."""
        return tuple(part for part in self.parts if isinstance(part, Image))


@dataclass(frozen=True)
class Sampling:
    """How to sample.

    Attributes:
        temperature: 0 takes the most probable token.
        top_p: Smallest set of most probable tokens of at least this mass; in (0, 1].
        max_tokens: Most tokens of a completion.
        stop: Strings that end the completion; they are not part of its text.
        top_logprobs: Alternatives to report at each position, 0 to 20.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 1024
    stop: tuple[str, ...] = ()
    top_logprobs: int = 0


@dataclass(frozen=True)
class Token:
    """One generated or scored token.

    Attributes:
        text: Its text.
        logprob: Natural-log probability under the model, before temperature and top-p.
        top: Most probable tokens at this position with their log-probabilities.
    """

    text: str
    logprob: float
    top: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Completion:
    """One completion of a prompt, without the prefill; `tokens` spell `text` in order."""

    text: str
    finish_reason: FinishReason
    usage: Usage = field(default_factory=Usage)
    tokens: tuple[Token, ...] = ()


@runtime_checkable
class Generator(Protocol):
    """A model that completes prompts: a local checkpoint, a server, or a fake."""

    @property
    def name(self) -> str:
        """Short name for tables."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes with whatever changes the output (weights, tokenizer, precision)."""
        ...

    async def generate(
        self, prompt: Prompt, n: int, sampling: Sampling, seed: int, *, first: int = 0
    ) -> list[Completion]:
        """Completions number `first` to `first + n - 1` of `prompt`'s random stream.

        Args:
            prompt: The request.
            n: How many completions.
            sampling: How to sample.
            seed: Names the stream; the caller derives it from the run's seed and the
                problem. Completion `i` depends on `(prompt, sampling, seed, i)` only.
            first: Index of the first completion.

        Raises:
            EngineError: The request failed for good.
        """
        ...


@runtime_checkable
class LikelihoodModel(Protocol):
    """A model that tells the log-probability of given replies to a prompt."""

    @property
    def name(self) -> str:
        """Short name for tables."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes with whatever changes the output."""
        ...

    async def score_tokens(self, prompt: Prompt, replies: Sequence[str]) -> list[tuple[Token, ...]]:
        """Tokens of each reply with their log-probabilities; the texts spell the reply.

        Raises:
            EngineError: The request failed for good.
        """
        ...


@runtime_checkable
class StepScorer(Protocol):
    """Scores solutions, step by step or whole; a whole-solution scorer is an ORM."""

    @property
    def name(self) -> str:
        """Name in tables and in the store."""
        ...

    @property
    def granularity(self) -> Granularity:
        """Whether `values` speak of steps or of the solution."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes with whatever changes the values."""
        ...

    async def score(self, problem: Problem, solutions: Sequence[Solution]) -> list[StepScores]:
        """Scores of `solutions`, one record each, in their order.

        Raises:
            EngineError: The request failed for good.
        """
        ...
