"""Vision attention over all windows together is what a loop over the windows computes."""

from __future__ import annotations

import itertools
from typing import Any

import engine_data as data
import family_data
import pytest
import torch

from vilbench.backbone.checkpoint import load
from vilbench.backbone.vision import attend_windows, batch_windows


@pytest.mark.parametrize("sizes", [(4,), (3, 3, 3), (5, 2, 5, 1, 2), (64, 16, 64, 16, 16, 4)])
def test_windows_of_any_sizes_attend_to_themselves(sizes: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, sum(sizes), 2, 8, generator=generator)
    bounds = torch.tensor([0, *sizes]).cumsum(0).int()
    ours = attend_windows(query, key, value, bounds, max(sizes), 0.3)
    for begin, end in itertools.pairwise(bounds.tolist()):
        scores = torch.einsum("qhd,khd->hqk", query[begin:end], key[begin:end]) * 0.3
        theirs = torch.einsum("hqk,khd->qhd", scores.softmax(-1), value[begin:end])
        torch.testing.assert_close(ours[begin:end], theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
def test_features_and_gradients_are_those_of_the_stock_loop(family: str) -> None:
    if family == "qwen3_vl":
        model, _ = family_data.qwen3_vl()
    else:
        model = load(data.checkpoint()).model
    tower = model.model.visual
    patch = tower.config.in_channels * 2 * tower.config.patch_size**2
    grid = torch.tensor([[1, 12, 10], [1, 4, 4], [1, 10, 18]])
    pixels = torch.randn(int(grid.prod(1).sum()), patch, generator=torch.Generator().manual_seed(1))

    def run() -> tuple[torch.Tensor, list[torch.Tensor]]:
        model.zero_grad()
        found = tower(pixels, grid_thw=grid).pooler_output
        found.square().mean().backward()
        return found.detach(), [
            one.grad.clone() for one in tower.parameters() if one.grad is not None
        ]

    theirs, their_gradients = run()
    calls: list[int] = []
    stock = torch.nn.functional.scaled_dot_product_attention

    def counted(*args: Any, **kwargs: Any) -> torch.Tensor:
        calls.append(len(args))
        return stock(*args, **kwargs)

    before = model.config.vision_config._attn_implementation
    batch_windows(model)
    assert model.config.vision_config._attn_implementation == before  # others are made by it
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch.nn.functional, "scaled_dot_product_attention", counted)
        ours, our_gradients = run()
    # Three pictures of three sizes: at most one call for each size in each layer, while the
    # loop makes one for every window.
    assert len(calls) <= 4 * len(tower.blocks)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert their_gradients
    for mine, other in zip(our_gradients, their_gradients, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-5)


def test_a_family_with_another_vision_tower_stays_as_it_is() -> None:
    model, _ = family_data.idefics3()
    before = model.model.vision_model.config._attn_implementation
    batch_windows(model)
    assert model.model.vision_model.config._attn_implementation == before
