"""How many tokens texts and images are to a model that is not loaded.

Texts are counted by their bytes: four to a token, as English has them, or as many as the
model's own tokenizer makes of the problems at hand. Images are counted by the rule of the
model's family, as its authors tell it; a family that is not known is counted like Qwen2.5-VL.

Sources: OpenAI's guide to vision (tiles and patches); the processors of Qwen2-VL, InternVL,
LLaVA-OneVision and Molmo. The rules of the last three are simplified: they are right to about
a tenth, which is less than what is unknown about the lengths of replies.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vilbench.images import Size

_BYTES = 4.0
_PER_MESSAGE = 4
"""Tokens that mark a message's beginning, role and end."""

ImageRule = Callable[[Size], int]
"""Tokens of an image of so many pixels."""


@dataclass(frozen=True)
class Lengths:
    """Tokens of what one model reads and writes.

    Attributes:
        bytes_per_token: Of text.
        image: Tokens of an image.
        max_pixels: An image of more is made smaller before it is sent; None sends all.
        measured: Whether the model's own tokenizer was asked.
    """

    bytes_per_token: float
    image: ImageRule
    max_pixels: int | None = None
    measured: bool = False

    def of_text(self, text: str) -> float:
        """Tokens of a text; not rounded, so that sums of short texts are right."""
        return len(text.encode("utf-8", "surrogatepass")) / self.bytes_per_token

    def of_image(self, size: Size) -> int:
        """Tokens of an image as it is sent."""
        most = self.max_pixels
        if most is not None and size.width * size.height > most:
            scale = math.sqrt(most / (size.width * size.height))
            size = Size(max(1, int(size.width * scale)), max(1, int(size.height * scale)))
        return self.image(size)

    def of_messages(self, count: int) -> int:
        """Tokens around so many messages."""
        return _PER_MESSAGE * (count + 1)


def by_name(model: str, max_pixels: int | None = None, *, low: bool = False) -> Lengths:
    """Lengths for a model that is known by its name alone; `low` is for images of low detail."""
    name = model.lower()
    for pattern, rule in _FAMILIES:
        if re.search(pattern, name):
            taken = rule.low if low and isinstance(rule, _Tiles) else rule
            return Lengths(_BYTES, taken, max_pixels)
    return Lengths(_BYTES, _qwen, max_pixels)


def of_folder(folder: Path, texts: Sequence[str]) -> Lengths:
    """Lengths for a checkpoint on this machine; no weights are read.

    Args:
        folder: With `tokenizer.json` and the settings of its image processor; what is not
            there is taken from the folder's name.
        texts: What the tokenizer is asked about.
    """
    known = by_name(folder.name)
    measured = _bytes_per_token(folder / "tokenizer.json", texts)
    return Lengths(
        measured or known.bytes_per_token,
        _grid(folder) or known.image,
        known.max_pixels,
        measured is not None,
    )


def _bytes_per_token(file: Path, texts: Sequence[str]) -> float | None:
    if not file.is_file() or not any(texts):
        return None
    try:
        from tokenizers import Tokenizer
    except ModuleNotFoundError:
        return None
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception:
        # The library raises bare exceptions; a forecast does without the tokenizer then.
        return None
    count = sum(len(tokenizer.encode(text).ids) for text in texts)
    return sum(len(text.encode("utf-8", "surrogatepass")) for text in texts) / max(count, 1)


def _grid(folder: Path) -> ImageRule | None:
    """The rule of a Qwen-like image processor, from its settings; None for another."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        settings = _settings(folder / name)
        settings = settings.get("image_processor", settings)
        try:
            side = int(settings["patch_size"]) * int(settings["merge_size"])
            size = settings.get("size", {})
            least = int(size.get("shortest_edge") or settings["min_pixels"])
            most = int(size.get("longest_edge") or settings["max_pixels"])
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
        return lambda size: _patches(size, side, least, most)
    return None


def _settings(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _patches(size: Size, side: int, least: int, most: int) -> int:
    """Squares of `side` pixels, and two marks, of an image brought between two areas."""
    width, height = max(side, size.width), max(side, size.height)
    if width * height > most:
        scale = math.sqrt(most / (width * height))
        columns, rows = math.floor(width * scale / side), math.floor(height * scale / side)
    elif width * height < least:
        scale = math.sqrt(least / (width * height))
        columns, rows = math.ceil(width * scale / side), math.ceil(height * scale / side)
    else:
        columns, rows = round(width / side), round(height / side)
    return max(1, columns) * max(1, rows) + 2


def _qwen(size: Size) -> int:
    return _patches(size, 28, 4 * 28 * 28, 16384 * 28 * 28)


@dataclass(frozen=True)
class _Tiles:
    """OpenAI's rule by tiles: into 2048 x 2048, a shorter side of 768, tiles of 512."""

    base: int
    each: int

    def __call__(self, size: Size) -> int:
        scale = min(1.0, 2048 / max(size))
        scale *= min(1.0, 768 / (min(size) * scale))
        tiles = math.ceil(size.width * scale / 512) * math.ceil(size.height * scale / 512)
        return self.base + self.each * tiles

    def low(self, size: Size) -> int:
        """Tokens of an image of detail "low", whatever its size."""
        del size
        return self.base


def _squares(factor: float) -> ImageRule:
    """OpenAI's rule by patches: 32 x 32 pixels each, 1536 at most, times the model's factor."""

    def rule(size: Size) -> int:
        count = math.ceil(size.width / 32) * math.ceil(size.height / 32)
        return math.ceil(min(count, 1536) * factor)

    return rule


def _internvl(size: Size) -> int:
    """Tiles of 448 x 448 in the grid of up to 12 that fits best, and a thumbnail; 256 each."""
    tiles = _best_grid(size, 448, 12)
    return 256 * (tiles + (tiles > 1)) + 2


def _llava_onevision(size: Size) -> int:
    """Crops of 384 x 384, up to 9 of them, of 729 tokens, and the whole image."""
    crops = min(9, math.ceil(size.width / 384) * math.ceil(size.height / 384))
    return 729 * (crops + 1)


def _molmo(size: Size) -> int:
    """Overlapping crops that show 224 x 224 anew, up to 12 of them, of 144 tokens; the whole."""
    crops = min(12, math.ceil(size.width / 224) * math.ceil(size.height / 224))
    return 144 * (crops + 1) + 40


def _best_grid(size: Size, side: int, most: int) -> int:
    """Tiles of the grid whose proportions are nearest; of several the largest that is filled."""
    aspect = size.width / size.height
    best, found = math.inf, 1
    for columns in range(1, most + 1):
        for rows in range(1, most // columns + 1):
            difference = abs(aspect - columns / rows)
            filled = size.width * size.height > side * side * columns * rows / 2
            if difference < best or (difference == best and filled):
                best, found = difference, columns * rows
    return found


_FAMILIES: tuple[tuple[str, ImageRule], ...] = (
    (r"gpt-4o-mini", _Tiles(2833, 5667)),
    (r"gpt-4\.1-mini|gpt-5-mini", _squares(1.62)),
    (r"gpt-4\.1-nano|gpt-5-nano", _squares(2.46)),
    (r"o4-mini", _squares(1.72)),
    (r"gpt-5", _Tiles(70, 140)),
    (r"gpt-4|chatgpt", _Tiles(85, 170)),
    (r"(^|/)o[13]\b", _Tiles(75, 150)),
    (r"internvl", _internvl),
    (r"llava.?onevision", _llava_onevision),
    (r"molmo", _molmo),
)
"""Rules by what a model's name holds; the first that fits counts."""
