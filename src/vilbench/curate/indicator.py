"""How much a problem prefers process rewards, by each pair of scorers.

The paper says (its section on the benchmark): the mean quality of what the scorers pick as
PRMs minus that of what they pick as ORMs, over candidate responses, averaged over six
scorers. It does not say what quality is, how ties are broken, or over which candidates. Here
quality is whether the answer is right, a tie is an even draw, exactly, and a pick is made
from the whole pool (`difference`). Alternatives:

    difference   right picks of the PRM form minus those of the ORM form, Best-of-N
    mean-k       the same, averaged over Best-of-k for every k from 1 to N
    share        1 where the PRM form picks better, else 0: the share of the scorers
    margin       how far the scores tell right from wrong solutions, in standard deviations of
                 the pool's scores, by steps minus by the whole

Every one of them is a mean over pairs, so that a pair can be left out of it.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from vilbench.curate.material import Material
from vilbench.curate.picks import Bools, Floats, Places, Weights

Rule = Literal["difference", "mean-k", "share", "margin"]

_DECIMALS = 12


class Reading(NamedTuple):
    """What a version of the pools shows.

    Attributes:
        prm: Right picks of the PRM forms, Best-of-M, `[J, P]`.
        orm: Right picks of the ORM forms, `[J, P]`.
        cot: Share of right solutions, `[P]`.
        preference: What each pair says for the indicator, `[J, P]`; 0 where it is not known.
        known: Whether the pair has judged the problem, `[J, P]`.
    """

    prm: Floats
    orm: Floats
    cot: Floats
    preference: Floats
    known: Bools

    def indicator(self, pairs: Bools | None = None) -> Floats:
        """Mean over the pairs that have judged a problem, `[P]`; 0 where none has.

        Args:
            pairs: Which pairs count, `[J]`; all by default.
        """
        counted = self.known if pairs is None else self.known & pairs[:, None]
        total = (self.preference * counted).sum(axis=0)
        means: Floats = np.round(total / np.maximum(counted.sum(axis=0), 1), _DECIMALS)
        return means


def read(material: Material, weights: Weights, rule: Rule) -> Reading:
    """What a version of the pools shows.

    Args:
        material: The pools.
        weights: `[N, U]`; every column sums to the same size `M`.
        rule: The preference.
    """
    size = int(weights[:, 0].sum())
    shape = (len(material.pairs), len(material.problems))
    prm, orm, preference = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for place, (by_steps, by_whole) in enumerate(material.levels):
        judged = material.judged[place]
        prm[place] = material.by_problem(by_steps.quality(weights), judged)
        orm[place] = material.by_problem(by_whole.quality(weights), judged)
        if rule == "difference":
            preference[place] = prm[place] - orm[place]
        elif rule == "share":
            preference[place] = prm[place] > orm[place] + 10**-_DECIMALS
        elif rule == "mean-k":
            steps, wholes = material.ordered[place]
            gain = steps.quality(weights) - wholes.quality(weights)
            preference[place] = material.by_problem(gain, judged)
        else:
            forms = material.forms[place]
            gain = margin(forms.prm, material.correct, weights)
            gain -= margin(forms.orm, material.correct, weights)
            preference[place] = material.by_problem(gain, judged)
    right = (weights * material.correct.T).sum(axis=0, dtype=np.float64)
    cot = material.by_problem(right / size)
    return Reading(prm, orm, cot, preference, material.known)


def margin(scores: Floats, correct: Bools, weights: Weights) -> Floats:
    """Mean score of right minus wrong solutions, in standard deviations of the pool, `[U]`.

    Solutions without a verdict are left out. 0 where only right or only wrong ones are left,
    or where all scores are equal.

    Args:
        scores: `[U, N]`.
        correct: `[U, N]`.
        weights: The version, `[N, U]`.
    """
    drawn = np.where(np.isnan(scores), 0, weights.T).astype(np.float64)
    values = np.where(np.isnan(scores), 0.0, scores)
    mean = _mean(values, drawn)
    spread = np.sqrt(_mean((values - mean[:, None]) ** 2, drawn))
    right, wrong = drawn * correct, drawn * ~correct
    apart = _mean(values, right) - _mean(values, wrong)
    defined = (right.sum(axis=1) > 0) & (wrong.sum(axis=1) > 0)
    defined &= spread > 1e-9 * np.maximum(1.0, np.abs(mean))
    found: Floats = np.divide(apart, spread, out=np.zeros_like(apart), where=defined)
    return found


def _mean(values: Floats, weights: Floats) -> Floats:
    means: Floats = (values * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1.0)
    return means


def shrunk(indicator: Floats, noise: Floats, groups: Places) -> Floats:
    """The indicator drawn towards the mean of its source, the more the noisier it is, `[P]`.

    Empirical Bayes under normality: `mean + t / (t + noise) * (indicator - mean)` with `t`
    the variance of the indicator within the source beyond its mean noise, at least 0.

    Args:
        indicator: `[P]`.
        noise: Variance of each over resampled candidates, `[P]`.
        groups: Number of each problem's source, `[P]`.
    """
    result = indicator.copy()
    for group in np.unique(groups):
        here = groups == group
        centre = indicator[here].mean()
        true = max(0.0, float(indicator[here].var() - noise[here].mean()))
        total = true + noise[here]
        factor = np.divide(true, total, out=np.zeros_like(total), where=total > 0)
        # A value without noise is what it is.
        factor[noise[here] == 0] = 1.0
        result[here] = centre + factor * (indicator[here] - centre)
    found: Floats = np.round(result, _DECIMALS)
    return found
