"""Vision attention of Qwen2.5-VL over many pictures as one call.

The stock attention loops over pictures and windows. Where all windows are of one size, as in
a batch of equal pictures, one regular call does the same work in a fraction of the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as qwen


@contextmanager
def batched_vision() -> Iterator[None]:
    """Within it, windows of one size are attended to together; others as ever.

    Not thread-safe: the class itself is changed for the time.
    """
    stock = qwen.Qwen2_5_VLVisionAttention.forward

    def forward(
        self: Any,
        hidden_states: torch.Tensor,
        cu_seqlens: torch.Tensor,
        position_embeddings: Any = None,
        **rest: Any,
    ) -> Any:
        total = hidden_states.shape[0]
        sizes = cu_seqlens.diff()
        windows = len(sizes)
        if not bool((sizes == sizes[0]).all()):
            return stock(
                self, hidden_states, cu_seqlens, position_embeddings=position_embeddings, **rest
            )
        heads = self.qkv(hidden_states).reshape(total, 3, self.num_heads, -1)
        query, key, value = heads.permute(1, 0, 2, 3).unbind(0)
        query, key = qwen.apply_rotary_pos_emb_vision(query, key, *position_embeddings)
        query, key, value = (
            part.reshape(windows, total // windows, self.num_heads, -1).transpose(1, 2)
            for part in (query, key, value)
        )
        mixed = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, scale=self.scaling
        )
        return self.proj(mixed.transpose(1, 2).reshape(total, -1))

    qwen.Qwen2_5_VLVisionAttention.forward = forward
    try:
        yield
    finally:
        qwen.Qwen2_5_VLVisionAttention.forward = stock
