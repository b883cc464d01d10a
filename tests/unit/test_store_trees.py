"""Trees and answers in the store."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from vilbench.errors import RunError
from vilbench.search import Continuation, Judged, NodeRecord, TreeRecord
from vilbench.store import trees
from vilbench.store.manifest import Manifest
from vilbench.store.records import Call, Failure, Spent
from vilbench.store.run import Run
from vilbench.store.trees import Grown
from vilbench.testing import make_problem
from vilbench.types import Usage


def opened(folder: Path) -> Run:
    run = Run.open(folder, Manifest.of("trees", {}, seed=0, problem_set="sums"))
    run.add_problems([make_problem(id=name) for name in ("b", "a")])
    return run


def grown(problem_id: str, step: str = "Step 1: x.") -> Grown:
    nodes = (NodeRecord(node=0), NodeRecord(node=1, parent=0, step=step, value=0.25))
    tree = TreeRecord(problem_id=problem_id, rule="omega", seed=1, nodes=nodes, stopped="searches")
    return Grown(tree, Spent(nodes=1, policy=Usage(completion_tokens=7), seconds=0.5))


def call(problem_id: str, name: str, *, judged: bool = False) -> Call:
    said = (
        Continuation(("Step 1: \u2028", "b\0"), True, False),
        Continuation((), reason="repeats"),
    )
    answer = Judged((0.5, None), "no-verdict") if judged else said
    return Call(problem_id=problem_id, name=name, answer=answer, seconds=0.25)


def test_trees_read_back_in_the_order_of_the_problems(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        trees.put(run, "k", [], [grown("a"), grown("b", "\u2028\x1b[")])
        trees.put(run, "other", [], [grown("a", "else")])
    with Run.read(tmp_path) as run:
        assert list(trees.trees(run, "k")) == [grown("b", "\u2028\x1b["), grown("a")]
        assert trees.finished(run, "k") == {"a": grown("a").spent, "b": grown("b").spent}
        assert trees.tree_keys(run) == ["k", "other"]


def test_calls_stand_until_the_tree_does(tmp_path: Path) -> None:
    asked = [call("a", "1"), call("a", "2", judged=True), call("b", "1")]
    failure = Failure(stage="collect", key="k", problem_id="a", error="no", attempts=1)
    with opened(tmp_path) as run:
        trees.put(run, "k", asked)
        run.put_failure(failure)
        assert trees.calls(run, "k") == {
            "a": {"1": asked[0], "2": asked[1]},
            "b": {"1": asked[2]},
        }
        trees.put(run, "k", [], [grown("a")])
        assert trees.calls(run, "k") == {"b": {"1": asked[2]}}
        assert run.failures() == []


def test_what_is_stored_stays(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        trees.put(run, "k", [call("b", "1")], [grown("a")])
        trees.put(run, "k", [call("b", "1", judged=True)], [grown("a", "another")])
        assert list(trees.trees(run, "k")) == [grown("a")]
        assert trees.calls(run, "k") == {"b": {"1": call("b", "1")}}


def test_a_unit_is_stored_whole_or_not_at_all(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        with pytest.raises(RunError, match="not in the run"):
            trees.put(run, "k", [call("a", "1")], [grown("a"), grown("nobody")])
        assert trees.calls(run, "k") == {}
        assert list(trees.trees(run, "k")) == []


def test_a_run_from_before_there_were_trees(tmp_path: Path) -> None:
    opened(tmp_path).close()
    connection = sqlite3.connect(tmp_path / "run.sqlite")
    connection.executescript("DROP TABLE trees; DROP TABLE calls;")
    connection.close()
    with Run.read(tmp_path) as run:
        assert list(trees.trees(run, "k")) == []
        assert trees.tree_keys(run) == []
        assert trees.calls(run, "k") == {}
        assert trees.finished(run, "k") == {}
    with opened(tmp_path) as run:
        trees.put(run, "k", [], [grown("a")])
        assert list(trees.trees(run, "k")) == [grown("a")]


def test_only_a_writer_stores(tmp_path: Path) -> None:
    opened(tmp_path).close()
    with Run.read(tmp_path) as run, pytest.raises(RunError, match="not open for writing"):
        trees.put(run, "k", [call("a", "1")])
