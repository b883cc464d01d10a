"""From searched trees to rows: labels, chains, filters, and their counts."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tree_data import counted, end, prefixes, problem, share, step, tree

from vilbench.collect import data
from vilbench.collect.data import Collection, DataConfig, Summary
from vilbench.collect.filters import (
    FilterConfig,
    balance,
    chosen,
    known_labels,
    similarity,
    solved_share,
)
from vilbench.collect.labels import LabelledTree, label
from vilbench.collect.rows import DataRow, RowsConfig, chains, rows_of
from vilbench.errors import RunError
from vilbench.search import FaultModel, TreeRecord
from vilbench.search.faults import fit as fit_faults
from vilbench.search.targets import rest_targets, rollout_targets

P = problem("p")


def labelled(record: TreeRecord | None = None) -> LabelledTree:
    return label(record or counted(), rollout_targets)


def left(tree: LabelledTree, known: LabelledTree | None = None, **options: object) -> list[int]:
    """Nodes that keep their labels."""
    other = None if known is None else known_labels([known])
    found: LabelledTree | None = tree
    for one in chosen(FilterConfig.model_validate(options), other):
        assert found is not None
        found = one.keep(found)
    return [] if found is None else sorted(found.values)


def made(
    *records: TreeRecord, second: tuple[TreeRecord, ...] | None = None, **options: object
) -> tuple[list[DataRow], Summary]:
    problems = [problem(identity) for identity in dict.fromkeys(one.problem_id for one in records)]
    config = DataConfig.model_validate(options)
    collection = Collection(problems, records, config, second)
    rows = []
    for row in collection.rows():
        collection.tally.add(row)
        rows.append(row)
    return rows, collection.tally.summary()


def test_rows_are_paths_to_leaves_and_a_node_is_labelled_once() -> None:
    rows = rows_of(labelled(), P, RowsConfig())
    assert [(row.id, row.steps, row.values) for row in rows] == [
        ("p/6", ("Step 1: one.",), (0.0,)),
        ("p/5", ("Step 1: two.", "Answer: 3"), (0.75, 0.0)),
        ("p/3", ("Step 1: two.", "Step 2: four.", "Answer: 4"), (None, 0.5, 1.0)),
        ("p/4", ("Step 1: two.", "Step 2: four.", "Answer: 5"), (None, None, 0.0)),
    ]
    assert all(row.problem is P for row in rows)


def test_shared_steps_may_carry_their_label_in_every_row() -> None:
    rows = rows_of(labelled(), P, RowsConfig(labels="every"))
    assert [row.values for row in rows] == [(0.0,), (0.75, 0.0), (0.75, 0.5, 1.0), (0.75, 0.5, 0.0)]


def test_finished_solutions_alone() -> None:
    rows = rows_of(labelled(), P, RowsConfig(chains="finished"))
    assert [row.id for row in rows] == ["p/5", "p/3", "p/4"]


def test_few_rows_hold_the_most_labels() -> None:
    ids = [
        [row.id for row in rows_of(labelled(), P, RowsConfig(most=most))] for most in (1, 2, 3, 9)
    ]
    # The longest first; then each of the others adds one.
    assert ids == [["p/3"], ["p/6", "p/3"], ["p/6", "p/5", "p/3"], ["p/6", "p/5", "p/3", "p/4"]]


def test_a_missing_value_is_none_and_a_row_without_any_is_left_out() -> None:
    record = tree("p", step("a", step("b", end("c", True))), step("d"))
    (row,) = rows_of(labelled(record), P, RowsConfig())
    assert row.values == (None, None, 1.0)


def test_blank_steps_and_what_is_below_them_do_not_exist() -> None:
    record = tree("p", step(" \n", end("x", True)), step("  a\n", end("b", False)))
    (row,) = rows_of(labelled(record), P, RowsConfig())
    assert (row.steps, row.values) == (("a", "b"), (None, 0.0))


def test_a_value_outside_of_the_range_is_refused() -> None:
    for value in (1.5, -0.1, float("nan"), float("inf")):
        values: dict[int, float | None] = {1: value}
        with pytest.raises(RunError, match="problem 'p', node 1"):
            label(counted(), lambda _, values=values: values)  # type: ignore[misc]


def test_labels_spread_over_their_step_where_the_one_before_is_like_them() -> None:
    record = tree(
        "p", step("a", step("b", step("c", **share(1, 4)), **share(9, 10)), **share(1, 1))
    )
    (row,) = rows_of(labelled(record), P, RowsConfig(spread=0.2))
    assert row.spread == (True, True, False)
    assert rows_of(labelled(record), P, RowsConfig())[0].spread == (False, False, False)


def test_truth_values_of_shares_are_cut_and_those_of_progress_rise() -> None:
    (*_, right, wrong) = rows_of(labelled(), P, RowsConfig(labels="every", right=0.6))
    assert right.right == (True, False, True) and wrong.right == (True, False, False)
    progress = label(counted(), rest_targets, progress=True)
    config = RowsConfig(labels="every")
    rows = {row.id: row for row in rows_of(progress, P, config)}
    assert rows["p/3"].values == pytest.approx((1 / 3, 2 / 3, 1))
    assert rows["p/3"].right == (True, True, True)  # though the first is below a half
    assert rows["p/4"].right == (True, True, False)
    # What lies before a step may have lost its label: then nothing can be told.
    masked = progress.without({2})
    assert {row.id: row.right for row in rows_of(masked, P, config)}["p/3"] == (True, None, None)


def test_problems_that_are_always_or_never_solved() -> None:
    always = tree("a", end("x", True), root=share(4, 4))
    never = tree("b", end("x", True), root=share(0, 4))  # the root's own estimate goes first
    by_leaves = tree("c", end("x", False), step("y", end("z", False)), step("w"))
    mixed = tree("d", end("x", False), end("z", True))
    unknown = tree("e", step("x", judged=0.4), rule="rest-mcts")
    records = (always, never, by_leaves, mixed, unknown)
    assert [solved_share(one) for one in records] == [1, 0, 0, 0.5, None]
    for option, kept in (
        ("keep", "abcde"),
        ("drop", "de"),
        ("drop-always", "bcde"),
        ("drop-never", "ade"),
    ):
        filters = chosen(FilterConfig.model_validate({"solved": option}))
        trees = [LabelledTree(one, {}) for one in records]
        for one in filters:
            trees = [found for tree in trees if (found := one.keep(tree)) is not None]
        assert "".join(one.tree.problem_id for one in trees) == kept, option


def test_broken_ends_of_branches_are_cut_unless_they_are_wanted() -> None:
    record = tree(
        "p",
        step("a", step("a", reason="repeats"), **share(1, 2)),
        step("b", step("b", end("c", True), reason="policy-failed", **share(1, 2)), **share(0, 2)),
        step("d", reason="step-too-long", **share(1, 2)),
    )
    rows, told = made(record)
    # What is below a broken step goes with it, whoever says that there is something.
    assert [(row.steps, row.values) for row in rows] == [(("a",), (0.5,)), (("b",), (0.0,))]
    assert told.filters[0].labels == 3
    rows, _ = made(record, filters={"broken": "keep"})
    assert [row.steps for row in rows] == [("a", "a"), ("b", "b", "c"), ("d",)]


def test_rare_nodes() -> None:
    record = tree("p", step("a", end("c", True, visits=1), **share(2, 3)), step("b", **share(0, 8)))
    assert left(labelled(record), min_visits=3) == [1, 3]
    assert left(labelled(record), min_rollouts=4) == [2, 3]  # an answer needs no continuation


def test_two_policies_must_agree() -> None:
    other = tree(
        "p",
        step("Step 1:  two.", step("Step 2: four.", **share(0, 4)), **share(2, 4)),
        step("Step 1: one.", **share(1, 4)),
        root=share(1, 4),
    )
    # 1 agrees at a half, 2 does not (0.5 against 0), 6 does; 3, 4, 5 are not in the other.
    assert left(labelled(), labelled(other), consensus=0.5) == [1, 6]
    assert left(labelled(), labelled(other), consensus=0.5, unmatched="keep") == [1, 3, 4, 5, 6]
    # From some right answer on: 6 has none here and one there.
    assert left(labelled(), labelled(other), consensus=0.01) == [1]
    assert left(labelled(), labelled(counted("q")), consensus=0.5) == []
    with pytest.raises(RunError, match="second collection"):
        made(counted(), filters={"consensus": 0.5})


def test_an_end_and_the_same_step_with_more_to_come_do_not_match() -> None:
    here = tree("p", end("Answer: 3", True))
    there = tree("p", step("Answer: 3", **share(4, 4)))
    assert left(labelled(here), labelled(there), consensus=0.5) == []


SIMILAR = [
    ("The sum is 5.", "the  sum is 5", 1.0),
    ("Count: 2 + 3 = 5", "Count: 2 + 3 = 6", 0.0),
    ("2 - 3", "3 - 2", 0.0),
    ("The angle A is right", "The angle B is right", 0.0),
    ("x is -2", "x is 2", 0.0),
    ("There are three red circles", "There are three blue circles", 4 / 6),
    ("", "", 1.0),
    ("So 7", "7", 0.0),
    ("Then it is so", "it is so", 3 / 4),
]


@pytest.mark.parametrize(("one", "other", "expected"), SIMILAR)
def test_similarity(one: str, other: str, expected: float) -> None:
    assert similarity(one, other) == similarity(other, one) == pytest.approx(expected)


@given(st.text(max_size=40), st.text(max_size=40))
def test_similarity_is_symmetric_and_bounded(one: str, other: str) -> None:
    assert similarity(one, one) == 1.0
    assert 0 <= similarity(one, other) == similarity(other, one) <= 1


def test_near_duplicates_of_siblings() -> None:
    record = tree(
        "p",
        step("We see that the sum is 5", **share(2, 4)),
        step("We see the sum is 5", **share(5, 10)),  # the most visited stays
        step("We see the sum is 6", **share(5, 10)),  # another number
        step("We see that sum is 5", **share(4, 4)),  # another value
        step("x", step("We see the sum is 5", **share(2, 4)), **share(2, 4)),  # no sibling
    )
    assert left(labelled(record), near_duplicates=0.6) == [2, 3, 4, 5, 6]
    assert left(labelled(record), near_duplicates=0.6, same_value=1) == [2, 3, 5, 6]
    assert left(labelled(record), near_duplicates=1) == [1, 2, 3, 4, 5, 6]


def many(count: int, high: float, seed: int = 0) -> list[LabelledTree]:
    """Trees of up to nine first steps, a share `high` of them worth 1 and the others 0."""
    rng = random.Random(seed)
    made = []
    for k in range(count):
        values = [int(rng.random() < high) for _ in range(rng.randint(1, 9))]
        steps = [step(f"s{j}", **share(value, 1)) for j, value in enumerate(values)]
        made.append(labelled(tree(f"p{k}", *steps)))
    return made


def test_the_balance_is_exact_seeded_and_free_of_order() -> None:
    trees = many(60, high=0.8)
    before = [value for one in trees for value in one.values.values()]
    low = before.count(0.0)

    def balanced(given: list[LabelledTree], **options: object) -> dict[str, list[int]]:
        one = balance(given, FilterConfig.model_validate(options))
        assert one is not None
        found = [one.keep(tree) for tree in given]
        return {tree.tree.problem_id: sorted(tree.values) for tree in found if tree is not None}

    kept = balanced(trees, balance=1)
    after = [one.values[node] for one in trees for node in kept[one.tree.problem_id]]
    assert (after.count(0.0), after.count(1.0)) == (low, low)
    assert balanced(trees[::-1], balance=1) == kept
    assert balanced(trees, balance=1, seed=1) != kept
    twice = balanced(trees, balance=2)
    assert sum(map(len, twice.values())) == 3 * low
    assert all(set(kept[name]) <= set(twice[name]) for name in kept)
    assert sum(map(len, balanced(trees, balance=100).values())) == len(before)
    assert balance(trees, FilterConfig()) is None


def test_the_smaller_kind_may_be_the_high_one_or_empty() -> None:
    for high, left_over in ((0.1, None), (0.0, 0), (1.0, 0)):
        trees = many(40, high=high)
        one = balance(trees, FilterConfig(balance=1))
        assert one is not None
        after = [value for tree in trees for value in (one.keep(tree) or tree).values.values()]
        assert after.count(0.0) == after.count(1.0)
        assert left_over is None or len(after) == left_over


def test_every_filter_counts_what_it_takes() -> None:
    never = tree("n", end("x", False), step("y", **share(0, 2)), root=share(0, 2))
    broken = tree("b", step("x", **share(1, 2), reason="repeats"), end("y", True), end("z", False))
    rows, told = made(
        never,
        counted(),
        broken,
        filters={"solved": "drop", "min_rollouts": 4, "balance": 1},
    )
    assert [(one.name, one.trees, one.labels) for one in told.filters] == [
        ("broken branches", 0, 1),
        ("solved: drop", 1, 2),
        ("less than 4 rollouts", 0, 0),
        ("balance, 1 to one", 0, 0),
    ]
    assert (told.trees, told.nodes, told.labels, told.values) == (3, 11, 11, ("rollouts",))
    assert (told.problems, told.rows, told.row_labels) == (2, 6, 8)
    assert sum(told.histogram) == 8 == len(prefixes(rows))
    assert told.histogram == (4, 0, 0, 0, 0, 1, 0, 1, 0, 2)
    assert told.labels == told.row_labels + sum(one.labels for one in told.filters)


def test_the_counts_are_those_of_one_pass() -> None:
    collection = Collection([P], [counted()], DataConfig(filters=FilterConfig(balance=1)))
    for _ in range(2):
        for row in collection.rows():
            collection.tally.add(row)
        told = collection.tally.summary()
        assert (told.trees, told.labels, told.rows) == (1, 6, 4)


def test_each_tree_is_read_by_its_own_rule_or_by_the_one_that_is_asked_for() -> None:
    judged = tree("j", step("a", end("b", True, judged=0.9), judged=0.2), rule="rest-mcts")
    rows, told = made(judged, counted())
    assert told.values == ("rest", "rollouts")
    assert rows[0].values == (0.5, 1.0)
    rows, told = made(judged, counted(), values="judge")
    assert told.values == ("judge",) and [row.values for row in rows] == [(0.2, 0.9)]


def test_what_no_training_row_can_hold_is_set_aside_and_counted() -> None:
    half = tree("h", end("\ud800", True), end("y", False))
    config = DataConfig()
    problems = [problem("h"), problem("e", question=" "), problem("m", choices=tuple("x" * 27))]
    records = [half, tree("e", end("x", True)), tree("m", end("x", True))]
    collection = Collection(problems, records, config)
    assert [row.steps for row in collection.rows()] == [("y",)]
    assert collection.tally.summary().set_aside == {
        "solutions: half of a surrogate pair": 1,
        "solutions: more than 26 choices": 1,
        "solutions: the question is empty, and there is no image": 1,
    }
    with pytest.raises(RunError, match="unknown problem 'x'"):
        list(Collection(problems, [tree("x", end("a", True))], config).rows())


@st.composite
def forests(draw: st.DrawFn) -> TreeRecord:
    """Trees of any shape, with steps that may be equal, and values that may lack."""
    size = draw(st.integers(1, 14))
    parents = [draw(st.integers(0, k)) for k in range(size)]
    inner = set(parents)
    texts = st.sampled_from(["a", "b", "a\nb", "c 1.", "c  1.", " "])
    from vilbench.search import NodeRecord

    nodes = [NodeRecord(node=0)]
    for k, parent in enumerate(parents, 1):
        finished = k not in inner and draw(st.booleans())
        of = draw(st.integers(0, 4))
        nodes.append(
            NodeRecord(
                node=k,
                parent=parent,
                step=draw(texts),
                finished=finished,
                correct=draw(st.booleans()) if finished else None,
                rollouts=of,
                right=draw(st.integers(0, of)),
                visits=draw(st.integers(0, 5)),
                reason=draw(st.sampled_from(["", "", "", "repeats"])),
            )
        )
    return TreeRecord(problem_id="p", rule="rollouts", seed=0, nodes=tuple(nodes))


@settings(max_examples=150, deadline=None)
@given(forests(), st.sampled_from(["once", "every"]), st.one_of(st.none(), st.integers(1, 4)))
def test_rows_hold_every_label_that_is_left(
    record: TreeRecord, where: str, most: int | None
) -> None:
    found = labelled(record)
    config = RowsConfig.model_validate({"labels": where, "most": most})
    rows = rows_of(found, P, config)
    told = [
        (node, value)
        for row in rows
        for node, value in zip(row.nodes, row.values, strict=True)
        if value is not None
    ]
    assert dict(told).items() <= found.values.items()
    if most is None:
        assert dict(told) == found.values
    else:
        assert len(rows) <= most
    if where == "once":
        assert len(told) == len({node for node, _ in told})
    assert len({row.id for row in rows}) == len(rows)
    assert all(step and step == step.strip() for row in rows for step in row.steps)
    assert len(rows) <= len(chains(found, config))
    assert {tuple(row.nodes) for row in rows} <= set(chains(found, RowsConfig()))


@settings(max_examples=60, deadline=None)
@given(forests(), st.integers(0, 4), st.sampled_from([None, 0.5, 1.0]))
def test_filters_only_take_away(record: TreeRecord, least: int, near: float | None) -> None:
    before = labelled(record)
    for one in chosen(FilterConfig(min_visits=least, min_rollouts=least, near_duplicates=near)):
        after = one.keep(before)
        assert after is not None and after.values.items() <= before.values.items()
        assert one.keep(after) == after  # nothing more the second time
        before = after


def test_the_model_of_faults_is_fitted_to_trees_drawn_by_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Kinds of problems that take turns would fall to every so-many-th tree as one kind alone."""
    seen: list[list[str]] = []

    def fit(trees: list[TreeRecord]) -> FaultModel:
        seen.append([one.problem_id for one in trees])
        return fit_faults(trees)

    monkeypatch.setattr(data, "fit", fit)
    monkeypatch.setattr(data, "FITTED", 40)
    kinds = ("bars", "dots", "maps")
    names = [f"{kinds[k % 3]}-{k}" for k in range(240)]
    trees = [tree(name, step("a", end("b", k % 2 == 0))) for k, name in enumerate(names)]
    config = DataConfig.model_validate({"values": "faults"})
    rows = list(Collection([problem(name) for name in names], trees, config).rows())
    assert len(rows) == 240
    list(Collection([problem(name) for name in names], trees[::-1], config).rows())
    assert sorted(seen[0]) == sorted(seen[1])
    assert len(seen[0]) == 40
    assert all(sum(name.startswith(kind) for name in seen[0]) >= 5 for kind in kinds)
    values = [value for row in rows for value in row.values]
    assert all(value is not None and 0 <= value <= 1 for value in values)
