"""The rows of a collection: labelled, filtered and counted, one tree in memory at a time."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from pydantic import Field

from vilbench.collect.filters import Filter, FilterConfig, balance, chosen, known_labels
from vilbench.collect.labels import LabelledTree, ValueRule, label
from vilbench.collect.rows import DataRow, RowsConfig, rows_of
from vilbench.errors import ProblemError, RunError
from vilbench.search import Rule, TreeRecord
from vilbench.search.faults import fault_targets, fit
from vilbench.search.targets import judge_targets, omega_targets, rest_targets, rollout_targets
from vilbench.steps import question_parts
from vilbench.types import SCHEMA_VERSION, Problem, Record

ValueName = Literal["rest", "rollouts", "omega", "omega-filled", "judge", "faults"]

BINS = 10
"""Bars of the histogram of values, from 0 to 1."""

FITTED = 1000
"""Most trees that the model behind the rule "faults" is fitted to, drawn by their problems' ids."""


_RULES: Mapping[ValueName, ValueRule] = {
    "rest": rest_targets,
    "rollouts": rollout_targets,
    "omega": omega_targets,
    "omega-filled": partial(omega_targets, fill=True),
    "judge": judge_targets,
}
_OWN: Mapping[Rule, ValueName] = {
    "rest-mcts": "rest",
    "rollouts": "rollouts",
    "omega": "omega",
    "again": "rollouts",
    "guided": "judge",
}
_PROGRESS: tuple[ValueName, ...] = ("rest",)


class DataConfig(Record):
    """How trees become data.

    Attributes:
        values: The value rule (`search.targets`); None takes that of the search.
        rows: Which solutions.
        filters: What is left out.
    """

    values: ValueName | None = None
    rows: RowsConfig = RowsConfig()
    filters: FilterConfig = FilterConfig()


class FilterCount(Record):
    """What a filter took away.

    Attributes:
        name: Of the filter.
        trees: Whole trees.
        labels: Labels, those of whole trees included.
    """

    name: str
    trees: int = Field(ge=0)
    labels: int = Field(ge=0)


class Summary(Record):
    """What became of the trees.

    Attributes:
        values: Value rules in use.
        trees: Before any filter.
        nodes: That hold a step.
        labels: Of them with a value, before any filter.
        filters: What each took away, in their order.
        set_aside: Rows or labels that could not be written, by reason.
        problems: That have a row.
        rows: Written.
        steps: In all rows.
        row_labels: Steps of rows that carry a label.
        histogram: `[10]` of these by value, from 0 to 1.
    """

    schema_version: int = SCHEMA_VERSION
    values: tuple[str, ...]
    trees: int
    nodes: int
    labels: int
    filters: tuple[FilterCount, ...]
    set_aside: Mapping[str, int]
    problems: int
    rows: int
    steps: int
    row_labels: int
    histogram: tuple[int, ...]


@dataclass
class Tally:
    """Counts of one pass over the trees, as they grow; see `Summary`."""

    values: dict[str, None] = field(default_factory=dict)
    trees: int = 0
    nodes: int = 0
    labels: int = 0
    filters: dict[str, list[int]] = field(default_factory=dict)
    set_aside: Counter[str] = field(default_factory=Counter)
    problems: int = 0
    rows: int = 0
    steps: int = 0
    histogram: list[int] = field(default_factory=lambda: [0] * BINS)
    _last: str | None = None

    def add(self, row: DataRow) -> None:
        """Counts a row that is written; those of a problem come together."""
        self.problems += row.problem.id != self._last
        self._last = row.problem.id
        self.rows += 1
        self.steps += len(row.steps)
        for value in row.values:
            if value is not None:
                self.histogram[min(int(value * BINS), BINS - 1)] += 1

    def leave(self, reason: str, count: int = 1) -> None:
        """Counts what cannot be written."""
        if count:
            self.set_aside[reason] += count

    def summary(self) -> Summary:
        """The counts."""
        return Summary(
            values=tuple(self.values),
            trees=self.trees,
            nodes=self.nodes,
            labels=self.labels,
            filters=tuple(
                FilterCount(name=name, trees=trees, labels=labels)
                for name, (trees, labels) in self.filters.items()
            ),
            set_aside=dict(sorted(self.set_aside.items())),
            problems=self.problems,
            rows=self.rows,
            steps=self.steps,
            row_labels=sum(self.histogram),
            histogram=tuple(self.histogram),
        )


