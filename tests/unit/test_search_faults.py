"""Where solutions go wrong: the model against enumeration, and against worlds made by it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vilbench.metrics import Bootstrap, pooled_auroc, within_auroc
from vilbench.search import NodeRecord, TreeRecord, fault_targets, rollout_targets
from vilbench.search.faults import DEPTH, KINDS, LIKENESS, FaultModel, fit

MODEL = FaultModel(
    kinds=np.array([0.4, 0.3, 0.2, 0.1]),
    slip=np.array([0.5, 0.3, 0.1, 0.05]),
    right=np.linspace(0.9, 0.3, DEPTH + 1)[None] * np.array([0.5, 0.7, 0.9, 1.0])[:, None],
    wrong=np.array([0.05, 0.1, 0.02, 0.2]),
)


def tree_of(nodes: list[NodeRecord], name: str = "p") -> TreeRecord:
    return TreeRecord(problem_id=name, rule="rollouts", seed=0, nodes=tuple(nodes), stopped="")


@st.composite
def trees(draw: st.DrawFn) -> TreeRecord:
    nodes = [NodeRecord(node=0)]
    for number in range(1, draw(st.integers(2, 7))):
        open_ones = [node.node for node in nodes if not node.finished]
        parent = draw(st.sampled_from(open_ones))
        finished = parent > 0 and draw(st.booleans())
        rollouts = 0 if finished else draw(st.integers(0, 4))
        nodes.append(
            NodeRecord(
                node=number,
                parent=parent,
                step=f"s{number}",
                finished=finished,
                correct=draw(st.booleans()) if finished else None,
                rollouts=rollouts,
                right=draw(st.integers(0, rollouts)),
            )
        )
    return tree_of(nodes)


def enumerated(tree: TreeRecord, model: FaultModel) -> list[float]:
    """Probabilities that prefixes are right, by going through all that could be."""
    nodes = tree.nodes
    height = [0] * len(nodes)
    for node in reversed(nodes):
        if node.parent is not None:
            height[node.parent] = max(height[node.parent], height[node.node] + 1)
    weights = np.zeros(len(nodes))
    for kind in range(KINDS):
        for states in itertools.product((True, False), repeat=len(nodes) - 1):
            right = (True, *states)
            chance = model.kinds[kind]
            for node in nodes[1:]:
                assert node.parent is not None
                if not right[node.parent]:
                    chance *= not right[node.node]
                else:
                    slip = model.slip[kind]
                    chance *= 1 - slip if right[node.node] else slip
                ahead = min(height[node.node], DEPTH)
                p = model.right[kind, ahead] if right[node.node] else model.wrong[kind]
                if node.finished:
                    chance *= p if node.correct else 1 - p
                elif node.rollouts:
                    weight = 1 / (1 + LIKENESS * (node.rollouts - 1))
                    bad = node.rollouts - node.right
                    chance *= (p**node.right * (1 - p) ** bad) ** weight
            weights += chance * np.array(right)
    return [float(one) for one in weights / weights[0]]


@settings(max_examples=60, deadline=None)
@given(trees())
def test_beliefs_are_those_of_enumeration(tree: TreeRecord) -> None:
    found = fault_targets(tree, MODEL)
    for node, wanted in zip(tree.nodes, enumerated(tree, MODEL), strict=True):
        if node.finished:
            assert found[node.node] == float(bool(node.correct))
        elif found[node.node] is not None:
            assert found[node.node] == pytest.approx(wanted, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(trees())
def test_no_prefix_is_likelier_right_than_what_it_begins_with(tree: TreeRecord) -> None:
    found = fault_targets(tree, fit([tree] * 3, rounds=3))
    for node in tree.nodes[1:]:
        assert node.parent is not None
        value, above = found[node.node], found[node.parent]
        if value is None:
            continue
        # What is seen of a prefix is seen of what it begins with, too.
        assert above is not None
        assert 0 <= value <= 1
        assert node.finished or value <= above + 1e-12


def test_an_answer_that_nobody_could_grade_has_no_value() -> None:
    tree = tree_of(
        [
            NodeRecord(node=0),
            NodeRecord(node=1, parent=0, step="a", rollouts=2, right=1),
            NodeRecord(node=2, parent=1, step="b", finished=True),
        ]
    )
    assert fault_targets(tree, MODEL)[2] is None


def test_what_nothing_was_seen_of_has_no_value() -> None:
    """Not even its depth's: a value would say more than is known."""
    bare = [
        NodeRecord(node=0),
        NodeRecord(node=1, parent=0, step="a"),
        NodeRecord(node=2, parent=1, step="b", reason="policy-failed"),
    ]
    nothing = fault_targets(tree_of(bare), MODEL)
    assert nothing == {0: None, 1: None, 2: None}
    seen = [*bare, NodeRecord(node=3, parent=1, step="c", finished=True, correct=True)]
    found = fault_targets(tree_of(seen), MODEL)
    assert found[1] is not None and found[2] is None and found[3] == 1.0
    # Nor does a model break on them.
    for trees in ([], [tree_of(bare)], [tree_of(bare[:1])]):
        assert all(np.isfinite(one).all() for one in fit(trees))


