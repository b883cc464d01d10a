"""The diagnostics as the report shows them, and what of them is worth a line by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from vilbench.diagnostics.probes.measures import MEASURES
from vilbench.diagnostics.probes.records import ProbeFinding
from vilbench.diagnostics.probes.telling import main_ones
from vilbench.diagnostics.records import (
    Agreement,
    Bias,
    Consistency,
    Diagnostics,
    Figure,
    Fit,
    Overrating,
    Reliability,
    Transfer,
)
from vilbench.display import numerals
from vilbench.display.text import name
from vilbench.report.findings import FEWEST

TOLD = 2
"""Most alarms of a scorer on the terminal."""

_EXCESS = 0.05
_CEILING = 0.25
_RHO = 0.1
_LEVEL = 0.05
_NOISE = 0.02
_TIES = 0.25

FITS: Mapping[Fit, str] = {"none": "as given", "platt": "Platt", "isotonic": "isotonic"}
"""How values became chances, in words."""

_TRAITS = {
    "characters": "length in characters",
    "tokens": "length in tokens",
    "steps": "number of steps",
    "candidate": "place in the pool",
    "step number": "number of the step",
}


@dataclass(frozen=True)
class Alarm:
    """Something that is off with a scorer; the larger `weight`, the earlier it is told."""

    scorer: str
    text: str
    weight: float


@dataclass(frozen=True)
class Cell:
    """A cell of the matrix of scorers; None is the scorer itself, or nothing to tell."""

    agreement: Agreement | None


@dataclass(frozen=True)
class Line:
    """A row of the matrix."""

    scorer: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Diagnosis:
    """What is shown of a record; each property is empty where there is nothing."""

    record: Diagnostics

    @property
    def few(self) -> bool:
        """Whether there are too few problems to tell anything."""
        return self.record.n_problems < FEWEST

    @property
    def reliability(self) -> tuple[Reliability, ...]:
        """Calibration, every fit."""
        return self.record.reliability

    @property
    def overrating(self) -> tuple[Overrating, ...]:
        """Overrating on bounded scales."""
        return self.record.overrating

    @cached_property
    def bias(self) -> tuple[Bias, ...]:
        """Biases of the standing methods and of step values, where they can be told."""
        stands = {one.method for one in self.record.consistency}
        return tuple(
            one
            for one in self.record.bias
            if one.rho.value is not None and (one.method is None or one.method in stands)
        )

    @cached_property
    def other_bias(self) -> tuple[Bias, ...]:
        """Those of the other methods."""
        shown = set(self.bias)
        return tuple(
            one for one in self.record.bias if one.rho.value is not None and one not in shown
        )

    @cached_property
    def matrix(self) -> tuple[Line, ...]:
        """How alike every two scorers rank, a row and a column each."""
        found = {(one.scorer, one.other): one for one in self.record.agreement}
        found |= {(other, one): both for (one, other), both in found.items()}
        names = [one for one in self.record.scorers if any(one in pair for pair in found)]
        return tuple(
            Line(one, tuple(Cell(found.get((one, other))) for other in names)) for one in names
        )

    @property
    def transfer(self) -> tuple[Transfer, ...]:
        """Choices of elsewhere."""
        return self.record.transfer

    @property
    def consistency(self) -> tuple[Consistency, ...]:
        """Equal solutions and ties."""
        return self.record.consistency

    @property
    def probes(self) -> tuple[ProbeFinding, ...]:
        """What scoring anew has shown: the main figures."""
        return main_ones(self.record.probes)

    @property
    def measures(self) -> tuple[tuple[str, str], ...]:
        """What the probes measured, each in a sentence."""
        names = dict.fromkeys(one.measure for one in self.probes)
        return tuple((one, MEASURES[one]) for one in names if one in MEASURES)

    @cached_property
    def alarms(self) -> tuple[Alarm, ...]:
        """What is clearly off and large enough to matter, the worst first.

        A handful of problems shows nothing, however short its intervals are.
        """
        if self.few:
            return ()
        every = [
            *_overrated(self.record.overrating),
            *_biased(self.bias),
            *_wavering(self.record.consistency),
            *_opposed(self.record.agreement),
            *_astray(self.record.transfer),
        ]
        return tuple(sorted(every, key=lambda one: -one.weight))

    @cached_property
    def remarks(self) -> tuple[str, ...]:
        """A line for the terminal about each scorer with alarms: its worst ones."""
        lines = []
        for scorer in dict.fromkeys(one.scorer for one in self.alarms):
            texts = [one.text for one in self.alarms if one.scorer == scorer]
            more = [f"and {len(texts) - TOLD} more in the report"] if len(texts) > TOLD else []
            lines.append(f"{name(scorer)}: {'; '.join([*texts[:TOLD], *more])}")
        return tuple(lines)


def figure(one: Figure) -> str:
    """A number with three decimals."""
    return numerals.MISSING if one.value is None else numerals.decimal(one.value, 3)


def span(one: Figure) -> str:
    """Its interval."""
    if one.low is None or one.high is None:
        return numerals.MISSING
    return f"{numerals.decimal(one.low, 3)} to {numerals.decimal(one.high, 3)}"


def measured(one: ProbeFinding) -> str:
    """What a probe measured: a share in percent, anything else with three decimals."""
    if one.value is None:
        return numerals.MISSING
    if one.unit == "share":
        return f"{numerals.percent(one.value)} %"
    return numerals.decimal(one.value, 3)


def measured_span(one: ProbeFinding) -> str:
    """Its interval."""
    if one.low is None or one.high is None:
        return numerals.MISSING
    if one.unit == "share":
        return f"{numerals.percent(one.low)} to {numerals.percent(one.high)}"
    return f"{numerals.decimal(one.low, 3)} to {numerals.decimal(one.high, 3)}"


def clear(one: Figure) -> bool:
    """Whether the interval leaves 0 out."""
    return one.low is not None and one.high is not None and (one.low > 0 or one.high < 0)


def trait(one: Bias) -> str:
    """What a score may follow, in words."""
    return _TRAITS[one.trait]


def fit(one: Reliability) -> str:
    """How its values became chances."""
    return FITS[one.fit]


def what(one: Reliability | Overrating) -> str:
    """What the values speak of."""
    return "steps" if one.method is None else one.method


def _overrated(found: Sequence[Overrating]) -> Iterator[Alarm]:
    for one in found:
        value, low, high = one.excess.value, one.excess.low, one.excess.high
        kind = "steps" if one.unit == "step" else "solutions"
        if value is None or low is None or high is None:
            continue
        if low > _EXCESS or high < -_EXCESS:
            side = "above" if value > 0 else "below"
            yield Alarm(
                one.scorer,
                f"values of {kind} are {numerals.percent(abs(value))} points of the scale {side} "
                f"the share that is right ({numerals.percent(one.truth)} %)",
                abs(value),
            )
        if one.ceiling.low is not None and one.ceiling.low > max(_CEILING, one.truth):
            yield Alarm(
                one.scorer,
                f"{numerals.percent(one.ceiling.value)} % of its values of {kind} are at the "
                f"top of the scale, and {numerals.percent(one.truth)} % are right",
                one.ceiling.low,
            )


def _biased(found: Sequence[Bias]) -> Iterator[Alarm]:
    for one in found:
        rho = one.rho.value
        # The interval alone is short by chance where few problems tell anything.
        likely = one.p_value is not None and one.p_value < _LEVEL
        if rho is not None and abs(rho) >= _RHO and clear(one.rho) and likely:
            word = "rise" if rho > 0 else "fall"
            yield Alarm(
                one.scorer,
                f"values {word} with the {trait(one)} beyond what right or wrong explains "
                f"(rank correlation {figure(one.rho)})",
                abs(rho),
            )


def _wavering(found: Sequence[Consistency]) -> Iterator[Alarm]:
    for one in found:
        if one.noise.low is not None and one.noise.low > _NOISE:
            yield Alarm(
                one.scorer,
                f"equal solutions score differently in {numerals.percent(one.unequal.value)} % "
                f"of {numerals.count(one.n_groups)} groups",
                one.noise.low,
            )
        if one.top_ties.low is not None and one.top_ties.low > _TIES:
            yield Alarm(
                one.scorer,
                f"different solutions tie for the best score in "
                f"{numerals.percent(one.top_ties.value)} % of the problems",
                one.top_ties.low,
            )


def _opposed(found: Sequence[Agreement]) -> Iterator[Alarm]:
    """Told of the one of the two that agrees less with all scorers."""
    alike: dict[str, float] = {}
    for one in found:
        for scorer in (one.scorer, one.other):
            alike[scorer] = alike.get(scorer, 0.0) + (one.kendall.value or 0.0)
    for one in found:
        if one.kendall.high is not None and one.kendall.high < 0:
            pair = (one.scorer, one.other)
            odd, other = pair if alike[one.scorer] <= alike[one.other] else pair[::-1]
            yield Alarm(
                odd,
                f"ranks against {name(other)} within problems (tau {figure(one.kendall)})",
                -one.kendall.high,
            )


def _astray(found: Sequence[Transfer]) -> Iterator[Alarm]:
    for one in found:
        if one.delta.high is not None and one.delta.high < 0:
            yield Alarm(
                one.scorer,
                f"the aggregation that is best elsewhere loses "
                f"{numerals.percent(abs(one.delta.value or 0.0))} points on "
                f"{name(one.left_out)}",
                -one.delta.high,
            )


FILTERS = {
    "figure": figure,
    "span": span,
    "measured": measured,
    "measured_span": measured_span,
    "trait": trait,
    "fit": fit,
    "what": what,
}
"""What the template writes records with."""
