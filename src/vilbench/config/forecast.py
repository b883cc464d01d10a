"""What a recipe will ask of models, as figures."""

from __future__ import annotations

from dataclasses import dataclass, field

from vilbench.config.expecting import SpeedConfig
from vilbench.engines.rehearsal import Work
from vilbench.types import Problem


@dataclass(frozen=True)
class SetCount:
    """A problem set of a recipe.

    Attributes:
        name: For tables.
        count: Problems in it.
        rehearsed: Those that stand for it.
        assumed: Nothing of it is on this machine; made-up problems stand for it.
    """

    name: str
    count: int
    rehearsed: tuple[Problem, ...] = field(repr=False)
    assumed: bool = False


@dataclass(frozen=True)
class Line:
    """A stage, and what it asks of its model.

    Attributes:
        stage: "sample", a scorer's name, or "policy" and "evaluator" of a search.
        model: As the recipe names it.
        work: Requests and tokens that are expected.
        usd: Their price; None where no price is known.
        most_usd: The price where every answer runs to its limit.
        seconds: How long they take.
        speed: What that rests on.
        told: Whether the recipe says so.
    """

    stage: str
    model: str
    work: Work
    usd: float | None
    most_usd: float | None
    seconds: float
    speed: SpeedConfig
    told: bool


@dataclass(frozen=True)
class Forecast:
    """What a recipe will ask for.

    Attributes:
        sets: Its problems.
        lines: Its stages.
        notes: What the figures rest on, and how far they can be trusted.
    """

    sets: tuple[SetCount, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]

    @property
    def work(self) -> Work:
        """Of all stages."""
        return sum((line.work for line in self.lines), Work())

    @property
    def usd(self) -> float:
        """Of the stages whose price is known."""
        return sum(line.usd or 0.0 for line in self.lines)

    @property
    def most_usd(self) -> float:
        """Of the same, where every answer runs to its limit."""
        return sum(line.most_usd or 0.0 for line in self.lines)

    @property
    def seconds(self) -> float:
        """Of all stages, one after another."""
        return sum(line.seconds for line in self.lines)
