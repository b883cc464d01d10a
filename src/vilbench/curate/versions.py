"""Versions of the pools: the pools themselves, their halves, and resamples of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from vilbench.curate.picks import Weights


class Halves(NamedTuple):
    """Two parts of every pool without a solution in common, of one size, each `[U, N]`."""

    one: Weights
    other: Weights


def whole(pools: int, size: int) -> Weights:
    """The pools themselves, `[U, N]`."""
    return np.ones((pools, size), dtype=np.intp)


def halves(pools: int, size: int, count: int, rng: Generator) -> Iterator[Halves]:
    """Random splits of every pool; of an odd number of solutions one is left out.

    Args:
        pools: `U`.
        size: `N`, at least 2.
        count: Splits.
        rng: Draws them.
    """
    half = size // 2
    for _ in range(count):
        ranks = rng.random((pools, size)).argsort(axis=1).argsort(axis=1)
        yield Halves(
            (ranks < half).astype(np.intp),
            ((ranks >= half) & (ranks < 2 * half)).astype(np.intp),
        )


def resampled(weights: Weights, rng: Generator) -> Weights:
    """A resample of every pool with replacement, as large as the version it is of, `[U, N]`.

    Args:
        weights: A version of 0 and 1.
        rng: Draws it.
    """
    pools, size = weights.shape
    drawn = int(weights[0].sum())
    places = np.argsort(weights == 0, axis=1, kind="stable")[:, :drawn]
    picked = rng.integers(drawn, size=(pools, drawn))
    flat = np.take_along_axis(places, picked, axis=1) + np.arange(pools)[:, None] * size
    counts = np.bincount(flat.ravel(), minlength=pools * size)
    return counts.reshape(pools, size).astype(np.intp)
