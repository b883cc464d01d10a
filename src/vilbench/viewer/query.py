"""Which problems a list shows: a state that is an address and a condition in SQL."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final, NamedTuple
from urllib.parse import urlencode

from vilbench.errors import InputError

POOLS: Final[Mapping[str, str]] = {
    "mixed": "right and wrong ones",
    "some-right": "a right one",
    "none-right": "no right one",
    "all-right": "right ones only",
    "unparsed": "one without an answer",
    "failed": "a failed one",
    "waiting": "not all of them yet",
}
"""What the pool of a problem holds."""

SORTS: Final[Mapping[str, str]] = {
    "": "as stored",
    "hard": "fewest right first",
    "easy": "most right first",
    "high": "highest score first",
    "low": "lowest score first",
}

_CONDITIONS: Final[Mapping[str, str]] = {
    "mixed": "p.correct BETWEEN 1 AND p.stored - 1",
    "some-right": "p.correct > 0",
    "none-right": "p.correct = 0 AND p.stored > 0",
    "all-right": "p.correct = p.stored AND p.stored > 0",
    "unparsed": "p.unparsed > 0",
    "failed": "p.failed > 0",
    "waiting": "p.stored < p.size",
}
_ORDERS: Final[Mapping[str, str]] = {
    "": "p.position",
    "hard": "p.correct * 1.0 / max(p.stored, 1), p.position",
    "easy": "p.correct * -1.0 / max(p.stored, 1), p.position",
    "high": "s.best IS NULL, s.best DESC, p.position",
    "low": "s.best IS NULL, s.best, p.position",
}
_SURE = 1e-9
"""A share this near to 1 or 0 is one."""

_NONE = -1
"""Number of a method that the index does not know yet."""

_MOST_TEXT = 200
_MOST_WORDS = 12
_WORD = re.compile(r'"([^"]*)"|(\S+)')
_TOKENS = re.compile(r"\w+", re.UNICODE)
_UNSPACED = re.compile("([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])")


class Condition(NamedTuple):
    """A question to the index: joins and conditions with their values, and an order."""

    joins: str
    where: str
    order: str
    values: tuple[str | int | float, ...]


class Known(NamedTuple):
    """What a run has to filter by; `whole` says that nothing else is to be expected."""

    sources: Sequence[str]
    modalities: Sequence[str]
    methods: Sequence[str]
    whole: bool = True


@dataclass(frozen=True)
class Query:
    """The state of a list; "" and None restrict nothing.

    Attributes:
        right: A method that is right on the problem, for certain.
        wrong: A method that is wrong on it, for certain.
        tied: A method whose choice a tie decides between right and wrong.
        by: The method whose chosen score is meant by `low`, `high` and two of the sorts.
        low: Lowest score.
        high: Highest score.
        text: Words that question and solutions hold, all of them; phrases in quotes.
    """

    source: str = ""
    modality: str = ""
    pool: str = ""
    right: str = ""
    wrong: str = ""
    tied: str = ""
    by: str = ""
    low: float | None = None
    high: float | None = None
    text: str = ""
    sort: str = ""
    page: int = 1

    @classmethod
    def read(cls, given: Mapping[str, str], known: Known) -> Query:
        """The state that an address spells.

        Raises:
            InputError: It names what the run does not have, or a number is none.
        """
        allowed: Mapping[str, Sequence[str] | Mapping[str, str]] = {
            "source": known.sources,
            "modality": known.modalities,
            "pool": POOLS,
            "right": known.methods,
            "wrong": known.methods,
            "tied": known.methods,
            "by": known.methods,
            "sort": SORTS,
        }
        names: dict[str, str] = {}
        for key, values in allowed.items():
            value = given.get(key, "")
            fixed = known.whole or key in ("pool", "sort")
            if value and value not in values and fixed:
                raise InputError("the run has nothing of that name", field=key)
            names[key] = value
        if names["sort"] in ("high", "low") and not names["by"]:
            names["sort"] = ""
        return cls(
            **names,
            low=_number(given, "low"),
            high=_number(given, "high"),
            text=given.get("text", "")[:_MOST_TEXT],
            page=max(1, min(10**6, int(_number(given, "page") or 1))),
        )

    @property
    def narrowed(self) -> bool:
        """Whether it leaves out anything."""
        return replace(self, sort="", page=1, by="") != Query()

    def address(self, **changes: str | float | None) -> str:
        """The state with changes, as the query of an address; "" for the plain list.

        Any change but of the page goes to the first page.
        """
        changed = replace(self, **{"page": 1, **changes})  # type: ignore[arg-type]
        kept = [*changed.fields(), *([("page", changed.page)] if changed.page > 1 else [])]
        return "?" + urlencode(kept) if kept else ""

    def with_more(self, more: Mapping[str, str], only: Iterable[object]) -> str:
        """The state on its first page, as a query with what a page of a problem adds to it."""
        given = [(key, value) for key, value in more.items() if value]
        chosen = [("only", str(one)) for one in only]
        kept = [*self.fields(), *given, *chosen]
        return "?" + urlencode(kept) if kept else ""

    def fields(self) -> list[tuple[str, str | float]]:
        """What restricts or sorts, by the names that addresses have."""
        return [
            (one.name, value)
            for one in fields(self)
            if one.name != "page" and (value := getattr(self, one.name)) not in ("", None)
        ]

    def here(self) -> str:
        """The very state, its page too."""
        return self.address(page=self.page)

    def condition(self, methods: Mapping[str, int]) -> Condition:
        """What it asks of the index; `methods` are their numbers there."""
        joins, where = list[str](), ["1"]
        joined, values = list[int](), list[str | float]()
        for column, value in (("source", self.source), ("modality", self.modality)):
            if value:
                where.append(f"p.{column} = ?")
                values.append(value)
        if self.pool:
            where.append(_CONDITIONS[self.pool])
        for alias, method, test in (
            ("r", self.right, f"r.share > {1 - _SURE}"),
            ("w", self.wrong, f"w.share < {_SURE}"),
            ("t", self.tied, f"t.share BETWEEN {_SURE} AND {1 - _SURE}"),
        ):
            if method:
                joins.append(_outcome(alias))
                joined.append(methods.get(method, _NONE))
                where.append(test)
        ranged = self.low is not None or self.high is not None
        if self.by and (ranged or self.sort in ("high", "low")):
            joins.append(_outcome("s"))
            joined.append(methods.get(self.by, _NONE))
            for sign, bound in ((">=", self.low), ("<=", self.high)):
                if bound is not None:
                    where.append(f"s.best {sign} ?")
                    values.append(bound)
        if match := matching(self.text):
            where.append(
                "p.position IN (SELECT position FROM texts WHERE number IN "
                "(SELECT rowid FROM words WHERE words MATCH ?))"
            )
            values.append(match)
        elif self.text.strip():
            where.append("0")
        return Condition(
            " ".join(joins), " AND ".join(where), _ORDERS[self.sort], (*joined, *values)
        )


def _outcome(alias: str) -> str:
    return f"JOIN outcomes {alias} ON {alias}.method = ? AND {alias}.position = p.position"


def matching(text: str) -> str:
    """Words of a search in FTS5's language, none of it the user's; "" where there is no word.

    Every word is quoted, so that nothing in it steers the search; the last one may go on.
    """
    found = []
    for phrase, word in _WORD.findall(text)[:_MOST_WORDS]:
        tokens = _TOKENS.findall(spaced(phrase or word))
        if tokens:
            found.append('"' + " ".join(tokens) + '"' + ("" if phrase else "*"))
    return " ".join(found)


def spaced(text: str) -> str:
    """Text with blanks around characters of scripts that have none between words."""
    return _UNSPACED.sub(r" \1 ", text)


def _number(given: Mapping[str, str], key: str) -> float | None:
    text = given.get(key, "").strip()
    if not text:
        return None
    try:
        value = float(text) if len(text) < 40 else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError("is no number", field=key)
    return value
