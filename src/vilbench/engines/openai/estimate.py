"""Tokens of a request before it is made: for a forecast of costs, and for what is put aside."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

from vilbench.images import Size
from vilbench.types import Prompt

Detail = Literal["auto", "low", "high"]

_PER_MESSAGE = 4
"""Tokens that mark a message's beginning, role and end."""

_SHORT_SIDE, _LONG_SIDE, _TILE = 768, 2048, 512
_TILE_TOKENS, _IMAGE_TOKENS = 170, 85


def text_tokens(text: str) -> int:
    """About how many tokens a text has: four bytes each, as English has them."""
    return math.ceil(len(text.encode("utf-8", "surrogatepass")) / 4)


def most_text_tokens(text: str) -> int:
    """More tokens than a text has in all likelihood: two bytes each."""
    return math.ceil(len(text.encode("utf-8", "surrogatepass")) / 2)


def tile_tokens(size: Size, detail: Detail | None = None) -> int:
    """Tokens of an image by the rule of GPT-4o and GPT-4.1 (OpenAI's guide to vision).

    It is scaled into 2048 x 2048, then to a shorter side of 768, and cut into tiles of 512.
    """
    if detail == "low":
        return _IMAGE_TOKENS
    scale = min(1.0, _LONG_SIDE / max(size))
    width, height = size.width * scale, size.height * scale
    scale = min(1.0, _SHORT_SIDE / min(width, height))
    tiles = math.ceil(width * scale / _TILE) * math.ceil(height * scale / _TILE)
    return _IMAGE_TOKENS + _TILE_TOKENS * tiles


def patch_tokens(size: Size) -> int:
    """Tokens of an image by the rule of Qwen2.5-VL: one for 28 x 28 pixels, and two marks."""
    return math.ceil(size.width / 28) * math.ceil(size.height / 28) + 2


def image_tokens(size: Size, *, tiles: bool, detail: Detail | None = None) -> int:
    """Tokens of an image, by tiles (OpenAI's models) or by patches (open ones)."""
    return tile_tokens(size, detail) if tiles else patch_tokens(size)


def prompt_tokens(prompt: Prompt, images: Iterable[int]) -> int:
    """About how many tokens a prompt has.

    Args:
        prompt: Its text is counted.
        images: Tokens of each image.
    """
    return _counted(prompt, sum(map(text_tokens, _texts(prompt))), images)


def most_prompt_tokens(prompt: Prompt, images: Iterable[int]) -> int:
    """More tokens than a prompt has in all likelihood."""
    return _counted(prompt, sum(map(most_text_tokens, _texts(prompt))), images)


def _counted(prompt: Prompt, text: int, images: Iterable[int]) -> int:
    messages = 1 + bool(prompt.system) + bool(prompt.prefill)
    return text + sum(images) + _PER_MESSAGE * (messages + 1)


def _texts(prompt: Prompt) -> list[str]:
    return [
        prompt.system,
        prompt.prefill,
        *(part for part in prompt.parts if isinstance(part, str)),
    ]
