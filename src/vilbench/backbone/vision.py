"""Vision attention of the Qwen-VL families: all windows and pictures of a forward together.

Stock attention, where the `flash-attn` package is not at hand, loops over the windows of every
picture: some hundred small calls in each layer. Here windows of one size are one regular call,
and a GPU in half precision does all sizes in one call by the flash kernel that torch has.
"""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface

_NAME = "vilbench_flash_windows"
"""What transformers calls the attention by. With "flash" in its name all windows come in one
call, with their bounds; without, they come one by one."""

_WIDEST = 256
"""Most units of a head that the flash kernels take."""

_FAMILIES = {"qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe"}


def batch_windows(model: Any) -> None:
    """Has the vision tower of `model` attend to its windows together, from now on.

    The tower reads this from a configuration of its own then; that of the model, by which others
    may be made, stays as it was.

    Args:
        model: A transformers image-text-to-text model; one of another family stays as it is.
    """
    if model.config.model_type in _FAMILIES:
        tower = model.model.visual
        shared, own = tower.config, copy.copy(tower.config)
        own._attn_implementation = _NAME
        for part in tower.modules():
            if getattr(part, "config", None) is shared:
                part.config = own


def attend_windows(
    query: Tensor, key: Tensor, value: Tensor, bounds: Tensor, longest: int, scale: float
) -> Tensor:
    """Attention `[T, H, D]` of each of several windows over itself.

    Args:
        query: `[T, H, D]`.
        key: `[T, H, D]`.
        value: `[T, H, D]`.
        bounds: `[W + 1]`, int32; window `w` holds the tokens `bounds[w]` to `bounds[w + 1] - 1`.
        longest: Most tokens of a window.
        scale: What scores are multiplied with.
    """
    if has_flash(query):
        found: Tensor = torch.ops.aten._flash_attention_forward(
            query, key, value, bounds, bounds, longest, longest, 0.0, False, False, scale=scale
        )[0]
        return found
    sizes = bounds.diff()
    different = sorted(set(sizes.tolist()))
    outputs, places = [], []
    for size in different:
        parts = [query, key, value]
        if len(different) > 1:
            begins = bounds[:-1][sizes == size].long()
            steps = torch.arange(size, device=bounds.device)
            places.append((begins[:, None] + steps).flatten())
            parts = [part[places[-1]] for part in parts]
        q, k, v = (part.view(-1, size, *part.shape[1:]).transpose(1, 2) for part in parts)
        mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=scale)
        outputs.append(mixed.transpose(1, 2).flatten(0, 1))
    return torch.cat(outputs)[torch.cat(places).argsort()] if places else outputs[0]


def has_flash(query: Tensor) -> bool:
    """Whether torch's flash kernels for GPUs take a tensor `[..., D]`."""
    if query.device.type != "cuda" or query.dtype not in (torch.bfloat16, torch.float16):
        return False
    size = query.shape[-1]
    return size % 8 == 0 and size <= _WIDEST and _gpu_has_flash(query.device.index or 0)


@cache
def _gpu_has_flash(index: int) -> bool:
    built = torch.backends.cuda.is_flash_attention_available()
    return built and torch.cuda.get_device_capability(index) >= (8, 0)


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    *,
    scaling: float,
    cu_seq_lens_q: Tensor,
    max_length_q: int,
    **_: Any,
) -> tuple[Tensor, None]:
    q, k, v = (part[0].transpose(0, 1) for part in (query, key, value))
    bounds = cu_seq_lens_q.to(torch.int32)
    return attend_windows(q, k, v, bounds, max_length_q, scaling)[None], None


AttentionInterface.register(_NAME, _attention)