class Collection:
    """Problems with their trees, and the rows that are made of them.

    Args:
        problems: Of the run.
        trees: Can be gone through several times.
        config: How they become data.
        second: Trees of a second collection for the consensus; also gone through twice.

    Raises:
        RunError: A consensus is asked for without a second collection.

    Attributes:
        tally: Counts of the last call of `rows`; whole once its rows are used up.
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        trees: Iterable[TreeRecord],
        config: DataConfig,
        second: Iterable[TreeRecord] | None = None,
    ) -> None:
        if config.filters.consensus is not None and second is None:
            raise RunError("a consensus needs a second collection")
        self.config = config
        self.tally = Tally()
        self._problems = {problem.id: problem for problem in problems}
        self._trees = trees
        self._faults = self._fault_rule(trees)
        known = None
        if second is not None:
            faults = self._fault_rule(second)
            known = known_labels(self._label(tree, faults) for tree in second)
        self._filters: tuple[Filter, ...] = chosen(config.filters, known)
        even = balance(self._left(Tally()), config.filters)
        if even is not None:
            self._filters += (even,)

    def rows(self) -> Iterator[DataRow]:
        """All rows, those of a problem together; who writes one adds it to `tally`."""
        self.tally = Tally()
        for name, _ in self._filters:
            self.tally.filters[name] = [0, 0]
        return self._rows(self.tally)

    def _rows(self, tally: Tally) -> Iterator[DataRow]:
        for tree in self._left(tally):
            problem = self._problems.get(tree.tree.problem_id)
            if problem is None:
                raise RunError(f"there is a tree of an unknown problem {tree.tree.problem_id!r}")
            rows = rows_of(tree, problem, self.config.rows)
            fault = _fault(problem)
            for row in rows:
                why = fault or (None if _is_text(row.steps) else "half of a surrogate pair")
                if why is None:
                    yield row
                else:
                    tally.leave(f"solutions: {why}")

    def _left(self, tally: Tally) -> Iterator[LabelledTree]:
        """The trees as the filters leave them."""
        for record in self._trees:
            tree = self._label(record, self._faults)
            tally.values[self._rule(record)] = None
            tally.trees += 1
            tally.nodes += len(tree.nodes)
            tally.labels += len(tree.values)
            left = _sieved(tree, self._filters, tally)
            if left is not None:
                yield left

    def _rule(self, tree: TreeRecord) -> ValueName:
        return self.config.values or _OWN[tree.rule]

    def _fault_rule(self, trees: Iterable[TreeRecord]) -> ValueRule | None:
        """The rule "faults" by a model of these trees, where it is asked for."""
        if self.config.values != "faults":
            return None
        # Kinds of problems may take turns: every so-many-th tree could be of one kind alone.
        chosen = heapq.nsmallest(FITTED, (_lot(tree.problem_id) for tree in trees))
        wanted = set(chosen)
        return partial(
            fault_targets, model=fit([one for one in trees if _lot(one.problem_id) in wanted])
        )

    def _label(self, tree: TreeRecord, faults: ValueRule | None) -> LabelledTree:
        name = self._rule(tree)
        rule = faults or _RULES[name]
        return label(tree, rule, progress=name in _PROGRESS)


def _sieved(tree: LabelledTree, filters: Sequence[Filter], tally: Tally) -> LabelledTree | None:
    for name, keep in filters:
        counts = tally.filters.setdefault(name, [0, 0])
        left = keep(tree)
        counts[1] += len(tree.values) - (len(left.values) if left else 0)
        if left is None:
            counts[0] += 1
            return None
        tree = left
    return tree


def _lot(problem_id: str) -> str:
    """What a problem is drawn by; the same whatever else is in the collection."""
    return hashlib.sha256(f"faults/{problem_id}".encode("utf-8", "surrogatepass")).hexdigest()


def _fault(problem: Problem) -> str | None:
    """What keeps a problem from being a training row."""
    if not problem.question.strip() and not problem.images:
        return "the question is empty, and there is no image"
    try:
        question_parts(problem)
    except ProblemError as error:
        return error.message
    texts = (problem.id, problem.question, *problem.choices)
    return None if _is_text(texts) else "half of a surrogate pair"


def _is_text(texts: Iterable[str]) -> bool:
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return True
