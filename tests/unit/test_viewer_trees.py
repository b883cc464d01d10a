"""Trees in the viewer: lines and filters of a list, branches and map of one."""

from __future__ import annotations

from pathlib import Path

import pytest
from tree_data import counted, end, problem, step, tree

from vilbench.search import NodeRecord, TreeRecord
from vilbench.store import trees as stored
from vilbench.store.manifest import Manifest
from vilbench.store.records import Spent
from vilbench.store.run import Run
from vilbench.viewer.branches import Branch, Grove, Shape, grove, readings
from vilbench.viewer.minimap import WIDTH, minimap
from vilbench.viewer.trees import TreeFilter, TreeIndex, problem_at


def run_of(folder: Path, *trees: TreeRecord) -> Run:
    run = Run.open(folder, Manifest.of("trees", {}, seed=0, problem_set="own"))
    run.add_problems([problem(one.problem_id, source=f"s{len(one.nodes)}") for one in trees])
    stored.put(run, "k", (), [stored.Grown(one, Spent()) for one in trees])
    return run


def shape_of(record: TreeRecord) -> Shape:
    return Shape.of(record, next(iter(readings(record).values()), {}))


def shown(grove: Grove) -> list[int]:
    found: list[int] = []

    def enter(branch: Branch) -> None:
        found.extend(step.node for step in branch.steps)
        for one in branch.branches:
            enter(one)

    for branch in grove.branches:
        enter(branch)
    return found


def left_out(grove: Grove) -> int:
    """Steps behind all links."""
    mores = [grove.more]
    stack = list(grove.branches)
    while stack:
        branch = stack.pop()
        mores.append(branch.more)
        stack.extend(branch.branches)
    return sum(one.steps for one in mores if one is not None)


def test_a_line_counts_a_tree(tmp_path: Path) -> None:
    dead = tree("q", step("a", step("b", reason="too-deep")), rule="omega")
    with run_of(tmp_path, counted("p"), dead) as run:
        index = TreeIndex("k")
        index.refresh(run)
        page = index.page(run, TreeFilter())
    first, second = page.lines
    assert (first.problem_id, first.nodes, first.depth) == ("p", 6, 3)
    assert (first.right, first.wrong, first.broken, first.share) == (1, 2, 0, 0.5)
    assert first.outcome == "mixed"
    assert (second.rule, second.broken, second.share, second.outcome) == (
        "omega",
        1,
        None,
        "no-end",
    )


def test_filters_order_and_pages(tmp_path: Path) -> None:
    some = [tree(f"p{n}", *(end(f"x{i}", i < n) for i in range(4))) for n in range(5)]
    with run_of(tmp_path, *some) as run:
        index = TreeIndex("k")
        index.refresh(run)

        def ids(**wanted: object) -> list[str]:
            page = index.page(run, TreeFilter(**wanted))  # type: ignore[arg-type]
            return [line.problem_id for line in page.lines]

        assert ids(outcome="none-right") == ["p0"]
        assert ids(outcome="all-right") == ["p4"]
        assert ids(outcome="mixed", order="easiest") == ["p3", "p2", "p1"]
        assert ids(order="hardest")[0] == "p0"
        assert ids(smallest=5) == []
        assert len(ids(largest=4)) == 5
        assert ids(text="IS P2") == ["p2"]
        assert ids(rule="omega") == []
        pages = [index.page(run, TreeFilter(), number, size=2) for number in (1, 3, 99)]
        assert [(page.number, len(page.lines)) for page in pages] == [(1, 2), (3, 1), (3, 1)]
        assert index.neighbours(2, TreeFilter()) == (1, 3)
        assert index.neighbours(1, TreeFilter(order="hardest"))[0] is None


def test_a_refresh_reads_new_trees_only_and_so_much(tmp_path: Path) -> None:
    some = [counted(f"p{n}") for n in range(6)]
    with run_of(tmp_path, *some[:4]) as run:
        run.add_problems([problem(one.problem_id) for one in some[4:]])
        index = TreeIndex("k")
        index.refresh(run, most=1)
        assert index.page(run, TreeFilter()).known == 1
        index.refresh(run)
        asked: list[str] = []
        real = run.rows

        def watched(query: str, *values: str) -> list[tuple[str, ...]]:
            found = real(query, *values)
            asked.extend(row[3] for row in found if "trees.record" in query)
            return found

        run.rows = watched  # type: ignore[method-assign]
        stored.put(run, "k", (), [stored.Grown(one, Spent()) for one in some[4:]])
        index.refresh(run)
        index.refresh(run)
        assert asked == ["p4", "p5"]
        page = index.page(run, TreeFilter())
        assert (page.known, page.stored) == (6, 6)


def test_a_damaged_tree_is_a_line_too(tmp_path: Path) -> None:
    with run_of(tmp_path, counted("p"), counted("q")) as run:
        with run.unit() as connection:
            connection.execute(
                "UPDATE trees SET record = '{\"nodes\": [3]}' WHERE problem_id = 'p'"
            )
        index = TreeIndex("k")
        index.refresh(run)
        lines = index.page(run, TreeFilter()).lines
    assert [line.damaged for line in lines] == [True, False]


def test_the_problem_of_a_position(tmp_path: Path) -> None:
    with run_of(tmp_path, counted("p")) as run:
        found = problem_at(run, 1)
        assert found is not None
        assert found.id == "p"
        assert problem_at(run, 2) is None


