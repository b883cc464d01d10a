"""Kernels that a GPU has, against the plain ways; skipped where there is none."""

from __future__ import annotations

import itertools

import engine_data as data
import pytest
import torch

from vilbench.backbone.checkpoint import load
from vilbench.backbone.norms import fused_norm
from vilbench.backbone.vision import attend_windows
from vilbench.prm.attention import attend_each, attend_packed

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


def heads(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator("cuda").manual_seed(seed)
    return torch.randn(*shape, generator=generator, device="cuda", dtype=torch.bfloat16)


def test_packed_sequences_see_themselves() -> None:
    query, key, value = heads(2, 8, 700, 128), heads(2, 700, 128, seed=1), heads(2, 700, 128)
    bounds = torch.tensor([0, 300, 301, 700], dtype=torch.int32, device="cuda")
    whole = attend_packed(query, key, value, 0.09, bounds, 399)
    places = list(itertools.pairwise(bounds.tolist()))
    alone = attend_each(query.float(), key.float(), value.float(), 0.09, places)
    for block, (begin, end) in zip(alone, places, strict=True):
        ours = whole.output[:, :, begin:end].float()
        torch.testing.assert_close(ours, block.output, rtol=2e-2, atol=2e-2)
        torch.testing.assert_close(whole.logsumexp[:, :, begin:end], block.logsumexp)


def test_windows_attend_to_themselves() -> None:
    query = heads(600, 16, 80)
    bounds = torch.tensor([0, 64, 128, 200, 600], dtype=torch.int32, device="cuda")
    ours = attend_windows(query, query, query, bounds, 400, 0.1).float()
    full = query.float()
    theirs = attend_windows(full, full, full, bounds, 400, 0.1)
    torch.testing.assert_close(ours, theirs, rtol=2e-2, atol=2e-2)


def test_norms() -> None:
    model = load(data.checkpoint(), "cpu").model
    norm = model.model.language_model.norm
    given = torch.randn(7, len(norm.weight))
    expected = norm(given)
    half = norm.to("cuda", torch.bfloat16)
    ours = fused_norm(half, given.to("cuda", torch.bfloat16)).float().cpu()
    torch.testing.assert_close(ours, expected, rtol=3e-2, atol=3e-2)
