"""Batches of puzzle examples as tensors, and the forward that training runs on them.

Pictures of puzzles are all of one size and stand right at the beginning of the user's turn,
so that pixels, positions and vision attention of a whole batch are one regular tensor each.
`tests/unit/test_embedded_batch.py` holds the result against the stock forward.
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import torch
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as qwen

from vilbench.backbone.tokens import PromptEncoder
from vilbench.backbone.vision import batch_windows
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
        learn: `[B, T]` True at tokens of replies to be predicted: as far as they are right, and
            the end token where all of it is.
        shown: `[B, T]` True at tokens of solutions in prompts, as far as they are right.
        said: `[B, T]` True at all tokens of solutions, wherever they stand.
        values: `[B, T]` 1 or 0 where it is known that a solution up to and with the token is
            right or not, NaN elsewhere.
        pixels: `[B * GRID * GRID, 3 * PATCH * PATCH]`, one frame.
        begin: Column of the first image token, the same in every row.
        tasks: Task and family of each row.
    """

    ids: torch.Tensor
    learn: torch.Tensor
    shown: torch.Tensor
    said: torch.Tensor
    values: torch.Tensor
    pixels: torch.Tensor
    begin: int
    tasks: tuple[str, ...]


class Row(NamedTuple):
    """One example, token by token; see `Batch`."""

    ids: list[int]
    learn: list[bool]
    shown: list[bool]
    said: list[bool]
    values: list[float]


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

    def encode(self, example: Example) -> Row:
        """Ids of prompt and reply, and what is to be learnt from them."""
        parts = tuple(self._blank if isinstance(p, Image) else p for p in example.prompt.parts)
        prompt = list(self._encoder.encode(Prompt(parts, example.prompt.system)).ids)
        reply = self._encoder.encode_text(example.reply)
        ids = [*prompt, *reply.ids, self._tokenizer.eos_token_id]
        learn = [False] * len(prompt) + [True] * (len(reply.ids) + 1)
        nowhere = [False] * len(ids)
        row = Row(ids, learn, nowhere, list(nowhere), [math.nan] * len(ids))
        solution = example.solution
        if solution is None or not solution.text:
            return row
        inside = solution.text != example.reply
        begin, texts = (
            (self._within(prompt, solution.text)) if inside else (len(prompt), reply.texts)
        )
        stops = list(itertools.accumulate(map(len, texts)))
        right = [stop <= solution.right_until for stop in stops]
        end = begin + len(stops)
        row.said[begin:end] = [True] * len(stops)
        row.values[begin:end] = [solution.value_at(stop - 1) for stop in stops]
        if inside:
            row.shown[begin:end] = right
        else:
            row.learn[begin:] = [*right, solution.right_until == len(solution.text)]
        return row

    def _within(self, prompt: Sequence[int], text: str) -> tuple[int, tuple[str, ...]]:
        """Where a text stands in a prompt, as a place among its ids, and the text of each."""
        spelled = [self._encoder.spelled(token) for token in prompt]
        ends = list(itertools.accumulate(map(len, spelled)))
        start = "".join(spelled).rindex(text)
        first = next(place for place, end in enumerate(ends) if end > start)
        # The last token may hold a line break behind the text.
        stops = [min(end - start, len(text)) for end in ends[first:]]
        texts = [text[i:j] for i, j in itertools.pairwise([0, *stops]) if i < len(text)]
        return first, tuple(texts)

    def collate(self, examples: Sequence[Example]) -> Batch:
        """One batch of all `examples`."""
        rows = [self.encode(example) for example in examples]
        longest = max(len(row.ids) for row in rows)
        ids = torch.full((len(rows), longest), self._tokenizer.pad_token_id)
        learn, shown, said = (torch.zeros_like(ids, dtype=torch.bool) for _ in range(3))
        values = torch.full(ids.shape, math.nan)
        for place, row in enumerate(rows):
            columns = (ids, learn, shown, said, values)
            for tensor, column in zip(columns, row, strict=True):
                tensor[place, : len(row.ids)] = torch.tensor(column)
        begin = int((ids[0] == self._image_token).nonzero()[0])
        pictures = [example.prompt.images[0] for example in examples]
        tasks = tuple(f"{example.task}/{example.family}" for example in examples)
        return Batch(ids, learn, shown, said, values, self.pixels(pictures), begin, tasks)

    def pixels(self, images: Sequence[Image]) -> torch.Tensor:
        """One frame of what the image processor makes of puzzle pictures, for all at once."""
        arrays = [np.asarray(PIL.Image.open(io.BytesIO(image.read()))) for image in images]
        values = (np.stack(arrays).astype(np.float32) / 255.0 - self._mean) / self._std
        count = len(images)
        values = values.transpose(0, 3, 1, 2).reshape(
            count, 3, PLACES, MERGE, PATCH, PLACES, MERGE, PATCH
        )
        values = values.transpose(0, 2, 5, 3, 6, 1, 4, 7)
        return torch.from_numpy(values.reshape(count * GRID * GRID, -1))


def hidden_states(model: Any, batch: Batch) -> torch.Tensor:
    """Last hidden states `[B, T, hidden]` of the language model over a batch."""
    rows, length = batch.ids.shape
    grid = torch.tensor([[1, GRID, GRID]] * rows)
    batch_windows(model)
    with _still_patches():
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
def _still_patches() -> Iterator[None]:
    """Embeds patches of one frame; the stock convolution wants the frame twice.

    The sum over the kernel's two frames does the same as a matrix product.
    """
    stock = qwen.Qwen2_5_VisionPatchEmbed.forward

    def forward(self: Any, hidden_states: torch.Tensor) -> torch.Tensor:
        kernel = self.proj.weight.sum(2).flatten(1)
        return torch.nn.functional.linear(hidden_states, kernel)

    qwen.Qwen2_5_VisionPatchEmbed.forward = forward
    try:
        yield
    finally:
        qwen.Qwen2_5_VisionPatchEmbed.forward = stock
