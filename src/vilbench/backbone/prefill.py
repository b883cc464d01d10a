"""Running prompts through the model, shared beginnings once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vilbench.backbone.keyvalues import KeyValues
from vilbench.backbone.model import Backbone
from vilbench.backbone.prefixes import Segment, Stem, share
from vilbench.backbone.recall import Recall, Recalled, restore
from vilbench.backbone.tokens import Encoded, Pixels

_CHUNK_TOKENS = 8192
"""Most tokens of one forward, pads included: bounds activations, and the waste in pads."""


@dataclass(frozen=True, slots=True)
class Placed:
    """An encoded prompt with its image inputs."""

    encoded: Encoded
    pixels: Pixels

    def stem(self, more: Sequence[int], own: int) -> Stem:
        """The prompt with further tokens behind it; `own` as in `Stem`."""
        ids, end = self.encoded.ids, self.encoded.image_end
        return Stem((*ids, *more), own, (self.encoded.images, ids[:end]), end)


class Leaf(NamedTuple):
    """A finished sequence: its number, its row in the chunk, and the tokens computed there."""

    stem: int
    row: int
    start: int
    end: int


class Chunk(NamedTuple):
    """One forward's outcome.

    Attributes:
        cache: Keys and values of its rows.
        hidden: Last hidden states `[R, S, W]` of its tokens.
        segments: What its rows are.
        leaves: The sequences that it finished.
    """

    cache: KeyValues
    hidden: Tensor
    segments: list[Segment]
    leaves: list[Leaf]


def prefill(
    backbone: Backbone, prompts: Sequence[Placed], stems: Sequence[Stem], recall: Recall
) -> Iterator[Chunk]:
    """Computes every stem once, beginnings that several share once for all of them.

    Args:
        backbone: The model.
        prompts: The prompt of each stem; its images are encoded already.
        stems: What to compute.
        recall: What was computed before and need not be again; takes what is computed now.

    Yields:
        Chunks, valid until the next one is asked for; each stem is a leaf of one of them.
    """
    above: KeyValues | None = None
    rows_above: dict[int, int] = {}
    known = [recall.find(stem) for stem in stems]
    for level in share(stems, [one.reach for one in known]):
        # Neighbours of like length make short pads.
        order = sorted(range(len(level)), key=lambda k: level[k].end - level[k].start)
        longest = level[order[-1]].end - level[order[-1]].start
        capacity = max(segment.start for segment in level) + longest
        pool = KeyValues(backbone.shape, len(level), capacity)
        begin = 0
        while begin < len(order):
            end = _cut(level, order, begin)
            segments = [level[k] for k in order[begin:end]]
            cache = pool.narrow(begin, end)
            parents: dict[int, int] = {}
            recalled: dict[int, Recalled] = {}
            for row, segment in enumerate(segments):
                if segment.parent is not None:
                    parents[row] = rows_above[segment.parent]
                elif segment.start:
                    recalled[row] = known[segment.stem]._replace(reach=segment.start)
            if above is not None and parents:
                reach = max(segments[row].start for row in parents)
                source, into = (
                    torch.tensor([*rows], device=backbone.shape.device)
                    for rows in (parents.values(), parents)
                )
                cache.copy_rows(above, source, reach, into)
            restore(cache, recalled)
            hidden = _forward(backbone, prompts, stems, segments, cache)
            for row, segment in enumerate(segments):
                recall.keep(stems[segment.stem], segment.end, cache.teller(row))
            leaves = [
                Leaf(segment.stem, row, segment.start, segment.end)
                for row, segment in enumerate(segments)
                if segment.leaf
            ]
            yield Chunk(cache, hidden, segments, leaves)
            begin = end
        above = pool
        rows_above = {k: row for row, k in enumerate(order)}


def _cut(level: Sequence[Segment], order: Sequence[int], begin: int) -> int:
    """End of the chunk that begins at `begin` of `order`, which goes by length."""
    end = begin
    while end < len(order):
        length = level[order[end]].end - level[order[end]].start
        if end > begin and length * (end + 1 - begin) > _CHUNK_TOKENS:
            break
        end += 1
    return end


def _forward(
    backbone: Backbone,
    prompts: Sequence[Placed],
    stems: Sequence[Stem],
    segments: Sequence[Segment],
    cache: KeyValues,
) -> Tensor:
    width = max(segment.end - segment.start for segment in segments)
    ids = np.zeros((len(segments), width), dtype=np.int64)
    start = np.array([segment.start for segment in segments], dtype=np.int64)
    positions = np.empty((backbone.axes, len(segments), width), dtype=np.int64)
    for row, segment in enumerate(segments):
        tokens = stems[segment.stem].ids[segment.start : segment.end]
        ids[row, : len(tokens)] = tokens
        backbone.counts.prompt_tokens_computed += len(tokens)
        placed = prompts[segment.stem]
        image_end = placed.encoded.image_end
        shift = backbone.shift(placed.encoded, placed.pixels)
        positions[:, row] = np.arange(segment.start, segment.start + width) + shift
        if segment.start < image_end:
            known = backbone.positions(placed.encoded, placed.pixels)
            positions[:, row, :image_end] = known[:, :image_end]
    embedded = backbone.embed(torch.from_numpy(ids).to(backbone.shape.device))
    shown = [
        prompts[one.stem].encoded if one.start < stems[one.stem].floor else None for one in segments
    ]
    for row, prompt in enumerate(shown):
        if prompt is not None:
            backbone.place_images(embedded[row], prompt)
    return backbone.forward(embedded, positions, start, cache, shown=shown)
