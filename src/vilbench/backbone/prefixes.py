"""Which prefixes of a set of token sequences are worth computing once.

The sequences become a tree of segments. Segments of one depth are independent of each other
and run in one padded batch, each on top of its parent's keys and values.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt

WORTH_TOKENS = 32
"""A shared segment must save this many tokens, for it costs a forward of its own."""


@dataclass(frozen=True)
class Stem:
    """A token sequence whose beginning others may share.

    Attributes:
        ids: The tokens.
        own: The tokens from this index on are never shared; below `len(ids)` where the sequence
            is computed.
        root: Sequences share only within a root (the same images and what precedes them),
            and then at least `floor` tokens.
        floor: Tokens up to the last image; 0 without images.
    """

    ids: tuple[int, ...]
    own: int
    root: object
    floor: int = 0


@dataclass(frozen=True)
class Segment:
    """Tokens `start` to `end - 1` of a stem.

    Attributes:
        stem: Index of the sequence that the tokens are read from.
        parent: Index of the segment before it, in the level above; None where it stands on
            nothing, or on what is known of the stem.
        leaf: Whether it ends its sequence; if not, others share it.
    """

    stem: int
    start: int
    end: int
    parent: int | None
    leaf: bool


def share(stems: Sequence[Stem], known: Sequence[int] = ()) -> list[list[Segment]]:
    """The tree's levels, from the top; each stem has one leaf, in one of them.

    Args:
        stems: The sequences.
        known: How many of each one's first tokens need not be computed, at most its `own`:
            as many as its longest beginning that is known of any sequence. None by default.
    """
    reaches = known or [0] * len(stems)
    arrays = [np.asarray(stem.ids, dtype=np.int64) for stem in stems]
    levels: defaultdict[int, list[Segment]] = defaultdict(list)
    roots: defaultdict[object, list[int]] = defaultdict(list)
    for index, stem in enumerate(stems):
        roots[stem.root].append(index)
    # (stems in the order of their ids, tokens already covered, depth, parent)
    todo: list[tuple[list[int], int, int, int | None]] = [
        (sorted(group, key=lambda i: stems[i].ids), 0, 0, None) for group in roots.values()
    ]
    while todo:
        group, start, depth, parent = todo.pop()
        # What is known of one of them is known of all of them as far as they are alike.
        first = max(group, key=lambda i: reaches[i])
        if len(group) == 1:
            if reaches[first] > start:
                start, parent = reaches[first], None
            [i] = group
            levels[depth].append(Segment(i, start, len(stems[i].ids), parent, leaf=True))
            continue
        own = min(stems[i].own for i in group)
        end = min(common(arrays[group[0]], arrays[group[-1]]), own)
        if start < reaches[first] <= end:
            start, parent = reaches[first], None
        worthwhile = (end - start) * (len(group) - 1) >= WORTH_TOKENS
        if worthwhile and reaches[first] <= end >= stems[group[0]].floor:
            levels[depth].append(Segment(first, start, end, parent, leaf=False))
            start, depth, parent = end, depth + 1, len(levels[depth]) - 1
        for _, branch in groupby(group, key=lambda i: _branch(stems[i], i, end)):
            todo.append((list(branch), start, depth, parent))
    return [levels[depth] for depth in range(len(levels))]


def _branch(stem: Stem, index: int, end: int) -> tuple[int, int]:
    """Key of the branch that a sequence takes at `end`; it is alone if it may share no more."""
    return (stem.ids[end], -1) if stem.own > end else (-1, index)


def common(a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]) -> int:
    """Length of the longest common prefix."""
    length = min(len(a), len(b))
    different = np.flatnonzero(a[:length] != b[:length])
    return int(different[0]) if len(different) else length
