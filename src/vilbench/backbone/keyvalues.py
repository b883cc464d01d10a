"""The key-value cache of the local engine: fixed buffers, a length per row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import Cache


@dataclass(frozen=True)
class CacheShape:
    """What a cache's buffers are made of."""

    layers: int
    heads: int
    head_size: int
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(cls, model: Any) -> CacheShape:
        """The shape that a model's text decoder asks for."""
        text = model.config.get_text_config(decoder=True)
        heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
        size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        return cls(text.num_hidden_layers, heads, size, model.dtype, model.device)

    @property
    def token_bytes(self) -> int:
        """Bytes that one token of one row takes."""
        return 2 * self.layers * self.heads * self.head_size * self.dtype.itemsize


class KeyValues(Cache):  # type: ignore[misc] # transformers is untyped here
    """Keys and values `[R, H, C, D]` of every layer, row `r` holding its tokens in `0..`.

    Attention reads a view of the buffers: nothing is copied as sequences grow, unlike in the
    cache that concatenates at every step. Rows are right-padded, and what lies past a row's
    length is finite and must be masked.

    Args:
        shape: What the buffers are made of.
        rows: R.
        capacity: C, the most tokens of a row.
    """

    def __init__(
        self, shape: CacheShape, rows: int, capacity: int, *, buffers: list[Tensor] | None = None
    ) -> None:
        super().__init__(layers=[])
        self.shape = shape
        self.rows = rows
        self.capacity = capacity
        # Zeros, for a masked NaN would still spoil the sum over values.
        self._buffers = buffers or [
            torch.zeros(
                (rows, shape.heads, capacity, shape.head_size),
                dtype=shape.dtype,
                device=shape.device,
            )
            for _ in range(2 * shape.layers)
        ]
        self._row_index = torch.arange(rows, device=shape.device)
        self._places: Tensor = self._row_index
        self._common: int | None = None
        self._read = 0

    def place(self, start: npt.NDArray[np.int64], tokens: int) -> None:
        """Says where the next forward writes.

        Args:
            start: `[R]`, the row's place of the first of its new tokens.
            tokens: How many are new in each row, pads included.
        """
        first = int(start[0])
        self._read = int(start.max()) + tokens
        self._common = first if (start == first).all() else None
        if self._common is None:
            places = start[:, None] + np.arange(tokens)
            self._places = torch.from_numpy(places).to(self.shape.device)

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Writes a layer's new keys and values `[R, H, S, D]`; what attention sees of it."""
        views = []
        for buffer, states in zip(
            self._buffers[2 * layer_idx : 2 * layer_idx + 2],
            (key_states, value_states),
            strict=True,
        ):
            if self._common is not None:
                end = self._common + states.shape[2]
                buffer[:, :, self._common : end] = states
            else:
                buffer[self._row_index[:, None], :, self._places] = states.transpose(1, 2)
            views.append(buffer[:, :, : self._read])
        return views[0], views[1]

    def narrow(self, begin: int, end: int) -> KeyValues:
        """Rows `begin` to `end - 1`, sharing these buffers."""
        buffers = [buffer[begin:end] for buffer in self._buffers]
        return KeyValues(self.shape, end - begin, self.capacity, buffers=buffers)

    def copy_rows(
        self, source: KeyValues, rows: Tensor, length: int, into: Tensor | None = None
    ) -> None:
        """Takes the first `length` tokens of `source`'s `rows` into own rows (all when None)."""
        own_rows = self._row_index if into is None else into
        for own, other in zip(self._buffers, source._buffers, strict=True):
            own[own_rows, :, :length] = other[rows, :, :length]

    def states(self, row: int, start: int, end: int) -> Tensor:
        """A copy of a row's tokens `start` to `end - 1`: `[2 x layers, H, T, D]`."""
        return torch.stack([buffer[row, :, start:end] for buffer in self._buffers])

    def teller(self, row: int) -> Callable[[int, int], tuple[Tensor]]:
        """Tells `states` of a row."""
        return lambda start, end: (self.states(row, start, end),)

    def put(self, rows: Tensor, start: int, end: int, states: Tensor) -> None:
        """Writes tokens `start` to `end - 1` of rows: the first of `states`, for each the same."""
        for buffer, own in zip(self._buffers, states, strict=True):
            buffer[rows, :, start:end] = own[:, : end - start]

    def resized(self, rows: Tensor, length: int, capacity: int) -> KeyValues:
        """A cache of the chosen rows, of their first `length` tokens."""
        copy = KeyValues(self.shape, len(rows), capacity)
        copy.copy_rows(self, rows, length)
        return copy

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens that attention sees."""
        return self._read
