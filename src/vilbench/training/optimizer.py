"""Optimizers by the recipe: AdamW, or Muon for matrices with AdamW for the rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim.adamw import adamw

from vilbench.training.muon import orthogonal
from vilbench.training.recipe import OptimizerConfig

_OUTSIDE = ("embed_tokens", "lm_head", "embedding", "score")
"""Parts whose matrices are no linear maps between hidden layers."""


def make_optimizer(
    parameters: Iterable[tuple[str, torch.nn.Parameter]], config: OptimizerConfig
) -> torch.optim.Optimizer:
    """The recipe's optimizer over named parameters."""
    matrices: list[torch.nn.Parameter] = []
    vectors: list[torch.nn.Parameter] = []
    head: list[torch.nn.Parameter] = []
    for name, parameter in parameters:
        if not parameter.requires_grad:
            continue
        inside = parameter.ndim >= 2 and not any(word in name for word in _OUTSIDE)
        if name.startswith(("score.", "reward.score.")) or ".score." in name:
            head.append(parameter)
        else:
            (matrices if inside else vectors).append(parameter)
    rate = config.learning_rate
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": config.weight_decay, "muon": config.kind == "muon"},
        {"params": vectors, "weight_decay": 0.0},
        {"params": head, "weight_decay": 0.0, "lr": rate * config.head_rate},
    ]
    groups = [group for group in groups if group["params"]]
    if config.kind == "muon":
        return MuonAdamW(groups, lr=rate, betas=config.betas, momentum=config.momentum)
    for group in groups:
        group.pop("muon", None)
    return torch.optim.AdamW(groups, lr=rate, betas=config.betas)


class MuonAdamW(torch.optim.Optimizer):
    """Muon (see `training.muon`) for groups with `muon`, AdamW for the others.

    Args:
        groups: Parameter groups.
        lr: Learning rate of groups that name none.
        betas: Of AdamW.
        momentum: Of Muon.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        *,
        lr: float,
        betas: tuple[float, float],
        momentum: float,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "momentum": momentum, "eps": 1e-8, "muon": False}
        super().__init__(groups, {**defaults, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update; parameters without a gradient stay."""
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            moving = [one for one in group["params"] if one.grad is not None]
            if moving:
                (self._muon if group["muon"] else self._adamw)(group, moving)
        return loss

    def _muon(self, group: dict[str, Any], moving: list[torch.nn.Parameter]) -> None:
        shapes: dict[torch.Size, list[torch.nn.Parameter]] = {}
        for parameter in moving:
            shapes.setdefault(parameter.flatten(1).shape, []).append(parameter)
        rate = float(group["lr"])
        for alike in shapes.values():
            directions = []
            for parameter in alike:
                gradient = parameter.grad
                assert gradient is not None  # noqa: S101 - chosen so
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                buffer = state["momentum"].lerp_(gradient, 1 - group["momentum"])
                directions.append(gradient.lerp(buffer, group["momentum"]).flatten(1))
            updates = orthogonal(torch.stack(directions))
            scale = 0.2 * max(updates.shape[-2:]) ** 0.5
            for parameter, update in zip(alike, updates, strict=True):
                parameter.mul_(1 - rate * group["weight_decay"])
                parameter.add_(update.view_as(parameter), alpha=-rate * scale)

    def _adamw(self, group: dict[str, Any], moving: list[torch.nn.Parameter]) -> None:
        for parameter in moving:
            state = self.state[parameter]
            if not state:
                state["step"] = torch.zeros(())
                state["exp_avg"] = torch.zeros_like(parameter)
                state["exp_avg_sq"] = torch.zeros_like(parameter)
        states = [self.state[parameter] for parameter in moving]
        adamw(
            moving,  # type: ignore[arg-type] # parameters are tensors
            [one.grad for one in moving if one.grad is not None],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            foreach=None,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


def schedule(config: OptimizerConfig, steps: int) -> Callable[[int], float]:
    """Share of the learning rate at each step, of `steps` in all."""
    warmup = config.warmup if config.warmup >= 1 else math.ceil(config.warmup * steps)

    def share(step: int) -> float:
        rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
        if config.schedule == "constant":
            return rise
        done = min(1.0, max(0.0, (step - warmup) / max(1, steps - warmup)))
        fall = 1 - done if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
        return rise * (config.floor + (1 - config.floor) * fall)

    return share
