"""Prefixes of another tree, continued by a second policy."""

from __future__ import annotations

from pathlib import Path

import pytest
from collect_data import make_method, make_run, reply
from tree_data import end, step, tree

from vilbench.collect.data import Collection, DataConfig
from vilbench.collect.filters import FilterConfig
from vilbench.collect.forest import collect
from vilbench.collect.growth import Method
from vilbench.errors import EngineError
from vilbench.search import Again, Continuation, Draw, Tree, TreeRecord, begin, rollout_targets
from vilbench.store import trees
from vilbench.testing import ScriptedEngine
from vilbench.types import Prompt

OTHER = tree(
    "p",
    step("a", step("b", end("c", True), rollouts=4, right=4), step("x", reason="repeats")),
    step(" "),
)
RIGHT, WRONG = (Continuation(("z",), finished=True, correct=one) for one in (True, False))


def test_every_sound_prefix_is_continued_in_one_round() -> None:
    settings = Again(of="there", rollouts=3).bound(lambda _: OTHER, "key")
    grown = Tree("p", "again", 0)
    search = begin(grown, settings)
    assert next(search) == [Draw((), 3), Draw(("a",), 3), Draw(("a", "b"), 3)]
    lost = Continuation((), reason="policy-failed")
    with pytest.raises(StopIteration) as ended:
        search.send([(RIGHT, WRONG, WRONG), (RIGHT, lost, RIGHT), (WRONG, WRONG, WRONG)])
    assert ended.value.value == "complete"
    record = grown.record("complete")
    assert [(node.step, node.right, node.rollouts) for node in record.nodes] == [
        ("", 1, 3),
        ("a", 2, 2),
        ("b", 0, 3),
        ("c", 0, 0),
    ]
    assert rollout_targets(record) == {0: 1 / 3, 1: 1.0, 2: 0.0, 3: 1.0}


def test_nothing_is_stored_where_nothing_came() -> None:
    grown = Tree("p", "again", 0)
    with pytest.raises(EngineError, match="there holds no tree"):
        next(begin(grown, Again(of="there")))
    with pytest.raises(EngineError, match="there holds no tree"):
        next(begin(grown, Again(of="there").bound(lambda _: None, "key")))
    search = begin(grown, Again(of="there", rollouts=1).bound(lambda _: OTHER, "key"))
    asked = next(search)
    with pytest.raises(EngineError, match="none of the prefixes"):
        search.send([(Continuation((), reason="policy-failed"),) for _ in asked])


def weaker(prompt: Prompt, index: int) -> str:
    """Another policy: it answers otherwise from the same prefixes."""
    return reply(prompt, index + 100)


async def test_a_second_policy_on_the_steps_of_the_first(tmp_path: Path) -> None:
    with make_run(tmp_path / "strong") as strong, make_run(tmp_path / "weak") as weak:
        first = make_method("rollouts")
        await collect(strong, first)

        def other(problem_id: str) -> TreeRecord | None:
            return trees.one(strong, first.key, problem_id)

        def again(key: str) -> Method:
            policy = make_method("rollouts", ScriptedEngine(weaker)).policy
            return Method(Again(of="strong", rollouts=3).bound(other, key), policy)

        second = again(first.key)
        assert second.key != again("other trees").key
        harvest = await collect(weak, second)
        assert (harvest.finished, harvest.failed) == (6, 0)
        assert (await collect(weak, second)).finished == 0
        records = [one.tree for one in trees.trees(strong, first.key)]
        others = [one.tree for one in trees.trees(weak, second.key)]
        assert [len(one.nodes) for one in others] == [len(one.nodes) for one in records]
        config = DataConfig(filters=FilterConfig(consensus=0.01))
        collection = Collection(strong.problems(), records, config, others)
        for row in collection.rows():
            collection.tally.add(row)
        told = collection.tally.summary()
        taken = {one.name: one.labels for one in told.filters}["no consensus at 0.01"]
        # Every prefix is known to both; where they differ on whether it can come right, it goes.
        assert 0 < taken < told.labels
        assert taken == _differing(records, others)
        assert told.row_labels == told.labels - taken


def _differing(records: list[TreeRecord], others: list[TreeRecord]) -> int:
    """Labels of which one policy says that it can come right and the other that it cannot."""
    count = 0
    for mine, theirs in zip(records, others, strict=True):
        here, there = rollout_targets(mine), rollout_targets(theirs)
        count += sum(
            ((here[node] or 0.0) > 0) != ((there[node] or 0.0) > 0) for node in here if node
        )
    return count
