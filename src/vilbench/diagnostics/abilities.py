"""Does a better solver make a better scorer? From runs that models sampled and judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np

from vilbench.diagnostics.diagnosis import Held
from vilbench.diagnostics.figures import mean
from vilbench.diagnostics.records import Figure
from vilbench.diagnostics.table import Scored
from vilbench.metrics import Bootstrap, Separation
from vilbench.metrics.bootstrap import Floats
from vilbench.metrics.correlation import within_ranks
from vilbench.problems.clusters import clusters
from vilbench.selection import best_of
from vilbench.types import SCHEMA_VERSION, Problem, Record

Order = Literal["better", "worse", "unclear"]


class RunPart(NamedTuple):
    """A run with the models of its parts.

    Attributes:
        name: What tells it from the others.
        held: What it holds.
        solver: The model that sampled.
        models: The model that scores, by the scorer's name; scorers by models that are no
            solvers, such as trained heads, are left out.
        kinds: How each of them scores, such as "judge of steps"; only alike are compared.
    """

    name: str
    held: Held
    solver: str
    models: Mapping[str, str]
    kinds: Mapping[str, str]


class Solver(Record):
    """How often a model's single solutions are right."""

    model: str
    run: str
    problem_set: str
    n_problems: int
    n: int
    accuracy: Figure


class Judging(Record):
    """What a model is worth as a scorer of one run's solutions.

    Attributes:
        model: The model.
        run: Whose solutions.
        scorer: The scorer's name.
        kind: How it scores.
        method: Its standing method.
        gain: Best-of-N accuracy over that of single solutions, paired.
        within: AUROC within problems.
    """

    model: str
    run: str
    scorer: str
    kind: str
    method: str
    gain: Figure
    within: Figure


class Pair(Record):
    """Two models that scored the same solutions in the same way, the better solver first.

    Attributes:
        run: Whose solutions.
        kind: How they score.
        solver: The better solver.
        other: The other one.
        ahead: How much more often it solves, on the problems that both solved.
        n_problems: Number of those.
        gain: Its Best-of-N accuracy as a scorer minus the other's, paired.
        within: Its AUROC within problems minus the other's, paired.
        as_scorer: Whether the better solver is the better scorer, by the interval of `gain`.
    """

    run: str
    kind: str
    solver: str
    other: str
    ahead: Figure
    n_problems: int
    gain: Figure
    within: Figure
    as_scorer: Order


class Ranking(Record):
    """Rank correlation over models of solving and scoring; of two models it is 1 or -1.

    Models are ranked as solvers on the problems that all of them solved.

    Attributes:
        run: Whose solutions.
        kind: How they score.
        models: The models, from the worst solver to the best.
        gain: Kendall's tau-b of accuracy as a solver and gain as a scorer.
        within: The same with the AUROC within problems.
    """

    run: str
    kind: str
    models: tuple[str, ...]
    gain: float | None
    within: float | None


class Abilities(Record):
    """Models as solvers and as scorers."""

    schema_version: int
    solvers: tuple[Solver, ...]
    judging: tuple[Judging, ...]
    pairs: tuple[Pair, ...]
    rankings: tuple[Ranking, ...]


class _Solved(NamedTuple):
    """Share of right solutions by problem, of one model, and the problems."""

    shares: Mapping[str, float]
    problems: Mapping[str, Problem]

    def drawn(self, names: Sequence[str]) -> list[int]:
        """Clusters of some of the problems."""
        return clusters([self.problems[name] for name in names])


def abilities(parts: Sequence[RunPart]) -> Abilities:
    """Models as solvers and as scorers, and whether the one goes with the other.

    The finding that is tried: a better vision-language model is not a better reward model
    (arXiv 2503.20271, section 3). Scorers are compared only where they scored the same
    solutions in the same way; differences are paired by problem. A model's accuracy as a solver
    is that of its own run; where two runs share problems the difference is taken on these.

    Args:
        parts: The runs. Of two where the same model solves the same problem the first counts.
    """
    solved: dict[str, _Solved] = {}
    solvers = []
    for part in parts:
        solvers.append(_solver(part))
        mine = {one.id: one for one in part.held.table.pools.problems}
        before = solved.get(part.solver, _Solved({}, {}))
        solved[part.solver] = _Solved(
            {**_shares(part), **before.shares}, {**mine, **before.problems}
        )
    judging: list[Judging] = []
    pairs: list[Pair] = []
    rankings: list[Ranking] = []
    for part in parts:
        some = [one for one in part.held.scored if one.name in part.models and one.method]
        found = [_judging(part, one) for one in some]
        judging += found
        for kind in dict.fromkeys(part.kinds[one.name] for one in some):
            alike = [
                one
                for one in some
                if part.kinds[one.name] == kind and part.models[one.name] in solved
            ]
            told = [one for one in found if one.kind == kind and one.model in solved]
            pairs += _pairs(part, kind, alike, solved)
            rankings += _rankings(part.name, kind, told, solved)
    return Abilities(
        schema_version=SCHEMA_VERSION,
        solvers=tuple(solvers),
        judging=tuple(judging),
        pairs=tuple(pairs),
        rankings=tuple(rankings),
    )


