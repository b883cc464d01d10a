"""Visible text with places to break lines at, for templates."""

from __future__ import annotations

import re

from markupsafe import Markup

from vilbench.display.text import name

_JOINTS = re.compile(r"(?<=[/:])")


def label(text: str) -> Markup:
    """A name that may wrap after a slash or a colon before it wraps anywhere else."""
    return Markup('<span class="name">{}</span>').format(
        Markup("<wbr>").join(_JOINTS.split(name(text)))
    )
