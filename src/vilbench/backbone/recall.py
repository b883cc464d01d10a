"""Keys and values of what was computed lately, for whoever begins alike.

Step-wise searches and judges of steps ask for a problem again and again, each time a little
further on. What they asked for before is kept as a tree of token runs (a radix tree, as in
SGLang's RadixAttention, Zheng et al., 2024): every distinct beginning once, its keys and values
cut where sequences part. What was used longest ago goes first.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vilbench.backbone.keyvalues import CacheShape, KeyValues
from vilbench.backbone.prefixes import Stem, common

Ids = npt.NDArray[np.int64]

States = tuple[Tensor, ...]
"""What is known of consecutive tokens, which are the second to last axis of every tensor."""


@dataclass(eq=False)
class _Run:
    """Tokens that follow those of the parent, where nothing else parts from them.

    Attributes:
        ids: `[T]`; none for the beginning of everything under one root.
        states: What is known of them.
        parent: None for a beginning.
        children: By their first token.
    """

    ids: Ids
    states: States = ()
    parent: _Run | None = None
    children: dict[int, _Run] = field(default_factory=dict)


class Recalled(NamedTuple):
    """What is known of a sequence; it stays so whatever is let go meanwhile.

    Attributes:
        reach: How many of its first tokens.
        states: Of consecutive parts of these; the last one may go beyond the reach.
    """

    reach: int
    states: tuple[States, ...] = ()

    def joined(self, start: int, end: int) -> States:
        """What is known of tokens `start` to `end - 1`, which are within the reach."""
        pieces: list[States] = []
        done = 0
        for states in self.states:
            tokens = states[0].shape[-2]
            first, last = max(start - done, 0), min(end - done, tokens)
            if first < last:
                pieces.append(tuple(one[..., first:last, :] for one in states))
            done += tokens
        if len(pieces) == 1:
            return pieces[0]
        return tuple(torch.cat(parts, dim=-2) for parts in zip(*pieces, strict=True))


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
        if stem.root not in self._roots:
            return Recalled(0)
        reach, path = 0, list(self._path(stem.root, np.asarray(stem.ids[: stem.own])))
        for _, shared in path:
            reach += shared
        if not path or reach < stem.floor:
            return Recalled(0)
        self._touch(path[-1][0], stem.root)
        return Recalled(reach, tuple(run.states for run, _ in path))

    def keep(
        self, stem: Stem, length: int, told: Callable[[int, int], States], *, since: int = 0
    ) -> None:
        """Keeps the first `length` tokens of a sequence.

        Args:
            stem: The sequence.
            length: How many of its tokens.
            told: What is known of tokens `start` to `end - 1`, to be kept as it is; asked for
                those alone that no other sequence has.
            since: The first token that can be told of; what is before it must be known.
        """
        if not stem.floor <= length <= self._most_tokens:
            return
        ids = np.asarray(stem.ids[:length])
        path = list(self._path(stem.root, ids))
        done = sum(shared for _, shared in path)
        if done < since:
            return
        run = self._roots.setdefault(stem.root, _Run(ids[:0]))
        if path:
            run, shared = path[-1]
            if shared < len(run.ids):
                run = self._split(run, shared, stem.root)
        if done < length:
            run = self._add(_Run(ids[done:].copy(), told(done, length), run), stem.root)
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
        first, rest = (
            tuple(one[..., part, :].clone() for one in run.states)
            for part in (slice(at), slice(at, None))
        )
        upper = self._add(_Run(run.ids[:at].copy(), first, run.parent), root)
        run.ids, run.states, run.parent = run.ids[at:].copy(), rest, upper
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
    """Puts what is known of sequences into rows of a cache, what several share in one go.

    Their states are keys and values alone, as `KeyValues.states` has them.
    """
    places: defaultdict[tuple[int, int, int], list[int]] = defaultdict(list)
    states: dict[int, Tensor] = {}
    for row, known in rows.items():
        start = 0
        for (one,) in known.states:
            end = min(start + one.shape[-2], known.reach)
            if start == end:
                break
            places[id(one), start, end].append(row)
            states[id(one)] = one
            start = end
    for (name, start, end), into in places.items():
        cache.put(torch.tensor(into, device=cache.shape.device), start, end, states[name])
