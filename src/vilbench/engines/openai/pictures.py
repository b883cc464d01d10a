"""Images as servers are sent them: data URLs, made once for each content and policy."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import math
from collections import OrderedDict
from dataclasses import dataclass

import PIL.Image

from vilbench.engines.openai.estimate import Detail
from vilbench.errors import ImageError
from vilbench.images import Size, check, extension
from vilbench.types import Image

_SENT_AS_THEY_ARE = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}
_LOSSY = ("jpg", "webp")
_QUALITY = 95
_KEPT_BYTES = 256 << 20


@dataclass(frozen=True)
class ImagePolicy:
    """What a server is sent of an image.

    An upright, opaque RGB picture in PNG, JPEG or WebP that keeps the limits is sent byte by
    byte as it is. Any other is decoded as `vilbench.images` does it and encoded anew: as JPEG
    of quality 95 where it came as JPEG or WebP or is too large as PNG, else as PNG.

    Attributes:
        max_pixels: An image of more pixels is made smaller, with its proportions kept.
        max_bytes: Most encoded bytes.
        detail: The hint of that name; None sends none.
    """

    max_pixels: int = 4_000_000
    max_bytes: int = 15_000_000
    detail: Detail | None = None

    @property
    def fingerprint(self) -> str:
        """Changes with whatever changes what is sent."""
        return f"images@1-{self.max_pixels}-{self.max_bytes}-{self.detail}"


@dataclass(frozen=True)
class Picture:
    """An image that is ready to be sent.

    Attributes:
        part: The JSON text of its part of a message.
        size: Pixels that are sent.
    """

    part: bytes
    size: Size


class Pictures:
    """The pictures made so far, the least recently used dropped above 256 MB.

    Args:
        policy: What is sent of an image.

    Attributes:
        made: Images encoded.
    """

    def __init__(self, policy: ImagePolicy) -> None:
        self._policy = policy
        self._kept: OrderedDict[str, Picture] = OrderedDict()
        self._bytes = 0
        self._making: dict[str, asyncio.Task[Picture]] = {}
        self.made = 0

    async def of(self, image: Image) -> Picture:
        """The picture of an image; many that ask at once wait for one making.

        Raises:
            ImageError: It cannot be read or sent.
        """
        kept = self._kept.get(image.digest)
        if kept is not None:
            self._kept.move_to_end(image.digest)
            return kept
        making = self._making.get(image.digest)
        if making is None:
            making = asyncio.create_task(asyncio.to_thread(picture, image, self._policy))
            self._making[image.digest] = making
            making.add_done_callback(lambda done: self._keep(image.digest, done))
        # Whoever is cancelled must not take it from the others.
        return await asyncio.shield(making)

    def _keep(self, digest: str, done: asyncio.Task[Picture]) -> None:
        del self._making[digest]
        if done.cancelled() or done.exception() is not None:
            return
        self.made += 1
        self._kept[digest] = done.result()
        self._bytes += len(done.result().part)
        while self._bytes > _KEPT_BYTES and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= len(dropped.part)


def picture(image: Image, policy: ImagePolicy) -> Picture:
    """An image by a policy.

    Raises:
        ImageError: It cannot be read, or is too large however it is encoded.
    """
    decoded = check(image)
    data = image.read()
    kind = extension(data)
    pixels = decoded.image
    plain = not decoded.notes and kind in _SENT_AS_THEY_ARE
    if pixels.width * pixels.height > policy.max_pixels:
        pixels = _smaller(pixels, policy.max_pixels)
        plain = False
    if not plain or len(data) > policy.max_bytes:
        kind = "jpg" if kind in _LOSSY else "png"
        data = _encoded(pixels, kind)
        if len(data) > policy.max_bytes and kind == "png":
            kind, data = "jpg", _encoded(pixels, "jpg")
    if len(data) > policy.max_bytes:
        raise ImageError(f"{len(data):,} bytes are over the limit of {policy.max_bytes:,}")
    url = f"data:{_SENT_AS_THEY_ARE[kind]};base64,{base64.b64encode(data).decode()}"
    told = {"url": url} if policy.detail is None else {"url": url, "detail": policy.detail}
    part = json.dumps({"type": "image_url", "image_url": told}).encode()
    return Picture(part, Size(*pixels.size))


def _smaller(image: PIL.Image.Image, max_pixels: int) -> PIL.Image.Image:
    scale = math.sqrt(max_pixels / (image.width * image.height))
    size = (max(1, int(image.width * scale)), max(1, int(image.height * scale)))
    return image.resize(size, PIL.Image.Resampling.LANCZOS)


def _encoded(image: PIL.Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "jpg":
        image.save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    else:
        image.save(buffer, "PNG")
    return buffer.getvalue()
