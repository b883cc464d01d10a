"""What so many problems can show, and how many a smaller difference would take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from vilbench.display import numerals
from vilbench.display.text import name
from vilbench.evaluate.results import Contrast
from vilbench.report.charts import Point, Series, curves
from vilbench.report.figures import Panel
from vilbench.report.findings import ALL, Findings
from vilbench.report.sheet import Sheet, Value

DIFFERENCES = (0.01, 0.02, 0.03, 0.05, 0.10)
"""True differences whose price in problems is told."""

_STEPS = 24
_ROLES = ("scorer", "second", "majority", "oracle", "cot")


@dataclass(frozen=True)
class Need:
    """Problems that one comparison takes, a number for each of `DIFFERENCES`."""

    contrast: Contrast
    problems: tuple[int, ...]


@dataclass(frozen=True)
class Power:
    """The power of a run's comparisons, by the spread that they show; 80 % at the 5 % level."""

    found: Findings

    @cached_property
    def needs(self) -> tuple[Need, ...]:
        """The main method's comparisons, or else each standing method's with the references."""
        whole = [
            one
            for one in self.found.results.contrasts
            if one.source == ALL and one.modality == ALL and one.detectable
        ]
        main = self.found.main
        mine = [one for one in whole if main is not None and one.method == main.method]
        settled = {one.method for one in whole if not one.method.startswith("weighted-majority:")}
        wanted = {"cot", "majority", *settled}
        chosen = [one for one in mine if one.against in wanted] or [
            one for one in whole if one.method in settled
        ]
        return tuple(
            Need(one, tuple(problems_needed(one, difference) for difference in DIFFERENCES))
            for one in chosen
        )

    @cached_property
    def panels(self) -> tuple[Panel, ...]:
        """The smallest difference over the number of problems."""
        drawn = self.needs[: len(_ROLES)]
        if not drawn:
            return ()
        most = 10 * max(one.contrast.n_problems for one in drawn)
        low = max(10.0, most / 200)
        xs = tuple(low * (most / low) ** (i / (_STEPS - 1)) for i in range(_STEPS))
        series = [
            Series(
                f"vs {one.contrast.against}",
                role,
                xs,
                tuple(Point(detectable(one.contrast, x)) for x in xs),
                band=False,
            )
            for one, role in zip(drawn, _ROLES, strict=False)
        ]
        highest = max(s.points[0].value for s in series)
        told = "; ".join(
            f"against {name(one.contrast.against)} "
            f"{numerals.percent(one.contrast.detectable)} points at "
            f"{numerals.count(one.contrast.n_problems)} problems"
            for one in drawn
        )
        method = name(drawn[0].contrast.method)
        svg = curves(
            f"Smallest detectable difference over the number of problems, {method}",
            f"With 80 % power at the 5 % level: {told}.",
            series,
            0.0,
            highest,
            axis="problems",
            log=True,
        )
        return (Panel(f"{method}: detectable difference, points", svg),)

    @cached_property
    def sheet(self) -> Sheet:
        """What each comparison can show, and what it takes."""
        head = ("method", "against", "n_problems", "detectable")
        more = tuple(f"problems_for_{100 * one:.0f}_points" for one in DIFFERENCES)
        rows: list[tuple[Value, ...]] = [
            (
                one.contrast.method,
                one.contrast.against,
                one.contrast.n_problems,
                one.contrast.detectable,
                *one.problems,
            )
            for one in self.needs
        ]
        return Sheet((*head, *more), rows)


def detectable(one: Contrast, problems: float) -> float:
    """The smallest true difference that so many such problems show, in [0, 1]."""
    return (one.detectable or 0.0) * math.sqrt(one.n_problems / problems)


def problems_needed(one: Contrast, difference: float) -> int:
    """Problems like these that show a true difference with 80 % power at the 5 % level.

    The spread of the paired differences is that of the comparison, so that the number falls
    with the square of the difference.
    """
    ratio = (one.detectable or 0.0) / difference
    return max(2, math.ceil(one.n_problems * ratio * ratio - 1e-9))
