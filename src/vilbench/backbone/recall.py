"""Keys and values of what was computed lately, for whoever begins alike.

Step-wise searches and judges of steps ask for a problem again and again, each time a little
further on. What they asked for before is kept as a tree of token runs (a radix tree, as in
SGLang's RadixAttention, Zheng et al., 2024): every distinct beginning once, its keys and values
cut where sequences part. What was used longest ago goes first.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vilbench.backbone.keyvalues import CacheShape, KeyValues
from vilbench.backbone.prefixes import Stem, common

Ids = npt.NDArray[np.int64]


@dataclass(eq=False)
class _Run:
    """Tokens that follow those of the parent, where nothing else parts from them.

    Attributes:
        ids: `[T]`; none for the beginning of everything under one root.
        states: Their keys and values `[2 x layers, H, T, D]`.
        parent: None for a beginning.
        children: By their first token.
    """

    ids: Ids
    states: Tensor | None = None
    parent: _Run | None = None
    children: dict[int, _Run] = field(default_factory=dict)


class Recalled(NamedTuple):
    """What is known of a sequence; it stays so whatever is let go meanwhile.

    Attributes:
        reach: How many of its first tokens.
        states: Of consecutive parts of these, `[2 x layers, H, T, D]` each; the last one may
            go beyond the reach.
    """

    reach: int
    states: tuple[Tensor, ...] = ()


class Recall:
    """Keys and values of sequences, up to a limit; not thread-safe.

    Args:
        shape: Of the model's caches.
        limit: Most bytes.
    """

    def __init__(self, shape: CacheShape, limit: int) -> None:
        self._token_bytes = shape.token_bytes
        self._most_tokens = limit // shape.token_bytes
        self._roots: dict[object, _Run] = {}
        # By last use. Whoever uses a run uses its parent right after, so the first has no children.
        self._used: OrderedDict[_Run, object] = OrderedDict()
        self._tokens = 0

    @property
    def bytes(self) -> int:
        """Bytes held."""
        return self._tokens * self._token_bytes

    def clear(self) -> bool:
        """Lets everything go; whether there was anything."""
        held = bool(self._used)
        self._roots.clear()
        self._used.clear()
        self._tokens = 0
        return held

    def find(self, stem: Stem) -> Recalled:
        """What is known of a sequence, before the tokens that are its own.

        Either nothing or at least `stem.floor` tokens: images are not taken apart.
        """
        reach, path = 0, list(self._path(stem.root, np.asarray(stem.ids[: stem.own])))
        for _, shared in path:
            reach += shared
        if not path or reach < stem.floor:
            return Recalled(0)
        self._touch(path[-1][0], stem.root)
        return Recalled(reach, tuple(run.states for run, _ in path if run.states is not None))

    def keep(self, stem: Stem, length: int, cache: KeyValues, row: int) -> None:
        """Keeps the first `length` tokens of a sequence, which stand in a row of `cache`."""
        if not stem.floor <= length <= self._most_tokens:
            return
        ids = np.asarray(stem.ids[:length])
        done, run = 0, self._roots.setdefault(stem.root, _Run(ids[:0]))
        for found, shared in list(self._path(stem.root, ids)):
            run = found if shared == len(found.ids) else self._split(found, shared, stem.root)
            done += shared
        if done < length:
            states = cache.states(row, done, length)
            run = self._add(_Run(ids[done:], states, run), stem.root)
        self._touch(run, stem.root)
        while self._tokens > self._most_tokens:
            self._let_go()

    def _path(self, root: object, ids: Ids) -> Iterator[tuple[_Run, int]]:
        """Runs along `ids` from the root, and how many tokens of each they share."""
        run, done = self._roots.get(root), 0
        while run is not None and done < len(ids):
            run = run.children.get(int(ids[done]))
            if run is None:
                return
            shared = common(run.ids, ids[done:])
            yield run, shared
            if shared < len(run.ids):
                return
            done += shared

    def _add(self, run: _Run, root: object) -> _Run:
        if run.parent is not None:
            run.parent.children[int(run.ids[0])] = run
        self._used[run] = root
        self._tokens += len(run.ids)
        return run

    def _split(self, run: _Run, at: int, root: object) -> _Run:
        """The first `at` tokens of a run as a run of their own, on which the others stand."""
        if run.states is None or run.parent is None:
            raise ValueError("a beginning has no tokens to part at")
        upper = self._add(_Run(run.ids[:at], run.states[:, :, :at].clone(), run.parent), root)
        run.ids, run.states, run.parent = run.ids[at:], run.states[:, :, at:].clone(), upper
        upper.children[int(run.ids[0])] = run
        self._tokens -= at
        return upper

    def _touch(self, run: _Run | None, root: object) -> None:
        while run is not None and run.parent is not None:
            self._used[run] = root
            self._used.move_to_end(run)
            run = run.parent

    def _let_go(self) -> None:
        run, root = self._used.popitem(last=False)
        self._tokens -= len(run.ids)
        if run.parent is not None:
            del run.parent.children[int(run.ids[0])]
            if run.parent.parent is None and not run.parent.children:
                del self._roots[root]


def restore(cache: KeyValues, rows: Mapping[int, Recalled]) -> None:
    """Puts what is known of sequences into rows of a cache, what several share in one go."""
    places: defaultdict[tuple[int, int, int], list[int]] = defaultdict(list)
    states: dict[int, Tensor] = {}
    for row, known in rows.items():
        start = 0
        for one in known.states:
            end = min(start + one.shape[2], known.reach)
            if start == end:
                break
            places[id(one), start, end].append(row)
            states[id(one)] = one
            start = end
    for (name, start, end), into in places.items():
        cache.put(torch.tensor(into, device=cache.shape.device), start, end, states[name])
