"""Forwards of a reward model: over a whole sequence, and over packed candidates."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vilbench.backbone.memory import ran_out
from vilbench.backbone.model import Backbone
from vilbench.backbone.prefill import Placed
from vilbench.backbone.prefixes import Stem
from vilbench.backbone.recall import Recall, Recalled, States
from vilbench.backbone.tokens import Encoded
from vilbench.prm.model import RewardModel
from vilbench.prm.runs import Packing, Run, behind, beyond, joined, pack
from vilbench.prm.trunk import KeyValue, Trunk, run_packed

Values = npt.NDArray[np.float32]
"""Values after tokens."""

_BATCH_TOKENS = {"cpu": 2048, "cuda": 16_384}
"""Most tokens of a forward by kind of device: more would not fill it better."""

_REMEMBERED = 1 << 30
"""Bytes of keys and values of prompts that are kept: a search scores its questions many times."""

_RECALLED = {"cpu": 1 << 28, "cuda": 1 << 30}
"""Likewise of steps, where these are recalled, by kind of device."""


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

    prompt: Placed
    sequences: Sequence[Sequence[int]]


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


@dataclass
class _Laid:
    """A bundle in packed order.

    Attributes:
        packing: Of its prompt and sequences.
        stems: The sequences, told apart from those of other prompts.
        known: Values of each sequence's tokens that are known.
        computed: Tokens that are to be computed for each sequence.
        kept: Keys and values of runs that are known.
        ids: `[T]` of tokens that are to be computed.
        positions: `[A, T]` of these.
    """

    packing: Packing
    stems: list[Stem]
    known: list[Values]
    computed: list[int]
    kept: dict[int, list[KeyValue]] = field(default_factory=dict)
    ids: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    positions: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty((1, 0), np.int64))


class _Work(NamedTuple):
    """What is computed in one go.

    Attributes:
        packing: The runs.
        stems: The sequences that they are of.
        prompts: Prompts that are computed, by the index of their run.
    """

    packing: Packing
    stems: Sequence[Stem]
    prompts: Mapping[int, Encoded]


class Forwards:
    """A reward model that reads values after tokens; not thread-safe.

    Keys and values of prompts seen lately are kept: after a change of weights, `forget`.

    Args:
        model: In evaluation mode.
        max_batch_tokens: Most tokens of a forward of packed candidates.
        recall: Whether those of the sequences behind them are kept, too, with their values.

    Attributes:
        counts: Work done so far.

    Raises:
        CheckpointError: The backbone's family is not supported.
        ValueError: The budget is below 1.
    """

    def __init__(
        self, model: RewardModel, max_batch_tokens: int | None, *, recall: bool = False
    ) -> None:
        self.counts = ScoringCounts()
        self._stems: OrderedDict[Encoded, list[KeyValue]] = OrderedDict()
        self._model = model
        self._backbone = Backbone(model.backbone, remember=16)
        self._shape = self._backbone.shape
        self._recalls = recall
        most = _RECALLED.get(self._shape.device.type, 1 << 28)
        self._recall = Recall(self._shape, most if recall else 0)
        self._inner: Any = model.backbone.model
        self._decoder: Any = model.backbone.get_decoder()
        if max_batch_tokens is None:
            max_batch_tokens = _BATCH_TOKENS.get(self._shape.device.type, 4096)
        if max_batch_tokens < 1:
            raise ValueError(f"a batch of {max_batch_tokens} tokens")
        self._budget = max_batch_tokens

    def whole(self, prompt: Placed, ids: Sequence[int]) -> Reading:
        """Values after `ids` that stand behind a prompt, everything computed anew."""
        hidden = self._own(prompt, ids)
        self._held(len(hidden) * self._shape.token_bytes // self._shape.layers)
        values: Values = self._model.head(hidden[len(hidden) - len(ids) :]).cpu().numpy()
        return Reading(values, len(hidden))

    def packed(self, bundles: Sequence[Bundle], *, share: bool) -> list[list[Reading]]:
        """Values after the sequences of one or more prompts, in as few forwards as may be.

        Each prompt is packed with its own sequences, which share it; prompts share nothing.
        Prompts that were seen lately are not computed again. Images of the others go through
        the vision tower together.

        Args:
            bundles: The prompts with their sequences.
            share: Whether what sequences of one prompt begin with in common is computed once.
        """
        fresh = [one for one in bundles if one.prompt.encoded not in self._stems]
        self._encode(fresh)
        laid = [self._laid(one, share=share) for one in bundles]
        packing = joined([one.packing for one in laid])
        prompts: dict[int, Encoded] = {}
        kept: dict[int, list[KeyValue]] = {}
        place = 0
        for bundle, one in zip(bundles, laid, strict=True):
            if 0 not in one.kept:
                prompts[place] = bundle.prompt.encoded
            kept |= {place + k: states for k, states in one.kept.items()}
            place += len(one.packing.runs)
        stems = [stem for one in laid for stem in one.stems]
        work = _Work(packing, stems, prompts)
        trunk = Trunk(self._shape, packing, kept, keep_all=self._recalls)
        ids = np.concatenate([one.ids for one in laid])
        positions = np.concatenate([one.positions for one in laid], axis=1)
        # By itself a prompt has the same bits on a CPU, whatever comes with it the first time.
        apart = self._shape.device.type == "cpu" and len(bundles) == 1
        values = self._all(work, trunk, ids, positions, apart=apart)
        places = iter(packing.places)
        return [
            [
                Reading(np.concatenate([known, values[own]]), count)
                for known, count, own in zip(one.known, one.computed, places, strict=False)
            ]
            for one in laid
        ]

    def _laid(self, bundle: Bundle, *, share: bool) -> _Laid:
        """The tokens of a bundle that are to be computed, in packed order."""
        prompt, sequences = bundle.prompt.encoded, bundle.sequences
        stem = self._stems.get(prompt)
        if stem is not None:
            self._stems.move_to_end(prompt)
        stems = [Stem(tuple(ids), len(ids), prompt) for ids in sequences]
        found = [self._recall.find(one) if share else Recalled(0) for one in stems]
        packing = pack(sequences, share=share)
        if any(one.reach for one in found):
            packing = beyond(packing, [one.reach for one in found])
        packing = behind(len(prompt.ids), packing, known=stem is not None)
        places = self._places(bundle.prompt, max(map(len, sequences)))
        laid = _Laid(packing, stems, [_values(one) for one in found], [0] * len(sequences))
        ids: list[Sequence[int]] = []
        where: list[npt.NDArray[np.int64]] = []
        for k, run in enumerate(packing.runs):
            count = run.end - run.begin
            if run.sequence is None:
                laid.computed[0] += count
                ids.append(prompt.ids[:count])
                where.append(places[:, :count])
                if stem is not None:
                    laid.kept[k] = stem
                continue
            laid.computed[run.sequence] += count
            ids.append(sequences[run.sequence][run.skip : run.skip + count])
            first = len(prompt.ids) + run.skip
            where.append(places[:, first : first + count])
            if run.known:
                states, _ = found[run.sequence].joined(run.skip, run.skip + run.known)
                pairs = zip(states[::2], states[1::2], strict=True)
                laid.kept[k] = [KeyValue(*pair) for pair in pairs]
        laid.ids = np.concatenate([np.asarray(some, dtype=np.int64) for some in ids])
        laid.positions = np.concatenate(where, axis=1)
        return laid

    def forget(self) -> None:
        """Lets go what is kept for questions that are scored again."""
        self._recall.clear()
        self._stems.clear()
        self._backbone.forget_images()

    @property
    def _remembers(self) -> bool:
        return bool(self._stems) or self._recall.bytes > 0

    def _encode(self, bundles: Sequence[Bundle]) -> None:
        """Has the images of prompts at hand."""
        counts = self._backbone.counts
        before = counts.image_encodings
        shown = [one.prompt for one in bundles if one.prompt.encoded.images]
        pixels = {one.encoded.images: one.pixels for one in shown}
        while True:
            try:
                self._backbone.encode_images(pixels)
                break
            except Exception as error:
                if not ran_out(error) or not self._remembers:
                    raise
            self._make_room()
        self.counts.image_encodings += counts.image_encodings - before

    def _remember(self, prompt: Encoded, stem: list[KeyValue]) -> None:
        """Keeps the keys and values of a prompt, and lets go those that were used longest ago."""
        self._stems[prompt] = stem
        total = sum(len(known.ids) for known in self._stems) * self._shape.token_bytes
        while total > _REMEMBERED:
            gone, _ = self._stems.popitem(last=False)
            total -= len(gone.ids) * self._shape.token_bytes

    def _keep(self, work: _Work, run: Run, layers: Sequence[KeyValue], values: Values) -> None:
        """Keeps what a run of a sequence is computed to."""
        if run.sequence is None:
            return

        def told(start: int, end: int) -> States:
            part = slice(start - run.skip, end - run.skip)
            states = torch.stack([one[:, part] for layer in layers for one in layer])
            return states, torch.from_numpy(values[part, None].copy())

        stop = run.skip + run.end - run.begin
        self._recall.keep(work.stems[run.sequence], stop, told, since=run.skip)

    def _make_room(self) -> bool:
        """Lets go what is remembered; whether there was anything."""
        known = self._recall.clear() or bool(self._stems)
        self._stems.clear()
        if self._shape.device.type == "cuda":
            torch.cuda.empty_cache()
        return known

    def _places(self, prompt: Placed, more: int) -> npt.NDArray[np.int64]:
        """Positions `[A, P + more]` of a prompt's tokens and of those behind them."""
        end = prompt.encoded.image_end
        known = self._backbone.positions(prompt.encoded, prompt.pixels)
        axes = self._backbone.axes
        length = len(prompt.encoded.ids) + more
        places = np.arange(length) + self._backbone.shift(prompt.encoded, prompt.pixels)
        spread = np.repeat(places[None], axes, axis=0)
        spread[:, :end] = known[:, :end]
        return spread

    def _all(
        self,
        work: _Work,
        trunk: Trunk,
        ids: npt.NDArray[np.int64],
        positions: npt.NDArray[np.int64],
        *,
        apart: bool,
    ) -> Values:
        """Values `[T]` in packed order.

        Where memory does not hold a batch, remembered prompts are let go; if there are none, it
        is halved, and so are later ones. `apart` has the first run computed by itself.
        """
        packing = work.packing
        values: Values = np.empty(packing.tokens, dtype=np.float32)
        first = 1 if apart else 0
        todo = [*packing.chunks(self._budget, first)][::-1] + [range(first)] * first
        while todo:
            chunk = todo.pop()
            part = slice(packing.runs[chunk[0]].begin, packing.runs[chunk[-1]].end)
            if part.start == part.stop:  # all of it is known
                continue
            try:
                values[part] = self._chunk(ids[part], positions[:, part], trunk, chunk, work)
                continue
            except Exception as error:
                if not ran_out(error) or (len(chunk) == 1 and not self._remembers):
                    raise
            if self._make_room():  # here, where no traceback holds the tensors of the forward
                todo.append(chunk)
                continue
            middle = chunk.start + len(chunk) // 2
            todo += [range(middle, chunk.stop), range(chunk.start, middle)]
            self._budget = max(1, (part.stop - part.start) // 2)
        self._held(trunk.peak_bytes)
        return values

    def _own(self, prompt: Placed, more: Sequence[int]) -> Tensor:
        """Last hidden states `[L, W]` of prompt and `more`, by the model's own forward."""
        device = self._shape.device
        ids = torch.tensor([[*prompt.encoded.ids, *more]], device=device)
        inputs: dict[str, Any] = {name: value.to(device) for name, value in prompt.pixels.items()}
        if inputs and self._backbone.axes > 1:
            inputs["mm_token_type_ids"] = (ids == self._backbone.image_id).int()
        hidden: Tensor = self._inner(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            use_cache=False,
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
        work: _Work,
    ) -> Values:
        """Values of the tokens of some runs."""
        device = self._shape.device
        sight = trunk.open(chunk)
        places = torch.from_numpy(positions).to(device)
        if self._backbone.axes == 1:
            places = places[0]
        embedded = self._backbone.embed(torch.from_numpy(ids).to(device))
        prompts = {k: work.prompts[k] for k in chunk if k in work.prompts}
        begins = {sight.begins[k]: prompt for k, prompt in prompts.items()}
        for begin, prompt in begins.items():
            if prompt.images:
                self._backbone.place_images(embedded[begin:], prompt)
        deeper = self._backbone.deeper(begins, embedded[None])
        hidden = run_packed(self._decoder, embedded, places, sight, self._shape.layers, deeper)
        values: Values = self._model.head(hidden).cpu().numpy()
        trunk.close(sight)
        for k, prompt in prompts.items():
            self._remember(prompt, sight.keep[k])
        if self._recalls:
            for k, begin in sight.begins.items():
                self._keep(work, work.packing.runs[k], sight.keep[k], values[begin:])
        self._count(len(ids))
        return values

    def _count(self, tokens: int) -> None:
        self.counts.tokens += tokens
        self.counts.forwards += 1

    def _held(self, size: int) -> None:
        self.counts.peak_kv_bytes = max(self.counts.peak_kv_bytes, size)


def _values(recalled: Recalled) -> Values:
    """`[reach]`, the values that are known."""
    parts = [values[:, 0].numpy() for _, values in recalled.states]
    known: Values = np.concatenate([np.empty(0, dtype=np.float32), *parts])[: recalled.reach]
    return known
