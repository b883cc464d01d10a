"""Figures of the literature, to be shown beside ours: none of them is measured here."""

from __future__ import annotations

from collections.abc import Mapping

from vilbench.problems import processbench, stepwise
from vilbench.stepbench.records import PublishedFigure

_VISUALPRM = "VisualPRM (arXiv 2503.10291)"

PUBLISHED: Mapping[str, tuple[PublishedFigure, ...]] = {
    stepwise.TITLE: tuple(
        PublishedFigure(model=model, measure="macro-F1", value=value, source=_VISUALPRM)
        for model, value in (
            ("VisualPRM-8B", 0.620),
            ("GPT-4o", 0.603),
            ("Gemini-2.0-Flash", 0.623),
            ("InternVL2.5-8B", 0.480),
            ("random", 0.500),
        )
    ),
    processbench.TITLE: (),
}
"""By the title of a benchmark."""
