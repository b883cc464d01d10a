"""Encoded image bytes to RGB pixels; limits are checked before a pixel is decoded.

Whatever an image is, a model sees 8-bit RGB. What had to be changed on the way there is
told in `Decoded.notes`, so that a run can say which of its pictures were not plain.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import PIL.Image
from PIL import ImageOps, UnidentifiedImageError

from vilbench import types
from vilbench.errors import ImageError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""Formats that are read, by Pillow's names; no other decoder ever sees the bytes."""

_EXTENSIONS = {
    "PNG": "png",
    "JPEG": "jpg",
    "MPO": "jpg",
    "WEBP": "webp",
    "GIF": "gif",
    "BMP": "bmp",
    "TIFF": "tif",
}
_SNIFFED = 4096
_ORIENTATION = 0x0112
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_DEPTH = 24


@dataclass(frozen=True)
class ImageLimits:
    """What an image may be.

    Attributes:
        max_pixels: Largest width times height. Above about 179 million pixels Pillow
            itself refuses, whatever is said here.
        max_bytes: Largest encoded size.
        min_side: Smallest width and height, in pixels.
        max_aspect: Largest ratio of the longer to the shorter side.
    """

    max_pixels: int = 50_000_000
    max_bytes: int = 50_000_000
    min_side: int = 2
    max_aspect: int = 200


DEFAULT_LIMITS = ImageLimits()


class Size(NamedTuple):
    """Pixels of an image."""

    width: int
    height: int


@dataclass(frozen=True)
class Decoded:
    """An RGB image, upright and opaque, and what was converted to make it so."""

    image: PIL.Image.Image
    notes: tuple[str, ...]


def decode(data: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> Decoded:
    """The first frame of an encoded image as upright 8-bit RGB.

    Transparency is laid over white. 16-bit channels keep their high byte, so that the
    range is scaled and not clipped. The file's extension plays no part.

    Raises:
        ImageError: Empty, beyond a limit, no image of a known format, damaged,
            truncated, or of pixels without a defined range (float, 32-bit integer).
    """
    if not data:
        raise ImageError("the image is empty (0 bytes)")
    if len(data) > limits.max_bytes:
        raise ImageError(f"{len(data):,} bytes are over the limit of {limits.max_bytes:,}")
    try:
        with _opened(data) as image:
            _check_size(image.size, limits)
            return _to_rgb(image, sixteen_bit=_is_sixteen_bit(data, image.mode))
    except ImageError:
        raise
    except Exception as error:
        # Pillow's decoders answer damaged bytes with almost any exception class.
        raise ImageError(f"the image is damaged or truncated: {_told(error)}") from error


def check(image: types.Image, limits: ImageLimits = DEFAULT_LIMITS) -> Decoded:
    """Read, verify and decode a problem's image.

    Raises:
        ImageError: The bytes cannot be had, are not those of the hash, or `decode` refuses.
    """
    return decode(image.read(), limits)


def extension(data: bytes) -> str:
    """Usual file extension of encoded bytes, without a dot; "bin" for no known image."""
    try:
        with _opened(data) as image:
            return _EXTENSIONS.get(image.format or "", "bin")
    except ImageError:
        return "bin"


def size_of(data: bytes) -> Size:
    """Width and height of encoded bytes as their header tells them, without decoding.

    Raises:
        ImageError: No image of a known format, or its header is damaged.
    """
    with _opened(data) as image:
        return Size(*image.size)


def _opened(data: bytes) -> PIL.Image.Image:
    """The image with its header read and no pixel decoded."""
    try:
        return PIL.Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        if _is_svg(data):
            raise ImageError("SVG is not supported: convert it to PNG") from error
        raise ImageError(
            f"not an image of a known format ({', '.join(FORMATS)}), or cut in its header"
        ) from error
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        raise ImageError(f"too many pixels: {_told(error)}") from error
    except Exception as error:
        raise ImageError(f"the image header is damaged: {_told(error)}") from error


def _is_svg(data: bytes) -> bool:
    head = data[:_SNIFFED].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return head.startswith((b"<svg", b"<?xml", b"<!--", b"<!doctype")) and b"<svg" in head


def _check_size(size: tuple[int, int], limits: ImageLimits) -> None:
    width, height = size
    told = f"{width} x {height} pixels"
    if min(size) < limits.min_side:
        raise ImageError(f"{told}: a side is under {limits.min_side}")
    if width * height > limits.max_pixels:
        raise ImageError(f"{told} are over the limit of {limits.max_pixels:,}")
    if max(size) > limits.max_aspect * min(size):
        raise ImageError(f"{told}: one side is over {limits.max_aspect} times the other")


def _is_sixteen_bit(data: bytes, mode: str) -> bool:
    """Whether channels have 16 bits; Pillow tells it of grey images only."""
    if data.startswith(_PNG_SIGNATURE):
        return data[_PNG_DEPTH] == 16
    return mode.startswith("I;16")


def _to_rgb(image: PIL.Image.Image, *, sixteen_bit: bool) -> Decoded:
    notes: list[str] = []
    if getattr(image, "is_animated", False):
        notes.append("only the first of several frames is used")
    # Read before loading: some decoders turn the image themselves and drop the tag.
    turned = image.getexif().get(_ORIENTATION, 1) in range(2, 9)
    image.load()
    if turned:
        notes.append("turned upright by its EXIF orientation")
    upright = ImageOps.exif_transpose(image) if turned else image
    if sixteen_bit:
        notes.append("16-bit channels scaled to 8 bits")
    return Decoded(_opaque(_eight_bit(upright), notes), tuple(notes))


def _eight_bit(image: PIL.Image.Image) -> PIL.Image.Image:
    if image.mode.startswith("I;16"):
        high = (np.asarray(image) >> 8).astype(np.uint8)
        return PIL.Image.fromarray(high)
    if image.mode in ("I", "F"):
        raise ImageError(f"pixels of mode {image.mode} have no defined range: save it as 8-bit")
    return image


def _opaque(image: PIL.Image.Image, notes: list[str]) -> PIL.Image.Image:
    """RGB pixels of an image of 8-bit channels; appends what was converted to `notes`."""
    mode = image.mode
    if mode == "P":
        notes.append("palette converted")
    elif mode == "CMYK":
        notes.append("CMYK converted")
    elif mode in ("1", "L", "LA", "La"):
        notes.append("greyscale converted")
    elif mode not in ("RGB", "RGBA"):
        notes.append(f"{mode} converted")
    if mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        notes.append("transparency laid over white")
        layered = image.convert("RGBA")
        # The alpha band is the mask; pasting is exact where it is 0 or 255.
        paper = PIL.Image.new("RGB", layered.size, "white")
        paper.paste(layered, mask=layered.getchannel("A"))
        return paper
    return image.convert("RGB")


def _told(error: BaseException) -> str:
    return str(error) or type(error).__name__
