"""Formats: an instruction that asks for steps, with the strategy that reads the reply."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Annotated

from pydantic import AfterValidator

from vilbench.steps.splitting import Strategy, split
from vilbench.steps.wordings import Way, listed, samples, wording
from vilbench.types import Image, Problem, Prompt, Span

_IMAGE_MARK = re.compile(r"<image[ _]?(\d{1,2})>")


@dataclass(frozen=True)
class StepFormat:
    """An instruction that asks for steps, and the strategy that reads the reply.

    Attributes:
        name: Key in `FORMATS`.
        version: Raised whenever the instruction changes.
        instruction: Stands after the question, on its own line.
        strategy: How replies are split.
        own: Ask as the problem's benchmark does, where it tells how; the instruction is for
            the other problems then.
    """

    name: str
    version: int
    instruction: str
    strategy: Strategy
    own: Way | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the words, even where the version was forgotten."""
        words = [self.strategy, self.instruction]
        if self.own is not None:
            words += [repr(wording(one, self.own)) for one in samples()]
        text = "\n".join(words).encode()
        return f"{self.name}@{self.version}-{hashlib.sha256(text).hexdigest()[:8]}"

    def split(self, text: str, max_steps: int | None = None) -> tuple[Span, ...]:
        """Spans of the steps of a reply; see `split`."""
        return split(text, self.strategy, max_steps)

    def ask(self, problem: Problem) -> Prompt:
        """The request: `question_parts`, then the instruction on its own line.

        A format with `own` words asks by those of the problem's benchmark instead.

        Raises:
            ProblemError: The problem has more choices than there are letters.
        """
        words = wording(problem, self.own) if self.own else None
        if words is not None:
            return Prompt(placed(words.text(problem), problem.images))
        return self.put(question_parts(problem))

    def put(self, parts: Sequence[str | Image]) -> Prompt:
        """The request for a question that is shown as `parts`, as `shown_parts` gives them."""
        newline = "\n" if any(isinstance(part, str) for part in parts) else ""
        return Prompt(extended(parts, newline + self.instruction))


_STEPS = (
    "Solve this step by step. Begin each step on a new line with its number, as in"
    ' "Step 1:", "Step 2:", and make one observation or one inference in it. Read'
    " from the image what the problem needs before you compute. After the last"
    ' step write one more line, "Answer:" followed by the final answer alone; when'
    " options are given, by the letter of the right option only."
)
_DIRECT = "Answer with the final answer only."

FORMATS: Mapping[str, StepFormat] = MappingProxyType(
    {
        item.name: item
        for item in (
            StepFormat(
                name="steps",
                version=1,
                instruction=_STEPS,
                strategy="marker",
            ),
            StepFormat(
                name="steps-brief",
                version=1,
                instruction="Write numbered steps, then the answer.",
                strategy="marker",
            ),
            StepFormat(
                name="direct",
                version=1,
                instruction=_DIRECT,
                strategy="blank-line",
            ),
            StepFormat(
                name="source-steps",
                version=1,
                instruction=_STEPS,
                strategy="marker",
                own="reasoning",
            ),
            StepFormat(
                name="source-direct",
                version=1,
                instruction=_DIRECT,
                strategy="blank-line",
                own="direct",
            ),
        )
    }
)
"""The formats that a recipe can name."""


def _known(name: str) -> str:
    if name not in FORMATS:
        raise ValueError(f"'{name}' is none of {', '.join(FORMATS)}")
    return name


FormatName = Annotated[str, AfterValidator(_known)]
"""A key of `FORMATS`, in records."""


def question_parts(problem: Problem) -> tuple[str | Image, ...]:
    """The problem as it is shown: images, then question and choices as one text.

    Raises:
        ProblemError: The problem has more choices than there are letters.
    """
    return shown_parts(problem.question, problem.choices, problem.images)


def shown_parts(
    question: str, choices: Sequence[str], images: Sequence[Image]
) -> tuple[str | Image, ...]:
    """A question as it is shown: images, then question and choices as one text.

    Where the text holds marks `<image 1>` to `<image k>`, the images stand at the first
    mark of each instead; images without a mark come first, a mark without an image and a
    repeated mark stay text. Neighbouring parts are never both text. These parts begin
    every request about the problem, so that its prefix can be shared.

    Raises:
        ProblemError: There are more choices than letters.
    """
    options = listed(choices)
    return placed("\n".join([question, *options] if question else options), images)


def placed(text: str, images: Sequence[Image]) -> tuple[str | Image, ...]:
    """A text with its images at their marks, as `shown_parts` tells."""
    shown: list[str | Image] = []
    placed: set[int] = set()
    end = 0
    for mark in _IMAGE_MARK.finditer(text):
        index = int(mark[1]) - 1
        if 0 <= index < len(images) and index not in placed:
            placed.add(index)
            shown += [text[end : mark.start()], images[index]]
            end = mark.end()
    shown.append(text[end:])
    first = [image for index, image in enumerate(images) if index not in placed]
    return (*first, *(part for part in shown if part != ""))


def extended(parts: Sequence[str | Image], text: str) -> tuple[str | Image, ...]:
    """`parts` with `text` at their end, joined to the last part when that is text."""
    if parts and isinstance(parts[-1], str):
        return (*parts[:-1], parts[-1] + text)
    return (*parts, text)
