"""Calibration: whether a scorer's values are chances of being right, as given and after a fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from vilbench.diagnostics.records import Bin, Figure, Fit, Reliability
from vilbench.diagnostics.table import Bools, Places, Scored, Table
from vilbench.evaluate.pools import Scale
from vilbench.metrics import Bootstrap
from vilbench.metrics.bootstrap import Floats
from vilbench.metrics.calibration import Calibrator, calibration, fit_isotonic, fit_platt
from vilbench.types import Granularity

FOLDS = 5
"""Parts of the problems; each is fitted on the others where no dev run is given."""

_FITS: dict[Fit, Callable[[Floats, Bools], Calibrator]] = {
    "platt": fit_platt,
    "isotonic": fit_isotonic,
}

_EDGE = 1e-3
"""What is nearer to a bound than this part of the scale counts as this near, for log-odds."""


class Dev(NamedTuple):
    """A run over problems for fits."""

    problem_set: str
    table: Table
    scored: tuple[Scored, ...]


class Target(NamedTuple):
    """Scores of one kind of thing, and which of them are right: `[M]` each."""

    unit: Granularity
    method: str | None
    bounds: Scale | None
    scores: Floats
    right: Bools
    owner: Places
    missing: int


def targets(table: Table, scored: Scored) -> Iterator[Target]:
    """What a scorer's values speak of: solutions by its standing method, then steps.

    Things without a score are left out and counted, as are steps that nobody can tell.
    """
    if scored.method is not None and scored.standing is not None:
        known = ~np.isnan(scored.standing)
        # A solution that could not be sampled was not there to be scored.
        drawn = table.characters > 0
        yield Target(
            "solution",
            scored.method.name,
            scored.plan.bounds(scored.method),
            scored.standing[known],
            table.right[known],
            table.owner[known],
            int((drawn & ~known).sum()),
        )
    if scored.values is not None:
        told = table.step_sound >= 0
        known = told & ~np.isnan(scored.values)
        if told.any():
            yield Target(
                "step",
                None,
                scored.plan.scale,
                scored.values[known],
                table.step_sound[known] == 1,
                table.step_owner[known],
                int((told & ~known).sum()),
            )


def unit(scores: Floats, bounds: Scale) -> Floats:
    """Scores on [0, 1]; one beyond a bound counts as the bound."""
    scaled: Floats = np.clip((scores - bounds.low) / (bounds.high - bounds.low), 0.0, 1.0)
    return scaled


def fitted_scores(target: Target, fit: Fit) -> Floats:
    """Scores as a fit takes them, `[M]`.

    Platt's curve is made for scores without bounds: those on a scale enter it as log-odds, so
    that it can mend what is too sure or too timid.
    """
    if fit != "platt" or target.bounds is None:
        return target.scores
    said = np.clip(unit(target.scores, target.bounds), _EDGE, 1 - _EDGE)
    odds: Floats = np.log(said / (1 - said))
    return odds


def reliability(
    table: Table, scored: Scored, bootstrap: Bootstrap, dev: Dev | None = None
) -> Iterator[Reliability]:
    """Calibration of a scorer's standing method and of its step values.

    As given: values on a bounded scale are brought to [0, 1] by their bounds. An integer of
    1 to 5 was not meant as a chance, so that a large error there says no more than that it is
    none; unbounded scores are no chances at all and are told only after a fit. Then after
    Platt's fit and an isotonic one, made on the dev run, or without it fold by fold on other
    problems of this run, never on the problem whose score is made a chance.

    Source: `vilbench.metrics.calibration`.

    Args:
        table: The pools.
        scored: The scorer's values.
        bootstrap: Resamples of the problems.
        dev: Where to fit; None fits across folds.
    """
    elsewhere = _fitted_on(dev, scored)
    for target in targets(table, scored):
        if not target.scores.size:
            continue
        if target.bounds is not None:
            said = unit(target.scores, target.bounds)
            yield _reliability(scored.name, target, "none", said, bootstrap)
        for fit, fitting in _FITS.items():
            other = elsewhere.get(target.unit)
            if other is not None and dev is not None:
                fitted = fitting(fitted_scores(other, fit), other.right)
                said = fitted(fitted_scores(target, fit))
                yield _reliability(scored.name, target, fit, said, bootstrap, dev.problem_set)
            elif (crossed := _crossed(target, fit)) is not None:
                said = crossed
                yield _reliability(scored.name, target, fit, said, bootstrap, crossed=True)


def _fitted_on(dev: Dev | None, scored: Scored) -> dict[Granularity, Target]:
    """What the dev run has of the same scorer, by the same method."""
    found: dict[Granularity, Target] = {}
    for other in dev.scored if dev is not None else ():
        if other.name == scored.name and dev is not None:
            same = Scored(scored.plan, scored.method, other.scores, other.values)
            found |= {one.unit: one for one in targets(dev.table, same) if one.scores.size}
    return found


def _crossed(target: Target, fit: Fit) -> Floats | None:
    """Each score as a chance by a fit on the problems of the other folds."""
    scores, fitting = fitted_scores(target, fit), _FITS[fit]
    problems = np.unique(target.owner)
    if len(problems) < FOLDS:
        return None
    fold = np.zeros(int(problems.max()) + 1, dtype=np.intp)
    fold[np.random.default_rng(0).permutation(problems)] = np.arange(len(problems)) % FOLDS
    part = fold[target.owner]
    said = np.empty_like(scores)
    for one in range(FOLDS):
        kept = part != one
        fitted = fitting(scores[kept], target.right[kept])
        said[~kept] = fitted(scores[~kept])
    return said


def _reliability(
    scorer: str,
    target: Target,
    fit: Fit,
    said: Floats,
    bootstrap: Bootstrap,
    fitted_on: str | None = None,
    *,
    crossed: bool = False,
) -> Reliability:
    found = calibration(said, target.right, target.owner, bootstrap)
    base = float(target.right.mean())
    return Reliability(
        scorer=scorer,
        method=target.method,
        unit=target.unit,
        fit=fit,
        fitted_on=fitted_on,
        crossed=crossed,
        n_problems=len(np.unique(target.owner)),
        n=len(said),
        missing=target.missing,
        base=base,
        ece=found.ece,
        floor=found.floor,
        p_value=found.p_value,
        rms=Figure(value=found.rms, low=found.rms_low, high=found.rms_high),
        brier=Figure(value=found.brier, low=found.brier_low, high=found.brier_high),
        brier_base=base * (1 - base),
        bins=tuple(
            Bin(said=float(s), right=float(r), low=float(low), high=float(high), n=int(n))
            for s, r, low, high, n in zip(*found.curve, strict=True)
        ),
    )
