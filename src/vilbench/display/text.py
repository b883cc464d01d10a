"""Hostile text made harmless to look at: nothing hidden, nothing that steers a terminal.

Model output, problem text and names reach a terminal and a browser. Escaping for HTML is
the template engine's job; this module takes care of what escaping leaves in place: control
characters, terminal escapes, marks that reorder a line, characters that have no glyph.
"""

from __future__ import annotations

import re
import unicodedata

NAME_LIMIT = 80
"""Most characters of a name (method, scorer, model, problem id) that are shown."""

_CRLF = re.compile(r"\r\n")

# Letters and symbols by category, yet drawn as nothing: Hangul fillers, blank Braille.
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800")
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Cs", "Co", "Zl", "Zp"})


class _Glyphs(dict[int, str]):
    """Code point -> what is shown, filled as characters are met (for `str.translate`)."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if code < 0x20:
            shown = chr(0x2400 + code)
        elif code == 0x7F:
            shown = "\u2421"
        elif char in _BLANK or unicodedata.category(char) in _HIDDEN_CATEGORIES:
            shown = f"⟨U+{code:04X}⟩"
        else:
            shown = char
        self[code] = shown
        return shown


_LINE_GLYPHS = _Glyphs()
_TEXT_GLYPHS = _Glyphs({0x09: "\t", 0x0A: "\n"})


def visible(text: str, limit: int | None = None, *, lines: bool = False) -> str:
    r"""`text` with every invisible or steering character shown as a visible sign.

    C0 controls become their control picture (ESC is "␛"), everything else without a glyph
    (C1 controls, bidirectional and zero-width marks, lone surrogates, line separators)
    becomes its code point ("⟨U+202E⟩"). The result holds no character that a terminal
    obeys. Takes time linear in the part that is shown.

    Args:
        text: Anything.
        limit: Most characters of `text` that are shown; what is left out is counted.
        lines: Keep line breaks and tabs; without it the result is one line.
    """
    left_out = 0 if limit is None else max(0, len(text) - limit)
    shown = text[: len(text) - left_out]
    if lines:
        shown = _CRLF.sub("\n", shown).translate(_TEXT_GLYPHS)
    else:
        shown = shown.translate(_LINE_GLYPHS)
    return f"{shown}… ({left_out:,} more characters)" if left_out else shown


def name(text: str) -> str:
    """A name as one short visible line."""
    return visible(text, NAME_LIMIT)
