"""Accuracy of a selection method over `k`, and the pools that it is computed from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

DECIMALS = 12
"""Decimals that the results are rounded to: sure things are then exactly 0 or 1."""


class Curve(NamedTuple):
    """What a method yields when it chooses from a random `k`-subset of a pool of `N`.

    Every array has the shape `[P, N]`: a row per problem, and column `k - 1` for `k`.

    Attributes:
        accuracy: Expected accuracy over subsets, ties broken evenly at random.
        lowest: The same with every tie broken towards a wrong solution, if it holds one.
        highest: The same with every tie broken towards a right one.
        tie_rate: Share of the subsets in which the choice is a tie.
    """

    accuracy: Floats
    lowest: Floats
    highest: Floats
    tie_rate: Floats


def curve(accuracy: Floats, lowest: Floats, highest: Floats, tie_rate: Floats) -> Curve:
    """A curve from shares that carry rounding errors."""
    arrays = (accuracy, lowest, highest, tie_rate)
    return Curve(*(np.clip(np.round(array, DECIMALS), 0.0, 1.0) for array in arrays))


def pools_of_bools(correct: Sequence[Sequence[bool]]) -> Bools:
    """Correctness as an array `[P, N]`.

    Raises:
        ValueError: There is no pool, pools are empty, or they differ in size.
    """
    sizes = sorted({len(pool) for pool in correct})
    if not sizes or sizes[0] == 0:
        raise ValueError("there is nothing to choose from: no pool, or an empty one")
    if len(sizes) > 1:
        raise ValueError(f"pools of unequal size: {sizes[0]} to {sizes[-1]} solutions")
    return np.asarray([list(pool) for pool in correct], dtype=np.bool_)


def pools_of_floats(
    values: Sequence[Sequence[float | None]], correct: Bools, *, missing: float
) -> Floats:
    """Scores or weights as an array `[P, N]` with `missing` for None.

    Raises:
        ValueError: The shape is not that of `correct`, or a value is NaN or infinite.
    """
    same_shape(values, correct)
    array = np.asarray(
        [[np.nan if value is None else value for value in pool] for pool in values],
        dtype=np.float64,
    )
    given = np.asarray([[value is not None for value in pool] for pool in values])
    wrong = given & ~np.isfinite(array)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(f"pool {row}, solution {column}: the score is {array[row, column]}")
    return np.where(given, array, missing)


def same_shape(values: Sequence[Sequence[object]], correct: Bools) -> None:
    """Refuses pools that are not of the shape of `correct` `[P, N]`.

    Raises:
        ValueError: They are not.
    """
    sizes = {len(pool) for pool in values}
    if len(values) != correct.shape[0] or sizes != {correct.shape[1]}:
        raise ValueError(
            f"{len(values)} pools of sizes {sorted(sizes)} do not match "
            f"{correct.shape[0]} pools of {correct.shape[1]} solutions"
        )
