"""Names of selection methods taken apart, and the order in which tables list them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

_WEIGHTED = "weighted-majority:"
_AGGREGATIONS = (
    "",
    "mean",
    "geometric-mean",
    "min",
    "max",
    "product",
    "position-weighted",
    "first",
)
_LAST = re.compile(r"last(?:-([0-9]{1,6}))?\Z")


class Group(IntEnum):
    """Kinds of method, in the order in which tables list them."""

    COT = 0
    RANDOM = 1
    MAJORITY = 2
    WEIGHTED = 3
    SCORER = 4
    ORACLE = 5


class Rank(NamedTuple):
    """What `reading_order` sorts by."""

    group: int
    scorer: int
    aggregation: int
    last_n: int
    name: str


@dataclass(frozen=True)
class Method:
    """A method's name taken apart.

    Attributes:
        scorer: The scorer it ranks or weighs by, "" where there is none.
        aggregation: How step values become one, "" for whole solutions and for votes.
    """

    name: str
    group: Group
    scorer: str = ""
    aggregation: str = ""

    @property
    def is_last_n(self) -> bool:
        """Whether it averages the last steps only."""
        return _LAST.match(self.aggregation) is not None

    @property
    def last_n(self) -> int:
        """How many last steps it averages; 0 for any other aggregation."""
        found = _LAST.match(self.aggregation)
        return int(found.group(1) or 0) if found else 0

    @property
    def is_reference(self) -> bool:
        """Whether nobody could choose answers with it: one sample, a lot, or the gold."""
        return self.group in (Group.COT, Group.RANDOM, Group.ORACLE)


def method(text: str, scorers: Sequence[str]) -> Method:
    """The method called `text` in a run with these scorers."""
    fixed = {"cot": Group.COT, "random": Group.RANDOM, "oracle": Group.ORACLE}
    if text in fixed:
        return Method(text, fixed[text])
    if text == "majority":
        return Method(text, Group.MAJORITY)
    weighted = text.startswith(_WEIGHTED)
    rest = text.removeprefix(_WEIGHTED)
    # The longest scorer that fits, for a scorer's name may begin with another's.
    fitting = [s for s in scorers if rest == s or rest.startswith(s + "/")]
    if fitting:
        scorer = max(fitting, key=len)
        aggregation = rest[len(scorer) + 1 :]
    else:
        scorer, _, aggregation = rest.partition("/")
    return Method(text, Group.WEIGHTED if weighted else Group.SCORER, scorer, aggregation)


def reading_order(m: Method, scorers: Sequence[str]) -> Rank:
    """Sort key: references, votes, scorers in the run's order by aggregation, the oracle."""
    order = {s: i for i, s in enumerate(scorers)}
    last = _LAST.match(m.aggregation)
    if last:
        place, last_n = len(_AGGREGATIONS), int(last.group(1) or 0)
    elif m.aggregation in _AGGREGATIONS:
        place, last_n = _AGGREGATIONS.index(m.aggregation), 0
    else:
        place, last_n = len(_AGGREGATIONS) + 1, 0
    return Rank(m.group, order.get(m.scorer, len(order)), place, last_n, m.name)