@pytest.mark.parametrize("right", [0, 8])
def test_draws_from_the_question_count_where_another_run_wrote_the_steps(right: int) -> None:
    nodes = [
        NodeRecord(node=0, rollouts=8, right=right),
        NodeRecord(node=1, parent=0, step="a", rollouts=2, right=1),
    ]
    own = tree_of(nodes)
    again = own.model_copy(update={"rule": "again"})
    assert fault_targets(own, MODEL)[1] == pytest.approx(
        fault_targets(tree_of([NodeRecord(node=0), nodes[1]]), MODEL)[1]
    )
    given, without = fault_targets(again, MODEL)[1], fault_targets(own, MODEL)[1]
    assert given is not None and without is not None
    assert (given > without) == (right == 8)


def made(count: int, seed: int, rollouts: int) -> tuple[list[TreeRecord], list[list[bool]]]:
    """Trees of four solutions by `MODEL`, with the truth about their steps."""
    rng = np.random.default_rng(seed)
    found, truth = [], []
    for number in range(count):
        kind = int(rng.choice(KINDS, p=MODEL.kinds))
        nodes, right = [NodeRecord(node=0)], [True]
        for _ in range(4):
            parent, steps = 0, int(rng.integers(2, 5))
            for step in range(steps):
                good = bool(right[parent] and rng.random() >= MODEL.slip[kind])
                ahead = steps - 1 - step
                p = MODEL.right[kind, ahead] if good else MODEL.wrong[kind]
                last = not ahead
                drawn = 0 if last else rollouts
                nodes.append(
                    NodeRecord(
                        node=len(nodes),
                        parent=parent,
                        step=f"s{len(nodes)}",
                        finished=last,
                        correct=bool(rng.random() < p) if last else None,
                        rollouts=drawn,
                        right=int(rng.binomial(drawn, p)),
                    )
                )
                right.append(good)
                parent = len(nodes) - 1
        found.append(tree_of(nodes, f"p{number}"))
        truth.append(right)
    return found, truth


def test_the_model_is_found_from_trees_alone() -> None:
    trees, _ = made(400, seed=1, rollouts=2)
    model = fit(trees)
    known, others = made(200, seed=2, rollouts=2)
    inner = [[node.node for node in tree.nodes[1:] if not node.finished] for tree in known]
    right = [[others[k][n] for n in some] for k, some in enumerate(inner)]

    def area(values: list[list[float | None]]) -> tuple[float, float]:
        bootstrap = Bootstrap(len(values))
        pooled = pooled_auroc(values, right, bootstrap).value
        within = within_auroc(values, right, bootstrap).value
        assert pooled is not None
        assert within is not None
        return pooled, within

    def read(model: FaultModel) -> tuple[float, float]:
        targets = [fault_targets(tree, model) for tree in known]
        return area([[one[n] for n in some] for one, some in zip(targets, inner, strict=True)])

    shares = [rollout_targets(tree) for tree in known]
    plain = area([[one[n] for n in some] for one, some in zip(shares, inner, strict=True)])
    ours, best = read(model), read(MODEL)
    assert ours[0] > plain[0] + 0.08
    assert ours[1] > plain[1] + 0.08
    # The true numbers are as good as it gets.
    assert ours[0] > best[0] - 0.02
    slip = float(model.kinds @ model.slip)
    assert slip == pytest.approx(float(MODEL.kinds @ MODEL.slip), abs=0.08)


def test_the_order_of_the_trees_plays_no_part() -> None:
    trees, _ = made(40, seed=3, rollouts=1)
    for one, other in zip(fit(trees), fit(trees[::-1]), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)
