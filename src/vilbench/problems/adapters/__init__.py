"""Public data sets of problems, one module each; `SOURCES` names them."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping

from vilbench.errors import InputError
from vilbench.problems.adapters.source import Source

SOURCES: Mapping[str, str] = {
    "mmstar": "mmstar",
    "mmmu-pro": "mmmu_pro",
    "mathvista": "mathvista",
    "mathverse": "mathverse",
    "realworldqa": "realworldqa",
    "vilbench": "vilbench",
    "mavis-geometry": "mavis_geometry",
    "a-okvqa": "aokvqa",
    "geoqa170k": "geoqa170k",
    "clevr-math": "clevr_math",
    "scienceqa": "scienceqa",
}
"""Module of each source; it has a constant `SOURCE`."""


def find(name: str) -> Source:
    """A source by its name.

    Raises:
        InputError: There is none.
    """
    if name not in SOURCES:
        near = difflib.get_close_matches(name[:40], SOURCES, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else f"; there are {', '.join(SOURCES)}"
        raise InputError(f"'{name}' is no known source{hint}")
    found: Source = importlib.import_module(f"{__name__}.{SOURCES[name]}").SOURCE
    return found
