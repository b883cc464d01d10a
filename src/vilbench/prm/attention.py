"""Attention over blocks of keys whose results are merged by their log-sum-exp.

Softmax over a union of blocks is the average of the blocks' results, weighted by the
exponential of their log-sum-exp. Many packed sequences therefore read the keys of the prompt
that they share as one dense block, without a copy per sequence and without a mask (Juravsky
et al. 2024, Hydragen: High-Throughput LLM Inference with Shared Prefixes), and their own
keys in a second one.

Heads are laid out as `[K, G, T, D]`: K key-value heads, G query heads that read each of
them, T tokens. Keys and values are `[K, S, D]`, and no query head has a copy of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vilbench.backbone.vision import has_flash

_PLAIN_QUERIES = 1024
"""Queries of a block of the plain way, which holds all their scores."""


class Block(NamedTuple):
    """Attention over one block of keys.

    Attributes:
        output: `[K, G, T, D]`.
        logsumexp: `[K, G, T]`, float32, of the scaled scores.
    """

    output: Tensor
    logsumexp: Tensor


def attend(query: Tensor, key: Tensor, value: Tensor, scale: float, *, causal: bool) -> Block:
    """Attention of queries over one block of keys.

    Args:
        query: `[K, G, T, D]`.
        key: `[K, S, D]`.
        value: `[K, S, D]`.
        scale: What scores are multiplied with.
        causal: Whether query `t` sees the first `t + 1` keys; all if not.
    """
    groups = query.shape[1]
    wide = (len(key), groups, *key.shape[1:])
    keys, values = key[:, None].expand(wide), value[:, None].expand(wide)
    if query.device.type == "cpu":
        output, total = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, keys, values, 0.0, causal, scale=scale
        )
        return Block(output, total)
    if has_flash(query):
        found = torch.ops.aten._scaled_dot_product_flash_attention(
            query, keys, values, 0.0, causal, False, scale=scale
        )
        return Block(found[0], found[1])
    return attend_plainly(query, key, value, scale, causal=causal)


def attend_plainly(
    query: Tensor, key: Tensor, value: Tensor, scale: float, *, causal: bool
) -> Block:
    """What `attend` computes, by matrix products: for devices without a fused kernel."""
    outputs, totals = [], []
    seen = torch.arange(key.shape[1], device=key.device)
    for begin in range(0, query.shape[2], _PLAIN_QUERIES):
        part = query[:, :, begin : begin + _PLAIN_QUERIES]
        scores = (part @ key[:, None].transpose(-1, -2)).float() * scale
        if causal:
            last = torch.arange(begin, begin + part.shape[2], device=key.device)
            scores = scores.masked_fill(seen > last[:, None], float("-inf"))
        total = scores.logsumexp(-1)
        outputs.append((scores - total[..., None]).exp().to(value.dtype) @ value[:, None])
        totals.append(total)
    return Block(torch.cat(outputs, dim=2), torch.cat(totals, dim=2))


def attend_each(
    query: Tensor, key: Tensor, value: Tensor, scale: float, bounds: Sequence[tuple[int, int]]
) -> list[Block]:
    """Causal attention of each of several packed sequences over itself, one by one.

    Args:
        query: `[K, G, T, D]`.
        key: `[K, T, D]`.
        value: `[K, T, D]`.
        scale: What scores are multiplied with.
        bounds: Begin and end of each sequence within T.
    """
    return [
        attend(query[:, :, begin:end], key[:, begin:end], value[:, begin:end], scale, causal=True)
        for begin, end in bounds
    ]


def attend_padded(
    query: Tensor, key: Tensor, value: Tensor, scale: float, bounds: Sequence[tuple[int, int]]
) -> list[Block]:
    """What `attend_each` computes, by one call over rows that are padded to the longest.

    Nothing but this attention computes the pads, and causal queries do not see them.
    """
    longest = max(end - begin for begin, end in bounds)
    steps = torch.arange(longest, device=query.device)
    begins = torch.tensor([begin for begin, _ in bounds], device=query.device)
    places = (begins[:, None] + steps).clamp_(max=query.shape[2] - 1)
    queries = query[:, :, places].permute(2, 0, 1, 3, 4).flatten(0, 1)
    keys, values = (part[:, places].transpose(0, 1).flatten(0, 1) for part in (key, value))
    block = attend(queries, keys, values, scale, causal=True)
    each = (len(bounds), len(key))
    outputs = block.output.view(*each, *block.output.shape[1:])
    totals = block.logsumexp.view(*each, *block.logsumexp.shape[1:])
    return [
        Block(outputs[row, :, :, : end - begin], totals[row, :, :, : end - begin])
        for row, (begin, end) in enumerate(bounds)
    ]


def attend_packed(
    query: Tensor, key: Tensor, value: Tensor, scale: float, bounds: Tensor, longest: int
) -> Block:
    """What `attend_each` computes, as one block, by one call without pads.

    For a GPU in half precision (`vilbench.backbone.vision.has_flash`).

    Args:
        query: `[K, G, T, D]`.
        key: `[K, T, D]`.
        value: `[K, T, D]`.
        scale: What scores are multiplied with.
        bounds: `[R + 1]`, int32; sequence `r` is from `bounds[r]` to `bounds[r + 1] - 1`, and
            together they are all T tokens.
        longest: Most tokens of a sequence.
    """
    queries = query.flatten(0, 1).transpose(0, 1)
    keys, values = key.transpose(0, 1), value.transpose(0, 1)
    found = torch.ops.aten._flash_attention_forward(
        queries, keys, values, bounds, bounds, longest, longest, 0.0, True, False, scale=scale
    )
    return Block(found[0].transpose(0, 1).view_as(query), found[1].view(query.shape[:3]))


def merge(whole: Block, part: Block, begin: int, end: int) -> None:
    """Merges `part`, over further keys for the queries `begin` to `end - 1`, into `whole`.

    Both of `whole` are float32 and are changed in place.
    """
    output, total = whole.output[:, :, begin:end], whole.logsumexp[:, :, begin:end]
    weight = torch.sigmoid(part.logsumexp - total)
    output.lerp_(part.output.to(output.dtype), weight[..., None])
    torch.logaddexp(total, part.logsumexp, out=total)
