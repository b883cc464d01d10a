from __future__ import annotations

from collections.abc import Sequence

from hypothesis import example, given, settings
from hypothesis import strategies as st

from vilbench.prm.runs import Packing, Run, behind, beyond, pack

Ids = tuple[int, ...]
sequences = st.lists(st.lists(st.integers(0, 2), max_size=7).map(tuple), max_size=12)


def beginnings(given: Sequence[Ids]) -> set[Ids]:
    return {ids[: k + 1] for ids in given for k in range(len(ids))}


def spelled(packing: Packing, run: Run, given: Sequence[Ids]) -> list[tuple[int, Ids]]:
    """Every token of a run as its packed index and the beginning that it ends."""
    assert run.sequence is not None
    ids = given[run.sequence]
    return [(run.begin + k, ids[: run.skip + k + 1]) for k in range(run.end - run.begin)]


def follow_each_other(packing: Packing) -> None:
    """Runs that leave another at one token do: one block of queries sees it for all of them."""
    reached: dict[tuple[int, int], int] = {}
    for run in packing.runs:
        if run.parent is not None:
            key = (run.parent, run.shared)
            assert reached.get(key, run.begin) == run.begin
            reached[key] = run.reach


@settings(max_examples=300)
@given(sequences)
def test_a_tree_has_every_beginning_once(given: list[Ids]) -> None:
    packing = pack(given, share=True)
    held = dict(pair for run in packing.runs for pair in spelled(packing, run, given))
    assert sorted(held) == list(range(packing.tokens))
    assert len(set(held.values())) == packing.tokens == len(beginnings(given))
    for ids, places in zip(given, packing.places, strict=True):
        assert [held[place] for place in places] == [ids[: k + 1] for k in range(len(ids))]


@settings(max_examples=300)
@given(sequences)
def test_a_token_sees_what_stands_before_it_and_nothing_else(given: list[Ids]) -> None:
    """Own run up to the token, and the block of each run that an ancestor of its run left."""
    packing = pack(given, share=True)
    runs = packing.runs
    held = dict(pair for run in runs for pair in spelled(packing, run, given))
    for place, beginning in held.items():
        seen: list[int] = []
        for run in runs:
            if run.begin <= place < run.end:
                seen += range(run.begin, place + 1)
            if run.parent is not None and run.begin <= place < run.reach:
                parent = runs[run.parent]
                assert 0 < run.shared <= parent.end - parent.begin
                seen += range(parent.begin, parent.begin + run.shared)
        assert len(set(seen)) == len(seen)
        assert {held[k] for k in seen} == beginnings([beginning])


@given(sequences)
def test_runs_that_leave_another_at_one_token_follow_each_other(given: list[Ids]) -> None:
    follow_each_other(pack(given, share=True))


@given(sequences)
def test_without_sharing_every_sequence_is_a_run(given: list[Ids]) -> None:
    packing = pack(given, share=False)
    assert packing.tokens == sum(map(len, given))
    assert {run.sequence for run in packing.runs} == {k for k, ids in enumerate(given) if ids}
    assert len(packing.runs) == sum(map(bool, given))
    lengths = [run.end - run.begin for run in packing.runs]
    assert lengths == sorted(lengths)
    for run in packing.runs:
        assert (run.skip, run.parent, run.reach) == (0, None, run.end)
        assert run.sequence is not None
        assert list(packing.places[run.sequence]) == list(range(run.begin, run.end))


@given(sequences, st.integers(1, 30), st.booleans())
def test_chunks_hold_all_runs_within_the_budget(given: list[Ids], budget: int, share: bool) -> None:
    packing = pack(given, share=share)
    chunks = list(packing.chunks(budget))
    assert [k for chunk in chunks for k in chunk] == list(range(len(packing.runs)))
    for chunk in chunks:
        tokens = packing.runs[chunk[-1]].end - packing.runs[chunk[0]].begin
        assert tokens <= budget or len(chunk) == 1


def reaches(given: Sequence[Ids], kept: Sequence[Ids]) -> list[int]:
    """Tokens of the longest beginning of each that is one of `kept`, too."""
    known = beginnings(kept)
    return [max((k for k in range(len(ids) + 1) if ids[:k] in known), default=0) for ids in given]


@settings(max_examples=500)
@given(sequences, sequences)
@example([(1, 1, 2), (1, 1, 0), (1, 0), (1, 1)], [(1, 1, 1)])
@example([(1, 2, 0, 0), (1, 2, 0, 1), (1, 2, 1), (1, 1)], [(1, 2, 0)])
def test_what_is_known_is_seen_and_not_computed(given: list[Ids], kept: list[Ids]) -> None:
    known = reaches(given, kept)
    packing = beyond(pack(given, share=True), known)
    assert packing.tokens == len(beginnings(given) - beginnings(kept))

    def told(run: Run, count: int) -> list[Ids]:
        """The beginnings that a run's first tokens end."""
        assert run.sequence is not None
        return [given[run.sequence][: run.skip + k + 1] for k in range(count)]

    held: dict[int, Ids] = {}
    for run in packing.runs:
        assert (run.known > 0) == (run.begin == run.end)
        assert not run.known or set(told(run, run.known)) <= beginnings(kept)
        held |= dict(zip(range(run.begin, run.end), told(run, run.end - run.begin), strict=True))
    assert sorted(held) == list(range(packing.tokens))
    for ids, places, count in zip(given, packing.places, known, strict=True):
        assert [held[place] for place in places] == [ids[: k + 1] for k in range(count, len(ids))]
    for place, beginning in held.items():
        seen: list[Ids] = []
        for run in packing.runs:
            if run.begin <= place < run.end:
                seen += told(run, place + 1 - run.begin)
            if run.parent is not None and run.begin <= place < run.reach:
                parent = packing.runs[run.parent]
                assert 0 < run.shared <= parent.known + parent.end - parent.begin
                seen += told(parent, run.shared)
        assert len(set(seen)) == len(seen)
        assert set(seen) == beginnings([beginning])
    follow_each_other(packing)


@given(sequences)
def test_nothing_known_changes_nothing(given: list[Ids]) -> None:
    packing = pack(given, share=True)
    same = beyond(packing, [0] * len(given))
    assert same.runs == packing.runs
    assert [list(places) for places in same.places] == [list(places) for places in packing.places]


def test_the_longer_of_two_that_begin_alike_holds_the_tokens() -> None:
    packing = pack([(5, 6), (5, 6, 7, 8), (5, 6)], share=True)
    assert packing.runs == (Run(1, 0, 0, 4, None, 0, 4),)
    assert [list(places) for places in packing.places] == [[0, 1], [0, 1, 2, 3], [0, 1]]


@given(sequences, st.integers(1, 9), st.booleans(), st.booleans())
def test_all_stand_behind_a_prompt(given: list[Ids], prompt: int, share: bool, known: bool) -> None:
    alone = pack(given, share=share)
    packing = behind(prompt, alone, known=known)
    added = 0 if known else prompt
    assert packing.tokens == alone.tokens + added
    first, *rest = packing.runs
    assert first == Run(None, 0, 0, added, None, 0, packing.tokens, prompt if known else 0)
    for run, before in zip(rest, alone.runs, strict=True):
        assert (run.sequence, run.skip) == (before.sequence, before.skip)
        assert (run.begin - added, run.end - added) == (before.begin, before.end)
        if before.parent is None:
            assert (run.parent, run.shared) == (0, prompt)
        else:
            assert (run.parent, run.shared) == (before.parent + 1, before.shared)
    for own, place in zip(packing.places, alone.places, strict=True):
        assert list(own) == list(place + added)
