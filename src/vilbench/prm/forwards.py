"""Forwards of a reward model: over a whole sequence, and over packed candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import Cache, DynamicCache

from vilbench.backbone.memory import ran_out
from vilbench.backbone.model import Backbone
from vilbench.backbone.prefill import Placed
from vilbench.prm.model import RewardModel
from vilbench.prm.runs import Packing
from vilbench.prm.trunk import KeyValue, Trunk, run_packed

Values = npt.NDArray[np.float32]
"""Values after tokens."""

_BATCH_TOKENS = {"cpu": 2048, "cuda": 16_384}
"""Most tokens of a forward by kind of device: more would not fill it better."""


@dataclass
class ScoringCounts:
    """Work of one call.

    Attributes:
        tokens: Tokens that went through the text decoder; there are no pads.
        forwards: Forwards of the text decoder.
        image_encodings: Images that went through the vision tower.
        peak_kv_bytes: Most bytes of keys and values at a time: those kept for later, and
            one layer of the tokens in work.
    """

    tokens: int = 0
    forwards: int = 0
    image_encodings: int = 0
    peak_kv_bytes: int = 0


class Forwards:
    """A reward model that reads values after tokens; not thread-safe.

    Args:
        model: In evaluation mode.
        max_batch_tokens: Most tokens of a forward of packed candidates.

    Attributes:
        counts: Work done so far.

    Raises:
        CheckpointError: The backbone's family is not supported.
        ValueError: The budget is below 1.
    """

    def __init__(self, model: RewardModel, max_batch_tokens: int | None) -> None:
        self.counts = ScoringCounts()
        self._model = model
        self._backbone = Backbone(model.backbone)
        self._shape = self._backbone.shape
        self._inner: Any = model.backbone.model
        self._decoder: Any = model.backbone.get_decoder()
        if max_batch_tokens is None:
            max_batch_tokens = _BATCH_TOKENS.get(self._shape.device.type, 4096)
        if max_batch_tokens < 1:
            raise ValueError(f"a batch of {max_batch_tokens} tokens")
        self._budget = max_batch_tokens

    def whole(self, prompt: Placed, ids: Sequence[int]) -> Values:
        """Values `[L]` after `ids` that stand behind a prompt, everything computed anew."""
        hidden = self._own(prompt, ids, None)
        self._held(len(hidden) * self._shape.token_bytes // self._shape.layers)
        values: Values = self._model.head(hidden[len(hidden) - len(ids) :]).cpu().numpy()
        return values

    def packed(
        self, prompt: Placed, sequences: Sequence[Sequence[int]], packing: Packing
    ) -> Values:
        """Values `[T]` in packed order after sequences that stand behind one prompt.

        A batch that memory does not hold is halved, and so are later ones.
        """
        cache = DynamicCache(config=self._decoder.config)
        self._own(prompt, (), cache)
        stem = [KeyValue(layer.keys[0], layer.values[0]) for layer in cache.layers]
        trunk = Trunk(self._shape, stem, packing)
        first = len(prompt.encoded.ids) + self._backbone.shift(prompt.encoded, prompt.pixels)
        ids = np.concatenate([sequences[run.sequence][run.skip :] for run in packing.runs])
        positions = np.concatenate(
            [np.arange(run.skip, run.skip + run.end - run.begin) for run in packing.runs]
        )
        values: Values = np.empty(packing.tokens, dtype=np.float32)
        todo = list(packing.chunks(self._budget))[::-1]
        while todo:
            chunk = todo.pop()
            part = slice(packing.runs[chunk[0]].begin, packing.runs[chunk[-1]].end)
            made = self._chunk(ids[part], positions[part] + first, trunk, chunk)
            if made is not None:
                values[part] = made
                continue
            middle = chunk.start + len(chunk) // 2
            todo += [range(middle, chunk.stop), range(chunk.start, middle)]
            self._budget = max(1, (part.stop - part.start) // 2)
            if self._shape.device.type == "cuda":
                torch.cuda.empty_cache()
        self._held(trunk.peak_bytes)
        return values

    def _own(self, prompt: Placed, more: Sequence[int], cache: Cache | None) -> Tensor:
        """Last hidden states `[L, W]` of prompt and `more`, by the model's own forward."""
        device = self._shape.device
        ids = torch.tensor([[*prompt.encoded.ids, *more]], device=device)
        inputs: dict[str, Any] = {name: value.to(device) for name, value in prompt.pixels.items()}
        if inputs and self._backbone.axes > 1:
            inputs["mm_token_type_ids"] = (ids == self._backbone.image_id).int()
        hidden: Tensor = self._inner(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            past_key_values=cache,
            use_cache=cache is not None,
            **inputs,
        ).last_hidden_state
        self._count(ids.shape[1])
        self.counts.image_encodings += len(prompt.encoded.images)
        return hidden[0]

    def _chunk(
        self,
        ids: npt.NDArray[np.int64],
        positions: npt.NDArray[np.int64],
        trunk: Trunk,
        chunk: range,
    ) -> Values | None:
        """Values of the tokens of some runs; None if memory ran out and there are several."""
        device = self._shape.device
        try:
            sight = trunk.open(chunk)
            places = torch.from_numpy(positions).to(device)
            if self._backbone.axes > 1:
                places = places.expand(self._backbone.axes, -1)
            embedded = self._backbone.embed(torch.from_numpy(ids).to(device))
            hidden = run_packed(self._decoder, embedded, places, sight, self._shape.layers)
            values: Values = self._model.head(hidden).cpu().numpy()
        except Exception as error:
            if not ran_out(error) or len(chunk) == 1:
                raise
            return None
        trunk.close(sight)
        self._count(len(ids))
        return values

    def _count(self, tokens: int) -> None:
        self.counts.tokens += tokens
        self.counts.forwards += 1

    def _held(self, size: int) -> None:
        self.counts.peak_kv_bytes = max(self.counts.peak_kv_bytes, size)
