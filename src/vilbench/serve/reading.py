"""From requests to problems and solutions; limits are held before a pixel is decoded."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import re
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from vilbench.errors import ImageError
from vilbench.images import ImageLimits, decode
from vilbench.serve.faults import Refusal, public, wrong
from vilbench.serve.fetching import Fetcher
from vilbench.serve.limits import Limits
from vilbench.serve.memory import Holding
from vilbench.serve.protocol import ShownProblem, ShownSolution
from vilbench.steps import StepFormat
from vilbench.types import BytesSource, Image, Problem, Solution, Span

_NETWORK = re.compile(r"https?:", re.I)
_DATA = re.compile(r"data:image/[A-Za-z0-9.+-]{1,40}(?:;[A-Za-z0-9=._-]{1,40}){0,4};base64,", re.I)
_KNOWN = 1024
"""Images whose pixels were found sound, remembered by hash."""


class Pictures:
    """Reads images of requests.

    Args:
        limits: What they may be.
        fetcher: Fetches those at addresses on the network; None for a server that does not.
    """

    def __init__(self, limits: Limits, fetcher: Fetcher | None = None) -> None:
        self._limits = limits
        self._fetcher = fetcher
        self._sound: OrderedDict[str, None] = OrderedDict()
        self._decoding = asyncio.Semaphore(2)

    async def read(self, urls: Sequence[str], param: str, holding: Holding) -> tuple[Image, ...]:
        """The images, each decoded once to see that it is sound.

        Args:
            urls: Data URLs, or addresses where there is a fetcher.
            param: Field of the request that has them.
            holding: Where the bytes of those that are fetched are counted.

        Raises:
            Refusal: One is no image's URL, too large, damaged, cannot be fetched, or there
                are too many.
        """
        if len(urls) > self._limits.images:
            raise wrong(f"more than {self._limits.images} images", param, "too_many")
        one_by_one = [
            await self._one(url, f"{param}[{place}]", holding) for place, url in enumerate(urls)
        ]
        return tuple(one_by_one)

    async def _one(self, url: str, param: str, holding: Holding) -> Image:
        if self._fetcher is not None and _NETWORK.match(url):
            data = await self._fetcher.fetch(url, param, holding)
        else:
            data = self._given(url, param)
        image = Image.of(BytesSource(data))
        if image.digest in self._sound:
            self._sound.move_to_end(image.digest)
            return image
        limits = ImageLimits(max_pixels=self._limits.pixels, max_bytes=self._limits.image_bytes)
        try:
            async with self._decoding:
                await asyncio.to_thread(decode, data, limits)
        except ImageError as error:
            raise wrong(public(error.message), param, "invalid_image") from None
        self._sound[image.digest] = None
        if len(self._sound) > _KNOWN:
            self._sound.popitem(last=False)
        return image

    def _given(self, url: str, param: str) -> bytes:
        """The bytes that a data URL brings with it."""
        head = _DATA.match(url)
        if head is None:
            told = "images are given as data URLs (data:image/png;base64,...)"
            if _NETWORK.match(url):
                told += "; this server was started without --allow-image-host and fetches none"
            raise wrong(told, param)
        most = self._limits.image_bytes
        if (len(url) - head.end()) * 3 // 4 > most + 3:
            raise Refusal(413, "too_large", f"an image of more than {most:,} bytes", param=param)
        try:
            return base64.b64decode(url[head.end() :], validate=True)
        except (binascii.Error, ValueError):
            raise wrong("is not valid base64", param) from None


async def problem_of(
    shown: ShownProblem, pictures: Pictures, limits: Limits, holding: Holding
) -> Problem:
    """The problem; its id is the hash of what is shown, and it has no answer to look at.

    Raises:
        Refusal: It is beyond a limit, or an image cannot be used.
    """
    if len(shown.question) > limits.characters:
        raise wrong(f"more than {limits.characters:,} characters", "problem.question", "too_long")
    if len(shown.choices) > limits.choices:
        raise wrong(f"more than {limits.choices} choices", "problem.choices", "too_many")
    if sum(map(len, shown.choices)) > limits.characters:
        raise wrong(f"more than {limits.characters:,} characters", "problem.choices", "too_long")
    images = await pictures.read(shown.images, "problem.images", holding)
    return made_problem(shown.question, shown.choices, images)


def made_problem(question: str, choices: Sequence[str], images: Sequence[Image]) -> Problem:
    """A problem by what is shown of it."""
    said = repr((question, tuple(choices), [image.digest for image in images]))
    return Problem(
        id=hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest(),
        source="request",
        question=question,
        images=tuple(images),
        answer="-",
        choices=tuple(choices),
    )


class Split(NamedTuple):
    """A solution's text and where its steps are."""

    text: str
    steps: Sequence[Span]


def split_of(
    shown: Sequence[ShownSolution],
    format: StepFormat,  # noqa: A002 - the recipe's word
    limits: Limits,
) -> list[Split]:
    """The solutions with their steps.

    Raises:
        Refusal: One is beyond a limit.
    """
    if len(shown) > limits.solutions:
        raise wrong(f"more than {limits.solutions} solutions", "solutions", "too_many")
    return [_split(one, format, limits, f"solutions[{k}]") for k, one in enumerate(shown)]


def _split(
    shown: ShownSolution,
    format: StepFormat,  # noqa: A002 - the recipe's word
    limits: Limits,
    param: str,
) -> Split:
    text = shown.text if shown.text is not None else "\n".join(shown.steps or ())
    if len(text) > limits.characters:
        raise wrong(f"more than {limits.characters:,} characters", param, "too_long")
    given = shown.spans if shown.steps is None else shown.steps
    if given is not None and len(given) > limits.steps:
        raise wrong(f"more than {limits.steps} steps", param, "too_many")
    if shown.steps is not None:
        return Split(text, _placed(shown.steps))
    if shown.spans is not None:
        return Split(text, shown.spans)
    spans = format.split(text)
    if len(spans) > limits.steps:
        raise wrong(f"more than {limits.steps} steps", param, "too_many")
    return Split(text, spans)


def made_solution(problem: Problem, index: int, text: str, spans: Sequence[Span]) -> Solution:
    """A solution of which only text and steps are known."""
    return Solution(
        problem_id=problem.id,
        index=index,
        text=text,
        steps=tuple(spans),
        answer=None,
        verdict="unparsed",
        finish_reason="stop",
    )


def _placed(steps: Sequence[str]) -> tuple[Span, ...]:
    spans = []
    start = 0
    for step in steps:
        spans.append(Span(start, start + len(step)))
        start += len(step) + 1
    return tuple(spans)
