from __future__ import annotations

import pytest
import torch
from embedded_data import tiny_model

from vilbench.training.muon import Muon, orthogonal, split_parameters


def matrices(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def parameter(values: torch.Tensor) -> torch.nn.Parameter:
    made = torch.nn.Parameter(values.clone())
    made.grad = torch.zeros_like(values)
    return made


@pytest.mark.parametrize("shape", [(3, 24, 24), (2, 16, 40), (2, 40, 16), (1, 1, 8), (1, 8, 1)])
def test_singular_values_come_near_one(shape: tuple[int, int, int]) -> None:
    found = torch.linalg.svdvals(orthogonal(matrices(*shape)))
    assert found.max() < 1.3 and found.median() > 0.65
    if shape[-1] != shape[-2]:  # a square random matrix has singular values near zero
        assert found.min() > 0.6


def test_the_directions_stay() -> None:
    # An orthogonal matrix times a positive diagonal: what is left is the orthogonal one.
    left, _ = torch.linalg.qr(matrices(12, 12))
    right, _ = torch.linalg.qr(matrices(12, 12, seed=1))
    given = left @ torch.diag(torch.linspace(0.5, 2.0, 12)) @ right
    diagonal = left.T @ orthogonal(given[None])[0] @ right.T
    off = diagonal - torch.diag(diagonal.diagonal())
    assert off.abs().max() < 1e-4
    assert diagonal.diagonal().min() > 0.6 and diagonal.diagonal().max() < 1.3


def test_scale_and_company_play_no_part() -> None:
    three = matrices(3, 10, 20)
    together = orthogonal(three)
    torch.testing.assert_close(orthogonal(three * 1e3), together, rtol=1e-3, atol=1e-3)
    for number in range(3):
        alone = orthogonal(three[number : number + 1])[0]
        torch.testing.assert_close(together[number], alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(orthogonal(three.mT), together.mT, rtol=1e-4, atol=1e-5)
    assert torch.equal(orthogonal(torch.zeros(1, 4, 6)), torch.zeros(1, 4, 6))


def test_a_step_is_as_long_as_said() -> None:
    weight = parameter(torch.zeros(16, 64))
    weight.grad = matrices(16, 64)
    Muon({"w": weight}, weight_decay=0.0).step(0.1)
    # Root mean square 0.2, as AdamW's: all 16 singular values near 1 times 0.2 * sqrt(64).
    assert weight.detach().square().mean().sqrt() == pytest.approx(0.02, rel=0.2)
    assert (weight.detach() * weight.grad).sum() < 0


def test_kernels_are_matrices_of_a_row_per_channel() -> None:
    gradient = matrices(6, 3, 2, 4)
    kernel, matrix = parameter(torch.zeros(6, 3, 2, 4)), parameter(torch.zeros(6, 24))
    kernel.grad, matrix.grad = gradient, gradient.flatten(1)
    muon = Muon({"kernel": kernel, "matrix": matrix})
    muon.step(0.1)
    assert kernel.detach().abs().min() > 0
    assert torch.equal(kernel.detach().flatten(1), matrix.detach())


def test_weight_decay_is_decoupled() -> None:
    weight = parameter(torch.ones(4, 4))
    Muon({"w": weight}, weight_decay=0.5).step(0.1)
    torch.testing.assert_close(weight.detach(), torch.full((4, 4), 0.95))


def test_momentum_carries_on() -> None:
    weight = parameter(torch.zeros(6, 6))
    weight.grad = matrices(6, 6)
    muon = Muon({"w": weight}, momentum=0.9, weight_decay=0.0)
    muon.step(0.1)
    torch.testing.assert_close(muon.buffers["w"], weight.grad * 0.1)
    after = weight.detach().clone()
    weight.grad = torch.zeros(6, 6)
    muon.step(0.1)
    assert (weight.detach() - after).abs().max() > 0.01


def test_it_finds_a_minimum() -> None:
    target = matrices(8, 12)
    weights = {"a": parameter(torch.zeros(8, 12)), "b": parameter(torch.zeros(12, 8))}
    muon = Muon(weights, weight_decay=0.0)
    for step in range(200):
        loss = (weights["a"] - target).square().sum() + (weights["b"] - target.T).square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        muon.step(0.1 * (1 - step / 200))
        for weight in weights.values():
            weight.grad = None
    assert loss.item() < 0.05 * 2 * target.square().sum().item()


def test_a_matrix_without_a_gradient_is_an_error() -> None:
    weight = parameter(torch.zeros(2, 2))
    weight.grad = None
    with pytest.raises(ValueError, match="'w' has no gradient"):
        Muon({"w": weight}).step(0.1)


def test_every_parameter_has_one_optimizer() -> None:
    model = tiny_model()
    inside, rest = split_parameters(model)
    names = [name for name, _ in model.named_parameters()]
    assert sorted([*inside, *rest]) == sorted(names)
    assert all(matrix.ndim >= 2 for matrix in inside.values())
    assert all(p.ndim < 2 or "embed_tokens" in name for name, p in rest.items())
    assert not any("embed_tokens" in name or "lm_head" in name for name in inside)
    assert any("embed_tokens" in name for name in rest)
    for part in ("q_proj", "visual.patch_embed", "visual.merger", "down_proj"):
        assert any(part in name for name in inside), part
