"""OmegaPRM and plain Monte Carlo: a halving worked by hand, the queue, nothing paid twice."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_data import World, play, scripted

from vilbench.search import Continuation, Draw, Omega, Rollouts, Tree, stream_seed
from vilbench.search.omega import Pool


def whole(steps: str, correct: bool) -> Continuation:
    return Continuation(tuple(steps.split()), True, correct)


SAID = {
    (): [whole("s t", True), whole("u v w x", False), whole("s r", True), whole("u n", True)],
    ("u", "v"): [whole("y", False), whole("w q", False), whole("y", False), whole("w z", False)],
    ("u",): [whole("v q", False), whole("n", True), whole("o p", True), whole("n", True)],
}


def test_a_halving_worked_by_hand() -> None:
    # u v w x is wrong. Of its steps 0..3 the middle is 1: u v leads nowhere (0 of 4). Then the
    # middle of 0..1 is 0: u comes right 3 times of 4. So v is the first wrong step.
    played = play(Omega(rollouts=4, searches=1), scripted(SAID, {}))
    assert [r.steps for r in played.requests] == [(), ("u", "v"), ("u",)]
    named = {played.tree.steps(n.node): n for n in played.tree.nodes}
    counts = {steps: (n.right, n.rollouts) for steps, n in named.items() if n.rollouts}
    assert counts == {(): (3, 4), ("u",): (3, 4), ("u", "v"): (0, 4)}
    assert named[("u", "v", "w", "x")].correct is False
    assert named[("s", "t")].correct is True
    assert (played.stopped, named[()].visits) == ("searches", 1)


def test_the_wrong_continuations_of_new_states_come_next() -> None:
    # From u the wrong v q is left; v is known, so the second search costs nothing.
    played = play(Omega(rollouts=4, searches=5), scripted(SAID, {}))
    assert played.stopped == "exhausted"
    assert [r.steps for r in played.requests] == [(), ("u", "v"), ("u",)]
    assert {played.tree.steps(n.node) for n in played.tree.nodes if n.finished} >= {("u", "v", "q")}


def test_the_order_of_choice_by_hand() -> None:
    # Q: root (MC 1/2, 2 words) 0.5^0.5 x 0.9^(2/10); a (MC 3/4, 30 words) 0.5^0.25 x 0.9^3.
    asked = Omega(length=10.0, exploration=0.3)
    tree = Tree("p", "omega", 0)
    a = tree.grow(0, "a")
    tree.nodes[0].value, tree.nodes[a].value = 0.5, 0.75
    pool = Pool(asked)
    long = whole(" ".join(["w"] * 30), False)
    pool.add(0, [whole("b c", False), whole("b d", False), whole("e", True)])
    pool.add(a, [long, long])
    scores = {0: 0.5**0.5 * 0.9**0.2, a: 0.5**0.25 * 0.9**3}
    assert scores[0] == pytest.approx(0.692362, abs=1e-6)
    assert scores[a] == pytest.approx(0.613013, abs=1e-6)
    first = pool.take(tree)
    assert first is not None
    assert first[0] == 0
    # U: root 0.3 x 1 / 2, a 0.3 x 1 / 1: 0.842 against 0.913.
    second = pool.take(tree)
    assert second is not None
    assert second[0] == a
    assert scores[0] + 0.3 / 2 < scores[a] + 0.3 * math.sqrt(1)
    assert pool.take(tree) == (0, whole("b d", False))
    assert pool.take(tree) is None, "equal words of one state wait once"


@pytest.mark.parametrize(("skill", "stopped"), [(1.0, "certain"), (0.0, "hopeless")])
def test_certain_and_hopeless_problems_cost_the_first_continuations_only(
    skill: float, stopped: str
) -> None:
    played = play(Omega(), World(skill=skill))
    assert (played.stopped, played.drawn) == (stopped, 16)


SEARCHES = st.builds(
    Omega,
    solutions=st.sampled_from([None, 4]),
    rollouts=st.integers(1, 8),
    searches=st.integers(1, 30),
    together=st.integers(1, 4),
    shared=st.booleans(),
    chunk=st.integers(0, 3),
)


@given(SEARCHES, st.integers(0, 10**6), st.integers(1, 9), st.sampled_from([0.0, 0.2]))
@settings(max_examples=120, deadline=None)
def test_no_continuation_is_halved_twice_and_no_estimate_paid_twice(
    asked: Omega, seed: int, length: int, broken: float
) -> None:
    played = play(asked, World(seed=seed, length=length, broken=broken))
    nodes = played.tree.nodes
    paid: dict[tuple[str, ...], int] = {}
    for request in played.requests:
        assert isinstance(request, Draw)
        assert request.first == paid.get(request.steps, 0), "a stream goes on where it stood"
        paid[request.steps] = request.first + request.count
    most = max(asked.rollouts, asked.solutions or 0)
    assert all(drawn <= most for drawn in paid.values())
    assert sum(node.visits for node in nodes) <= asked.searches
    for node in nodes:
        assert 0 <= node.right <= node.rollouts
        if node.rollouts:
            assert node.value == node.right / node.rollouts or node.finished
    assert play(asked, World(seed=seed, length=length, broken=broken)).record == played.record


@given(st.integers(0, 10**6), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_halving_finds_the_first_step_that_leaves_no_way(seed: int, length: int) -> None:
    # A policy that makes no further mistake: continuations come right iff the prefix is right.
    first = World(seed=seed, length=length, skill=0.6, wordings=1)
    after = World(seed=seed, length=length, skill=1.0)
    asked = Omega(rollouts=2, solutions=12, searches=50)
    played = play(asked, lambda request: first(request) if not request.steps else after(request))
    for node in played.tree.nodes:
        if node.rollouts and node.node:
            right = all("right" in text for text in played.tree.steps(node.node))
            assert node.right == (node.rollouts if right else 0)
    draws = [request.steps for request in played.requests]
    wrong = sum(1 for node in played.tree.nodes if node.finished and not node.correct)
    assert len(draws) - 1 <= wrong * math.ceil(math.log2(length) + 1)


def test_states_that_are_shared_are_paid_for_less() -> None:
    plain = play(Rollouts(), World(seed=5, wordings=1))
    shared = play(Rollouts(shared=True), World(seed=5, wordings=1))
    assert {plain.tree.steps(n.node) for n in plain.tree.nodes} == {
        shared.tree.steps(n.node) for n in shared.tree.nodes
    }
    assert shared.drawn < plain.drawn
    assert all(n.rollouts >= 16 for n in shared.tree.nodes if not n.finished and n.node)


@given(st.integers(0, 10**6), st.booleans(), st.sampled_from([0.0, 0.3]))
@settings(max_examples=60, deadline=None)
def test_plain_rollouts_count_what_they_drew(seed: int, shared: bool, broken: float) -> None:
    asked = Rollouts(solutions=5, rollouts=6, shared=shared)
    world = World(seed=seed, broken=broken)
    played = play(asked, world)
    for node in played.tree.nodes:
        assert 0 <= node.right <= node.rollouts
        if not shared and not node.finished and not node.reason:
            assert node.rollouts <= (5 if node.node == 0 else 6)
    if not broken and not shared:
        inner = [n for n in played.tree.nodes[1:] if not n.finished]
        assert played.drawn == 5 + 6 * len(inner)
        assert all(n.rollouts == 6 for n in inner)
    assert play(asked, world).record == played.record


def test_lost_requests_are_no_evidence() -> None:
    lost = Continuation((), reason="policy-failed")
    said = {(): [lost, whole("a b", True)], ("a",): [lost, lost]}
    played = play(Rollouts(solutions=2, rollouts=2), scripted(said, {}))
    named = {node.step: node for node in played.tree.nodes}
    assert (named[""].right, named[""].rollouts) == (1, 1)
    assert (named["a"].rollouts, named["a"].value) == (0, None)
    nothing: dict[tuple[str, ...], list[Continuation]] = {(): [lost, lost]}
    for asked in (Rollouts(solutions=2), Omega(rollouts=2)):
        gone = play(asked, scripted(nothing, {}))
        assert (gone.stopped, gone.tree.nodes[0].reason) == ("policy-failed", "policy-failed")


def test_streams_tell_prefixes_apart_and_not_their_white_space() -> None:
    assert stream_seed(1, "p", ("a b", "c")) == stream_seed(1, "p", (" a  b\n", "c"))
    others = [(1, "p", ("a", "b c")), (1, "p", ("a b c",)), (2, "p", ("a b", "c"))]
    others += [(1, "q", ("a b", "c")), (1, "p", ())]
    seeds = {stream_seed(1, "p", ("a b", "c")), *(stream_seed(*one) for one in others)}
    assert len(seeds) == 6
    assert all(0 <= seed < 2**63 for seed in seeds)
