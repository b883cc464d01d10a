"""What was settled before the problems were seen, and how it fared: the report's tables."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from vilbench.display.method import Group
from vilbench.display.numerals import count
from vilbench.display.text import name
from vilbench.evaluate.results import Chosen, Contrast, Discrimination, Row, StepEvidence
from vilbench.report.findings import ALL, Findings

_REFERENCES = ("cot", "majority")


@dataclass(frozen=True)
class Standing:
    """The one method that stands for a scorer, and what it shows on all problems."""

    row: Row
    settled: str
    discrimination: Discrimination | None


@dataclass(frozen=True)
class SliceLine:
    """A method's differences from one reference, a cell per column of `Evidence.columns`."""

    method: str
    whole: Contrast | None
    cells: tuple[Contrast | None, ...]


@dataclass(frozen=True)
class SliceTable:
    """Where each scorer helps and where it hurts, against one reference."""

    against: str
    lines: tuple[SliceLine, ...]


@dataclass(frozen=True)
class Column:
    """A slice of the slice tables; `edge` starts another kind of slice."""

    label: str
    source: str
    modality: str
    edge: bool


@dataclass(frozen=True)
class Evidence:
    """The comparisons of a run; each property is empty where the run has none."""

    found: Findings

    @cached_property
    def standing(self) -> tuple[Standing, ...]:
        """The standing method of every scorer, in the run's order."""
        chosen = {one.method: one for one in self.found.results.chosen}
        whole = {one.method: one for one in self.found.discrimination}
        lines = []
        for method in dict.fromkeys(c.method for c in self.found.results.contrasts):
            row = self.found.row(method)
            if row is not None and self.found.method(method).group is Group.SCORER:
                settled = _settled(self.found.method(method).aggregation, chosen.get(method))
                lines.append(Standing(row, settled, whole.get(method)))
        return tuple(lines)

    @cached_property
    def main(self) -> tuple[Contrast, ...]:
        """The main scorer's standing method against all that it is compared with."""
        main = self.found.main
        return tuple(
            one
            for one in self.found.results.contrasts
            if main is not None and one.method == main.method and _whole(one)
        )

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The slices of the slice tables: modalities, then sources."""
        return (
            *(Column(m, ALL, m, i == 0) for i, m in enumerate(self.found.modalities)),
            *(Column(s, s, ALL, i == 0) for i, s in enumerate(self.found.sources)),
        )

    @cached_property
    def slices(self) -> tuple[SliceTable, ...]:
        """Differences from `cot` and from `majority` by modality and by source."""
        given = {
            (c.method, c.against, c.source, c.modality): c for c in self.found.results.contrasts
        }
        tables = []
        for against in _REFERENCES:
            methods = dict.fromkeys(key[0] for key in given if key[1] == against)
            lines = tuple(
                SliceLine(
                    method,
                    given.get((method, against, ALL, ALL)),
                    tuple(
                        given.get((method, against, column.source, column.modality))
                        for column in self.columns
                    ),
                )
                for method in methods
            )
            if lines and self.columns:
                tables.append(SliceTable(against, lines))
        return tuple(tables)

    @cached_property
    def steps(self) -> tuple[StepEvidence, ...]:
        """Step-level figures of every step scorer on all problems."""
        return tuple(one for one in self.found.results.steps if _whole(one))

    @cached_property
    def step_slices(self) -> tuple[StepEvidence, ...]:
        """The same by modality and by source."""
        return tuple(
            one for one in self.found.results.steps if (one.source == ALL) != (one.modality == ALL)
        )

    @cached_property
    def unchecked(self) -> str:
        """How many steps the labels leave out, in words."""
        steps = self.steps
        if not steps:
            return ""
        left_out = max(one.unchecked for one in steps)
        return f"{count(left_out)} steps could not be told and are left out"


def _settled(aggregation: str, chosen: Chosen | None) -> str:
    if chosen is not None:
        return f"chosen on {name(chosen.problem_set)}, {count(chosen.n_problems)} problems"
    return "the first of its list" if aggregation else "has one score only"


def _whole(one: Contrast | StepEvidence) -> bool:
    return one.source == ALL and one.modality == ALL


def slice_label(one: StepEvidence) -> str:
    """The slice of a record in a word."""
    return one.modality if one.source == ALL else one.source
