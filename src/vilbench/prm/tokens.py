"""From a question and the steps of a solution to token ids: the one way for training and scoring.

The prompt is the request of a step format. Behind it stand the steps, each as its stripped
text and a line break, encoded by itself, and one step-end token, where the step's value is
read. Steps are encoded one by one, so that the ids of a solution's first steps are the
beginning of the ids of the whole: a prefix scored at its last token has the same value.
The step-end token is a control token of the backbone's own vocabulary. Texts cannot spell
it, for they are encoded by a tokenizer that knows no control tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, NamedTuple

from vilbench.backbone.tokens import Encoded, PromptEncoder
from vilbench.errors import InputError
from vilbench.steps import StepFormat
from vilbench.types import Image

Overflow = Literal["error", "drop-early"]
"""What becomes of an over-long input: an error, or the fewest first steps left out."""


@dataclass(frozen=True)
class EncodedSteps:
    """A question with the steps of a solution, as ids.

    L is the length of `ids`. Indices of steps are those of the steps as they were given,
    with those left out.

    Attributes:
        prompt: The ids up to where the solution begins.
        ids: `[L]`, ids of the solution: of each step its text and a line break, then the
            step-end token.
        ends: Index within `ids` of the end token of each step that was not left out,
            increasing.
        dropped: How many of the first steps were left out; there are no values for them.
    """

    prompt: Encoded
    ids: tuple[int, ...]
    ends: tuple[int, ...]
    dropped: int = 0

    def spread(self, values: Sequence[float]) -> tuple[float | None, ...]:
        """Values read at `ends` as one per given step, None for those left out."""
        if len(values) != len(self.ends):
            raise ValueError(f"{len(values)} values for {len(self.ends)} step ends")
        return (*[None] * self.dropped, *values)


class Spans(NamedTuple):
    """Which text every id of a solution stands for.

    Attributes:
        owners: `[L]`, the step of every id, end tokens included.
        stops: `[L]`, the offset in characters within the step's stripped text where the
            text of the id ends; the length of that text for line break and end token.
    """

    owners: tuple[int, ...]
    stops: tuple[int, ...]


class StepEncoder:
    """Token ids of questions with steps, for training and scoring alike.

    Thread-safe where `encoder` is.

    Args:
        encoder: Of the backbone's processor.
        format: How the question is put.
        step_token: Control token that ends a step; the tokenizer's end token when None.
        max_tokens: Most tokens of prompt and solution together; None for no limit.
        overflow: What becomes of longer ones. "drop-early" leaves out the fewest first
            steps such that prompt and remaining steps fit; prompt and images are never cut.

    Attributes:
        step_id: Id of the step-end token.

    Raises:
        CheckpointError: The step token is no control token, or texts can spell it.
        ValueError: `max_tokens` is below 1.
    """

    def __init__(
        self,
        encoder: PromptEncoder,
        format: StepFormat,  # noqa: A002 - the recipe's word
        step_token: str | None = None,
        max_tokens: int | None = None,
        overflow: Overflow = "error",
    ) -> None:
        if max_tokens is not None and max_tokens < 1:
            raise ValueError(f"a limit of {max_tokens} tokens")
        self.encoder = encoder
        self.format = format
        self.max_tokens = max_tokens
        self.overflow = overflow
        self.step_id = encoder.control_id(step_token)

    def encode(self, parts: Sequence[str | Image], steps: Sequence[str]) -> EncodedSteps:
        """Ids of the question that is shown as `parts`, with `steps` behind it.

        A step without text has a line break and its end token.

        Raises:
            As `encode_all` does.
        """
        return self.encode_all(parts, [steps])[0]

    def encode_all(
        self, parts: Sequence[str | Image], candidates: Sequence[Sequence[str]]
    ) -> list[EncodedSteps]:
        """The question with the steps of each candidate; what they share is encoded once.

        Raises:
            InputError: It is longer than the limit, and steps may not be dropped or dropping
                would leave none.
            ImageError: An image cannot be read.
            EngineError: A text is not valid Unicode.
            CheckpointError: The chat template drops or repeats a part.
        """
        if not candidates:
            return []
        prompt = self.encoder.encode(self.format.put(parts))
        texts = list(dict.fromkeys(_text(step) for steps in candidates for step in steps))
        known = dict(zip(texts, self.encoder.encode_texts(texts), strict=True))
        encoded = []
        for steps in candidates:
            ids: list[int] = []
            ends: list[int] = []
            for step in steps:
                ids += known[_text(step)]
                ends.append(len(ids))
                ids.append(self.step_id)
            dropped = self._dropped(prompt, ends)
            cut = ends[dropped - 1] + 1 if dropped else 0
            left = tuple(end - cut for end in ends[dropped:])
            encoded.append(EncodedSteps(prompt, tuple(ids[cut:]), left, dropped))
        return encoded

    def spans(self, encoded: EncodedSteps, steps: Sequence[str]) -> Spans:
        """Where the ids of a solution stand in its `steps`, of which it is the encoding."""
        owners: list[int] = []
        stops: list[int] = []
        for k in range(encoded.dropped, len(steps)):
            text = _text(steps[k])
            length = len(text) - 1
            pieces = self.encoder.encode_text(text)
            stops += (min(stop, length) for stop in accumulate(map(len, pieces.texts)))
            stops.append(length)
            owners += [k] * (len(stops) - len(owners))
        return Spans(tuple(owners), tuple(stops))

    def _dropped(self, prompt: Encoded, ends: Sequence[int]) -> int:
        """How many first steps must go."""
        total = len(prompt.ids) + (ends[-1] + 1 if ends else 0)
        if self.max_tokens is None or total <= self.max_tokens:
            return 0
        told = f"{len(prompt.ids)} tokens of the prompt and {total - len(prompt.ids)} of the steps"
        if self.overflow == "error":
            raise InputError(f"{told} are more than {self.max_tokens}", field="steps")
        # The last step is always kept: without it there is nothing to score.
        for k, end in enumerate(ends[:-1]):
            if total - (end + 1) <= self.max_tokens:
                return k + 1
        raise InputError(
            f"{told} are more than {self.max_tokens}, even with the last step alone",
            field="steps",
        )


def _text(step: str) -> str:
    """What a step is encoded as, its end token left out."""
    return step.strip() + "\n"