def test_a_branch_goes_on_until_the_tree_forks() -> None:
    found = grove(shape_of(counted()))
    heads = [(branch.node, [one.node for one in branch.steps]) for branch in found.branches]
    assert heads == [(1, [1]), (6, [6])]
    chain, wrong = found.branches[0].branches
    assert [one.node for one in chain.steps] == [2]
    assert [one.end for branch in chain.branches for one in branch.steps] == ["right", "wrong"]
    assert [one.end_text for one in wrong.steps] == ["✗ wrong"]
    assert (found.branches[0].right, found.branches[0].wrong, found.branches[0].inside) == (1, 2, 5)


def test_the_best_path_follows_the_highest_value_and_comes_first() -> None:
    record = tree(
        "p",
        step("low", value=0.2),
        step("high", step("end", value=0.1), value=0.9),
        rule="rest-mcts",
    )
    shape = shape_of(record)
    assert shape.best == {0, 2, 3}
    assert [branch.node for branch in grove(shape).branches] == [2, 1]


def test_a_step_without_a_value_counts_as_what_is_behind_it() -> None:
    record = tree("p", step("a", value=0.5), step("b", step("c", value=0.8)), rule="rest-mcts")
    assert shape_of(record).best == {0, 2, 3}


def test_why_a_branch_ends_and_what_is_known_of_it() -> None:
    record = tree(
        "p",
        step("a", reason="too-deep", judged=0.25, visits=1, value=0.1),
        step("b"),
        {"step": "c", "then": (), "finished": True},
        rule="rest-mcts",
    )
    first, *rest = (branch.steps[0] for branch in grove(shape_of(record)).branches)
    assert (first.end, first.end_text) == ("dead", "■ too deep")
    assert first.facts == ("1 visit", "judged 0.25")
    assert [one.chip.text for one in rest] == ["no value", "no value"]
    assert [one.end_text for one in rest] == ["· not followed", "· not graded"]


def test_readings_without_any_value_are_not_offered() -> None:
    assert list(readings(counted())) == ["rollouts", "omega", "rest"]
    searched = tree("p", step("a", value=0.5, judged=0.3), rule="rest-mcts")
    assert list(readings(searched)) == ["search", "judge"]
    # No continuation says what a step of a guided search is worth: the reward model does.
    guided = tree("p", step("a", end("b", True, judged=0.9, value=0.9), judged=0.4), rule="guided")
    assert next(iter(readings(guided))) == "judge"
    assert shape_of(guided).values == {0: None, 1: 0.4, 2: 0.9}


@pytest.mark.parametrize("most", [1, 7, 50, 10_000])
def test_every_step_is_shown_or_behind_a_link(most: int) -> None:
    bushy = tree(
        "p", *(step(f"a{i}", *(end(f"b{i}{j}", j == 0) for j in range(5))) for i in range(60))
    )
    shape = shape_of(bushy)
    found = grove(shape, most=most)
    places = shown(found)
    assert len(places) == len(set(places)) <= max(most, 1)
    assert len(places) + left_out(found) == 360
    if most > 1:
        assert found.branches[0].branches[0].steps[0].end == "right"


def test_links_lead_to_all_the_rest() -> None:
    wide = tree("p", *(end(f"a{i}", i % 2 == 0) for i in range(500)))
    shape = shape_of(wide)
    seen: list[int] = []
    place = 0
    while True:
        found = grove(shape, 0, place, most=100)
        seen += shown(found)
        if found.more is None:
            break
        assert found.more.first > place
        place = found.more.first
    assert sorted(seen) == list(range(1, 501))


def test_a_very_deep_and_a_deeply_forked_tree_are_cut() -> None:
    nodes = [NodeRecord(node=0)]
    nodes += [NodeRecord(node=n, parent=n - 1, step=f"s{n}") for n in range(1, 5_001)]
    record = TreeRecord(problem_id="p", rule="rollouts", seed=0, nodes=tuple(nodes))
    found = grove(shape_of(record), most=100)
    assert len(found.branches[0].steps) == 60
    assert found.branches[0].more is not None
    assert found.branches[0].more.steps == 4_940
    forked = [NodeRecord(node=0)]
    for depth in range(200):
        parent = 2 * depth - 1 if depth else 0
        forked += [NodeRecord(node=2 * depth + side, parent=parent, step="x") for side in (1, 2)]
    record = TreeRecord(problem_id="p", rule="rollouts", seed=0, nodes=tuple(forked))
    found = grove(shape_of(record), most=10_000)
    assert len(shown(found)) == 48
    assert len(shown(found)) + left_out(found) == 400


def test_a_tree_out_of_order_is_refused() -> None:
    nodes = (NodeRecord(node=0), NodeRecord(node=1, parent=2), NodeRecord(node=2, parent=0))
    record = TreeRecord(problem_id="p", rule="rollouts", seed=0, nodes=nodes)
    with pytest.raises(ValueError, match="before its parent"):
        Shape.of(record, {})


def test_the_map_is_as_wide_as_the_ends() -> None:
    shape = shape_of(counted())
    boxes = {box.node: box for box in minimap(shape).boxes}
    assert boxes[1].width == pytest.approx(WIDTH * 3 / 4)
    assert boxes[6].x == pytest.approx(WIDTH * 3 / 4)
    assert boxes[3].width == pytest.approx(WIDTH / 4)
    assert (boxes[3].style, boxes[4].style) == ("s6", "s0")
    assert minimap(shape).complete
    wide = shape_of(tree("p", *(end(f"a{i}", True) for i in range(5_000))))
    found = minimap(wide)
    assert len(found.boxes) == 0
    assert not found.complete
