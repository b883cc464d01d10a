"""Fitting a learned score, and choosing its form by cross-validation.

Forms for the steps of one scorer:

    power           generalized mean with a fitted exponent
    positions       attention by position: from the end, last, first, centre
    changes         attention by how far the value moved: a step weighs what it told
    attention       attention by position, height and change of the value
    features        weighted mean, minimum, last step and mean logarithm, no weight below 0
    features-and-steps    the same, and the number of steps

and for several scorers together, of which each brings the same features:

    means           the mean over the steps, or the value of the whole solution
    features        as above, or the value of the whole solution

All of them minimize the loss of `listwise` with a small ridge on the parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vilbench.selection.aggregation import Values
from vilbench.selection.attention import CUES, Attended, Attention
from vilbench.selection.best_of import best_of
from vilbench.selection.curve import Bools, Floats
from vilbench.selection.features import feature
from vilbench.selection.listwise import contrasting, listwise
from vilbench.selection.weights import ATTENTION, Formula, Reading, Term, Trial
from vilbench.types import Granularity

RIDGE = 0.003
"""Weight of half the squared parameters beside the loss."""

FOLDS = 5

FIXED = "fixed"

_EXPONENTS = (-16.0, -8.0, -4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0)
_STEPS = "steps"
_START = 0.3
_MOST = 7.0
"""Largest logarithm of a weight: a loss that one feature brings to 0 has no other end."""
_FLAT = 1e-9
Places = NDArray[np.intp]


@dataclass(frozen=True)
class Subject:
    """A scorer's values of all solutions that are fitted on.

    Attributes:
        scorer: Its name.
        granularity: Steps or whole solutions.
        bounds: Lowest and highest value of its scale; None where there are none.
        values: On its own scale, `[P][N]`; none where it did not score a solution.
    """

    scorer: str
    granularity: Granularity
    bounds: tuple[float, float] | None
    values: Sequence[Sequence[Values]]

    def reading(self) -> Reading:
        """How its values are put on the unit scale; without bounds by mean and deviation."""
        if self.bounds is not None:
            return Reading(scorer=self.scorer, low=self.bounds[0], high=self.bounds[1])
        known = [v for pool in self.values for one in pool for v in one if v is not None]
        centre, spread = (float(np.mean(known)), float(np.std(known))) if known else (0.0, 0.0)
        reach = 2 * spread or 1.0
        return Reading(scorer=self.scorer, low=centre - reach, high=centre + reach)


@dataclass(frozen=True)
class Lesson:
    """What is fitted on: the values of one or several scorers, and which solutions are right."""

    subjects: tuple[Subject, ...]
    right: Bools

    def part(self, places: Places) -> Lesson:
        """The problems at these places."""
        subjects = tuple(
            replace(one, values=[one.values[place] for place in places]) for one in self.subjects
        )
        return Lesson(subjects, self.right[places])


@dataclass(frozen=True)
class Form:
    """A shape of score, whose parameters are fitted.

    Attributes:
        name: As in a learned score.
        fit: Fits them.
    """

    name: str
    fit: Callable[[Lesson], Formula]


def forms(subjects: Sequence[Subject]) -> tuple[Form, ...]:
    """The forms that these scorers allow, plain ones first.

    Raises:
        ValueError: There is one scorer alone, of whole solutions: nothing is to be learned.
    """
    (first, *others) = subjects
    if others:
        return Form("means", partial(_linear, steps=("mean",))), Form("features", _linear)
    if first.granularity == "solution":
        raise ValueError(f"'{first.scorer}' gives a solution one value: there is nothing to weigh")
    powers = () if first.bounds is None else (Form("power", _power),)
    return (
        *powers,
        Form("positions", partial(_attended, cues=("end", "last", "first", "centre"))),
        Form("changes", partial(_attended, cues=("fall", "change"))),
        Form("attention", _attended),
        Form("features", _linear),
        Form("features-and-steps", partial(_linear, steps=(*_FEATURES, _STEPS))),
    )


def learn(lesson: Lesson, form: Form) -> Formula:
    """The form fitted on the problems that hold right and wrong solutions.

    Raises:
        ValueError: There is no such problem, or a scorer has not given one value.
    """
    places = np.flatnonzero(contrasting(lesson.right))
    if not len(places):
        raise ValueError("no problem has right and wrong solutions: there is nothing to learn from")
    for one in lesson.subjects:
        if all(v is None for pool in one.values for values in pool for v in values):
            raise ValueError(f"'{one.scorer}' has given no value")
    return form.fit(lesson.part(places))


def cross_validated(lesson: Lesson, form: Form, *, folds: int = FOLDS, seed: int = 0) -> Floats:
    """Best-of-k accuracy on every problem of the form fitted on the other folds, `[P, N]`.

    Args:
        lesson: The problems.
        form: What is fitted.
        folds: Parts of the problems, each of which is held out once; at most one a problem.
        seed: Draws the parts.

    Raises:
        ValueError: There are less than two problems, or nothing to learn from.
    """
    size = len(lesson.right)
    folds = min(folds, size)
    if folds < 2:
        raise ValueError(f"{size} problems cannot be split into parts to be held out")
    order = np.random.default_rng(seed).permutation(size)
    reached = np.zeros(lesson.right.shape)
    for start in range(folds):
        held = np.sort(order[start::folds])
        formula = learn(lesson.part(np.setdiff1d(order, held)), form)
        reached[held] = accuracy(formula, lesson.part(held))
    return reached


def fixed(lesson: Lesson, names: Sequence[str]) -> Form:
    """The best of some aggregations on what is "fitted" on, as `vilbench choose` takes it.

    Args:
        lesson: All problems; each rule is tried on them once, whatever part is fitted on.
        names: The aggregations.
    """
    (subject,) = lesson.subjects
    formulas = [_alone(subject, name) for name in names]
    reached = np.array([accuracy(one, lesson)[:, -1] for one in formulas])
    place = {id(pool): number for number, pool in enumerate(subject.values)}

    def best(part: Lesson) -> Formula:
        places = [place[id(pool)] for pool in part.subjects[0].values]
        means = np.round(reached[:, places].mean(axis=1), 12)
        return formulas[int(means.argmax())]

    return Form(FIXED, best)


def trial(name: str, reached: Floats) -> Trial:
    """What a form reached, from its accuracies `[P, N]`."""
    return Trial(form=name, accuracy=float(reached.mean()), best_of_n=float(reached[:, -1].mean()))


def accuracy(formula: Formula, lesson: Lesson) -> Floats:
    """Best-of-k accuracy of a score, `[P, N]`."""
    values = {one.scorer: one.values for one in lesson.subjects}
    return best_of(formula.pools(values), lesson.right.tolist()).accuracy


def _alone(subject: Subject, name: str) -> Formula:
    term = Term(scorer=subject.scorer, feature=name, weight=1.0)
    return Formula(readings=(subject.reading(),), terms=(term,))


def _power(lesson: Lesson) -> Formula:
    """The exponent with the lowest loss, each with a weight of its own."""
    fits = [_fit(_columns(lesson, (f"power:{p:g}",))) for p in _EXPONENTS]
    return min(fits, key=lambda fit: fit.loss).formula


_FEATURES = ("mean", "min", "last-1", "log-mean")


def _linear(lesson: Lesson, steps: Sequence[str] = _FEATURES) -> Formula:
    return _fit(_columns(lesson, steps)).formula


class _Columns(NamedTuple):
    """Features as columns, standardized: `terms` weigh nothing yet, `array` is `[P, N, K]`."""

    readings: tuple[Reading, ...]
    terms: tuple[Term, ...]
    array: Floats
    right: Bools


def _columns(lesson: Lesson, steps: Sequence[str]) -> _Columns:
    terms, columns, readings = [], [], []
    for one in lesson.subjects:
        reading = one.reading()
        readings.append(reading)
        unit = [[reading.unit(values) for values in pool] for pool in one.values]
        names = ["value"] if one.granularity == "solution" else list(steps)
        for name in names:
            if name == "log-mean" and one.bounds is None:
                continue
            rule = feature(name)
            found = np.array(
                [[rule(values) if values else None for values in pool] for pool in unit],
                dtype=np.float64,
            )
            known = found[~np.isnan(found)]
            centre, spread = (float(known.mean()), float(known.std())) if known.size else (0.0, 0.0)
            spread = spread if spread > _FLAT else 1.0
            columns.append(np.nan_to_num((found - centre) / spread))
            terms.append(
                Term(scorer=one.scorer, feature=name, weight=0.0, centre=centre, spread=spread)
            )
    return _Columns(tuple(readings), tuple(terms), np.stack(columns, axis=2), lesson.right)


class _Fit(NamedTuple):
    loss: float
    formula: Formula


def _fit(columns: _Columns) -> _Fit:
    """Weights of the columns, none below 0 but that of the number of steps."""
    array, right = columns.array, columns.right

    def objective(weights: Floats) -> tuple[float, Floats]:
        loss = listwise(array @ weights, right)
        gradient = np.einsum("pn,pnk->k", loss.gradient, array)
        return loss.value + RIDGE / 2 * float(weights @ weights), gradient + RIDGE * weights

    bounds = [(None if one.feature == _STEPS else 0.0, None) for one in columns.terms]
    found = _minimum(objective, np.full(array.shape[2], _START), bounds)
    terms = tuple(
        one.model_copy(update={"weight": float(weight)})
        for one, weight in zip(columns.terms, found.parameters, strict=True)
    )
    return _Fit(found.loss, Formula(readings=columns.readings, terms=terms))


def _attended(lesson: Lesson, cues: Sequence[str] = CUES) -> Formula:
    """Parameters of attention, and the weight of the mean that it gives.

    The loss has several minima: it is followed from the mean over all steps, from the last
    step and from the lowest one, and the best is taken.
    """
    (subject,) = lesson.subjects
    reading = subject.reading()
    flat = [reading.unit(values) for pool in subject.values for values in pool]
    attended, shape = Attended(flat, cues), lesson.right.shape
    # The weight is held by the ridge as that of a standardized column is.
    unit = RIDGE * float(attended.means(np.zeros(len(cues)))[0].var())

    def objective(given: Floats) -> tuple[float, Floats]:
        means, slopes = attended.means(given[1:])
        weight = float(np.exp(given[0]))
        loss = listwise(weight * means.reshape(shape), lesson.right)
        pull = loss.gradient.ravel()
        by_weight = weight * float(pull @ means) + unit * weight**2
        by_cues = weight * (pull @ slopes) + RIDGE * given[1:]
        penalty = (RIDGE * float(given[1:] @ given[1:]) + unit * weight**2) / 2
        return loss.value + penalty, np.concatenate([[by_weight], by_cues])

    bounds = [(-_MOST, _MOST), *[(None, None)] * len(cues)]
    # The rows below the first one set one parameter each.
    single = np.eye(len(cues) + 1)[1:]
    starts = [np.zeros(len(cues) + 1)]
    starts += [row for row, cue in zip(single, cues, strict=True) if cue in ("last", "low")]
    fits = [_minimum(objective, start, bounds) for start in starts]
    best = min(fits, key=lambda fit: fit.loss)
    parameters = dict(zip(cues, best.parameters[1:].tolist(), strict=True))
    term = Term(
        scorer=subject.scorer,
        feature=ATTENTION,
        weight=float(np.exp(best.parameters[0])),
        attention=Attention(**parameters),
    )
    return Formula(readings=(reading,), terms=(term,))


class _Minimum(NamedTuple):
    loss: float
    parameters: Floats


def _minimum(
    objective: Callable[[Floats], tuple[float, Floats]],
    start: Floats,
    bounds: Sequence[tuple[float | None, float | None]],
) -> _Minimum:
    # Importing it takes a while, and only who fits needs it.
    from scipy.optimize import minimize

    found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return _Minimum(float(found.fun), np.asarray(found.x, dtype=np.float64))
