"""Stored runs as what curating reads: problems, their pools, and both forms of every pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from vilbench.curate.pairs import Pair, form_plan
from vilbench.curate.picks import LARGEST, Bools, Floats, Levels, Ordered, Places
from vilbench.curate.records import RunCard
from vilbench.errors import InputError
from vilbench.evaluate.analysis import Stored
from vilbench.evaluate.pools import Pools, ScorerPlan
from vilbench.types import Problem


@dataclass(frozen=True)
class Take:
    """A stored run that problems are chosen from.

    Attributes:
        card: What it is.
        stored: What it holds.
        fingerprints: What each scorer is, by its name: the same where it was asked the same
            way of the same model.
    """

    card: RunCard
    stored: Stored
    fingerprints: Mapping[str, str] = field(default_factory=dict)


class Forms(NamedTuple):
    """Scores of all pools by both forms of a pair, `[U, N]`; NaN is "no verdict"."""

    prm: Floats
    orm: Floats


@dataclass(frozen=True)
class Material:
    """What problems are chosen by.

    A problem that several runs have has a pool of each of them.

    Attributes:
        problems: `P` of them, with unique ids.
        pairs: `J` of them.
        owner: Number of the problem of each pool, `[U]`.
        correct: Which solutions are right, `[U, N]`.
        forms: For each pair.
        fingerprints: What each scorer of the pairs is, by its name.
    """

    problems: tuple[Problem, ...]
    pairs: tuple[Pair, ...]
    owner: Places
    correct: Bools
    forms: tuple[Forms, ...]
    fingerprints: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Solutions of a pool, `N`."""
        return int(self.correct.shape[1])

    @cached_property
    def judged(self) -> Bools:
        """Whether a pool has a verdict by both forms of a pair, `[J, U]`."""
        given = [
            ~np.isnan(one.prm).all(axis=1) & ~np.isnan(one.orm).all(axis=1) for one in self.forms
        ]
        return np.array(given, dtype=np.bool_).reshape(len(self.pairs), len(self.owner))

    @cached_property
    def levels(self) -> tuple[tuple[Levels, Levels], ...]:
        """Both forms of every pair by the levels of their scores."""
        return tuple(
            (Levels.of(one.prm, self.correct), Levels.of(one.orm, self.correct))
            for one in self.forms
        )

    @cached_property
    def ordered(self) -> tuple[tuple[Ordered, Ordered], ...]:
        """Both forms of every pair in the order of their scores."""
        return tuple(
            (Ordered.of(one.prm, self.correct), Ordered.of(one.orm, self.correct))
            for one in self.forms
        )

    def by_problem(self, values: Floats, given: Bools | None = None) -> Floats:
        """Means over the pools of each problem, `[P]`; 0 where there is none.

        Args:
            values: Of pools, `[U]`.
            given: Which pools count; all by default.
        """
        weights = np.ones(len(values)) if given is None else given.astype(np.float64)
        count = np.bincount(self.owner, weights, minlength=len(self.problems))
        total = np.bincount(self.owner, weights * values, minlength=len(self.problems))
        means: Floats = total / np.maximum(count, 1.0)
        return means

    @cached_property
    def known(self) -> Bools:
        """Whether a pair has judged a problem, `[J, P]`."""
        found = np.zeros((len(self.pairs), len(self.problems)), dtype=np.bool_)
        for place, given in enumerate(self.judged):
            found[place, self.owner[given]] = True
        return found


def gather(takes: Sequence[Take], pairs: Sequence[Pair]) -> Material:
    """One body of material from stored runs.

    Pools are cut to the size of the smallest, their first solutions. A scorer that a run does
    not have gives no verdict on its pools.

    Args:
        takes: The runs, at least one.
        pairs: At least one.

    Raises:
        InputError: A name stands for different scorers in different runs, no run has a pair,
            or runs have different problems of one id in one problem set.
    """
    if not pairs:
        raise InputError(
            "there is no scorer with an ORM and a PRM form: state one (--pair NAME=PRM,ORM, such "
            "as prm=prm/mean,prm/last-1), or score by a judge in both forms",
            field="pairs",
        )
    fingerprints = _fingerprints(takes, {name for pair in pairs for name in pair.scorers})
    ids = _ids(takes)
    numbers: dict[str, int] = {}
    problems: list[Problem] = []
    owner: list[int] = []
    for take, named in zip(takes, ids, strict=True):
        for problem, name in zip(take.stored.pools.problems, named, strict=True):
            if name not in numbers:
                numbers[name] = len(problems)
                problems.append(problem.model_copy(update={"id": name}))
            owner.append(numbers[name])
    size = min(*(take.card.n for take in takes), LARGEST)
    correct = [row[:size] for take in takes for row in take.stored.pools.correct()]
    forms = tuple(
        Forms(_scores(takes, pair.prm, size), _scores(takes, pair.orm, size)) for pair in pairs
    )
    return Material(
        problems=tuple(problems),
        pairs=tuple(pairs),
        owner=np.array(owner, dtype=np.intp),
        correct=np.array(correct, dtype=np.bool_),
        forms=forms,
        fingerprints=fingerprints,
    )


def _ids(takes: Sequence[Take]) -> list[list[str]]:
    """Ids that no two problems share; equal problems of several runs keep one.

    Ids get the name of their problem set in front where one stands for different problems.
    """
    plain: dict[str, Problem] = {}
    clash = False
    for take in takes:
        for problem in take.stored.pools.problems:
            clash = clash or plain.setdefault(problem.id, problem) != problem
    if not clash:
        return [[one.id for one in take.stored.pools.problems] for take in takes]
    names: list[list[str]] = []
    known: dict[str, Problem] = {}
    for take in takes:
        several = "+" in take.card.problem_set
        front = "" if several else f"{take.card.problem_set}/"
        names.append([front + one.id for one in take.stored.pools.problems])
        for name, problem in zip(names[-1], take.stored.pools.problems, strict=True):
            if known.setdefault(name, problem) != problem:
                raise InputError(f"runs have different problems '{name}'", field="runs")
    return names


def _fingerprints(takes: Sequence[Take], scorers: set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for take in takes:
        for name in sorted(scorers & set(take.fingerprints)):
            if found.setdefault(name, take.fingerprints[name]) != take.fingerprints[name]:
                raise InputError(
                    f"'{name}' is not the same scorer in every run: rename it in one of them",
                    field="pairs",
                )
    return found


def _scores(takes: Sequence[Take], form: str, size: int) -> Floats:
    """Scores of all pools by one form, `[U, N]`.

    Raises:
        InputError: No run has the scorer, or it has no such form.
    """
    every = {one.name: one for take in takes for one in take.stored.scorers}
    form_plan(form, every)
    rows = []
    for take in takes:
        pools = take.stored.pools
        known: Mapping[str, ScorerPlan] = {one.name: one for one in take.stored.scorers}
        if form.partition("/")[0] not in known:
            rows.append(np.full((len(pools.problems), size), np.nan))
            continue
        plan = form_plan(form, known)
        rows.append(_array(pools, plan, take)[:, :size])
    return np.concatenate(rows)


def _array(pools: Pools, plan: ScorerPlan, take: Take) -> Floats:
    (scores,) = pools.scores(plan, take.stored.values[plan.name]).values()
    return np.array(
        [[np.nan if value is None else value for value in row] for row in scores],
        dtype=np.float64,
    )
