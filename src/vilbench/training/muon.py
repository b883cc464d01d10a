"""Muon in float32 (Jordan et al., 2024): momentum, made orthogonal by Newton-Schulz.

`torch.optim.Muon` iterates in bfloat16, which processors without such instructions run
twenty times slower; here matrices of one shape are iterated together in float32. The step
is scaled to AdamW's root mean square ("match_rms_adamw", Liu et al., 2025), so one
learning rate serves both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch

_A, _B, _C = 3.4445, -4.7750, 2.0315
_ITERATIONS = 5


class Muon:
    """Optimizer of matrices; `buffers` holds a momentum tensor per parameter name.

    Args:
        parameters: Matrices by name; kernels of convolutions count as matrices of one row
            per output channel.
        momentum: Of the Nesterov average.
        weight_decay: Decoupled.
    """

    def __init__(
        self,
        parameters: dict[str, torch.nn.Parameter],
        *,
        momentum: float = 0.95,
        weight_decay: float = 0.02,
    ) -> None:
        self._parameters = parameters
        self._momentum = momentum
        self._weight_decay = weight_decay
        self.buffers = {name: torch.zeros_like(matrix) for name, matrix in parameters.items()}
        shapes: dict[torch.Size, list[str]] = defaultdict(list)
        for name, matrix in parameters.items():
            shapes[matrix.flatten(1).shape].append(name)
        self._groups = list(shapes.values())

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """One update from the parameters' gradients."""
        for names in self._groups:
            directions = []
            for name in names:
                gradient = self._parameters[name].grad
                if gradient is None:
                    raise ValueError(f"'{name}' has no gradient")
                buffer = self.buffers[name]
                buffer.lerp_(gradient, 1 - self._momentum)
                directions.append(gradient.lerp(buffer, self._momentum).flatten(1))
            updates = orthogonal(torch.stack(directions))
            rows, columns = updates.shape[-2:]
            scale = 0.2 * max(rows, columns) ** 0.5
            for name, update in zip(names, updates, strict=True):
                matrix = self._parameters[name]
                matrix.mul_(1 - learning_rate * self._weight_decay)
                matrix.add_(update.view_as(matrix), alpha=-learning_rate * scale)


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """Matrices `[N, R, C]` with their singular values drawn towards one."""
    flip = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if flip else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = _A * x + (_B * gram + _C * gram @ gram) @ x
    result: torch.Tensor = x.mT if flip else x
    return result


def split_parameters(
    model: torch.nn.Module, outside: Sequence[str] = ("embed_tokens", "lm_head")
) -> tuple[dict[str, torch.nn.Parameter], dict[str, torch.nn.Parameter]]:
    """Matrices for Muon, and the rest (vectors, token embeddings, heads) for AdamW."""
    matrices: dict[str, torch.nn.Parameter] = {}
    rest: dict[str, torch.nn.Parameter] = {}
    for name, parameter in model.named_parameters():
        inside = parameter.ndim >= 2 and not any(word in name for word in outside)
        (matrices if inside else rest)[name] = parameter
    return matrices, rest
