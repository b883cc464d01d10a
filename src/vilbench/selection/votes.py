"""Majority and weighted majority over answers, for every k from one pool."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vilbench.selection.curve import (
    Bools,
    Curve,
    Floats,
    curve,
    pools_of_bools,
    pools_of_floats,
    same_shape,
)

Answers = Sequence[Sequence[str | None]]
"""Normalized answers, a pool per problem; None is an unparsed one, which casts no vote."""

MAX_POOL = 1000
"""Largest pool of `majority`: C(1000, 500) is still a float."""

_TOGETHER = 64
"""Pools whose votes are counted together: their arrays stay in the cache."""

_TIED = 1e-9
"""Weighted votes this near to the best, relatively, are equal to it."""


class _Class(NamedTuple):
    """Equal answers of one pool: their number and the share of them that is right."""

    size: int
    share: float


def majority(answers: Answers, correct: Sequence[Sequence[bool]]) -> Curve:
    """Accuracy of the most frequent answer among `k` solutions, exact for every `k`.

    Answers with equally many votes share the choice evenly. Unparsed answers cast no vote;
    a subset of nothing else has no answer and counts as wrong, not as a tie. Equal answers
    that were not graded alike count by the share of right ones among them in the pool.

    Args:
        answers: A pool per problem, all of the same size `N`, at most `MAX_POOL`.
        correct: Which of the solutions are right, in the same shape.

    Raises:
        ValueError: There is no pool, shapes differ, or pools are too large.
    """
    right = pools_of_bools(correct)
    same_shape(answers, right)
    size = right.shape[1]
    if size > MAX_POOL:
        raise ValueError(f"majority takes pools of at most {MAX_POOL} solutions, got {size}")
    subsets = np.array([float(math.comb(size, k)) for k in range(1, size + 1)])
    rows = np.empty((4, len(answers), size))
    for at, (said, graded) in enumerate(zip(answers, right, strict=True)):
        rows[:, at] = _count(_classes(said, graded), size)[:, 1:] / subsets
    return curve(*rows)


def weighted_majority(
    answers: Answers,
    correct: Sequence[Sequence[bool]],
    weights: Sequence[Sequence[float | None]],
    *,
    draws: int = 1000,
    seed: int = 0,
) -> Curve:
    """Accuracy of the answer with the largest sum of weights among `k` solutions.

    As `majority`, with the score of a solution as the weight of its vote; None weighs 0.
    An answer of weight 0 wins only where no answer has any weight, tied with the others.
    Where a pool has at most `draws` subsets of size `k` all of them are counted (always so
    for `k = N`), else `draws` random ones, the same for all pools: a pool's
    accuracy then has a standard error of at most `0.5 / sqrt(draws)`.

    Args:
        answers: A pool per problem, all of the same size `N`.
        correct: Which of the solutions are right, in the same shape.
        weights: Weights of at least 0, in the same shape; see `exponential_weights` for
            scores that are logarithms.
        draws: Most subsets to look at, for each `k`.
        seed: Seed of the random subsets.

    Raises:
        ValueError: There is no pool, shapes differ, or a weight is negative or not finite.
    """
    right = pools_of_bools(correct)
    same_shape(answers, right)
    votes = pools_of_floats(weights, right, missing=0.0)
    if votes.min() < 0:
        row, column = np.argwhere(votes < 0)[0]
        raise ValueError(f"pool {row}, solution {column}: a vote cannot weigh {votes[row, column]}")
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    problems, size = right.shape
    ranks = np.argsort(np.random.default_rng(seed).random((draws, size)), axis=1)
    subsets = [_subsets(k, ranks) for k in range(1, size + 1)]
    rows = np.zeros((4, problems, size))
    for ballots in _ballots(answers, right, votes):
        for k, chosen in enumerate(subsets, 1):
            rows[:, ballots.places, k - 1] = _tally(chosen, ballots)
    return curve(*rows)


def _classes(answers: Sequence[str | None], right: Bools) -> list[_Class]:
    """The different answers; None is none of them."""
    graded: dict[str, list[bool]] = {}
    for answer, good in zip(answers, right.tolist(), strict=True):
        if answer is not None:
            graded.setdefault(answer, []).append(good)
    return [_Class(len(found), sum(found) / len(found)) for found in graded.values()]


def _count(classes: Sequence[_Class], size: int) -> Floats:
    """Subsets by the outcome of the vote, `[4, size + 1]`: column `k` for those of size `k`.

    The rows are the expected number of right choices, the number that is right however
    ties are broken, the number that is right if they are broken well, and that of ties.
    For each number of winning votes `v` the subsets are counted as coefficients of a
    product of polynomials, one for each class: `C(n, v) x^v` if it is among the winners and
    the terms below `x^v` if it is not. Classes of less than `v` members cannot win: they
    and the unparsed answers together give `(1 + x)^spectators`.
    """
    found = np.zeros((4, size + 1))
    for v in range(1, max((group.size for group in classes), default=0) + 1):
        contenders = [group for group in classes if group.size >= v]
        spectators = size - sum(group.size for group in contenders)
        most = min(len(contenders), size // v)
        # [k, winners]: subsets, and the sum over subsets of their winners' shares of right.
        subsets = np.zeros((size + 1, most + 1))
        subsets[: spectators + 1, 0] = [math.comb(spectators, k) for k in range(spectators + 1)]
        shares = np.zeros_like(subsets)
        all_right, all_wrong = subsets[:, 0].copy(), subsets[:, 0].copy()
        for group in contenders:
            ways = [float(math.comb(group.size, i)) for i in range(v + 1)]
            losing, winning = ways[:v], ways[v]
            grown = _times(subsets, losing)
            grown_shares = _times(shares, losing)
            grown[v:, 1:] += winning * subsets[:-v, :-1]
            grown_shares[v:, 1:] += winning * (shares[:-v, :-1] + group.share * subsets[:-v, :-1])
            subsets, shares = grown, grown_shares
            all_right = _times(all_right, ways if group.share == 1 else losing)
            all_wrong = _times(all_wrong, ways if group.share == 0 else losing)
        won = subsets[:, 1:]
        found[0] += (shares[:, 1:] / np.arange(1, most + 1)).sum(axis=1)
        # The products over one kind of winners include the subsets without any winner.
        found[1] += all_right - subsets[:, 0]
        found[2] += won.sum(axis=1) - (all_wrong - subsets[:, 0])
        found[3] += won[:, 1:].sum(axis=1)
    return found


def _times(counts: Floats, polynomial: Sequence[float]) -> Floats:
    """Product along the first axis, cut at its length."""
    result = polynomial[0] * counts
    for power, factor in enumerate(polynomial[1:], 1):
        result[power:] += factor * counts[:-power]
    return result


class _Ballots(NamedTuple):
    """Votes of the pools that have equally many classes of answers.

    Attributes:
        places: Which pools, `[G]`.
        cast: Votes, 0 or 1, `[G, N, classes]`.
        weights: Their weights, in the same shape.
        shares: Shares of right ones in the classes, `[G, classes]`.
    """

    places: NDArray[np.intp]
    cast: Floats
    weights: Floats
    shares: Floats


def _ballots(answers: Answers, right: Bools, weights: Floats) -> Iterator[_Ballots]:
    """The pools, those of equally many classes together and not too many at once.

    A pool without any answer is left out: whatever is chosen from it is wrong.
    """
    classes = [list(dict.fromkeys(one for one in said if one is not None)) for said in answers]
    for size in sorted({len(names) for names in classes} - {0}):
        places = [place for place, names in enumerate(classes) if len(names) == size]
        for start in range(0, len(places), _TOGETHER):
            chosen = places[start : start + _TOGETHER]
            cast = np.zeros((len(chosen), right.shape[1], size))
            for at, place in enumerate(chosen):
                column = {name: number for number, name in enumerate(classes[place])}
                for row, answer in enumerate(answers[place]):
                    if answer is not None:
                        cast[at, row, column[answer]] = 1.0
            shares = [
                [group.share for group in _classes(answers[place], right[place])]
                for place in chosen
            ]
            yield _Ballots(
                np.array(chosen), cast, cast * weights[chosen][:, :, None], np.array(shares)
            )


def _subsets(k: int, ranks: NDArray[np.intp]) -> Floats:
    """Subsets of size `k` as rows of 0 and 1: all of them, or one for each row of `ranks`.

    `ranks` are random orders of the pool, `[draws, N]`; all subsets are taken where they
    are not more than these.
    """
    draws, size = ranks.shape
    if math.comb(size, k) > draws:
        return (ranks < k).astype(np.float64)
    members = np.array(list(combinations(range(size), k)))
    chosen = np.zeros((len(members), size))
    np.put_along_axis(chosen, members, 1.0, axis=1)
    return chosen


def _tally(chosen: Floats, ballots: _Ballots) -> Floats:
    """Mean over the subsets of accuracy, its bounds, and ties, `[4, G]`."""
    # [G, draws, classes]; a class without a vote cannot win, whatever it would weigh.
    present = chosen @ ballots.cast > 0
    votes = np.where(present, chosen @ ballots.weights, -np.inf)
    best = votes.max(axis=2, keepdims=True)
    top = present & (votes >= best - _TIED * np.abs(best))
    winners = top.sum(axis=2)
    right = (top @ ballots.shares[:, :, None])[:, :, 0]
    answered = winners > 0
    accuracy = np.divide(right, winners, out=np.zeros_like(right), where=answered)
    some_right, some_wrong = ballots.shares > 0, ballots.shares < 1
    return np.stack(
        [
            accuracy.mean(axis=1),
            (answered & ~(top & some_wrong[:, None]).any(axis=2)).mean(axis=1),
            (top & some_right[:, None]).any(axis=2).mean(axis=1),
            (winners > 1).mean(axis=1),
        ]
    )
