"""Keys and values that outlive their batch."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vilbench.backbone.keyvalues import CacheShape, KeyValues
from vilbench.backbone.prefixes import Stem, share
from vilbench.backbone.recall import Recall, Recalled, restore

SHAPE = CacheShape(layers=2, heads=1, head_size=2, dtype=torch.float32, device=torch.device("cpu"))
PLENTY = 1 << 20

Sequences = list[tuple[int, ...]]
sequences: st.SearchStrategy[Sequences] = st.lists(
    st.lists(st.integers(0, 2), min_size=1, max_size=9).map(tuple), min_size=1, max_size=12
)


def stem(ids: tuple[int, ...], root: object = "root", floor: int = 0) -> Stem:
    return Stem(ids, len(ids), root, floor)


def computed(ids: tuple[int, ...]) -> KeyValues:
    """A cache of one row, every token's states telling all that precedes it."""
    cache = KeyValues(SHAPE, 1, len(ids))
    for place in range(len(ids)):
        told = float(hash(ids[: place + 1]) % 1000)
        cache.put(torch.tensor([0]), place, place + 1, torch.full((4, 1, 1, 2), told))
    return cache


def keep(recall: Recall, ids: tuple[int, ...], root: object = "root", floor: int = 0) -> None:
    recall.keep(stem(ids, root, floor), len(ids), computed(ids).teller(0))


def restored(found: Recalled) -> torch.Tensor:
    cache = KeyValues(SHAPE, 3, max(found.reach, 1))
    restore(cache, {1: found})
    assert not cache.states(0, 0, found.reach).any() and not cache.states(2, 0, found.reach).any()
    return cache.states(1, 0, found.reach)


def common(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    return next(
        (k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(map(len, (a, b)))
    )


@settings(max_examples=200, deadline=None)
@given(sequences, sequences)
def test_the_longest_beginning_ever_seen_is_known_and_exact(
    kept: Sequences, asked: Sequences
) -> None:
    recall = Recall(SHAPE, PLENTY)
    for ids in kept:
        keep(recall, ids)
    for ids in asked:
        found = recall.find(stem(ids))
        assert found.reach == max(common(ids, one) for one in kept)
        whole = computed(ids).states(0, 0, found.reach)
        assert torch.equal(restored(found), whole)
        for start in range(found.reach):
            for end in range(start + 1, found.reach + 1):
                (part,) = found.joined(start, end)
                assert torch.equal(part, whole[:, :, start:end])
    beginnings = {one[: k + 1] for one in kept for k in range(len(one))}
    assert recall.bytes == len(beginnings) * SHAPE.token_bytes


@settings(max_examples=200, deadline=None)
@given(sequences, st.integers(1, 30))
def test_no_more_is_held_than_the_limit_and_the_latest_stays(kept: Sequences, tokens: int) -> None:
    recall = Recall(SHAPE, tokens * SHAPE.token_bytes)
    for number, ids in enumerate(kept):
        root = number % 2
        keep(recall, ids, root)
        assert recall.bytes <= tokens * SHAPE.token_bytes
        found = recall.find(stem(ids, root))
        assert found.reach == len(ids) or len(ids) > tokens
        assert torch.equal(restored(found), computed(ids).states(0, 0, found.reach))


def test_what_was_used_longest_ago_goes_first() -> None:
    recall = Recall(SHAPE, 8 * SHAPE.token_bytes)
    keep(recall, (1, 1, 1, 1), "a")
    keep(recall, (2, 2, 2, 2), "b")
    recall.find(stem((1, 1, 1, 1), "a"))
    keep(recall, (3, 3), "c")
    assert recall.find(stem((1, 1, 1, 1), "a")).reach == 4
    assert recall.find(stem((2, 2, 2, 2), "b")).reach == 0
    assert recall.find(stem((3, 3), "c")).reach == 2


def test_what_was_found_outlives_its_keeper() -> None:
    recall = Recall(SHAPE, 4 * SHAPE.token_bytes)
    keep(recall, (1, 1, 1, 1))
    found = recall.find(stem((1, 1, 1, 2)))
    keep(recall, (2, 2, 2, 2))
    assert recall.find(stem((1, 1, 1, 2))).reach == 0
    assert torch.equal(restored(found), computed((1, 1, 1)).states(0, 0, 3))
    assert recall.clear() and not recall.clear() and not recall.bytes


def test_own_tokens_are_computed_and_images_stay_whole() -> None:
    recall = Recall(SHAPE, PLENTY)
    keep(recall, (1, 1, 2, 3), floor=2)
    assert recall.find(Stem((1, 1, 2, 3), 3, "root", 2)).reach == 3
    assert recall.find(Stem((1, 1, 2, 3), 1, "root", 2)).reach == 0
    recall.keep(Stem((5, 5, 5), 3, "other", 3), 2, computed((5, 5, 5)).teller(0))
    assert recall.find(stem((5, 5, 5), "other")).reach == 0


def test_what_is_held_is_what_is_told() -> None:
    """No run keeps the whole of a sequence alive, in tokens or in states."""
    recall = Recall(SHAPE, PLENTY)
    beginning = tuple(range(100))
    for k in range(50):
        keep(recall, (*beginning[: 50 + k], 200, 201))
    runs = list(recall._used)
    assert sum(run.ids.nbytes for run in runs) == 8 * recall.bytes // SHAPE.token_bytes
    assert all(run.ids.base is None for run in runs)
    held = sum(one.untyped_storage().nbytes() for run in runs for one in run.states)
    assert held == recall.bytes


def test_a_sequence_beyond_the_limit_is_left_out() -> None:
    recall = Recall(SHAPE, 3 * SHAPE.token_bytes)
    keep(recall, (1, 1))
    keep(recall, (2, 2, 2, 2))
    assert recall.find(stem((1, 1))).reach == 2
    assert recall.find(stem((2, 2))).reach == 0


@settings(max_examples=300, deadline=None)
@given(sequences, sequences, st.integers(0, 2))
def test_what_is_known_is_shared_and_not_computed(
    kept: Sequences, asked: Sequences, factor: int
) -> None:
    """Every token of every sequence stands on known, shared or own ones, without a gap."""
    # Long enough for sharing to be worth while.
    stems = [Stem(tuple(x for x in ids for _ in range(8)), 8 * len(ids) - 1, "r") for ids in asked]
    known = []
    for one in stems:
        beginnings = (common(one.ids, tuple(x for x in ids for _ in range(8))) for ids in kept)
        known.append(min(factor, 1) * min(one.own, max(beginnings)))
    levels = share(stems, known)
    leaves = [part.stem for level in levels for part in level if part.leaf]
    assert sorted(leaves) == list(range(len(stems)))
    for depth, level in enumerate(levels):
        for part in level:
            assert part.start < part.end
            if part.parent is None:
                assert part.start <= known[part.stem]
            else:
                above = levels[depth - 1][part.parent]
                assert part.start == above.end
                assert stems[part.stem].ids[: part.start] == stems[above.stem].ids[: part.start]
            if part.leaf:
                assert part.end == len(stems[part.stem].ids)
                assert part.start >= known[part.stem]
    total = sum(part.end - part.start for level in levels for part in level)
    alone = sum(len(one.ids) - reach for one, reach in zip(stems, known, strict=True))
    assert total <= alone
    assert np.all([part.start >= 0 for level in levels for part in level])