def _shares(part: RunPart) -> dict[str, float]:
    table = part.held.table
    shares = table.right.reshape(table.shape).mean(axis=1)
    return {one.id: float(share) for one, share in zip(table.pools.problems, shares, strict=True)}


def _solver(part: RunPart) -> Solver:
    table = part.held.table
    shares = np.array([*_shares(part).values()])
    return Solver(
        model=part.solver,
        run=part.name,
        problem_set=part.held.problem_set,
        n_problems=table.shape[0],
        n=table.shape[1],
        accuracy=mean(shares, table.bootstrap),
    )


def _standing(scored: Scored) -> Floats:
    if scored.standing is None:
        raise ValueError(f"no method stands for '{scored.name}'")
    return scored.standing


def _picked(part: RunPart, scored: Scored) -> Floats:
    """Best-of-N accuracy by problem."""
    table = part.held.table
    curve = best_of(table.pools_of(_standing(scored)), table.correct)
    picked: Floats = curve.accuracy[:, -1]
    return picked


def _areas(part: RunPart, scored: Scored) -> Floats:
    """AUROC by problem."""
    table = part.held.table
    return Separation(table.pools_of(_standing(scored)), table.correct).areas()


def _judging(part: RunPart, scored: Scored) -> Judging:
    table = part.held.table
    bootstrap = table.bootstrap
    single = table.right.reshape(table.shape).mean(axis=1)
    return Judging(
        model=part.models[scored.name],
        run=part.name,
        scorer=scored.name,
        kind=part.kinds[scored.name],
        method=scored.method.name if scored.method else scored.name,
        gain=mean(_picked(part, scored) - single, bootstrap),
        within=mean(_areas(part, scored), bootstrap),
    )


def _pairs(
    part: RunPart, kind: str, alike: Sequence[Scored], solved: Mapping[str, _Solved]
) -> Iterator[Pair]:
    for pair in combinations(alike, 2):
        both = [part.models[scored.name] for scored in pair]
        shared = [name for name in solved[both[0]].shares if name in solved[both[1]].shares]
        if both[0] == both[1] or not shared:
            continue
        shares = [np.array([solved[model].shares[name] for name in shared]) for model in both]
        order = (0, 1) if shares[0].mean() >= shares[1].mean() else (1, 0)
        one, other = (pair[place] for place in order)
        first, second = (both[place] for place in order)
        ahead = shares[order[0]] - shares[order[1]]
        bootstrap = part.held.table.bootstrap
        gain = mean(_picked(part, one) - _picked(part, other), bootstrap)
        yield Pair(
            run=part.name,
            kind=kind,
            solver=first,
            other=second,
            ahead=mean(ahead, Bootstrap(len(ahead), clusters=solved[first].drawn(shared))),
            n_problems=len(shared),
            gain=gain,
            within=mean(_areas(part, one) - _areas(part, other), bootstrap),
            as_scorer=_order(gain),
        )


def _rankings(
    run: str, kind: str, told: Sequence[Judging], solved: Mapping[str, _Solved]
) -> Iterator[Ranking]:
    """The ranking of two models or more; none where they solved no problem in common."""
    by_model = {one.model: one for one in told}
    if len(by_model) < 2:
        return
    shared = sorted(set.intersection(*(set(solved[model].shares) for model in by_model)))
    if not shared:
        return
    accuracy = {
        model: float(np.mean([solved[model].shares[name] for name in shared])) for model in by_model
    }
    models = sorted(by_model, key=accuracy.__getitem__)
    right = [accuracy[model] for model in models]
    yield Ranking(
        run=run,
        kind=kind,
        models=tuple(models),
        gain=_tau(right, [by_model[model].gain.value for model in models]),
        within=_tau(right, [by_model[model].within.value for model in models]),
    )


def _tau(one: Sequence[float], other: Sequence[float | None]) -> float | None:
    rows = (np.array([values], dtype=np.float64) for values in (one, other))
    (tau,) = within_ranks(*rows).kendall
    return None if np.isnan(tau) else float(tau)


def _order(gain: Figure) -> Order:
    if gain.low is not None and gain.low > 0:
        return "better"
    return "worse" if gain.high is not None and gain.high < 0 else "unclear"
