"""Subsets of a problem set: a count, a range or a share of it, named problems, a draw by seed.

Drawn subsets are nested: with one seed, what 50 problems are drawn is among the 100. So is
a stratified draw, whose next problem is always of the stratum that is furthest behind its
share (Sainte-Laguë's divisors).
"""

from __future__ import annotations

import hashlib
import heapq
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

from vilbench.errors import InputError
from vilbench.problems.rows import shown
from vilbench.problems.sets import ProblemSet
from vilbench.types import Problem

Draw = Literal["first", "random", "category", "modality", "source"]
"""Which problems a count or a share takes: the first ones, or by seed any, or as many of
each category, modality or source as it has of all."""

_RANGE = re.compile(r"([0-9]{1,12})-([0-9]{1,12})")
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,9})?)%")
_NAMED = 5


@dataclass(frozen=True)
class Limit:
    """How many problems: exactly one of the three.

    Attributes:
        count: The most.
        share: Of all, in (0, 1); rounded up.
        places: First and last place, from 1, both taken.
    """

    count: int | None = None
    share: float | None = None
    places: tuple[int, int] | None = None


def parse(value: float | str) -> Limit:
    """A limit from a recipe or a command: 100, "100", "10-20", 0.25 or "25%".

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, str):
        text = value.strip()
        if match := _RANGE.fullmatch(text):
            first, last = int(match[1]), int(match[2])
            if not 1 <= first <= last:
                raise ValueError(f"'{text}' is no range of places from 1, such as 10-20")
            return Limit(places=(first, last))
        value = _number(text)
    if isinstance(value, bool):
        raise ValueError(f"is a truth value, not {_SOME}")
    if isinstance(value, int):
        if value < 1:
            raise ValueError(f"{value} is {_NONE}")
        return Limit(count=value)
    if not math.isfinite(value) or not 0 < value < 1:
        raise ValueError(f"{value:g} is {_NONE}")
    return Limit(share=value)


def _number(text: str) -> float:
    percent = _PERCENT.fullmatch(text)
    try:
        if percent:
            return float(percent[1]) / 100
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        raise ValueError(f"{shown(text)} is {_NONE}") from None


def _count(limit: Limit, of: int) -> int:
    if limit.count is not None:
        return limit.count
    # A tenth of 30 is 3, whatever floats make of it.
    return math.ceil(round((limit.share or 0.0) * of, 9))


_SOME = "a count (100), a range (10-20) or a share (0.25, 25%)"
_NONE = f"none of {_SOME}"


def taken(
    problems: ProblemSet,
    limit: Limit | None,
    *,
    draw: Draw = "first",
    seed: int = 0,
    ids: Sequence[str] = (),
) -> ProblemSet:
    """Part of a set, in the set's own order; a note says how much and how it was chosen.

    Args:
        problems: The whole set.
        limit: How many; None takes all.
        draw: Which ones; a range takes places and is not drawn.
        seed: Of the draw.
        ids: Only these problems, before anything else.

    Raises:
        InputError: There is no problem of one of the ids, the range begins behind the end,
            or a range is to be drawn.
    """
    found = _named(problems, ids)
    if limit is None:
        return found if found is problems else _noted(problems, found.problems, "by their ids")
    pool = found.problems
    if limit.places is not None:
        if draw != "first":
            raise InputError("a range is taken by places and cannot be drawn", field="draw")
        first, last = limit.places
        if first > len(pool):
            raise InputError(f"begins behind the last of {len(pool)} problems", field="limit")
        return _noted(problems, pool[first - 1 : last], f"from place {first} on")
    count = _count(limit, len(pool))
    if count >= len(pool):
        return found
    if draw == "first":
        return _noted(problems, pool[:count], "the first ones")
    chosen = set(_drawn(pool, count, draw, seed))
    kept = tuple(problem for problem in pool if problem.id in chosen)
    by = "" if draw == "random" else f" by {draw}"
    return _noted(problems, kept, f"drawn{by} with seed {seed}")


def _named(problems: ProblemSet, ids: Sequence[str]) -> ProblemSet:
    if not ids:
        return problems
    known = {problem.id for problem in problems.problems}
    missing = [identity for identity in ids if identity not in known]
    if missing:
        told = ", ".join(shown(one) for one in missing[:_NAMED])
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise InputError(f"{problems.name} has no problem {told}{more}", field="sample_ids")
    wanted = set(ids)
    kept = tuple(problem for problem in problems.problems if problem.id in wanted)
    return replace(problems, problems=kept)


def _noted(whole: ProblemSet, kept: Sequence[Problem], how: str) -> ProblemSet:
    note = f"{whole.name}: {len(kept):,} of {len(whole.problems):,} problems, {how}"
    return replace(whole, problems=tuple(kept), notes=(*whole.notes, note))


_STRATA: Mapping[str, Callable[[Problem], str]] = {
    "random": lambda problem: "",
    "category": lambda problem: problem.category,
    "modality": lambda problem: problem.modality,
    "source": lambda problem: problem.source,
}


class _Next(NamedTuple):
    """How much a stratum is due, as a negative number, and how many it has given."""

    due: float
    stratum: str
    used: int


def _drawn(problems: Sequence[Problem], count: int, draw: Draw, seed: int) -> list[str]:
    """Ids of `count` problems; of each stratum those whose hash comes first."""
    strata: dict[str, list[str]] = {}
    for problem in problems:
        strata.setdefault(_STRATA[draw](problem), []).append(problem.id)
    for ids in strata.values():
        ids.sort(key=lambda identity: _rank(seed, identity))
    # The first divisor gives an empty stratum the chance of its size, as the others have.
    queue = [_Next(-len(ids), name, 0) for name, ids in sorted(strata.items())]
    heapq.heapify(queue)
    chosen: list[str] = []
    while len(chosen) < count:
        _, name, used = heapq.heappop(queue)
        chosen.append(strata[name][used])
        if used + 1 < len(strata[name]):
            heapq.heappush(queue, _Next(-len(strata[name]) / (2 * used + 3), name, used + 1))
    return chosen


def _rank(seed: int, identity: str) -> bytes:
    return hashlib.sha256(f"vilbench-draw/{seed}/{identity}".encode()).digest()


DRAWS = get_args(Draw)
"""All of them."""
