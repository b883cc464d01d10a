"""Whether a model family computes what the engine takes it to compute."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from vilbench.backbone.model import Backbone
from vilbench.backbone.prefill import Placed, prefill
from vilbench.backbone.recall import Recall
from vilbench.backbone.tokens import PromptEncoder
from vilbench.errors import CheckpointError
from vilbench.types import BytesSource, Image, Prompt

PROVEN = frozenset({"qwen2_5_vl"})
"""Families whose agreement the tests prove on a CPU; others are checked when they are loaded."""

TOLERANCE = {torch.float32: 1e-3, torch.float16: 3e-2, torch.bfloat16: 1.5e-1}
"""Largest root mean square of differences that is rounding, as a share of the values' spread.
The largest single difference would tell less: in bfloat16 that of a deep model over a large
vocabulary is many times the usual one."""


def is_proven(model: Any) -> bool:
    """Whether the tests prove it: the family, by the kernels of the device."""
    return model.config.model_type in PROVEN and model.device.type == "cpu"


def check_agreement(backbone: Backbone, encoder: PromptEncoder) -> None:
    """Compares logits of the shared-prefix forward with those of the model's own forward.

    Raises:
        CheckpointError: They differ by more than rounding: the family does something that
            the engine does not know of, and its results would be silently wrong.
    """
    encoded = encoder.encode(Prompt((picture(), "What is to be seen?" * 8)))
    placed = Placed(encoded, encoder.pixels(encoded.images))
    backbone.encode_images({encoded.images: placed.pixels})
    replies = [encoder.encode_text(text).ids for text in ("A disc.", "Something else.")]
    stems = [placed.stem(ids, len(encoded.ids)) for ids in replies]
    ours: dict[int, Tensor] = {}
    for chunk in prefill(backbone, [placed, placed], stems, Recall(backbone.shape, 0)):
        for leaf in chunk.leaves:
            ours[leaf.stem] = backbone.logits(chunk.hidden[leaf.row, leaf.end - leaf.start - 1])
    for k, stem in enumerate(stems):
        theirs = _own_logits(backbone, placed, stem.ids)
        difference = float((ours[k] - theirs).square().mean().sqrt())
        if not difference <= TOLERANCE[backbone.shape.dtype] * float(theirs.std()):
            raise CheckpointError(
                "models of this family are not supported: prefixes cannot be shared (logits "
                f"differ by {difference:.2g})",
                file="config.json",
                field="model_type",
            )


def _own_logits(backbone: Backbone, placed: Placed, ids: tuple[int, ...]) -> Tensor:
    """Logits `[V]` after `ids`, by the forward of the model itself."""
    device = backbone.shape.device
    tokens = torch.tensor([ids], device=device)
    inputs: dict[str, Any] = {name: value.to(device) for name, value in placed.pixels.items()}
    if backbone.axes > 1:
        inputs["mm_token_type_ids"] = (tokens == backbone.image_id).int()
    output = backbone.model(
        input_ids=tokens, attention_mask=torch.ones_like(tokens), use_cache=False, **inputs
    )
    logits: Tensor = output.logits[0, -1].float()
    return logits


def picture() -> Image:
    """A coloured gradient with a disc; its sides differ, so that a transposition shows."""
    rows, columns = np.mgrid[0:96, 0:160]
    disc = (rows - 40) ** 2 + (columns - 60) ** 2 < 900
    channels = np.stack([rows * 2, columns, 255 * disc], axis=-1).astype(np.uint8)
    data = io.BytesIO()
    PIL.Image.fromarray(channels).save(data, "PNG")
    return Image.of(BytesSource(data.getvalue()))
