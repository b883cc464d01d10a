"""The probes: variants of an input, and what is measured of the scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from vilbench.diagnostics.probes import boundaries, calls, pictures, rewording
from vilbench.diagnostics.probes.attacks import ATTACKS, CONTROL
from vilbench.diagnostics.probes.measures import (
    Bounds,
    Change,
    Reading,
    attack,
    consistency,
    reliance,
)
from vilbench.diagnostics.probes.variants import Variant
from vilbench.types import Granularity

Measure = Callable[[Sequence[Change], Bounds, Sequence[Change]], Iterator[Reading]]
"""Figures of a variant's changes, on a scale, beside those of the probe's control."""


@dataclass(frozen=True)
class Probe:
    """A kind of change, with several variants of it.

    Attributes:
        name: As the command line has it.
        told: What it asks, in a line.
        variants: What is scored; those of another probe are shared with it.
        measure: What is measured of each variant.
        control: A variant that the others are held against candidate by candidate.
        against: The variant that takes the place of the stored scores.
        by_modality: Measure each modality by itself, too.
        steps_only: It says nothing about scorers of whole solutions.
    """

    name: str
    told: str
    variants: tuple[Variant, ...]
    measure: Measure
    control: Variant | None = None
    against: Variant | None = None
    by_modality: bool = False
    steps_only: bool = False

    def suits(self, granularity: Granularity) -> bool:
        """Whether a scorer of this granularity can be probed."""
        return granularity == "step" or not self.steps_only

    @property
    def scored(self) -> tuple[Variant, ...]:
        """All variants that have to be scored."""
        return self.variants if self.against is None else (self.against, *self.variants)


def _consistent(
    changes: Sequence[Change], bounds: Bounds, control: Sequence[Change]
) -> Iterator[Reading]:
    return consistency(changes)


def _reliant(
    changes: Sequence[Change], bounds: Bounds, control: Sequence[Change]
) -> Iterator[Reading]:
    return reliance(changes)


PROBES: Mapping[str, Probe] = MappingProxyType(
    {
        probe.name: probe
        for probe in (
            Probe(
                "rescoring",
                "does the same input get the same score again?",
                (calls.AGAIN, calls.APART),
                _consistent,
            ),
            Probe(
                "order",
                "does the order of the candidates matter?",
                (calls.REVERSED, calls.SHUFFLED),
                _consistent,
                against=calls.AGAIN,
            ),
            Probe(
                "paraphrase",
                "do steps of the same meaning get the same score?",
                (
                    rewording.WORDING,
                    rewording.OPERANDS,
                    rewording.CONNECTIVE,
                    rewording.NUMBER_WORDS,
                    rewording.FULL_STOP,
                    rewording.SPACING,
                ),
                _consistent,
            ),
            Probe(
                "boundaries",
                "does it matter where steps begin?",
                (boundaries.MERGED, boundaries.WHOLE, boundaries.SENTENCES, boundaries.HALVES),
                _consistent,
                steps_only=True,
            ),
            Probe(
                "image",
                "what of the selection survives without the right picture?",
                (pictures.BLANK, pictures.SWAPPED, pictures.NOISED),
                _reliant,
                by_modality=True,
            ),
            Probe(
                "attack",
                "do texts that deserve nothing get a good score?",
                (*ATTACKS, CONTROL),
                attack,
                control=CONTROL,
            ),
        )
    }
)
"""All probes by name, in the order of the report."""
