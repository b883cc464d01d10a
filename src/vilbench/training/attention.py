"""Attention of siblings: every solution over the prompt that it shares, and over itself.

A dense block mask over a packed row would let most of the work go to what is masked. Here the
prompts of a batch are one regular call, and the solutions another one, each of them beside a
view of its prompt's keys. Everything else of the decoder runs on the packed row. It is plugged
in by transformers' `AttentionInterface`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

NAME = "vilbench-siblings"


class Layout:
    """Where prompts and solutions are in the rows of a batch.

    P and L are the longest prompt and the longest solution, S the number of solutions.

    Args:
        owners: `[B, T]` as `Batch.owners` has it.
    """

    def __init__(self, owners: Tensor) -> None:
        rows, width = owners.shape
        device = owners.device
        prompts = (owners == 0).sum(1)
        self.prompt = int(prompts.max())
        changes = functional.pad(owners, (1, 0), value=-2).diff(dim=1)
        row, begin = ((changes != 0) & (owners > 0)).nonzero(as_tuple=True)
        own = owners[row, begin]
        lengths = (owners[row] == own[:, None]).sum(1)
        longest = int(lengths.max())
        self.row = row
        step = torch.arange(longest, device=device)
        places = begin[:, None] + step
        # Places behind a solution's end are masked for all that counts.
        self.places = row[:, None] * width + places.clamp(max=width - 1)
        inside = step < lengths[:, None]
        back = torch.zeros(rows * width, dtype=torch.long, device=device)
        prompt_places = torch.arange(self.prompt, device=device)
        known = prompt_places < prompts[:, None]
        number = torch.arange(rows * self.prompt, device=device).view(rows, self.prompt)
        at = torch.arange(rows, device=device)[:, None] * width + prompt_places
        back[at[known]] = number[known]
        found = rows * self.prompt + torch.arange(places.numel(), device=device).view_as(places)
        back[self.places[inside]] = found[inside]
        self.back = back
        seen_prompt = known[row][:, None, :].expand(-1, longest, -1)
        causal = step[:, None] >= step
        self.seen = torch.cat([seen_prompt, causal.expand(len(row), -1, -1)], dim=2)[:, None]
        self._bias: Tensor | None = None

    def bias(self, like: Tensor) -> Tensor:
        """`[S, 1, L, P + L]` the mask in a form that the device takes without converting it."""
        if like.device.type != "cpu":
            return self.seen
        if self._bias is None or self._bias.dtype != like.dtype:
            self._bias = torch.zeros(self.seen.shape, dtype=like.dtype)
            self._bias.masked_fill_(~self.seen, float("-inf"))
        return self._bias


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    siblings: Layout | None = None,
    **rest: Any,
) -> tuple[Tensor, None]:
    """The attention function: `[B, T, H, D]` of queries `[B, H, T, D]`.

    Args:
        module: The layer.
        query: `[B, H, T, D]`.
        key: `[B, K, T, D]`, K dividing H.
        value: `[B, K, T, D]`.
        attention_mask: Used where there is no layout.
        scaling: What scores are multiplied with.
        dropout: Of attention weights.
        siblings: The layout; without it this is the stock attention.
        rest: Passed on.
    """
    if siblings is None:
        output, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **rest
        )
        return output, None
    rows, heads, length, size = query.shape
    groups = heads // key.shape[1]
    prompt = siblings.prompt
    first = functional.scaled_dot_product_attention(
        query[:, :, :prompt],
        _repeated(key[:, :, :prompt], groups),
        _repeated(value[:, :, :prompt], groups),
        dropout_p=dropout,
        is_causal=True,
        scale=scaling,
    )
    queries, keys, values = (_gathered(one, siblings.places) for one in (query, key, value))
    keys = torch.cat([key[:, :, :prompt][siblings.row], keys], dim=2)
    values = torch.cat([value[:, :, :prompt][siblings.row], values], dim=2)
    second = functional.scaled_dot_product_attention(
        queries,
        _repeated(keys, groups),
        _repeated(values, groups),
        attn_mask=siblings.bias(query),
        dropout_p=dropout,
        scale=scaling,
    )
    flat = torch.cat([one.transpose(1, 2).reshape(-1, heads, size) for one in (first, second)])
    return flat[siblings.back].view(rows, length, heads, size), None


def _gathered(states: Tensor, places: Tensor) -> Tensor:
    """`[S, H, L, D]` at places among the `B * T` of `[B, H, T, D]`."""
    flat = states.transpose(1, 2).flatten(0, 1)
    return flat[places].transpose(1, 2)


def _repeated(states: Tensor, groups: int) -> Tensor:
    return states if groups == 1 else states.repeat_interleave(groups, dim=1)


AttentionInterface.register(NAME, attend)
