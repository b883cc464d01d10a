"""How figures look: the page's palette, one size of letters, and settings of matplotlib.

matplotlib is imported by what draws, when it draws. Figures are written with the light
colours of `display/colours.css`; in the page a rule per colour replaces each by its variable,
so that they follow a dark screen too. A file on its own keeps the light colours.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.resources import files

WIDTH = 400.0
"""Width of a figure in its own units; a phone shows it at about nine tenths."""

LABEL, TICK, SMALL = 12.0, 11.0, 10.0
"""Sizes of letters in the same units: names and values, axes, asides."""

_ROOT = re.compile(r":root\s*\{(.*?)\}", re.DOTALL)
_COLOUR = re.compile(r"--([a-z0-9]+):\s*(#[0-9a-fA-F]{3,6})")
_SHORT = re.compile(r"#([0-9a-fA-F])([0-9a-fA-F])([0-9a-fA-F])$")

# Ink upon the levels of a heat map is the page's ink, yet another variable on a dark screen:
# a shade apart, which nobody sees, so that a rule can tell them from it.
_UPON = {f"i{level}": f"#1d202{digit}" for level, digit in zip(range(1, 6), "12356", strict=True)}
_NOT_DRAWN = ("panel", "link", "best", "up", "down")
_UPON |= {"i0": "#fffffe", "i6": "#fffffd"}

_SETTINGS: Mapping[str, object] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "vilbench",
    "text.parse_math": False,
    "text.usetex": False,
    "font.family": "DejaVu Sans",
    "font.size": LABEL,
    "axes.unicode_minus": True,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.spines.bottom": False,
    "path.simplify": False,
}


@cache
def palette() -> Mapping[str, str]:
    """Role -> its light colour as `#rrggbb`; the roles are the variables of the page."""
    css = files("vilbench.display").joinpath("colours.css").read_text(encoding="utf-8")
    light = _ROOT.search(css)
    found = _COLOUR.findall(light.group(1)) if light else []
    roles = {role: _SHORT.sub(r"#\1\1\2\2\3\3", value.lower())[:7] for role, value in found}
    return roles | _UPON


def colour(role: str) -> str:
    """The light colour of a role.

    Raises:
        KeyError: There is no such role.
    """
    return palette()[role]


@cache
def rules() -> str:
    """Style rules that give figures in the page the page's colours."""
    first: dict[str, str] = {}
    for role, value in palette().items():
        if role in _NOT_DRAWN:
            continue
        first.setdefault(value, role)
    return "".join(
        f'.chart [fill="{value}"]{{fill:var(--{role})}}'
        f'.chart [stroke="{value}"]{{stroke:var(--{role})}}\n'
        for value, role in first.items()
    )


@contextmanager
def drawing() -> Iterator[None]:
    """The settings under which every figure is made and written.

    Letters are text and never formulas, and names of parts do not differ from one time to the
    next. Glyphs that the measuring font lacks are no reason to warn: a browser has others.
    """
    import matplotlib as mpl

    with mpl.rc_context(dict(_SETTINGS)), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield
