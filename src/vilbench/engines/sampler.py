"""Choosing tokens such that a completion does not depend on its batch.

Each position of each completion has one uniform number of its own, a function of the
stream's seed, the completion's index and the position. The token is where that number falls
in the cumulative distribution. Batch size, order and grouping play no part in it; what is
left is rounding, which moves a boundary of the cumulative distribution by about 1e-8.

The distribution is cumulated in the order of token ids, not of probabilities: under rounding
two tokens of nearly equal probability change places in a sorted order, and everything that
falls on either of them with it. Sorting is for top-p alone.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def stream_key(seed: int, index: int) -> int:
    """64-bit state of completion `index` of the stream `seed`; any integers."""
    digest = hashlib.blake2b(f"{seed}:{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def uniforms(
    keys: npt.NDArray[np.uint64], positions: npt.NDArray[np.uint64]
) -> npt.NDArray[np.float64]:
    """A number in [0, 1) for each key at each position, 53 bits of it.

    The `position`-th output of SplitMix64 (Steele, Lea and Flood, 2014) seeded by the key:
    a counter-based generator, since its state is the key plus a multiple of a constant.
    """
    with np.errstate(over="ignore"):
        z = keys + (positions + np.uint64(1)) * _GAMMA
        z = (z ^ (z >> np.uint64(30))) * _MIX_1
        z = (z ^ (z >> np.uint64(27))) * _MIX_2
        z ^= z >> np.uint64(31)
    numbers: npt.NDArray[np.float64] = (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return numbers


def choose(logits: Tensor, uniform: Tensor, temperature: Tensor, top_p: Tensor) -> Tensor:
    """A token for each row.

    Args:
        logits: `[R, V]`, float32.
        uniform: `[R]` in [0, 1), float64.
        temperature: `[R]`; 0 takes the most probable token, the lowest id of several.
        top_p: `[R]` in (0, 1]; the most probable tokens up to this mass stay, and the token
            that crosses it too.

    Returns:
        Token ids `[R]`.
    """
    greedy = temperature == 0
    if bool(greedy.all()):
        return logits.argmax(-1)
    scale = torch.where(greedy, 1.0, temperature).to(logits.dtype)
    weights = torch.softmax(logits / scale[:, None], dim=-1)
    cut = top_p < 1
    if bool(cut.any()):
        weights[cut] = _nucleus(weights[cut], top_p[cut])
    cumulative = weights.cumsum(-1, dtype=torch.float64)
    # A number below the total always falls on a token of positive weight.
    target = uniform[:, None] * cumulative[:, -1:]
    sampled = torch.searchsorted(cumulative, target, right=True)[:, 0]
    # The product may round up to the total; the last token that has weight is meant then.
    last = (cumulative < cumulative[:, -1:]).sum(-1)
    sampled = torch.minimum(sampled, last)
    return torch.where(greedy, logits.argmax(-1), sampled) if bool(greedy.any()) else sampled


def _nucleus(weights: Tensor, top_p: Tensor) -> Tensor:
    """`weights` `[R, V]` with what is outside the nucleus set to 0; ties go by token id."""
    ordered, order = weights.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(-1, dtype=torch.float64) - ordered
    kept = before < top_p[:, None]
    kept[:, 0] = True
    return weights * torch.zeros_like(kept).scatter(-1, order, kept)
