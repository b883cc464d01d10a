"""Value rules against trees worked by hand, and what holds for every tree."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_data import World, play

from vilbench.search import TARGETS, NodeRecord, Omega, RestMcts, Rollouts, Targets, TreeRecord
from vilbench.search.targets import omega_targets, rest_targets, rollout_targets

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "search_trees.json").read_text(encoding="utf-8")
)


def tree_of(nodes: list[dict[str, Any]]) -> TreeRecord:
    records = tuple(NodeRecord(node=place, **one) for place, one in enumerate(nodes))
    return TreeRecord(problem_id="p", rule="rest-mcts", seed=0, nodes=records, stopped="")


@pytest.mark.parametrize("case", GOLDEN, ids=[case["name"] for case in GOLDEN])
def test_golden_trees(case: dict[str, Any]) -> None:
    tree = tree_of(case["nodes"])
    rules: dict[str, Callable[[TreeRecord], Targets]] = dict(TARGETS)
    rules["omega-filled"] = partial(omega_targets, fill=True)
    for rule, wanted in case["targets"].items():
        found = rules[rule](tree)
        assert list(found) == list(range(len(tree.nodes)))
        for place, value in enumerate(wanted):
            if value is None:
                assert found[place] is None, (rule, place)
            else:
                assert found[place] == pytest.approx(float(Fraction(value)), abs=1e-9), (
                    rule,
                    place,
                )


@given(st.integers(1, 40))
def test_a_right_chain_of_k_steps_climbs_by_one_kth(steps: int) -> None:
    chain = [{"parent": n - 1 if n else None, "step": str(n)} for n in range(steps + 1)]
    chain[-1] |= {"finished": True, "correct": True}
    values = rest_targets(tree_of(chain))
    assert [values[n] for n in range(steps + 1)] == pytest.approx(
        [n / steps for n in range(steps + 1)], abs=1e-9
    )


@st.composite
def trees(draw: st.DrawFn) -> TreeRecord:
    nodes: list[dict[str, Any]] = [{}]
    for place in range(1, draw(st.integers(1, 30))):
        open_ones = [n for n, one in enumerate(nodes) if not one.get("finished")]
        parent = draw(st.sampled_from(open_ones))
        node: dict[str, Any] = {"parent": parent, "step": str(place)}
        if draw(st.booleans()):
            node["rollouts"] = draw(st.integers(0, 16))
            node["right"] = draw(st.integers(0, node["rollouts"]))
        if draw(st.integers(0, 2)) == 0:
            node |= {"finished": True, "correct": draw(st.sampled_from([True, False, None]))}
        if draw(st.booleans()):
            node["judged"] = draw(st.floats(0, 1))
        nodes.append(node)
    return tree_of(nodes)


@given(trees())
@settings(max_examples=150, deadline=None)
def test_values_lie_between_0_and_1_for_every_node(tree: TreeRecord) -> None:
    for rule in TARGETS.values():
        values = rule(tree)
        assert list(values) == list(range(len(tree.nodes)))
        assert all(value is None or 0 <= value <= 1 for value in values.values())


@given(trees())
@settings(max_examples=100, deadline=None)
def test_right_ends_are_worth_one_and_ways_to_them_only_climb(tree: TreeRecord) -> None:
    values = rest_targets(tree)
    for node in tree.nodes:
        if not node.correct:
            continue
        assert values[node.node] == pytest.approx(1.0, abs=1e-9)
        here = node
        while here.parent is not None:
            above = values[here.parent]
            value = values[here.node]
            assert above is not None
            assert value is not None
            assert above < value or value == pytest.approx(1.0)
            here = tree.nodes[here.parent]


@given(trees())
@settings(max_examples=100, deadline=None)
def test_filling_touches_only_what_omega_left_open(tree: TreeRecord) -> None:
    plain, filled = omega_targets(tree), omega_targets(tree, fill=True)
    for place, value in plain.items():
        assert value is None or filled[place] == value
    right = {node.parent for node in tree.nodes if node.correct}
    assert all(filled[place] is not None for place in right if place is not None)


def test_shares_are_those_of_the_counts() -> None:
    played = play(Rollouts(solutions=4, rollouts=6), World(seed=3))
    values = rollout_targets(played.record)
    for node in played.record.nodes:
        if node.finished:
            assert values[node.node] == float(bool(node.correct))
        else:
            assert values[node.node] == node.right / node.rollouts == node.value


@pytest.mark.parametrize("search", [RestMcts(enough=None), Rollouts(), Omega()])
def test_a_value_rule_reads_the_tree_of_any_search(search: RestMcts | Rollouts | Omega) -> None:
    record = play(search, World(seed=1)).record
    assert TreeRecord.model_validate_json(record.model_dump_json()) == record
    rest = rest_targets(record)
    assert all(rest[n.node] == pytest.approx(1.0) for n in record.nodes if n.correct)
