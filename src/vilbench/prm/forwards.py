"""Forwards of a reward model: over a whole sequence, and over packed candidates."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vilbench.backbone.memory import ran_out
from vilbench.backbone.model import Backbone
from vilbench.backbone.tokens import Encoded, Pixels
from vilbench.prm.model import RewardModel
from vilbench.prm.runs import Packing, behind, joined, pack
from vilbench.prm.trunk import KeyValue, Trunk, run_packed
from vilbench.types import Image

Values = npt.NDArray[np.float32]
"""Values after tokens."""

_BATCH_TOKENS = {"cpu": 2048, "cuda": 16_384}
"""Most tokens of a forward by kind of device: more would not fill it better."""

_REMEMBERED = 1 << 30
"""Bytes of keys and values of prompts that are kept: a search scores its questions many times."""


class Reading(NamedTuple):
    """What a forward read behind one sequence.

    Attributes:
        values: `[L]`.
        computed: Tokens, of the prompt too, that were computed for it and for none before it.
    """

    values: Values
    computed: int


class Bundle(NamedTuple):
    """A prompt and the sequences that stand behind it; there is at least one."""

    prompt: Encoded
    sequences: Sequence[Sequence[int]]


class _Prompt(NamedTuple):
    """A prompt, and what the position of a token behind its images is more than its index."""

    encoded: Encoded
    shift: int


class _Stem(NamedTuple):
    """What is kept of a prompt: keys and values of every layer, and its `shift`."""

    states: list[KeyValue]
    shift: int


@dataclass
class ScoringCounts:
    """Work of one call.

    Attributes:
        tokens: Tokens that went through the text decoder; there are no pads.
        forwards: Forwards of the text decoder.
        image_encodings: Images that went through the vision tower.
        peak_kv_bytes: Most bytes of keys and values of this call at a time: those kept for
            later, and one layer of the tokens in work. Prompts of earlier calls take up to a
            gibibyte beside them.
    """

    tokens: int = 0
    forwards: int = 0
    image_encodings: int = 0
    peak_kv_bytes: int = 0


class Forwards:
    """A reward model that reads values after tokens; not thread-safe.

    Keys and values of prompts seen lately are kept: after a change of weights, `forget`.

    Args:
        model: In evaluation mode.
        pixels: Image inputs of the images of a prompt; asked only where they are needed.
        max_batch_tokens: Most tokens of a forward of packed candidates.

    Attributes:
        counts: Work done so far.

    Raises:
        CheckpointError: The backbone's family is not supported.
        ValueError: The budget is below 1.
    """

    def __init__(
        self,
        model: RewardModel,
        pixels: Callable[[tuple[Image, ...]], Pixels],
        max_batch_tokens: int | None,
    ) -> None:
        self.counts = ScoringCounts()
        self._stems: OrderedDict[Encoded, _Stem] = OrderedDict()
        self._model = model
        self._pixels = pixels
        self._backbone = Backbone(model.backbone, remember=16)
        self._shape = self._backbone.shape
        self._inner: Any = model.backbone.model
        self._decoder: Any = model.backbone.get_decoder()
        if max_batch_tokens is None:
            max_batch_tokens = _BATCH_TOKENS.get(self._shape.device.type, 4096)
        if max_batch_tokens < 1:
            raise ValueError(f"a batch of {max_batch_tokens} tokens")
        self._budget = max_batch_tokens

    def whole(self, prompt: Encoded, ids: Sequence[int]) -> Reading:
        """Values after `ids` that stand behind a prompt, everything computed anew."""
        hidden = self._own(prompt, ids)
        self._held(len(hidden) * self._shape.token_bytes // self._shape.layers)
        values: Values = self._model.head(hidden[len(hidden) - len(ids) :]).cpu().numpy()
        return Reading(values, len(hidden))

    def packed(self, bundles: Sequence[Bundle], *, share: bool) -> list[list[Reading]]:
        """Values after the sequences of one or more prompts, in as few forwards as may be.

        Each prompt is packed with its own sequences, which share it; prompts share nothing.
        Prompts that were seen lately are not computed again, and their pixels are not asked
        for. Images of the others go through the vision tower together.

        Args:
            bundles: The prompts with their sequences.
            share: Whether what sequences of one prompt begin with in common is computed once.
        """
        stems = [self._stems.get(one.prompt) for one in bundles]
        self._encode([one.prompt for one, stem in zip(bundles, stems, strict=True) if stem is None])
        packings: list[Packing] = []
        prompts: dict[int, _Prompt] = {}
        kept: dict[int, list[KeyValue]] = {}
        ids: list[npt.NDArray[np.int64]] = []
        positions: list[npt.NDArray[np.int64]] = []
        computed: list[int] = []
        for one, stem in zip(bundles, stems, strict=True):
            prompt, place = one.prompt, sum(len(packing.runs) for packing in packings)
            if stem is None:
                pixels = self._pixels(prompt.images)
                shift = self._backbone.shift(prompt, pixels)
                prompts[place] = _Prompt(prompt, shift)
                ids.append(np.array(prompt.ids, dtype=np.int64))
                positions.append(self._positions(prompt, pixels, shift))
            else:
                shift = stem.shift
                kept[place] = stem.states
                self._stems.move_to_end(prompt)
            packing = behind(
                len(prompt.ids), pack(one.sequences, share=share), known=stem is not None
            )
            packings.append(packing)
            added = [0] * len(one.sequences)
            added[0] = packing.runs[0].end
            for run in packing.runs:
                if run.sequence is None:
                    continue
                count = run.end - run.begin
                added[run.sequence] += count
                ids.append(np.array(one.sequences[run.sequence][run.skip :], dtype=np.int64))
                first = len(prompt.ids) + run.skip + shift
                positions.append(np.tile(np.arange(first, first + count), (self._backbone.axes, 1)))
            computed += added
        packing = joined(packings)
        trunk = Trunk(self._shape, packing, kept)
        whole, where = np.concatenate(ids), np.concatenate(positions, axis=1)
        # By itself a prompt has the same bits on a CPU, whatever comes with it the first time.
        apart = self._shape.device.type == "cpu" and len(bundles) == 1
        values = self._all(packing, trunk, whole, where, prompts, apart=apart)
        own = iter(zip(packing.places, computed, strict=True))
        return [
            [Reading(values[places], count) for places, count in islice(own, len(one.sequences))]
            for one in bundles
        ]

    def forget(self) -> None:
        """Lets go what is kept for questions that are scored again."""
        self._stems.clear()
        self._backbone.forget_images()

    def _encode(self, prompts: Sequence[Encoded]) -> None:
        """Has the images of prompts at hand."""
        counts = self._backbone.counts
        before = counts.image_encodings
        pixels = {one.images: self._pixels(one.images) for one in prompts if one.images}
        while True:
            try:
                self._backbone.encode_images(pixels)
                break
            except Exception as error:
                if not ran_out(error) or not self._stems:
                    raise
            self._make_room()
        self.counts.image_encodings += counts.image_encodings - before

    def _remember(self, prompt: _Prompt, states: list[KeyValue]) -> None:
        """Keeps the keys and values of a prompt, and lets go those that were used longest ago."""
        self._stems[prompt.encoded] = _Stem(states, prompt.shift)
        total = sum(len(known.ids) for known in self._stems) * self._shape.token_bytes
        while total > _REMEMBERED:
            gone, _ = self._stems.popitem(last=False)
            total -= len(gone.ids) * self._shape.token_bytes

    def _make_room(self) -> bool:
        """Lets remembered prompts go; whether there were any."""
        known = bool(self._stems)
        self._stems.clear()
        if self._shape.device.type == "cuda":
            torch.cuda.empty_cache()
        return known

    def _positions(self, prompt: Encoded, pixels: Pixels, shift: int) -> npt.NDArray[np.int64]:
        """Positions `[A, P]` of a prompt's tokens."""
        places = np.tile(np.arange(len(prompt.ids)) + shift, (self._backbone.axes, 1))
        end = prompt.image_end
        places[:, :end] = self._backbone.positions(prompt, pixels)[:, :end]
        return places

    def _all(
        self,
        packing: Packing,
        trunk: Trunk,
        ids: npt.NDArray[np.int64],
        positions: npt.NDArray[np.int64],
        prompts: Mapping[int, _Prompt],
        *,
        apart: bool,
    ) -> Values:
        """Values `[T]` in packed order; `prompts` are those of runs, by their index.

        Where memory does not hold a batch, remembered prompts are let go; if there are none, it
        is halved, and so are later ones. `apart` has the first run computed by itself.
        """
        values: Values = np.empty(packing.tokens, dtype=np.float32)
        first = 1 if apart else 0
        todo = [*packing.chunks(self._budget, first)][::-1] + [range(first)] * first
        while todo:
            chunk = todo.pop()
            part = slice(packing.runs[chunk[0]].begin, packing.runs[chunk[-1]].end)
            if part.start == part.stop:  # a prompt that is known, and nothing behind it
                continue
            some = {k: prompts[k] for k in chunk if k in prompts}
            try:
                values[part] = self._chunk(ids[part], positions[:, part], trunk, chunk, some)
                continue
            except Exception as error:
                if not ran_out(error) or (len(chunk) == 1 and not self._stems):
                    raise
            if self._make_room():  # here, where no traceback holds the tensors of the forward
                todo.append(chunk)
                continue
            middle = chunk.start + len(chunk) // 2
            todo += [range(middle, chunk.stop), range(chunk.start, middle)]
            self._budget = max(1, (part.stop - part.start) // 2)
        self._held(trunk.peak_bytes)
        return values

    def _own(self, prompt: Encoded, more: Sequence[int]) -> Tensor:
        """Last hidden states `[L, W]` of prompt and `more`, by the model's own forward."""
        device = self._shape.device
        ids = torch.tensor([[*prompt.ids, *more]], device=device)
        pixels = self._pixels(prompt.images)
        inputs: dict[str, Any] = {name: value.to(device) for name, value in pixels.items()}
        if inputs and self._backbone.axes > 1:
            inputs["mm_token_type_ids"] = (ids == self._backbone.image_id).int()
        hidden: Tensor = self._inner(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            use_cache=False,
            **inputs,
        ).last_hidden_state
        self._count(ids.shape[1])
        self.counts.image_encodings += len(prompt.images)
        return hidden[0]

    def _chunk(
        self,
        ids: npt.NDArray[np.int64],
        positions: npt.NDArray[np.int64],
        trunk: Trunk,
        chunk: range,
        prompts: Mapping[int, _Prompt],
    ) -> Values:
        """Values of the tokens of some runs."""
        device = self._shape.device
        sight = trunk.open(chunk)
        places = torch.from_numpy(positions).to(device)
        if self._backbone.axes == 1:
            places = places[0]
        embedded = self._backbone.embed(torch.from_numpy(ids).to(device))
        begins = {sight.begins[k]: one.encoded for k, one in prompts.items()}
        for begin, prompt in begins.items():
            if prompt.images:
                self._backbone.place_images(embedded[begin:], prompt)
        deeper = self._backbone.deeper(begins, embedded[None])
        hidden = run_packed(self._decoder, embedded, places, sight, self._shape.layers, deeper)
        values: Values = self._model.head(hidden).cpu().numpy()
        trunk.close(sight)
        for k, one in prompts.items():
            self._remember(one, sight.keep[k])
        self._count(len(ids))
        return values

    def _count(self, tokens: int) -> None:
        self.counts.tokens += tokens
        self.counts.forwards += 1

    def _held(self, size: int) -> None:
        self.counts.peak_kv_bytes = max(self.counts.peak_kv_bytes, size)
