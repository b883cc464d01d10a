"""Parts of the problems that are reported on their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vilbench.metrics import Bootstrap
from vilbench.problems.clusters import clusters
from vilbench.types import Problem

ALL = "all"


@dataclass(frozen=True)
class Slice:
    """Some of the problems, by their places; `source` or `modality` "all" restricts nothing."""

    source: str
    modality: str
    places: NDArray[np.intp]
    bootstrap: Bootstrap

    @property
    def whole(self) -> bool:
        """Whether it is all of the problems."""
        return self.source == ALL and self.modality == ALL


def slices(problems: Sequence[Problem]) -> Iterator[Slice]:
    """All problems, then by modality, by source, and by both, without the empty ones.

    Versions of one another are drawn together (`problems.clusters`).
    """
    kin = np.array(clusters(problems), dtype=np.intp)
    sources = [problem.source for problem in problems]
    modalities = [problem.modality for problem in problems]
    for source in (ALL, *dict.fromkeys(sources)):
        for modality in (ALL, *dict.fromkeys(modalities)):
            places = [
                place
                for place, (one, other) in enumerate(zip(sources, modalities, strict=True))
                if source in (ALL, one) and modality in (ALL, other)
            ]
            if places:
                bootstrap = Bootstrap(len(places), clusters=kin[places])
                yield Slice(source, modality, np.array(places), bootstrap)
