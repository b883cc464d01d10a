"""Batches of puzzle examples as tensors, and the forward that training runs on them.

Pictures of puzzles are all of one size and stand right at the beginning of the user's turn,
so that pixels, positions and vision attention of a whole batch are one regular tensor each.
`tests/unit/test_embedded_batch.py` holds the result against the stock forward.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import torch
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as qwen

from vilbench.backbone.tokens import PromptEncoder
from vilbench.problems.puzzles.canvas import SIDE
from vilbench.training.embedded.architecture import MERGE, PATCH
from vilbench.training.embedded.examples import Example
from vilbench.types import BytesSource, Image, Prompt

GRID = SIDE // PATCH
PLACES = GRID // MERGE
IMAGE_TOKENS = PLACES * PLACES


class Batch(NamedTuple):
    """B examples, padded on the right to T tokens.

    Attributes:
        ids: `[B, T]` token ids.
        learn: `[B, T]` True at tokens of the reply, its end token included.
        pixels: `[B * GRID * GRID, patch values]`.
        begin: Column of the first image token, the same in every row.
        tasks: Task and family of each row.
    """

    ids: torch.Tensor
    learn: torch.Tensor
    pixels: torch.Tensor
    begin: int
    tasks: tuple[str, ...]


class Collator:
    """Turns examples into batches with the ids that inference would give them."""

    def __init__(self, processor: Any) -> None:
        self._encoder = PromptEncoder(processor)
        self._tokenizer = processor.tokenizer
        images = processor.image_processor
        self._mean = np.asarray(images.image_mean, np.float32)
        self._std = np.asarray(images.image_std, np.float32)
        blank = io.BytesIO()
        PIL.Image.new("RGB", (SIDE, SIDE)).save(blank, format="PNG")
        # Ids depend on a picture's size alone: one blank stands for all, so that the
        # encoder renders the template once.
        self._blank = Image.of(BytesSource(blank.getvalue()))
        self._image_token = int(processor.image_token_id)

    def encode(self, example: Example) -> tuple[list[int], int]:
        """Ids of prompt and reply, and the length of the prompt."""
        parts = tuple(self._blank if isinstance(p, Image) else p for p in example.prompt.parts)
        prompt = self._encoder.encode(Prompt(parts, example.prompt.system)).ids
        reply = self._encoder.encode_text(example.reply).ids
        return [*prompt, *reply, self._tokenizer.eos_token_id], len(prompt)

    def collate(self, examples: Sequence[Example]) -> Batch:
        """One batch of all `examples`."""
        encoded = [self.encode(example) for example in examples]
        longest = max(len(ids) for ids, _ in encoded)
        ids = torch.full((len(encoded), longest), self._tokenizer.pad_token_id)
        learn = torch.zeros_like(ids, dtype=torch.bool)
        for row, (tokens, prompt) in enumerate(encoded):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            learn[row, prompt : len(tokens)] = True
        begin = int((ids[0] == self._image_token).nonzero()[0])
        pictures = [example.prompt.images[0] for example in examples]
        tasks = tuple(f"{example.task}/{example.family}" for example in examples)
        return Batch(ids, learn, self.pixels(pictures), begin, tasks)

    def pixels(self, images: Sequence[Image]) -> torch.Tensor:
        """What the image processor makes of puzzle pictures, for all of them at once."""
        arrays = [np.asarray(PIL.Image.open(io.BytesIO(image.read()))) for image in images]
        values = (np.stack(arrays).astype(np.float32) / 255.0 - self._mean) / self._std
        count = len(images)
        values = values.transpose(0, 3, 1, 2).reshape(
            count, 3, PLACES, MERGE, PATCH, PLACES, MERGE, PATCH
        )
        values = values.transpose(0, 2, 5, 3, 6, 1, 4, 7)[:, :, :, :, :, :, None]
        repeated = np.broadcast_to(
            values, (count, PLACES, PLACES, MERGE, MERGE, 3, 2, PATCH, PATCH)
        )
        return torch.from_numpy(repeated.reshape(count * GRID * GRID, -1).copy())


def hidden_states(model: Any, batch: Batch) -> torch.Tensor:
    """Last hidden states `[B, T, hidden]` of the language model over a batch."""
    rows, length = batch.ids.shape
    grid = torch.tensor([[1, GRID, GRID]] * rows)
    with _batched_vision():
        pictures = model.model.visual(batch.pixels, grid_thw=grid).pooler_output
    embeddings = model.get_input_embeddings()(batch.ids)
    after = batch.begin + IMAGE_TOKENS
    merged = torch.cat(
        [
            embeddings[:, : batch.begin],
            pictures.view(rows, IMAGE_TOKENS, -1).to(embeddings.dtype),
            embeddings[:, after:],
        ],
        dim=1,
    )
    place = positions(length, batch.begin)[:, None].expand(3, rows, length)
    outputs = model.model.language_model(
        inputs_embeds=merged, position_ids=place, attention_mask=None, use_cache=False
    )
    hidden: torch.Tensor = outputs.last_hidden_state
    return hidden


def positions(length: int, begin: int) -> torch.Tensor:
    """M-RoPE positions `[3, length]`: text, one square picture from `begin` on, text."""
    place = torch.arange(length).repeat(3, 1)
    end = begin + IMAGE_TOKENS
    place[0, begin:end] = begin
    place[1, begin:end] = begin + torch.arange(PLACES).repeat_interleave(PLACES)
    place[2, begin:end] = begin + torch.arange(PLACES).repeat(PLACES)
    place[:, end:] -= IMAGE_TOKENS - PLACES
    return place


@contextmanager
def _batched_vision() -> Iterator[None]:
    """Vision attention over equal-size pictures as one call; the stock one loops over them."""
    stock = qwen.Qwen2_5_VLVisionAttention.forward

    def forward(
        self: Any,
        hidden_states: torch.Tensor,
        cu_seqlens: torch.Tensor,
        position_embeddings: Any = None,
        **_: Any,
    ) -> torch.Tensor:
        total = hidden_states.shape[0]
        windows = len(cu_seqlens) - 1
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
        output: torch.Tensor = self.proj(mixed.transpose(1, 2).reshape(total, -1))
        return output

    qwen.Qwen2_5_VLVisionAttention.forward = forward
    try:
        yield
    finally:
        qwen.Qwen2_5_VLVisionAttention.forward = stock
