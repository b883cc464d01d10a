"""Images for a page: of types that every browser draws, in it or at an address of its own."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

from vilbench.display.text import visible
from vilbench.errors import ImageError
from vilbench.images import decode
from vilbench.types import Image

_MAX_BYTES = 200_000
_MAX_SIDE = 1024
_PIXEL_ART_SIDE = 200
_SHOWN_SIDE = 336
_MAX_SHOWN_SIDE = 640
_LOSSLESS_SIDE = 512
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
)


@dataclass(frozen=True)
class Picture:
    """What the page shows of one image.

    Attributes:
        url: Data URL, "" when the image cannot be shown.
        width: Width on the page in CSS pixels.
        height: Height on the page in CSS pixels.
        enlarged: Shown at a whole multiple of its size, with hard pixels.
        problem: Why it cannot be shown, else "".
    """

    url: str
    width: int = 0
    height: int = 0
    enlarged: bool = False
    problem: str = ""


def sniff(data: bytes) -> str | None:
    """Type of encoded bytes by their first bytes: PNG, JPEG, GIF, WEBP, or None."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return next((kind for magic, kind in _MAGIC if data.startswith(magic)), None)


@dataclass(frozen=True)
class Encoded:
    """An image as browsers draw it.

    Attributes:
        kind: Its type, "PNG", "JPEG", "GIF" or "WEBP".
        data: Encoded bytes of that type.
        size: Width and height in its own pixels.
    """

    kind: str
    data: bytes
    size: tuple[int, int]


def encoded(image: Image, most_bytes: int = _MAX_BYTES, most_side: int = _MAX_SIDE) -> Encoded:
    """The image as a model sees it, of a type that browsers draw.

    A small upright RGB file of such a type stays as it is; anything else (rotated, animated,
    CMYK, transparent, large, another format) is encoded anew. All are decoded first, under the
    package's image limits.

    Raises:
        ImageError: It is missing, has changed, is damaged or beyond the limits.
    """
    data = image.read()
    decoded = decode(data)
    kind = sniff(data)
    shown = decoded.image
    if kind is None or decoded.notes or len(data) > most_bytes or max(shown.size) > most_side:
        shown.thumbnail((most_side, most_side))
        kind = "PNG" if max(shown.size) <= _LOSSLESS_SIDE else "JPEG"
        buffer = io.BytesIO()
        shown.save(buffer, kind)
        data = buffer.getvalue()
    return Encoded(kind, data, shown.size)


def placed(url: str, size: tuple[int, int]) -> Picture:
    """An image at an address, with the place that the page keeps for it."""
    width, height = size
    side = max(width, height)
    whole = max(1, _SHOWN_SIDE // side) if side <= _PIXEL_ART_SIDE else 1
    factor = whole * min(1.0, _MAX_SHOWN_SIDE / side)
    return Picture(
        url, max(1, round(width * factor)), max(1, round(height * factor)), enlarged=whole > 1
    )


def picture(image: Image) -> Picture:
    """The image as a data URL, at most 1024 pixels a side."""
    try:
        one = encoded(image)
    except ImageError as error:
        # The message without its place: a page that is passed on names no path.
        return Picture("", problem=visible(error.message, 200))
    text = base64.b64encode(one.data).decode("ascii")
    return placed(f"data:image/{one.kind.lower()};base64,{text}", one.size)
