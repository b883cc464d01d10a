from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vilbench.prm.attention import (
    Block,
    attend,
    attend_each,
    attend_padded,
    attend_plainly,
    merge,
)
from vilbench.prm.trunk import divided

SCALE = 0.3


def heads(tokens: int, keys: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Queries `[2, 3, tokens, 8]`, keys and values `[2, keys, 8]`."""
    drawn = torch.Generator().manual_seed(seed)
    query = torch.randn(2, 3, tokens, 8, generator=drawn)
    key, value = (torch.randn(2, keys, 8, generator=drawn) for _ in range(2))
    return query, key, value


def by_hand(query: Tensor, key: Tensor, value: Tensor, seen: Tensor) -> Block:
    scores = torch.einsum("kgtd,ksd->kgts", query, key).double() * SCALE
    scores = scores.masked_fill(~seen, float("-inf"))
    output = torch.einsum("kgts,ksd->kgtd", scores.softmax(-1), value.double())
    return Block(output.float(), scores.logsumexp(-1).float())


def alike(one: Block, other: Block) -> None:
    torch.testing.assert_close(one.output, other.output, atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(one.logsumexp, other.logsumexp, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("way", [attend, attend_plainly])
@pytest.mark.parametrize(("tokens", "causal"), [(1, True), (40, True), (40, False), (7, False)])
def test_attention_over_one_block(way: Callable[..., Block], tokens: int, causal: bool) -> None:
    query, key, value = heads(tokens, tokens if causal else 23)
    seen = torch.ones(tokens, key.shape[1], dtype=torch.bool)
    found = way(query, key, value, SCALE, causal=causal)
    alike(found, by_hand(query, key, value, seen.tril() if causal else seen))


def test_the_plain_way_takes_many_queries_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vilbench.prm.attention._PLAIN_QUERIES", 5)
    query, key, value = heads(17, 17)
    found = attend_plainly(query, key, value, SCALE, causal=True)
    alike(found, attend(query, key, value, SCALE, causal=True))


@settings(max_examples=30)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.integers(0, 99))
def test_blocks_merge_to_attention_over_their_union(sizes: list[int], seed: int) -> None:
    query, key, value = heads(9, sum(sizes), seed)
    parts = zip(torch.split(key, sizes, dim=1), torch.split(value, sizes, dim=1), strict=True)
    blocks = [attend(query, k, v, SCALE, causal=False) for k, v in parts]
    whole = blocks[0]
    for block in blocks[1:]:
        merge(whole, block, 0, 9)
    alike(whole, attend(query, key, value, SCALE, causal=False))


def test_a_merge_touches_its_queries_alone() -> None:
    query, key, value = heads(9, 12)
    whole = attend(query, key[:, :5], value[:, :5], SCALE, causal=False)
    before = Block(whole.output.clone(), whole.logsumexp.clone())
    part = attend(query[:, :, 3:6], key[:, 5:], value[:, 5:], SCALE, causal=False)
    merge(whole, part, 3, 6)
    assert torch.equal(whole.output[:, :, :3], before.output[:, :, :3])
    assert torch.equal(whole.logsumexp[:, :, 6:], before.logsumexp[:, :, 6:])
    every = attend(query, key, value, SCALE, causal=False)
    torch.testing.assert_close(whole.output[:, :, 3:6], every.output[:, :, 3:6])


@settings(max_examples=30)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=6))
def test_each_sequence_sees_itself_alone(lengths: list[int]) -> None:
    query, key, value = heads(sum(lengths), sum(lengths))
    ends = torch.tensor(lengths).cumsum(0).tolist()
    bounds = [(end - length, end) for end, length in zip(ends, lengths, strict=True)]
    one_by_one = attend_each(query, key, value, SCALE, bounds)
    padded = attend_padded(query, key, value, SCALE, bounds)
    for block, other, (begin, end) in zip(one_by_one, padded, bounds, strict=True):
        own = slice(begin, end)
        alike(block, other)
        alike(block, attend(query[:, :, own], key[:, own], value[:, own], SCALE, causal=True))


@pytest.mark.parametrize("on_gpu", [False, True])
def test_a_prompt_is_never_what_others_are_padded_to(on_gpu: bool) -> None:
    bounds = [(0, 1500), (1500, 1860), (1860, 1900), (1900, 1910)]
    short, long = divided(bounds, {0, 1900}, on_gpu=on_gpu)
    assert (0, 1500) in long and {(1860, 1900), (1900, 1910)} <= set(short)
    assert ((1500, 1860) in short) == on_gpu
    assert sorted(short + long) == bounds
