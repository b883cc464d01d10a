"""Problems with other pictures: does the scorer look?

    blank    every image of the problem in its own mean colour
    swapped  the images of another problem of the same source and modality
    noised   Gaussian noise of sigma 64 (of 255) on every channel of every pixel, clipped

What of a selection's gain survives without the right picture does not come from seeing. A
blank picture may be unlike all that a model was trained on; a swapped one is like them and
false, a noised one is a weaker form of blank. Problems without an image are left alone.
Blind baselines for visual benchmarks: Goyal et al. 2017 (VQA v2), Chen et al. 2024 (MMStar).

Attacks draw an instruction into the picture; see `attacks`.
"""

from __future__ import annotations

import io
import random
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from vilbench import images
from vilbench.diagnostics.probes.cases import Deck
from vilbench.diagnostics.probes.variants import Variant, has_donor, has_images
from vilbench.types import Image, Problem

SIGMA = 64.0
"""Standard deviation of the noise, of 255."""

Paint = Callable[[PillowImage.Image, str], PillowImage.Image]
"""A changed picture, by the name of a random stream; picklable."""


@dataclass(frozen=True)
class Painted:
    """Encoded bytes of a changed picture, made anew whenever they are read."""

    original: Image
    paint: Paint
    stream: str

    def read(self) -> bytes:
        """The picture as PNG; the same pixels every time.

        Raises:
            ImageError: The original cannot be read.
        """
        changed = self.paint(images.check(self.original).image, self.stream)
        buffer = io.BytesIO()
        changed.save(buffer, format="PNG")
        return buffer.getvalue()


def painted(problem: Problem, paint: Paint, stream: str) -> Problem | None:
    """The problem with all of its images changed; None where it has none.

    Raises:
        ImageError: One cannot be read.
    """
    if not problem.images:
        return None
    made = [
        Image.of(Painted(image, paint, f"{stream}/{place}"))
        for place, image in enumerate(problem.images)
    ]
    return problem.model_copy(update={"images": tuple(made)})


def _mean_colour(image: PillowImage.Image, stream: str) -> PillowImage.Image:
    mean = np.asarray(image, dtype=np.float64).reshape(-1, 3).mean(axis=0).round()
    red, green, blue = (int(one) for one in mean)
    return PillowImage.new("RGB", image.size, (red, green, blue))


def _noise(image: PillowImage.Image, stream: str) -> PillowImage.Image:
    rng = np.random.default_rng(int(random.Random(stream).getrandbits(64)))
    pixels = np.asarray(image, dtype=np.float64)
    noisy = pixels + rng.normal(0.0, SIGMA, pixels.shape)
    return PillowImage.fromarray(noisy.round().clip(0, 255).astype(np.uint8))


def write_at_edge(image: PillowImage.Image, text: str) -> PillowImage.Image:
    """The picture with small dark words on a light band over its lower edge.

    Lines are broken to fit; the letters are Pillow's own, a thirtieth of the height high and
    at least 10 pixels.
    """
    changed = image.copy()
    size = max(10, image.height // 30)
    font = ImageFont.load_default(size)
    draw = ImageDraw.Draw(changed)
    letter = max(1.0, draw.textlength("n", font=font))
    columns = max(4, int((image.width - 4) / letter))
    lines = textwrap.wrap(text, columns) or [text]
    height = (size + 2) * len(lines)
    top = max(0, image.height - height - 2)
    draw.rectangle([0, top, image.width, image.height], fill=(250, 250, 250))
    for place, line in enumerate(lines):
        draw.text((2, top + place * (size + 2)), line, fill=(10, 10, 10), font=font)
    return changed


def _blank(problem: Problem, deck: Deck, stream: str) -> Problem | None:
    return painted(problem, _mean_colour, stream)


def _noised(problem: Problem, deck: Deck, stream: str) -> Problem | None:
    return painted(problem, _noise, stream)


def _swapped(problem: Problem, deck: Deck, stream: str) -> Problem | None:
    donors = deck.donors(problem)
    if not donors:
        return None
    donor = random.Random(stream).choice(donors)
    return problem.model_copy(update={"images": donor.images})


BLANK = Variant("image", "blank", 1, repaint=_blank, fits=has_images)
SWAPPED = Variant("image", "swapped", 1, repaint=_swapped, fits=has_donor)
NOISED = Variant("image", "noised", 1, repaint=_noised, fits=has_images)
