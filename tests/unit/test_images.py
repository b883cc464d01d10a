import io
import struct
import zlib
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vilbench import images, types
from vilbench.errors import ImageError
from vilbench.images import ImageLimits, check, decode, extension
from vilbench.types import BytesSource, FileSource


def encoded(image: PIL.Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def raw_png(
    width: int, height: int, depth: int, colour: int, rows: bytes, extra: bytes = b""
) -> bytes:
    """A PNG written by hand: Pillow cannot write every kind that it reads."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + body + chunk(b"IEND", b"")


def noise(width: int = 40, height: int = 30) -> PIL.Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return PIL.Image.fromarray(pixels)


def half(left: Any, right: Any, mode: str) -> PIL.Image.Image:
    """4 x 2 pixels, the left half in one colour and the right half in another."""
    image = PIL.Image.new(mode, (4, 2), left)
    image.paste(right, (2, 0, 4, 2))
    return image


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG"])
def test_every_format_gives_rgb_of_the_same_size(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    decoded = decode(encoded(noise(), kind, **options))
    assert (decoded.image.mode, decoded.image.size) == ("RGB", (40, 30))
    if kind in ("PNG", "WEBP", "BMP", "TIFF"):
        assert decoded.image.tobytes() == noise().tobytes()
        assert decoded.notes == ()


def test_result_is_a_plain_image_that_holds_no_file() -> None:
    assert type(decode(encoded(noise())).image) is PIL.Image.Image


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "0 bytes"),
        (b"hello, world", "not an image"),
        (b"\x00" * 5000, "not an image"),
        (b"%PDF-1.7\n", "not an image"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b'\xef\xbb\xbf <?xml version="1.0"?>\n<!-- x --><svg></svg>', "SVG"),
        (b"<!-- made by hand --><svg></svg>", "SVG"),
        (b"<html><p>404</p></html>", "not an image"),
    ],
)
def test_what_is_no_image_is_named(data: bytes, says: str) -> None:
    with pytest.raises(ImageError, match=says):
        decode(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_truncated_is_refused(kind: str, share: float) -> None:
    data = encoded(noise(), kind)
    with pytest.raises(ImageError):
        decode(data[: int(len(data) * share)])


def test_damaged_pixels_are_refused() -> None:
    data = bytearray(encoded(noise()))
    middle = len(data) // 2
    data[middle : middle + 64] = b"\xff" * 64
    with pytest.raises(ImageError, match="damaged or truncated"):
        decode(bytes(data))


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1)])
def test_too_small(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match="under 2"):
        decode(encoded(PIL.Image.new("RGB", size)))


def test_limits_are_inclusive() -> None:
    data = encoded(PIL.Image.new("RGB", (20, 10)))
    exact = ImageLimits(max_pixels=200, max_bytes=len(data), min_side=10, max_aspect=2)
    assert decode(data, exact).image.size == (20, 10)
    tighter = [
        ImageLimits(max_pixels=199),
        ImageLimits(max_bytes=len(data) - 1),
        ImageLimits(min_side=11),
        ImageLimits(max_aspect=1),
    ]
    for limits, says in zip(tighter, ["199", "bytes", "under 11", "times"], strict=True):
        with pytest.raises(ImageError, match=says):
            decode(data, limits)


def test_extreme_aspect() -> None:
    with pytest.raises(ImageError, match="over 200 times"):
        decode(encoded(PIL.Image.new("1", (402, 2))))
    assert decode(encoded(PIL.Image.new("1", (400, 2)))).image.size == (400, 2)


@pytest.mark.parametrize("side", [8_000, 11_000, 30_000, 2_000_000])
def test_a_bomb_is_refused_before_any_pixel_is_decoded(
    side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(self: object) -> None:
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load, raising=False)
    with (
        pytest.raises(ImageError, match=r"over the limit|too many pixels"),
        pytest.warns(PIL.Image.DecompressionBombWarning) if side == 11_000 else nullcontext(),
    ):
        decode(raw_png(side, side, 1, 0, b"\x00"))


def test_cmyk() -> None:
    decoded = decode(encoded(half((0, 255, 255, 0), (0, 0, 0, 255), "CMYK"), "TIFF"))
    assert decoded.notes == ("CMYK converted",)
    assert decoded.image.getpixel((0, 0)) == (255, 0, 0)
    assert decoded.image.getpixel((3, 1)) == (0, 0, 0)


def test_cmyk_jpeg_is_not_inverted() -> None:
    decoded = decode(encoded(PIL.Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"))
    red, green, blue = np.asarray(decoded.image)[8, 8]
    assert red > 245
    assert green < 10
    assert blue < 10
    assert "CMYK converted" in decoded.notes


def test_palette_and_its_transparency() -> None:
    image = PIL.Image.new("P", (4, 2), 0)
    image.putpalette([10, 20, 30, 200, 0, 0, 0, 0, 255])
    image.paste(1, (2, 0, 4, 2))
    plain = decode(encoded(image))
    assert plain.notes == ("palette converted",)
    assert plain.image.getpixel((0, 0)) == (10, 20, 30)
    clear = decode(encoded(image, transparency=0))
    assert clear.notes == ("palette converted", "transparency laid over white")
    assert clear.image.getpixel((0, 0)) == (255, 255, 255)
    assert clear.image.getpixel((3, 0)) == (200, 0, 0)


def test_alpha_is_laid_over_white() -> None:
    decoded = decode(encoded(half((0, 0, 0, 0), (100, 0, 0, 255), "RGBA")))
    assert decoded.notes == ("transparency laid over white",)
    assert decoded.image.getpixel((0, 0)) == (255, 255, 255)
    assert decoded.image.getpixel((3, 0)) == (100, 0, 0)
    soft = decode(encoded(PIL.Image.new("RGBA", (2, 2), (0, 0, 0, 51))))
    assert soft.image.getpixel((0, 0)) == (204, 204, 204)


def test_grey_with_alpha_and_grey_with_a_clear_shade() -> None:
    decoded = decode(encoded(half((0, 0), (7, 255), "LA")))
    assert decoded.notes == ("greyscale converted", "transparency laid over white")
    assert [decoded.image.getpixel((x, 0)) for x in (0, 3)] == [(255, 255, 255), (7, 7, 7)]
    shade = decode(encoded(half(0, 9, "L"), transparency=9))
    assert [shade.image.getpixel((x, 0)) for x in (0, 3)] == [(0, 0, 0), (255, 255, 255)]


def test_bilevel_and_grey() -> None:
    assert decode(encoded(half(0, 1, "1"))).image.getpixel((3, 0)) == (255, 255, 255)
    decoded = decode(encoded(half(0, 128, "L")))
    assert decoded.notes == ("greyscale converted",)
    assert decoded.image.getpixel((3, 0)) == (128, 128, 128)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_not_clipped(kind: str) -> None:
    shades = np.array([[0, 0x1234, 0x80FF, 0xFFFF]] * 2, dtype=np.uint16)
    decoded = decode(encoded(PIL.Image.fromarray(shades), kind))
    assert [decoded.image.getpixel((x, 1)) for x in range(4)] == [
        (shade,) * 3 for shade in (0, 0x12, 0x80, 255)
    ]
    assert "16-bit channels scaled to 8 bits" in decoded.notes


def test_sixteen_bit_big_endian_tiff() -> None:
    body = struct.pack(">8H", 0, 0x1234, 0x80FF, 0xFFFF, 0, 0x1234, 0x80FF, 0xFFFF)
    tags = [(256, 4), (257, 2), (258, 16), (259, 1), (262, 1), (273, 8), (277, 1), (278, 2)]
    tags.append((279, len(body)))
    entries = b"".join(
        struct.pack(">HHI", tag, 4, 1) + struct.pack(">I", value) for tag, value in tags
    )
    ifd = struct.pack(">H", len(tags)) + entries + struct.pack(">I", 0)
    data = b"MM\x00*" + struct.pack(">I", 8 + len(body)) + body + ifd
    decoded = decode(data)
    assert np.asarray(decoded.image)[0, :, 0].tolist() == [0, 0x12, 0x80, 255]


def test_sixteen_bit_colour_png() -> None:
    row = b"\x00" + struct.pack(">6H", 0x1234, 0, 0xFFFF, 0x8000, 0x00FF, 0)
    decoded = decode(raw_png(2, 2, 16, 2, row * 2))
    assert decoded.image.getpixel((0, 0)) == (0x12, 0, 255)
    assert decoded.image.getpixel((1, 1)) == (0x80, 0, 0)
    assert decoded.notes == ("16-bit channels scaled to 8 bits",)


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_without_a_range_are_refused(mode: str) -> None:
    with pytest.raises(ImageError, match="no defined range"):
        decode(encoded(PIL.Image.new(mode, (4, 4), 3), "TIFF"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_exif_rotation_is_applied_once(kind: str) -> None:
    image = PIL.Image.new("RGB", (32, 16), "white")
    image.paste("black", (0, 0, 16, 16))  # black on the left
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise: black on top
    decoded = decode(encoded(image, kind, exif=exif))
    assert decoded.image.size == (16, 32)
    assert np.asarray(decoded.image)[4, 8, 0] < 60
    assert np.asarray(decoded.image)[28, 8, 0] > 200
    assert "turned upright by its EXIF orientation" in decoded.notes


def test_upright_exif_is_no_news() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 1
    assert decode(encoded(noise(), "PNG", exif=exif)).notes == ()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animated_gives_the_first_frame(kind: str) -> None:
    frames = [PIL.Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    decoded = decode(data)
    assert decoded.image.getpixel((4, 4)) == (255, 0, 0)
    assert "only the first of several frames is used" in decoded.notes


def test_wrong_extension_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "really_a_png.jpg"
    path.write_bytes(encoded(noise()))
    assert check(types.Image.of(FileSource(path))).image.tobytes() == noise().tobytes()


def test_check_notices_changed_and_missing_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(noise()))
    image = types.Image.of(FileSource(path))
    path.write_bytes(encoded(PIL.Image.new("RGB", (4, 4))))
    with pytest.raises(ImageError, match="changed"):
        check(image)
    path.unlink()
    with pytest.raises(ImageError, match=r"a\.png"):
        check(image)


def test_check_obeys_limits() -> None:
    image = types.Image.of(BytesSource(encoded(noise())))
    with pytest.raises(ImageError, match="over the limit of 100"):
        check(image, ImageLimits(max_pixels=100))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("PNG", "png"),
        ("JPEG", "jpg"),
        ("WEBP", "webp"),
        ("GIF", "gif"),
        ("BMP", "bmp"),
        ("TIFF", "tif"),
    ],
)
def test_extension(kind: str, name: str) -> None:
    assert extension(encoded(noise(), kind)) == name


def test_extension_of_no_image() -> None:
    assert extension(b"hello") == "bin"
    assert extension(b"") == "bin"


@given(st.data())
def test_damaged_bytes_give_an_image_or_an_image_error(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(images.FORMATS))
    body = bytearray(encoded(noise(12, 9), kind))
    for _ in range(data.draw(st.integers(1, 8))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = decode(bytes(body[: data.draw(st.integers(0, len(body)))]))
    except ImageError:
        return
    assert decoded.image.mode == "RGB"
