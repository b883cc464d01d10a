"""A vision-language backbone with one linear score head."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

Activation = Literal["identity", "sigmoid"]
"""What makes a value of the head's output: nothing, or a sigmoid (for losses on logits)."""

HEAD_SPREAD = 0.02
"""Standard deviation of a fresh head's weights."""


class RewardModel(torch.nn.Module):
    """A model that gives a value after every token; it is read at step ends.

    The parts are named as a server expects them that turns a model into a classifier: the
    backbone's own tensors, and beside them one linear layer `score`. The language-model
    head stays in the folder but is never run.

    Args:
        backbone: A transformers image-text-to-text model.
        bias: Whether the head has a bias.
        seed: Draws the head's weights, normal with mean 0; a bias begins at 0.
        spread: Standard deviation of the head's weights.
        activation: What makes a value of the head's output.

    Attributes:
        backbone: The model.
        score: The head, hidden size to 1, in float32 whatever the backbone's precision.
        activation: As given.
    """

    def __init__(
        self,
        backbone: Any,
        *,
        bias: bool = False,
        seed: int = 0,
        spread: float = HEAD_SPREAD,
        activation: Activation = "identity",
    ) -> None:
        super().__init__()
        self.backbone = backbone
        width = hidden_size(backbone.config)
        # On the CPU, so that a seed gives the same head on every machine; without the layer's
        # own beginning, which would draw from the random stream that all share.
        self.score: torch.nn.Linear = torch.nn.utils.skip_init(  # type: ignore[no-untyped-call]
            torch.nn.Linear, width, 1, bias=bias, dtype=torch.float32, device="cpu"
        )
        with torch.no_grad():
            generator = torch.Generator().manual_seed(seed)
            self.score.weight.normal_(0.0, spread, generator=generator)
            if bias:
                self.score.bias.zero_()
        self.score.to(backbone.device)
        self.activation: Activation = activation

    def logits(self, hidden: Tensor) -> Tensor:
        """The head's output `[...]` in float32 for hidden states `[..., W]`."""
        with torch.autocast(hidden.device.type, enabled=False):
            score: Tensor = self.score(hidden.to(self.score.weight.dtype))
        return score[..., 0].float()

    def head(self, hidden: Tensor) -> Tensor:
        """Values `[...]` in float32 of hidden states `[..., W]`."""
        logits = self.logits(hidden)
        return logits.sigmoid() if self.activation == "sigmoid" else logits

    def forward(self, **inputs: Any) -> Tensor:
        """Values `[B, L]` in float32 after every token, by the backbone's own forward.

        Args:
            inputs: What the backbone takes: `input_ids` `[B, L]`, `attention_mask`, image
                inputs.
        """
        inputs.setdefault("use_cache", False)
        return self.head(self.backbone.model(**inputs).last_hidden_state)


def hidden_size(config: Any) -> int:
    """W, the width of the text decoder's hidden states."""
    return int(config.get_text_config(decoder=True).hidden_size)
