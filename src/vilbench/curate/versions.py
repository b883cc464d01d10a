"""Versions of the pools: the pools themselves, their halves, and resamples of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from vilbench.curate.picks import Weights


class Halves(NamedTuple):
    """Two parts of every pool without a solution in common, of one size, each `[N, U]`."""

    one: Weights
    other: Weights


def whole(pools: int, size: int) -> Weights:
    """The pools themselves, `[N, U]`."""
    return np.ones((size, pools), dtype=np.int16)


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
        ranks = rng.random((size, pools)).argsort(axis=0).argsort(axis=0)
        yield Halves(
            (ranks < half).astype(np.int16),
            ((ranks >= half) & (ranks < 2 * half)).astype(np.int16),
        )


def resampled(weights: Weights, rng: Generator) -> Weights:
    """A resample of every pool with replacement, as large as the version it is of, `[N, U]`.

    Args:
        weights: A version of 0 and 1.
        rng: Draws it.
    """
    size, pools = weights.shape
    drawn = int(weights[:, 0].sum())
    picked = rng.integers(drawn, size=(drawn, pools))
    if drawn < size:
        places = np.argsort(weights == 0, axis=0, kind="stable")[:drawn]
        picked = np.take_along_axis(places, picked, axis=0)
    flat = (picked * pools + np.arange(pools)).ravel()
    counts = np.bincount(flat, minlength=pools * size)
    return counts.reshape(size, pools).astype(np.int16)
