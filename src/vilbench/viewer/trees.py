"""The search trees of a run as a list: a line per tree, filters, order, pages.

Lines are made once per tree and kept in memory; a look reads only the trees that came since
the last one, so many at a time that nobody waits long.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args

from pydantic_core import from_json

from vilbench.store.database import decode
from vilbench.store.run import Run
from vilbench.types import Problem

Outcome = Literal["all-right", "mixed", "none-right", "no-end"]
"""What the finished solutions of a tree are: right, right and wrong, wrong, or not there."""

Order = Literal["problem", "largest", "smallest", "hardest", "easiest"]
"""How a list is ordered; the hardest has the smallest share of right ends."""

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
ORDERS: tuple[Order, ...] = get_args(Order)

PAGE = 50
"""Trees on a page."""

_BYTES = 1_000_000
"""Text of trees that is read at a time; a tree at least."""

_BATCH = 200
_QUESTION = 2_000
"""Characters of a question in which a search looks."""

_QUERY = """
SELECT trees.rowid, trees.record, problems.position, problems.id, problems.record
FROM trees JOIN problems ON problems.id = trees.problem_id
WHERE trees.key = ? AND trees.rowid > CAST(? AS INTEGER) ORDER BY trees.rowid LIMIT 200
"""


@dataclass(frozen=True, slots=True)
class TreeLine:
    """A tree in a list.

    Attributes:
        position: Place of the problem in the run; names the tree in addresses.
        question: The beginning of the question.
        rule: Which search made the tree; "" where the record is damaged.
        stopped: Why the search ended.
        nodes: Steps in the tree, the root not counted.
        depth: Most steps from the root.
        right: Finished solutions with the right answer.
        wrong: Finished solutions with another one.
        broken: Branches that broke off.
        share: Right ones among the continuations of the question, or among the finished
            solutions where none were counted; None where there are none of either.
    """

    position: int
    problem_id: str
    source: str
    modality: str
    question: str
    rule: str
    stopped: str
    nodes: int = 0
    depth: int = 0
    right: int = 0
    wrong: int = 0
    broken: int = 0
    share: float | None = None

    @property
    def damaged(self) -> bool:
        """The stored tree cannot be read."""
        return not self.rule

    @property
    def outcome(self) -> Outcome:
        """What its finished solutions are."""
        if self.right:
            return "mixed" if self.wrong else "all-right"
        return "none-right" if self.wrong else "no-end"


@dataclass(frozen=True)
class TreeFilter:
    """Which trees of a list, and in which order; "" and None let all pass.

    Attributes:
        smallest: Fewest nodes.
        largest: Most nodes.
        text: Stands in the question or in the problem's id, whatever the case.
    """

    outcome: str = ""
    source: str = ""
    modality: str = ""
    rule: str = ""
    stopped: str = ""
    smallest: int | None = None
    largest: int | None = None
    text: str = ""
    order: Order = "problem"

    def passes(self, line: TreeLine) -> bool:
        """Whether a tree is to be listed."""
        equal = (
            (self.outcome, line.outcome),
            (self.source, line.source),
            (self.modality, line.modality),
            (self.rule, line.rule),
            (self.stopped, line.stopped),
        )
        if any(wanted and wanted != had for wanted, had in equal):
            return False
        if self.smallest is not None and line.nodes < self.smallest:
            return False
        if self.largest is not None and line.nodes > self.largest:
            return False
        text = self.text.casefold()
        return text in line.question.casefold() or text in line.problem_id.casefold()


@dataclass(frozen=True)
class TreePage:
    """A page of a list.

    Attributes:
        lines: The trees on it.
        number: From 1.
        pages: How many there are, at least 1.
        found: Trees that pass the filter.
        known: Trees of which there is a line.
        stored: Trees in the run; more than `known` while the lines are being made.
    """

    lines: tuple[TreeLine, ...]
    number: int
    pages: int
    found: int
    known: int
    stored: int


@dataclass(frozen=True)
class TreeChoices:
    """What the trees of a list differ in, for its filters."""

    sources: tuple[str, ...]
    modalities: tuple[str, ...]
    rules: tuple[str, ...]
    stopped: tuple[str, ...]


_KEYS: Mapping[Order, Callable[[TreeLine], tuple[float, int]]] = MappingProxyType(
    {
        "problem": lambda line: (line.position, 0),
        "largest": lambda line: (-line.nodes, line.position),
        "smallest": lambda line: (line.nodes, line.position),
        "hardest": lambda line: (2.0 if line.share is None else line.share, line.position),
        "easiest": lambda line: (1.0 if line.share is None else -line.share, line.position),
    }
)


class TreeIndex:
    """Lines of all trees under one key of a run; safe to use from several threads."""

    def __init__(self, key: str) -> None:
        self.key = key
        self._lines: list[TreeLine] = []
        self._last = 0
        self._lock = Lock()

    @property
    def known(self) -> int:
        """Trees of which there is a line."""
        return len(self._lines)

    def refresh(self, run: Run, most: int = _BYTES) -> bool:
        """Reads trees that came since the last time, about `most` bytes of them.

        Returns:
            Whether there may be more.
        """
        with self._lock:
            left = most
            while left > 0:
                rows: Sequence[Sequence[Any]] = run.rows(_QUERY, self.key, str(self._last))
                for number, record, position, problem_id, problem in rows:
                    self._lines.append(_line(int(position), problem_id, problem, record))
                    self._last = int(number)
                    left -= len(record)
                    if left <= 0:
                        return True
                if len(rows) < _BATCH:
                    return False
        return True

    def page(self, run: Run, wanted: TreeFilter, number: int = 1, size: int = PAGE) -> TreePage:
        """A page of the trees that pass; a number beyond the last gives the last."""
        lines = self._snapshot()
        found = sorted((one for one in lines if wanted.passes(one)), key=_KEYS[wanted.order])
        pages = max(1, -(-len(found) // size))
        number = min(max(number, 1), pages)
        shown = found[(number - 1) * size : number * size]
        stored = count(run, self.key)
        return TreePage(tuple(shown), number, pages, len(found), len(lines), stored)

    def choices(self) -> TreeChoices:
        """What there is to filter by, in alphabetical order."""
        lines = self._snapshot()
        return TreeChoices(
            sources=_sorted(one.source for one in lines),
            modalities=_sorted(one.modality for one in lines),
            rules=_sorted(one.rule for one in lines if one.rule),
            stopped=_sorted(one.stopped for one in lines if one.stopped),
        )

    def neighbours(self, position: int, wanted: TreeFilter) -> tuple[int | None, int | None]:
        """Positions of the trees before and after one, among those that pass and in order."""
        lines = [one for one in self._snapshot() if wanted.passes(one) or one.position == position]
        lines.sort(key=_KEYS[wanted.order])
        places = [one.position for one in lines]
        if position not in places:
            return None, None
        at = places.index(position)
        before = places[at - 1] if at else None
        return before, places[at + 1] if at + 1 < len(places) else None

    def _snapshot(self) -> list[TreeLine]:
        with self._lock:
            return list(self._lines)


def count(run: Run, key: str) -> int:
    """Trees stored under a key; 0 where the run was begun before there were trees."""
    if not run.has_table("trees"):
        return 0
    rows: Sequence[Sequence[Any]] = run.rows("SELECT count(*) FROM trees WHERE key = ?", key)
    return int(rows[0][0])


def problem_at(run: Run, position: int) -> Problem | None:
    """The problem at a place of the run, its images not bound; None where there is none."""
    query = "SELECT record FROM problems WHERE position = CAST(? AS INTEGER)"
    for (text,) in run.rows(query, str(position)):
        return decode(Problem, text, run.folder)
    return None


def _sorted(names: Any) -> tuple[str, ...]:
    return tuple(sorted(set(names)))


class _Counted(NamedTuple):
    rule: str = ""
    stopped: str = "damaged"
    nodes: int = 0
    depth: int = 0
    right: int = 0
    wrong: int = 0
    broken: int = 0
    share: float | None = None


def _line(position: int, problem_id: str, problem: str, record: str) -> TreeLine:
    about = _read(problem)
    try:
        counted = _counted(_read(record))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        counted = _Counted()
    return TreeLine(
        position,
        problem_id,
        _text(about.get("source")),
        _text(about.get("modality")),
        _text(about.get("question"))[:_QUESTION],
        *counted,
    )


def _counted(tree: Mapping[str, Any]) -> _Counted:
    """What a line says of a tree; raises on a record that is none."""
    nodes = tree["nodes"]
    depths = [0] * len(nodes)
    right = wrong = broken = 0
    for place, node in enumerate(nodes):
        if place:
            depths[place] = depths[node["parent"]] + 1
        if node.get("finished") and node.get("correct") is not None:
            right += node["correct"]
            wrong += not node["correct"]
        broken += bool(node.get("reason"))
    drawn, won = nodes[0].get("rollouts", 0), nodes[0].get("right", 0)
    of = drawn or right + wrong
    share = (won if drawn else right) / of if of else None
    stopped = _text(tree.get("stopped"))
    size = len(nodes) - 1
    return _Counted(str(tree["rule"]), stopped, size, max(depths), right, wrong, broken, share)


def _read(text: str) -> dict[str, Any]:
    """A JSON object; {} where there is none."""
    try:
        value = from_json(text)
    except ValueError:
        # It reads faster than `json` does, but not everything that `json` wrote.
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
