"""Forwards of packed runs on top of the keys and values of earlier ones."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import AttentionInterface

from vilbench.backbone.keyvalues import CacheShape
from vilbench.backbone.vision import has_flash
from vilbench.errors import CheckpointError
from vilbench.prm.attention import (
    Block,
    attend,
    attend_each,
    attend_packed,
    attend_padded,
    merge,
)
from vilbench.prm.runs import Packing

_NAME = "vilbench_packed"

_SHORT = 64
"""Runs of at most so many tokens are attended to in one padded call: calls cost more than
pads then. On a GPU they do at any length, save that of a prompt, to which all would be padded."""


class KeyValue(NamedTuple):
    """Keys and values `[K, S, D]` of one layer."""

    key: Tensor
    value: Tensor


class Trunk:
    """Keys and values of runs that runs of later forwards build on.

    Args:
        shape: Of the model's keys and values.
        packing: The runs; chunks of them come in order.
        kept: Of runs that are known, by their index.
        keep_all: Whether all of every run is kept until the next forward, for the caller.

    Attributes:
        peak_bytes: Most that was held at once, with one layer of the forward in work.
        device: Where they are.
        keep_all: As given.
    """

    def __init__(
        self,
        shape: CacheShape,
        packing: Packing,
        kept: Mapping[int, list[KeyValue]],
        *,
        keep_all: bool = False,
    ) -> None:
        self._shape = shape
        self._packing = packing
        self.kept = dict(kept)
        self.device = shape.device
        self.keep_all = keep_all
        self.peak_bytes = 0

    def open(self, chunk: range) -> Sight:
        """What the tokens of a chunk see; runs that nothing will build on are let go."""
        runs = self._packing.runs
        base = runs[chunk[0]].begin
        self.kept = {k: kept for k, kept in self.kept.items() if runs[k].reach > base}
        return Sight(self, self._packing, chunk)

    def close(self, sight: Sight) -> None:
        """Keeps what later chunks need of a chunk that was computed."""
        self.kept.update(sight.keep)
        self.peak_bytes = max(self.peak_bytes, self._bytes(sight.tokens))

    def _bytes(self, working: int) -> int:
        tokens = sum(layers[0].key.shape[1] for layers in self.kept.values())
        layer = self._shape.token_bytes // self._shape.layers
        return tokens * self._shape.token_bytes + working * layer


class Sight:
    """What each token of one forward sees; the forward's attention.

    Args:
        trunk: What earlier forwards left.
        packing: The runs.
        chunk: Which of them are computed.

    Attributes:
        tokens: T, how many tokens are computed.
        layers: Layers that have attended.
        begins: Where each run begins among them.
        keep: Of prompts, of runs that later chunks build on, and of others where the trunk keeps
            all of them: keys and values of every layer.
    """

    def __init__(self, trunk: Trunk, packing: Packing, chunk: range) -> None:
        runs = packing.runs
        base, end = runs[chunk[0]].begin, runs[chunk[-1]].end
        self.tokens = end - base
        self.layers: set[int] = set()
        self.keep: dict[int, list[KeyValue]] = {}
        self._trunk = trunk
        filled = [k for k in chunk if runs[k].end > runs[k].begin]
        self.begins = {k: runs[k].begin - base for k in filled}
        bounds = [(runs[k].begin - base, runs[k].end - base) for k in filled]
        edges = [0, *(b for _, b in bounds)]
        self._bounds = torch.tensor(edges, dtype=torch.int32, device=trunk.device)
        self._longest = max(b - a for a, b in bounds)
        prompts = {self.begins[k] for k in filled if runs[k].sequence is None}
        self._short, self._long = divided(bounds, prompts, on_gpu=trunk.device.type == "cuda")
        self._needed = {
            k: runs[k].end - runs[k].begin
            for k in filled
            if trunk.keep_all or runs[k].sequence is None
        }
        looks: dict[tuple[int, int], _Look] = {}
        for k, run in enumerate(runs):
            parent = run.parent
            if parent is None:
                continue
            if parent in self.begins and run.reach > end:
                self._needed[parent] = max(run.shared, self._needed.get(parent, 0))
            if k >= chunk.stop or run.reach <= base:
                continue
            first, last = max(run.begin, base) - base, min(run.reach, end) - base
            if first == last:  # a known run that nothing in this chunk builds on
                continue
            # Runs that leave another at the same token follow each other: one block for all.
            known = looks.get((parent, run.shared))
            looks[parent, run.shared] = _Look(
                parent, run.shared, known.first if known else first, last
            )
        self._looks = list(looks.values())

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Attention `[1, T, H, D]` of queries `[1, H, T, D]` and new keys `[1, K, T, D]`."""
        self.layers.add(layer)
        keys, values = key[0], value[0]
        queries = query[0].view(len(keys), -1, *query.shape[2:])
        whole = self._own(queries, keys, values, scale)
        for look in self._looks:
            seen = self._seen(look, layer, keys, values)
            part = queries[:, :, look.first : look.last]
            block = attend(part, seen.key, seen.value, scale, causal=False)
            merge(whole, block, look.first, look.last)
        for run, count in self._needed.items():
            places = slice(self.begins[run], self.begins[run] + count)
            held = KeyValue(keys[:, places].clone(), values[:, places].clone())
            self.keep.setdefault(run, []).append(held)
        return whole.output.to(query.dtype).flatten(0, 1).transpose(0, 1)[None]

    def _own(self, queries: Tensor, keys: Tensor, values: Tensor, scale: float) -> Block:
        """Each run over itself, in float32."""
        if has_flash(queries):
            block = attend_packed(queries, keys, values, scale, self._bounds, self._longest)
            return Block(block.output.float(), block.logsumexp)
        whole = Block(
            queries.new_empty(queries.shape, dtype=torch.float32),
            queries.new_empty(queries.shape[:3], dtype=torch.float32),
        )
        for bounds, attend_to in ((self._short, attend_padded), (self._long, attend_each)):
            own = attend_to(queries, keys, values, scale, bounds) if bounds else ()
            for block, (begin, end) in zip(own, bounds, strict=True):
                whole.output[:, :, begin:end] = block.output
                whole.logsumexp[:, :, begin:end] = block.logsumexp
        return whole

    def _seen(self, look: _Look, layer: int, keys: Tensor, values: Tensor) -> KeyValue:
        if look.run in self.begins:
            begin = self.begins[look.run]
            places = slice(begin, begin + look.shared)
            return KeyValue(keys[:, places], values[:, places])
        kept = self._trunk.kept[look.run][layer]
        return KeyValue(kept.key[:, : look.shared], kept.value[:, : look.shared])


