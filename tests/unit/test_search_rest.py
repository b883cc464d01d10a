"""ReST-MCTS*: a search worked by hand, select and backup, faults, replay."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_data import World, play, scripted

from vilbench.search import Continuation, Draw, Judge, Judged, Request, RestMcts, Tree
from vilbench.search.requests import Answer
from vilbench.search.rest import select, simulate
from vilbench.search.tree import backup, expand


def step(text: str) -> Continuation:
    return Continuation((text,))


def end(text: str, correct: bool) -> Continuation:
    return Continuation((text,), True, correct)


SAID = {
    (): [step("A"), step("B")],
    ("A",): [step("A1"), end("A2", True)],
    ("A", "A1"): [end("A1a", False), end(" A1a  ", False)],
    ("B",): [end("B1", False), end("B2", True)],
}
AHEAD = {("A",): step("x"), ("A", "A1"): step("y")}
JUDGED = {"A": 0.6, "B": 0.4, "A1": 0.5, "A2": 0.9, "A1a": 0.2, "B1": 0.1, "B2": 0.95}
JUDGED |= {"x": 0.8, "y": 0.7}


def answers(request: Request) -> Answer:
    if isinstance(request, Draw) and request.greedy:
        return (AHEAD[request.steps],)
    return scripted(SAID, JUDGED)(request)


# Visits and values after every round, by hand (c = 0.7, unvisited + 1, a = 0.5):
# 1  root: A .6 -> (.6 + .8) / 2 = .7 by looking ahead, B .4
# 2  A (1.7 against 1.4): A1 .5 -> (.5 + .7) / 2 = .6, A2 .9; root = .7
# 3  A (.7 + .7 sqrt(2 ln 2) = 1.524), A2 (1.9): A = .9, root = .9
# 4  A (.9 + .7 sqrt(ln 3) = 1.634), A1: A = (.9 + .6) / 2 = .75, root = .75
# 5  A (.75 + .7 sqrt(2 ln 4 / 3) = 1.423), A1, A1a: A1 = .2, A = (.9 + 2 x .2) / 3 = 13/30
# 6  B, for A is closed: root = (4 x 13/30 + .4) / 5 = 32/75
# 7  B2: B = .95, root = (4 x 13/30 + 2 x .95) / 6 = 109/180
# 8  B1: B = (.95 + .1) / 2 = .525, root = (4 x 13/30 + 3 x .525) / 7 = 397/840
ROUNDS: list[dict[str, tuple[int, float | None]]] = [
    {"root": (1, None), "A": (0, 0.7), "B": (0, 0.4)},
    {"root": (2, 0.7), "A": (1, 0.7), "A1": (0, 0.6), "A2": (0, 0.9)},
    {"root": (3, 0.9), "A": (2, 0.9), "A2": (1, 0.9)},
    {"root": (4, 0.75), "A": (3, 0.75), "A1": (1, 0.6)},
    {"root": (5, 13 / 30), "A": (4, 13 / 30), "A1": (2, 0.2), "A1a": (1, 0.2)},
    {"root": (6, 32 / 75), "B": (1, 0.4)},
    {"root": (7, 109 / 180), "B": (2, 0.95), "B2": (1, 0.95)},
    {"root": (8, 397 / 840), "B": (3, 0.525), "B1": (1, 0.1)},
]


@pytest.mark.parametrize("number", range(len(ROUNDS)))
def test_a_search_worked_by_hand(number: int) -> None:
    asked = RestMcts(branch=2, ahead=1, enough=None, rounds=number + 1)
    played = play(asked, answers)
    named = {node.step or "root": node for node in played.tree.nodes}
    for name, (visits, value) in ROUNDS[number].items():
        assert named[name].visits == visits, name
        if value is None:
            assert named[name].value is None
        else:
            assert named[name].value == pytest.approx(value, abs=1e-9), name
    assert "x" not in named


def test_the_search_ends_when_nothing_is_left() -> None:
    played = play(RestMcts(branch=2, ahead=1, enough=None), answers)
    assert played.stopped == "exhausted"
    assert [node.step for node in played.tree.nodes] == [
        *("", "A", "B", "A1", "A2", "A1a", "B1", "B2")
    ]
    judged = [request.steps for request in played.requests if isinstance(request, Judge)]
    assert len(judged) == len(set(judged)), "a prefix is judged once"


def test_a_finished_solution_worth_enough_ends_it() -> None:
    played = play(RestMcts(branch=2, ahead=1, enough=0.9), answers)
    assert (played.stopped, len(played.tree.nodes)) == ("solved", 5)


def test_steps_looked_ahead_are_kept_where_asked() -> None:
    played = play(RestMcts(branch=2, ahead=1, enough=None, keep_ahead=True, rounds=1), answers)
    kept = played.tree.nodes[-1]
    assert (kept.step, kept.judged, kept.visits, played.tree.steps(kept.node)) == (
        *("x", 0.8, 0),
        ("A", "x"),
    )


def test_a_way_that_was_looked_ahead_is_not_drawn_again() -> None:
    # Greedy from A: A1, then end. When A is expanded, A1 is among the new steps and the best.
    ahead: dict[tuple[str, ...], Continuation] = {("A",): Continuation(("A1", "z"), True, True)}
    said = {(): [step("A"), step("B")], ("A",): [step("A1"), step("A3")]}
    judged = JUDGED | {"z": 1.0, "A3": 0.1}

    def looking(request: Request) -> Answer:
        if isinstance(request, Draw) and request.greedy:
            return (ahead[request.steps],)
        return scripted(said, judged)(request)

    asked = RestMcts(branch=2, ahead=None, enough=None, keep_ahead=True, rounds=2)
    played = play(asked, looking)
    greedy = [r.steps for r in played.requests if isinstance(r, Draw) and r.greedy]
    assert greedy == [("A",)]
    named = {node.step: node for node in played.tree.nodes}
    assert named["A1"].value == pytest.approx((0.5 + 1.0) / 2, abs=1e-9)
    assert (named["z"].correct, named["z"].judged) == (True, 1.0)


@pytest.mark.parametrize(("skill", "stopped"), [(1.0, "certain"), (0.0, "hopeless")])
def test_certain_and_hopeless_problems_end_early(skill: float, stopped: str) -> None:
    asked = RestMcts(enough=None, certain=3, hopeless=3, rounds=1000)
    assert play(asked, World(skill=skill)).stopped == stopped


def test_a_problem_that_is_solved_now_and_then_is_neither() -> None:
    asked = RestMcts(enough=None, ahead=0, certain=3, hopeless=3, rounds=1000)
    played = play(asked, World(seed=4, skill=0.7))
    ends = [node.correct for node in played.tree.nodes if node.finished]
    assert played.stopped == "exhausted"
    assert ends.count(True) >= 3
    assert ends.count(False) >= 3


def test_virtual_loss_keeps_the_leaves_of_a_round_apart() -> None:
    asked = RestMcts(branch=3, leaves=3, enough=None, ahead=0)
    played = play(asked, World(skill=1.0, wordings=50), rounds=4)
    draws = [request.steps for request in played.requests if isinstance(request, Draw)]
    assert len(draws) == len(set(draws)) == 4, "the root, then its three children together"
    assert all(node.pending == 0 for node in play(asked, World()).tree.nodes)


@given(st.integers(0, 10**6), st.integers(1, 5), st.sampled_from([0, 2, None]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_visits_add_up_and_values_stay_in_range(
    seed: int, leaves: int, ahead: int | None, keep: bool
) -> None:
    asked = RestMcts(leaves=leaves, ahead=ahead, keep_ahead=keep, enough=None, rounds=30)
    played = play(asked, World(seed=seed, broken=0.1))
    nodes = played.tree.nodes
    chosen = 0
    for node in nodes:
        own = node.visits - sum(nodes[child].visits for child in node.children)
        assert own in (0, 1), "a leaf is visited once"
        chosen += own
        assert node.value is None or 0 <= node.value <= 1
        assert node.pending == 0
    assert nodes[0].visits == chosen
    draws = [(r.steps, r.first, r.greedy) for r in played.requests if isinstance(r, Draw)]
    assert len(draws) == len(set(draws)), "nothing is drawn twice"
    judged: set[tuple[str, ...]] = set()
    for request in played.requests:
        if keep and isinstance(request, Judge):
            ends = range(len(request.steps) - request.count + 1, len(request.steps) + 1)
            assert request.count > 1 or request.steps not in judged, "nor is a step judged"
            judged |= {request.steps[:end] for end in ends}


@given(st.integers(0, 10**6), st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_backup_is_free_of_order(seed: int, chosen: int) -> None:
    rng = random.Random(seed)

    def grown() -> tuple[Tree, list[int]]:
        tree, draw = Tree("p", "rest-mcts", 0), random.Random(seed)
        for _ in range(8):
            leaves = [n.node for n in tree.nodes if not n.children]
            for child in expand(tree, draw.choice(leaves), [step(str(k)) for k in range(3)]):
                tree.nodes[child].value = draw.random()
        leaves = [n.node for n in tree.nodes if not n.children]
        return tree, draw.sample(leaves, chosen)

    one, leaves = grown()
    for leaf in leaves:
        backup(one, leaf)
    other, leaves = grown()
    rng.shuffle(leaves)
    for leaf in leaves:
        backup(other, leaf)
    assert one.record("") == other.record("")


@given(st.integers(0, 10**6), st.floats(0, 0.5))
@settings(max_examples=40, deadline=None)
def test_the_same_answers_give_the_same_tree(seed: int, broken: float) -> None:
    asked = RestMcts(leaves=2, enough=None, rounds=10)
    world = World(seed=seed, broken=broken)
    whole = play(asked, world)
    assert play(asked, world).record == whole.record
    short = play(asked, world, rounds=5)
    assert whole.requests[: len(short.requests)] == short.requests


def test_a_failed_evaluator_ends_its_branch_and_nothing_else() -> None:
    def failing(request: Request) -> Answer:
        if isinstance(request, Judge) and request.steps[-1] == "A":
            return Judged((None,), "evaluator-failed")
        return answers(request)

    played = play(RestMcts(branch=2, ahead=0, enough=None), failing)
    named = {node.step: node for node in played.tree.nodes}
    assert (named["A"].reason, named["A"].value, named["A"].visits) == ("evaluator-failed", None, 0)
    assert "A1" not in named
    assert named["B2"].visits == 1
    assert played.tree.nodes[0].value == pytest.approx((0.1 + 0.95) / 2)


@pytest.mark.parametrize("reason", ["", "step-too-long", "policy-failed", "repeats"])
def test_a_broken_continuation_ends_its_branch_with_its_reason(reason: str) -> None:
    said = {
        (): [Continuation(("again",) if reason == "repeats" else (), reason=reason), step("B")],
        ("B",): [end("B1", False), end("B2", True)],
    }
    asked = RestMcts(branch=2, ahead=0, enough=None)
    played = play(asked, scripted(said, JUDGED))
    broken = played.tree.nodes[1]
    assert (broken.reason, broken.closed, broken.visits) == (reason or "empty-step", True, 0)
    assert broken.judged is None, "nobody is asked about it"
    assert played.stopped == "exhausted"


def test_the_deepest_steps_are_not_continued() -> None:
    played = play(RestMcts(deepest=3, enough=None, ahead=0), World(length=50))
    deepest = [node for node in played.tree.nodes if node.depth == 3]
    assert {node.reason for node in deepest} == {"too-deep"}
    assert max(node.depth for node in played.tree.nodes) == 3


def test_without_an_evaluator_the_grade_ahead_is_the_value() -> None:
    def graded(request: Request) -> Answer:
        if isinstance(request, Judge):
            grade = None if request.correct is None else float(request.correct)
            return Judged((*(None,) * (request.count - 1), grade))
        return World(skill=0.9)(request)

    played = play(RestMcts(ahead=None, enough=None), graded)
    ends = [node for node in played.tree.nodes if node.finished]
    assert {node.value for node in ends} <= {0.0, 1.0}
    assert played.tree.nodes[0].value is not None


def test_a_step_ahead_that_broke_off_is_kept_and_not_judged() -> None:
    def looping(request: Request) -> Answer:
        if isinstance(request, Draw) and request.greedy:
            return (Continuation(("x", "y"), reason="repeats"),)
        return answers(request)

    played = play(RestMcts(branch=2, ahead=2, enough=None, keep_ahead=True, rounds=1), looping)
    x, y = played.tree.nodes[-2:]
    assert (x.step, x.judged, x.reason) == ("x", 0.8, "")
    assert (y.step, y.judged, y.reason, y.closed) == ("y", None, "repeats", True)
    assert [r.count for r in played.requests if isinstance(r, Judge)] == [1, 1, 1]


def test_simulate_blends_the_best_value_ahead() -> None:
    tree = Tree("p", "rest-mcts", 0)
    (child,) = expand(tree, 0, [step("a")])
    tree.nodes[child].value = 0.2
    simulate(tree, child, [], 0.5)
    simulate(tree, child, [None], 0.5)
    assert tree.nodes[child].value == 0.2
    simulate(tree, child, [0.1, None, 0.8], 0.25)
    assert tree.nodes[child].value == pytest.approx(0.75 * 0.2 + 0.25 * 0.8, abs=1e-12)
    tree.nodes[child].value = None
    simulate(tree, child, [0.3], 0.5)
    assert tree.nodes[child].value == 0.3


def test_select_prefers_the_unvisited_then_the_highest_then_the_first() -> None:
    tree = Tree("p", "rest-mcts", 0)
    children = expand(tree, 0, [step("a"), step("b"), step("c")])
    for child, value in zip(children, (0.5, 0.5, 0.4), strict=True):
        tree.nodes[child].value = value
    asked = RestMcts()
    assert select(tree, asked) == children[0]
    tree.nodes[children[0]].pending = tree.nodes[0].pending = 1
    assert select(tree, asked) == children[1]
    for child in children:
        tree.nodes[child].closed = True
    assert select(tree, asked) is None
