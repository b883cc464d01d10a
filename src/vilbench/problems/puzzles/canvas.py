"""Drawing: a 128 x 128 picture on a lattice of 4 x 4 cells, from an explicit random stream.

Objects keep to the cells of the lattice (32 pixels, one merged vision token of the
embedded models) with a small jitter, so that a person and a tiny model can read them.
Glyphs are bitmaps of our own: pictures do not depend on installed fonts.
"""

from __future__ import annotations

import io
import random
from typing import NamedTuple

from PIL import Image, ImageDraw

SIDE = 128
CELL = 32
CELLS = SIDE // CELL

COLORS = {
    "red": (214, 48, 49),
    "green": (39, 158, 72),
    "blue": (45, 92, 214),
    "yellow": (232, 190, 22),
}
SHAPES = ("circle", "square", "triangle", "cross")
INK = (24, 24, 28)
RULE = (150, 150, 155)

_GLYPHS = {
    "0": "01110 10001 10011 10101 11001 10001 01110",
    "1": "00100 01100 00100 00100 00100 00100 01110",
    "2": "01110 10001 00001 00110 01000 10000 11111",
    "3": "11110 00001 00001 01110 00001 00001 11110",
    "4": "00010 00110 01010 10010 11111 00010 00010",
    "5": "11111 10000 11110 00001 00001 10001 01110",
    "6": "00110 01000 10000 11110 10001 10001 01110",
    "7": "11111 00001 00010 00100 01000 01000 01000",
    "8": "01110 10001 10001 01110 10001 10001 01110",
    "9": "01110 10001 10001 01111 00001 00010 01100",
    "+": "00000 00100 00100 11111 00100 00100 00000",
    "-": "00000 00000 00000 11111 00000 00000 00000",
    "*": "00000 10001 01010 00100 01010 10001 00000",
    "?": "01110 10001 00001 00110 00100 00000 00100",
    "A": "01110 10001 10001 11111 10001 10001 10001",
    "B": "11110 10001 10001 11110 10001 10001 11110",
}


class Cell(NamedTuple):
    """A place on the lattice; row 1 is the top, column 1 the left."""

    row: int
    column: int

    @property
    def words(self) -> str:
        """As solutions write it."""
        return f"row {self.row}, column {self.column}"

    @property
    def corner(self) -> tuple[int, int]:
        """Pixel `(x, y)` of the upper left corner."""
        return (self.column - 1) * CELL, (self.row - 1) * CELL


class Canvas:
    """A picture in the making; every jitter comes from the stream given."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        shade = rng.randint(238, 255)
        self.image = Image.new("RGB", (SIDE, SIDE), (shade, shade, shade))
        self.draw = ImageDraw.Draw(self.image)

    def tint(self, color: str) -> tuple[int, int, int]:
        """The named colour, slightly varied."""
        red, green, blue = (
            max(0, min(255, part + self._rng.randint(-14, 14))) for part in COLORS[color]
        )
        return red, green, blue

    def shape(self, cell: Cell, color: str, shape: str) -> None:
        """A filled shape in the middle of a cell."""
        radius = self._rng.randint(10, 12)
        left, top = cell.corner
        x = left + CELL // 2 + self._rng.randint(-2, 2)
        y = top + CELL // 2 + self._rng.randint(-2, 2)
        fill = self.tint(color)
        if shape == "circle":
            self.draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=fill)
        elif shape == "square":
            side = radius - 1
            self.draw.rectangle([x - side, y - side, x + side, y + side], fill=fill)
        elif shape == "triangle":
            corners = [(x, y - radius), (x - radius, y + radius - 1), (x + radius, y + radius - 1)]
            self.draw.polygon(corners, fill=fill)
        else:
            self.draw.rectangle([x - radius, y - 3, x + radius, y + 3], fill=fill)
            self.draw.rectangle([x - 3, y - radius, x + 3, y + radius], fill=fill)

    def text(self, cell: Cell, text: str) -> None:
        """Up to two glyphs, twice magnified, side by side in the lower half of a cell.

        Each glyph keeps to one quarter of the cell, which is one patch of the embedded
        models' vision towers.
        """
        left, top = cell.corner
        quarter = CELL // 2
        start = left if len(text) > 1 else left + quarter // 2
        for number, character in enumerate(text):
            x = start + number * quarter + 3 + self._rng.randint(-1, 1)
            y = top + quarter + 1 + self._rng.randint(-1, 1)
            self.glyphs(x, y, character, 2, INK)

    def glyphs(self, x: int, y: int, text: str, scale: int, fill: tuple[int, int, int]) -> None:
        """Glyphs from the upper left pixel on, each 5 x 7 dots of `scale` pixels."""
        for number, character in enumerate(text):
            left = x + number * 6 * scale
            for row, dots in enumerate(_GLYPHS[character].split()):
                for column, dot in enumerate(dots):
                    if dot == "1":
                        a, b = left + column * scale, y + row * scale
                        self.draw.rectangle([a, b, a + scale - 1, b + scale - 1], fill=fill)

    def png(self) -> bytes:
        """The picture as PNG."""
        buffer = io.BytesIO()
        self.image.save(buffer, format="PNG")
        return buffer.getvalue()
