"""The fused norm is the stock one; on a CPU nothing is changed."""

from __future__ import annotations

import engine_data as data
import family_data
import pytest
import torch

from vilbench.backbone.checkpoint import load
from vilbench.backbone.norms import _NORMS, fuse_norms, fused_norm


def test_the_fused_norm_gives_what_the_stock_modules_give() -> None:
    families = (load(data.checkpoint()).model, family_data.qwen3_vl()[0])
    generator = torch.Generator().manual_seed(0)
    kinds = set()
    for model in families:
        norms = [one for one in model.modules() if type(one).__name__ in _NORMS]
        assert norms
        for norm in norms:
            kinds.add(type(norm).__name__)
            given = 3 * torch.randn(2, 5, len(norm.weight), generator=generator)
            with torch.no_grad():
                norm.weight.normal_(generator=generator)
                ours, theirs = fused_norm(norm, given), norm(given)
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
            half = norm.to(torch.bfloat16)
            rounded = fused_norm(half, given.bfloat16())
            assert rounded.dtype == torch.bfloat16
            torch.testing.assert_close(rounded.float(), ours, rtol=3e-2, atol=1e-2)
    assert kinds == {"Qwen2_5_VLRMSNorm", "Qwen3VLTextRMSNorm"}


def test_on_a_gpu_each_of_them_is_fused_and_autocast_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = family_data.qwen3_vl()[0]
    norms = [one for one in model.modules() if type(one).__name__ in _NORMS]
    given = torch.randn(3, len(norms[0].weight))
    expected = norms[0](given)
    monkeypatch.setattr(type(model), "device", torch.device("cuda"))
    fuse_norms(model)
    calls: list[torch.Tensor] = []
    kernel = torch.nn.functional.rms_norm

    def counted(hidden: torch.Tensor, *rest: object) -> torch.Tensor:
        calls.append(hidden)
        return kernel(hidden, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.nn.functional, "rms_norm", counted)
    for norm in norms:
        norm(torch.ones(2, len(norm.weight)))
    assert len(calls) == len(norms) > 4
    torch.testing.assert_close(norms[0](given), expected)
    halves = norms[0](given.bfloat16())  # weights in float32: the stock result, in float32
    assert halves.dtype == torch.float32 and len(calls) == len(norms) + 1


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_only_a_gpu_has_them_fused(device: str) -> None:
    model = family_data.qwen3_vl()[0].to(device)
    fuse_norms(model)
    assert not any("forward" in vars(one) for one in model.modules())