def divided(
    bounds: Sequence[tuple[int, int]], prompts: Collection[int], *, on_gpu: bool
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Runs for one padded call, and those that are attended to one by one.

    Args:
        bounds: Begin and end of each run.
        prompts: Where those begin that are prompts.
        on_gpu: Whether calls cost more than pads at any length.
    """
    short = [
        (begin, end)
        for begin, end in bounds
        if end - begin <= _SHORT or (on_gpu and begin not in prompts)
    ]
    return short, [one for one in bounds if one not in set(short)]


class _Look(NamedTuple):
    """Queries `first` to `last - 1` of a forward see the first `shared` tokens of a run."""

    run: int
    shared: int
    first: int
    last: int


_SIGHT: ContextVar[Sight] = ContextVar("sight")


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    odd = [name for name in ("softcap", "s_aux", "position_bias") if more.get(name) is not None]
    if odd:
        raise CheckpointError(
            f"attention with '{odd[0]}' cannot be shared", file="config.json", field="model_type"
        )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return _SIGHT.get().attend(module.layer_idx, query, key, value, scale), None


AttentionInterface.register(_NAME, _attention)


@contextmanager
def seeing(decoder: Any, sight: Sight) -> Iterator[None]:
    """Within it, the text decoder attends as `sight` says; not thread-safe for one model."""
    config = decoder.config
    stock = config._attn_implementation
    config._attn_implementation = _NAME
    token = _SIGHT.set(sight)
    try:
        yield
    finally:
        _SIGHT.reset(token)
        config._attn_implementation = stock


def run_packed(
    decoder: Any,
    embedded: Tensor,
    positions: Tensor,
    sight: Sight,
    layers: int,
    deeper: Mapping[str, Any],
) -> Tensor:
    """Last hidden states `[T, W]` of packed tokens.

    Args:
        decoder: The text decoder.
        embedded: `[T, W]`.
        positions: `[T]`, or `[A, T]` for models with several position axes.
        sight: What each token sees.
        layers: How many the decoder has.
        deeper: Image features for deeper layers, as the decoder takes them.

    Raises:
        CheckpointError: The decoder does not let its attention be replaced.
    """
    with seeing(decoder, sight):
        hidden: Tensor = decoder(
            inputs_embeds=embedded[None],
            position_ids=positions[..., None, :],
            attention_mask=None,
            use_cache=False,
            **deeper,
        ).last_hidden_state
    if len(sight.layers) != layers:
        raise CheckpointError(
            "attention of this family cannot be replaced",
            file="config.json",
            field="model_type",
        )
    return hidden[0]
