"""Forwards of a reward model: over a whole sequence, and over packed candidates."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vilbench.backbone.memory import ran_out
from vilbench.backbone.model import Backbone
from vilbench.backbone.prefixes import Stem
from vilbench.backbone.recall import Recall, Recalled, States
from vilbench.backbone.tokens import Encoded, Pixels
from vilbench.prm.layout import (
    Bundle,
    KnownPrompt,
    Layout,
    NewPrompt,
    Values,
    lay_out,
    stems_of,
    together,
)
from vilbench.prm.model import RewardModel
from vilbench.prm.runs import Run
from vilbench.prm.trunk import KeyValue, Trunk, run_packed
from vilbench.types import Image

_BATCH_TOKENS = {"cpu": 2048, "cuda": 16_384}
"""Most tokens of a forward by kind of device: more would not fill it better."""

_REMEMBERED = 1 << 30
"""Bytes of keys and values of prompts that are kept: a search scores its questions many times."""

_RECALLED = 1 << 28
"""Likewise of steps, where these are recalled, on a CPU."""

_RECALLED_SHARE = 0.1
"""On a GPU: of the memory that is free when the model is there."""


class Reading(NamedTuple):
    """What a forward read behind one sequence.

    Attributes:
        values: `[L]`.
        computed: Tokens, of the prompt too, that were computed for it and for none before it.
    """

    values: Values
    computed: int


@dataclass
class ScoringCounts:
    """Work of one call.

    Attributes:
        tokens: Tokens that went through the text decoder; there are no pads.
        forwards: Forwards of the text decoder.
        image_encodings: Images that went through the vision tower.
        peak_kv_bytes: Most bytes of keys and values of this call at a time: those kept for
            later, and one layer of the tokens in work. Prompts of earlier calls take up to a
            gibibyte beside them, and steps that are recalled what they may.
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
        recall: Whether those of the sequences behind them are kept, too, with their values.

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
        *,
        recall: bool = False,
    ) -> None:
        self.counts = ScoringCounts()
        self._stems: OrderedDict[Encoded, KnownPrompt] = OrderedDict()
        self._model = model
        self._pixels = pixels
        self._backbone = Backbone(model.backbone, remember=16)
        self._shape = self._backbone.shape
        self._recalls = recall
        self._recall = Recall(self._shape, self._room() if recall else 0)
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
        # Held from here on, whatever is let go while images are encoded: theirs are not.
        stems = [self._stems.get(one.prompt) for one in bundles]
        pairs = list(zip(bundles, stems, strict=True))
        self._encode([one.prompt for one, stem in pairs if stem is None])
        layout = together([self._laid_out(one, stem, share=share) for one, stem in pairs])
        trunk = Trunk(self._shape, layout.packing, layout.kept, keep_all=self._recalls)
        # By itself a prompt has the same bits on a CPU, whatever comes with it the first time.
        apart = self._shape.device.type == "cpu" and len(bundles) == 1
        values = self._all(layout, trunk, apart=apart)
        own = zip(layout.known, layout.packing.places, layout.computed, strict=True)
        readings = (
            Reading(np.concatenate([known, values[places]]), count) for known, places, count in own
        )
        return [list(islice(readings, len(one.sequences))) for one in bundles]

    def _laid_out(self, bundle: Bundle, known: KnownPrompt | None, *, share: bool) -> Layout:
        """A bundle without what is known of it."""
        if bundle.prompt in self._stems:
            self._stems.move_to_end(bundle.prompt)
        prompt = known or self._new(bundle.prompt)
        stems = stems_of(bundle)
        recalled = [self._recall.find(one) if share else Recalled(0) for one in stems]
        return lay_out(bundle, prompt, stems, recalled, self._backbone.axes, share=share)

    def forget(self) -> None:
        """Lets go what is kept for questions that are scored again."""
        self._recall.clear()
        self._stems.clear()
        self._backbone.forget_images()

    def _room(self) -> int:
        """Most bytes for steps that are recalled."""
        if self._shape.device.type != "cuda":
            return _RECALLED
        free, _ = torch.cuda.mem_get_info(self._shape.device)
        return int(free * _RECALLED_SHARE)

    @property
    def _remembers(self) -> bool:
        return bool(self._stems) or self._recall.bytes > 0

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
                if not ran_out(error) or not self._remembers:
                    raise
            self._make_room()
        self.counts.image_encodings += counts.image_encodings - before

    def _remember(self, prompt: NewPrompt, states: list[KeyValue]) -> None:
        """Keeps the keys and values of a prompt, and lets go those that were used longest ago."""
        self._stems[prompt.encoded] = KnownPrompt(states, prompt.shift)
        total = sum(len(known.ids) for known in self._stems) * self._shape.token_bytes
        while total > _REMEMBERED:
            gone, _ = self._stems.popitem(last=False)
            total -= len(gone.ids) * self._shape.token_bytes

    def _keep(self, stem: Stem, run: Run, layers: Sequence[KeyValue], values: Values) -> None:
        """Keeps what a run of a sequence is computed to; `values` begin with its own."""
        if not np.isfinite(values[: run.end - run.begin]).all():
            return

        def told(start: int, end: int) -> States:
            part = slice(start - run.skip, end - run.skip)
            states = torch.stack([one[:, part] for layer in layers for one in layer])
            return states, torch.from_numpy(values[part, None].copy())

        self._recall.keep(stem, run.skip + run.end - run.begin, told, since=run.skip)

    def _make_room(self) -> bool:
        """Lets go what is remembered; whether there was anything."""
        known = self._recall.clear() or bool(self._stems)
        self._stems.clear()
        if self._shape.device.type == "cuda":
            torch.cuda.empty_cache()
        return known

    def _new(self, prompt: Encoded) -> NewPrompt:
        pixels = self._pixels(prompt.images)
        shift = self._backbone.shift(prompt, pixels)
        places = np.tile(np.arange(len(prompt.ids)) + shift, (self._backbone.axes, 1))
        end = prompt.image_end
        places[:, :end] = self._backbone.positions(prompt, pixels)[:, :end]
        return NewPrompt(prompt, places, shift)

    def _all(self, layout: Layout, trunk: Trunk, *, apart: bool) -> Values:
        """Values `[T]` in packed order.

        Where memory does not hold a batch, what is remembered is let go; if that is nothing, it
        is halved, and so are later ones. `apart` has the first run computed by itself.
        """
        packing = layout.packing
        values: Values = np.empty(packing.tokens, dtype=np.float32)
        first = 1 if apart else 0
        todo = [*packing.chunks(self._budget, first)][::-1] + [range(first)] * first
        while todo:
            chunk = todo.pop()
            part = slice(packing.runs[chunk[0]].begin, packing.runs[chunk[-1]].end)
            if part.start == part.stop:  # all of it is known
                continue
            # What the chunk keeps itself is no room to be gained: it would keep it again.
            held = self._remembers
            try:
                values[part] = self._chunk(layout, part, trunk, chunk)
                continue
            except Exception as error:
                if not ran_out(error) or (len(chunk) == 1 and not held):
                    raise
            # Here, where no traceback holds the tensors of the forward.
            if self._make_room() and held:
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

    def _chunk(self, layout: Layout, part: slice, trunk: Trunk, chunk: range) -> Values:
        """Values of the tokens of some runs, which are a `part` of the packed order."""
        device = self._shape.device
        sight = trunk.open(chunk)
        places = torch.from_numpy(layout.positions[:, part]).to(device)
        if self._backbone.axes == 1:
            places = places[0]
        embedded = self._backbone.embed(torch.from_numpy(layout.ids[part]).to(device))
        prompts = {k: layout.prompts[k] for k in chunk if k in layout.prompts}
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
        for k, begin in sight.begins.items() if self._recalls else ():
            run = layout.packing.runs[k]
            if run.sequence is not None:
                self._keep(layout.stems[run.sequence], run, sight.keep[k], values[begin:])
        self._count(len(values))
        return values

    def _count(self, tokens: int) -> None:
        self.counts.tokens += tokens
        self.counts.forwards += 1

    def _held(self, size: int) -> None:
        self.counts.peak_kv_bytes = max(self.counts.peak_kv_bytes, size)
