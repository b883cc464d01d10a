"""Guided search: searches worked by hand, counts of draws, groups that do not meet, no leak."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from search_data import Played, World, play, scripted

from vilbench.search import Continuation, Draw, Guided, Judge, Request, found
from vilbench.search.requests import Answer, Judged

GREEDY = Guided(beams=(1,), widths=(3,))
BEAM = Guided(beams=(2,), widths=(2,))
DVTS = Guided(groups=2, beams=(1,), widths=(2,))
WHOLE = Guided(whole=True, beams=(1,), widths=(6,))
ANNEALED = Guided(beams=(4, 2, 1), widths=(1, 2, 4))


def step(text: str) -> Continuation:
    return Continuation((text,))


def end(text: str, correct: bool = False) -> Continuation:
    return Continuation((text,), True, correct)


def texts(played: Played) -> dict[str, int]:
    return {node.step: node.visits for node in played.tree.nodes[1:]}


def test_a_beam_search_worked_by_hand() -> None:
    # Four first steps, "A" twice: the place of the double goes to the next best.
    said = {
        (): [step("A"), step("B"), step("A"), step("C")],
        ("A",): [step("A1"), end("A2")],
        ("B",): [step("B1"), step("B2")],
        ("B", "B1"): [end("B1a"), end("B1b")],
    }
    judged = {"A": 0.9, "B": 0.5, "C": 0.1, "A1": 0.2, "A2": 0.8, "B1": 0.6, "B2": 0.3}
    judged |= {"B1a": 0.1, "B1b": 0.2}
    played = play(BEAM, scripted(said, judged))
    # A2 finishes and takes its place along, so one place is left for B1, and then for B1b.
    assert texts(played) == {
        "A": 1,
        "B": 1,
        "C": 0,
        "A1": 0,
        "A2": 1,
        "B1": 1,
        "B2": 0,
        "B1a": 0,
        "B1b": 1,
    }
    assert played.stopped == "complete"
    best = found(played.tree.record("complete"), "last-1")
    assert [one.steps for one in best] == [("A", "A2"), ("B", "B1", "B1b"), ("B", "B1", "B1a")]
    assert [one.score for one in best] == [0.8, 0.2, 0.1]
    assert best[0].values == (0.9, 0.8)


def test_the_aggregation_ranks_prefixes() -> None:
    said = {
        (): [step("A"), step("B")],
        ("A",): [end("A1")],
        ("B",): [end("B1")],
    }
    judged = {"A": 0.2, "B": 0.6, "A1": 0.9, "B1": 0.5}
    one = Guided(beams=(2,), widths=(1,))
    worst = play(one.model_copy(update={"aggregation": "min"}), scripted(said, judged))
    last = play(one, scripted(said, judged))
    assert found(worst.tree.record(""), "min")[0].steps == ("B", "B1")
    assert found(last.tree.record(""), "last-1")[0].steps == ("A", "A1")


def test_groups_do_not_compete() -> None:
    said = {
        (): [step("A"), step("B"), step("C"), step("D")],
        ("A",): [end("A1"), end("A2")],
        ("C",): [end("C1"), end("C2")],
    }
    judged = {"A": 0.9, "B": 0.8, "C": 0.3, "D": 0.1, "A1": 0.9, "A2": 0.8, "C1": 0.2, "C2": 0.1}
    played = play(DVTS, scripted(said, judged))
    assert {name for name, kept in texts(played).items() if kept} == {"A", "A1", "C", "C1"}


def test_two_groups_behind_one_prefix_draw_different_numbers() -> None:
    said = {
        (): [step("A"), step("A"), step("A"), step("A")],
        ("A",): [end("A1"), end("A2"), end("A3"), end("A4")],
    }
    judged = {"A": 0.5, "A1": 0.1, "A2": 0.2, "A3": 0.3, "A4": 0.4}
    played = play(DVTS, scripted(said, judged))
    asked = [one for one in played.requests if isinstance(one, Draw)]
    assert [(one.steps, one.first, one.count) for one in asked] == [
        ((), 0, 2),
        ((), 2, 2),
        (("A",), 0, 2),
        (("A",), 2, 2),
    ]
    judges = [one.steps for one in played.requests if isinstance(one, Judge)]
    assert len(set(judges)) == len(judges), "what two groups found is valued once"


def test_whole_solutions_are_valued_at_once() -> None:
    said: dict[tuple[str, ...], list[Continuation]] = {
        (): [
            Continuation(("A", "A1"), True, False),
            Continuation(("A", "A2"), True, True),
            Continuation(("A", "A1"), True, False),
            Continuation(("B",), reason="unfinished"),
            Continuation(("C",), True, False),
            Continuation((), reason="policy-failed"),
        ],
    }
    judged = {"A": 0.5, "A1": 0.2, "A2": 0.7, "C": 0.6}
    played = play(WHOLE, scripted(said, judged))
    judges = [one for one in played.requests if isinstance(one, Judge)]
    assert [(one.steps, one.count) for one in judges] == [
        (("A", "A1"), 2),
        (("A", "A2"), 2),
        (("C",), 1),
    ]
    best = found(played.tree.record(""), "mean")
    assert [one.steps for one in best] == [("A", "A2"), ("C",), ("A", "A1")]
    assert all(node.value != 1.0 for node in played.tree.nodes), "no grade is left as a value"


def test_no_verdict_ranks_last_and_lives() -> None:
    said = {(): [step("A"), step("B")], ("A",): [end("A1")], ("B",): [end("B1")]}

    def answer(request: Request) -> Answer:
        if isinstance(request, Judge):
            return Judged((None if "A" in request.steps[-1] else 0.1,), "no-verdict")
        return scripted(said, {})(request)

    played = play(Guided(beams=(2,), widths=(1,)), answer)
    assert [one.steps for one in found(played.tree.record(""), "last-1")] == [
        ("B", "B1"),
        ("A", "A1"),
    ]


def test_broken_branches_end_the_search() -> None:
    lost = play(GREEDY, lambda request: _lost(request, "policy-failed"))
    assert lost.stopped == "policy-failed"
    broken = play(GREEDY, lambda request: _lost(request, "repeats"))
    assert broken.stopped == "exhausted"


def _lost(request: Request, reason: str) -> Answer:
    assert isinstance(request, Draw)
    steps = () if reason == "policy-failed" else ("again",)
    return tuple(Continuation(steps, reason=reason) for _ in range(request.count))


def test_too_deep_says_so() -> None:
    played = play(
        Guided(beams=(1,), widths=(1,), deepest=2),
        World(length=5),
    )
    assert played.stopped == "exhausted"
    assert [node.reason for node in played.tree.nodes] == ["", "", "too-deep"]


@given(
    st.sampled_from([GREEDY, BEAM, DVTS, WHOLE, ANNEALED]),
    st.integers(0, 10**6),
    st.floats(0, 0.3),
)
@settings(max_examples=60, deadline=None)
def test_no_more_is_drawn_than_the_settings_say(asked: Guided, seed: int, broken: float) -> None:
    world = World(seed=seed, broken=broken)
    played = play(asked, world)
    drawn = [one for one in played.requests if isinstance(one, Draw)]
    if asked.whole:
        assert sum(one.count for one in drawn) == 6
        return
    for turn in range(world.length):
        behind = sum(one.count for one in drawn if len(one.steps) == turn)
        beams = asked.beams[min(turn, len(asked.beams) - 1)]
        earlier = asked.beams[min(max(turn - 1, 0), len(asked.beams) - 1)]
        width = asked.widths[min(turn, len(asked.widths) - 1)]
        most = beams if turn == 0 else earlier
        assert behind <= asked.groups * most * width
    finished = sum(node.visits for node in played.tree.nodes if node.finished)
    assert finished <= asked.groups * max(asked.beams)


@given(st.sampled_from([GREEDY, BEAM, DVTS, WHOLE, ANNEALED]), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_grades_do_not_guide(asked: Guided, seed: int) -> None:
    world = World(seed=seed)

    def regraded(request: Request) -> Answer:
        given = world(request)
        if isinstance(given, Judged):
            return given
        rng = random.Random(f"{seed}/{request}")
        return tuple(
            Continuation(one.steps, one.finished, rng.random() < 0.5, one.reason)
            if one.finished
            else one
            for one in given
        )

    one, other = play(asked, world), play(asked, regraded)
    assert one.requests == other.requests
    assert all(getattr(request, "correct", None) is None for request in one.requests)
    kept = [(node.step, node.visits, node.value) for node in one.tree.nodes]
    assert kept == [(node.step, node.visits, node.value) for node in other.tree.nodes]


def test_a_better_evaluator_finds_better_solutions() -> None:
    def share(asked: Guided) -> float:
        right = 0
        for seed in range(60):
            played = play(asked, World(seed=seed, skill=0.7))
            best = found(played.tree.record(""), "last-1")
            right += bool(best and best[0].correct)
        return right / 60

    alone = share(Guided(beams=(1,), widths=(1,)))
    assert share(GREEDY) > alone + 0.3
    assert share(BEAM) > alone + 0.3


@pytest.mark.parametrize(
    "wrong",
    [{"beams": ()}, {"beams": (0,)}, {"groups": 0}, {"aggregation": "best"}, {"widths": (-1,)}],
)
def test_settings_that_make_no_search(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Guided(**wrong)
