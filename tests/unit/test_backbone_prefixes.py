from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vilbench.backbone.prefixes import WORTH_TOKENS, Segment, Stem, share


def stem(ids: list[int], own: int | None = None, root: object = "") -> Stem:
    return Stem(tuple(ids), len(ids) - 1 if own is None else own, root)


def computed(levels: list[list[Segment]]) -> int:
    return sum(segment.end - segment.start for level in levels for segment in level)


def test_one_sequence_is_one_segment() -> None:
    assert share([stem([5, 6, 7])]) == [[Segment(0, 0, 3, None, leaf=True)]]


def test_a_shared_beginning_is_computed_once() -> None:
    prefix = list(range(40))
    levels = share([stem([*prefix, 100 + k, 7]) for k in range(4)])
    assert levels[0] == [Segment(0, 0, 40, None, leaf=False)]
    assert sorted(segment.stem for segment in levels[1]) == [0, 1, 2, 3]
    assert {(s.start, s.end, s.parent, s.leaf) for s in levels[1]} == {(40, 42, 0, True)}
    assert computed(levels) == 40 + 4 * 2


def test_a_short_beginning_is_not_worth_a_forward() -> None:
    levels = share([stem([1, 2, 3, 100 + k]) for k in range(4)])
    assert len(levels) == 1
    assert computed(levels) == 16


def test_nested_beginnings() -> None:
    a, b = list(range(40)), list(range(50, 90))
    levels = share([stem([*a, 1]), stem([*a, *b, 2]), stem([*a, *b, 3])])
    assert len(levels) == 3
    assert computed(levels) == 40 + 1 + 40 + 1 + 1


def test_a_sequence_that_begins_another_keeps_its_own_last_token() -> None:
    ids = list(range(60))
    levels = share([stem(ids[:50]), stem(ids)])
    assert levels[0] == [Segment(0, 0, 49, None, leaf=False)]
    assert {(s.stem, s.start, s.end) for s in levels[1]} == {(0, 49, 50), (1, 49, 60)}


def test_other_roots_share_nothing() -> None:
    ids = list(range(60))
    levels = share([stem([*ids, 1], root="one"), stem([*ids, 2], root="two")])
    assert computed(levels) == 122


STEMS = st.lists(
    st.tuples(
        st.integers(0, 1),  # root
        st.lists(st.integers(0, 2), min_size=1, max_size=6),  # blocks of twenty tokens
        st.floats(0, 1),  # how much of it is its own
    ),
    max_size=12,
)


@given(STEMS)
def test_every_sequence_is_covered_by_a_chain_of_segments(
    drawn: list[tuple[int, list[int], float]],
) -> None:
    stems = []
    for root, blocks, part in drawn:
        ids = [root, *(20 * block + k for block in blocks for k in range(20))]
        stems.append(stem(ids, own=round(part * (len(ids) - 1)), root=root))
    levels = share(stems)
    leaves = [(d, s) for d, level in enumerate(levels) for s in level if s.leaf]
    assert sorted(s.stem for _, s in leaves) == list(range(len(stems)))
    for depth, leaf in leaves:
        segment, end = leaf, len(stems[leaf.stem].ids)
        assert leaf.start <= stems[leaf.stem].own
        while True:
            assert segment.end == end and segment.start < end
            own, other = stems[leaf.stem], stems[segment.stem]
            assert other.ids[: segment.end] == own.ids[: segment.end]
            assert other.root == own.root
            end = segment.start
            if segment.parent is None:
                break
            depth -= 1
            segment = levels[depth][segment.parent]
        assert (depth, end) == (0, 0)
    whole = sum(len(stem.ids) for stem in stems)
    inner = sum(not s.leaf for level in levels for s in level)
    assert computed(levels) <= whole - WORTH_TOKENS * inner
