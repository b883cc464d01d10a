"""A scorer in two forms: what it chooses by steps, and what it chooses by the whole.

A form is the name of a selection method as the tables have it: `judge-orm` for a scorer of
whole solutions, `judge-prm/mean` for step scores under an aggregation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from vilbench.errors import InputError
from vilbench.evaluate.pools import ScorerPlan

_PRM = re.compile(r"(?<![a-z0-9])prm(?![a-z0-9])", re.IGNORECASE)
_AT_THE_END = "last-1"


class Pair(NamedTuple):
    """A scorer that was asked both ways.

    Attributes:
        name: For tables.
        prm: Its process form, such as "judge-prm/mean".
        orm: Its outcome form, such as "judge-orm", or "prm/last-1" of a reward model.
    """

    name: str
    prm: str
    orm: str

    @property
    def scorers(self) -> tuple[str, str]:
        """Names of the stored scorers of the two forms; they may be the same."""
        return scorer_of(self.prm), scorer_of(self.orm)


class Found(NamedTuple):
    """A pair that was found by names, and why, in words."""

    pair: Pair
    why: str


def scorer_of(form: str) -> str:
    """The stored scorer of a form."""
    return form.partition("/")[0]


def find(scorers: Sequence[ScorerPlan]) -> list[Found]:
    """Pairs that stand out among the scorers of a run.

    A step scorer with "prm" as a word of its name pairs, under `mean`, with the scorer of
    whole solutions whose name has "orm" in its place. Any other step scorer whose values have
    bounds and which reports both `mean` and `last-1` pairs with itself: the score at the last
    step is its score of the whole. Log-probabilities have no bounds and do not pair.
    """
    return list(_found(scorers))


def _found(scorers: Sequence[ScorerPlan]) -> Iterator[Found]:
    whole = {one.name for one in scorers if one.granularity == "solution"}
    for one in scorers:
        if one.granularity != "step":
            continue
        partner = _PRM.sub(lambda match: "ORM" if match[0] == "PRM" else "orm", one.name)
        if partner != one.name and partner in whole:
            name = _PRM.sub("", one.name).strip("-._") or one.name
            why = "the same judge by steps and by whole solutions"
            yield Found(Pair(name, f"{one.name}/mean", partner), why)
        elif one.scale is not None and {"mean", _AT_THE_END} <= set(one.aggregations):
            why = "its mean over steps and its score at the last step"
            yield Found(Pair(one.name, f"{one.name}/mean", f"{one.name}/{_AT_THE_END}"), why)


def form_plan(form: str, scorers: Mapping[str, ScorerPlan]) -> ScorerPlan:
    """The plan of a scorer that reports nothing but this form.

    Raises:
        InputError: There is no such scorer, or the form does not fit its granularity.
    """
    name, slash, aggregation = form.partition("/")
    if name not in scorers:
        known = ", ".join(scorers) or "none"
        raise InputError(f"no scorer '{name}' has scored; there are {known}", field="pairs")
    plan = scorers[name]
    if plan.granularity == "solution":
        if slash:
            raise InputError(f"'{name}' scores whole solutions: leave out '/...'", field="pairs")
        return plan
    if not aggregation:
        raise InputError(f"'{name}' scores steps: say how, as in '{name}/mean'", field="pairs")
    try:
        return replace(plan, aggregations=(aggregation,), chosen=None)
    except ValueError as error:
        raise InputError(str(error), field="pairs") from error


def groups(pairs: Sequence[Pair], same: Mapping[str, str]) -> list[int]:
    """For each pair the number of its family, from 0: pairs that share a scorer are of one.

    Held out together, since a scorer's noise would else be on both sides.

    Args:
        pairs: The pairs.
        same: What a scorer is by its name (a fingerprint); one that is not listed is its name.
    """
    family = list(range(len(pairs)))
    first: dict[str, int] = {}
    for place, pair in enumerate(pairs):
        for scorer in pair.scorers:
            other = first.setdefault(same.get(scorer, scorer), place)
            old, new = family[place], family[other]
            family = [new if one == old else one for one in family]
    numbers = {old: number for number, old in enumerate(dict.fromkeys(family))}
    return [numbers[one] for one in family]
