"""Trees of many problems: the same whatever happens at a time, each request paid for once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from collect_data import SEARCHES, HashScorer, make_method, make_run, reply

from vilbench.collect.budget import Budget, Price, Prices
from vilbench.collect.forest import COLLECT, Width, collect, noted_key
from vilbench.collect.growth import Method
from vilbench.collect.policy import Limits
from vilbench.errors import RunStorageError
from vilbench.executors import Halt
from vilbench.search import RestMcts, TreeRecord
from vilbench.store import trees
from vilbench.store.records import Spent
from vilbench.store.run import Run
from vilbench.store.trees import Grown
from vilbench.testing import ScriptedEngine
from vilbench.types import Completion, Prompt, Sampling

ONE = Width(1, 1, 1)


def grown(run: Run, method: Method) -> dict[str, TreeRecord]:
    return {one.tree.problem_id: one.tree for one in trees.trees(run, method.key)}


def total(run: Run, method: Method, field: str) -> int:
    return sum(getattr(one, field) for one in trees.finished(run, method.key).values())


@pytest.fixture(params=list(SEARCHES))
def rule(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_every_problem_gets_its_tree_and_they_are_the_same_whatever_the_width(
    rule: str, tmp_path: Path
) -> None:
    found = []
    for place, width in enumerate((ONE, Width(2, 5, 1), Width(64, 64, 64))):
        with make_run(tmp_path / str(place)) as run:
            method = make_method(rule)
            harvest = await collect(run, method, width=width)
            assert (harvest.finished, harvest.failed, harvest.stopped) == (6, 0, "")
            assert noted_key(run) == harvest.key == method.key
            assert trees.calls(run, method.key) == {}
            found.append(grown(run, method))
    assert found[0] == found[1] == found[2]
    assert list(found[0]) == [f"p{n}" for n in range(6)]
    assert all(len(tree.nodes) > 4 for tree in found[0].values())
    assert len({tree.nodes for tree in found[0].values()}) == 6


async def test_another_seed_is_another_key(tmp_path: Path) -> None:
    method = make_method()
    others = [make_method("omega"), make_method(budget=Budget(nodes=5))]
    others.append(make_method(limits=Limits(depth=5)))
    others.append(make_method(scorer=HashScorer()))
    keys = {one.key for one in (method, *others)}
    assert len(keys) == 4  # the scorer is the one that was there before


async def test_what_is_finished_is_not_grown_again(rule: str, tmp_path: Path) -> None:
    with make_run(tmp_path) as run:
        await collect(run, make_method(rule))
        engine, scorer = ScriptedEngine(reply), HashScorer()
        harvest = await collect(
            run, make_method(rule, engine, scorer if rule[:2] == "re" else None)
        )
        assert harvest.finished == engine.requests == scorer.calls == 0


async def test_costs_are_those_of_the_requests(tmp_path: Path) -> None:
    with make_run(tmp_path) as run:
        engine, scorer = ScriptedEngine(reply), HashScorer()
        method = make_method("rest-mcts", engine, scorer)
        await collect(run, method)
        assert total(run, method, "policy_calls") == engine.requests
        assert total(run, method, "continuations") == engine.completions
        assert total(run, method, "evaluator_calls") >= len(scorer.scored)
        spent = trees.finished(run, method.key).values()
        assert sum(one.evaluator.completion_tokens for one in spent) == 2 * len(scorer.scored)
        assert all(one.policy.completion_tokens > 0 for one in spent)
        nodes = sum(len(tree.nodes) - 1 for tree in grown(run, method).values())
        assert total(run, method, "nodes") == nodes


async def test_many_trees_fill_the_places_and_no_more(tmp_path: Path) -> None:
    with make_run(tmp_path, 30) as run:
        engine, scorer = ScriptedEngine(reply), HashScorer()
        method = make_method("rest-mcts", engine, scorer)
        await collect(run, method, width=Width(trees=20, policy=7, evaluator=3))
        assert engine.most_in_flight == 7
        assert scorer.most_in_flight == 3


async def test_leaves_of_a_round_are_one_call_of_the_evaluator(tmp_path: Path) -> None:
    with make_run(tmp_path, 1) as run:
        scorer = HashScorer()
        await collect(run, make_method("rest-mcts", scorer=scorer))
        assert scorer.calls < len(scorer.scored)
        assert Counter(scorer.scored).most_common(1)[0][1] <= 2


class Stopping(ScriptedEngine):
    """Raises `Stopped` at a request of its choice, as a kill would, and logs what is asked."""

    def __init__(self, after: int | None, log: list[tuple[object, ...]]) -> None:
        super().__init__(reply, name="policy")
        self._after = after
        self._log = log

    async def generate(
        self, prompt: Prompt, n: int, sampling: Sampling, seed: int, *, first: int = 0
    ) -> list[Completion]:
        if self._after is not None and len(self.prompts) >= self._after:
            raise Stopped
        found = await super().generate(prompt, n, sampling, seed, first=first)
        self._log.append((prompt.parts, prompt.prefill, n, sampling, seed, first))
        return found


class Stopped(BaseException):
    """Not even an `Exception`, so that nothing holds it up."""


@pytest.mark.parametrize("after", [1, 2, 7, 12, 23])
async def test_stopped_anywhere_it_goes_on_and_pays_for_nothing_twice(
    rule: str, after: int, tmp_path: Path
) -> None:
    log: list[tuple[object, ...]] = []
    with make_run(tmp_path / "whole") as run:
        method = make_method(rule, Stopping(None, log))
        await collect(run, method)
        whole = grown(run, method)
        requests, log[:] = Counter(log), []
    assert max(requests.values()) == 1
    with make_run(tmp_path / "cut") as run:
        for _ in range(100):
            try:
                await collect(run, make_method(rule, Stopping(after, log)), width=ONE)
            except (Stopped, BaseExceptionGroup):
                continue
            break
        assert grown(run, method) == whole
    # What was under way when it was stopped was never answered, so nothing was paid twice.
    assert Counter(log) == requests


async def test_costs_do_not_depend_on_stops(tmp_path: Path) -> None:
    found: list[list[Spent]] = []
    for after in (None, 5):
        with make_run(tmp_path / str(after)) as run:
            method = make_method("omega", Stopping(after, []))
            for _ in range(50):
                try:
                    await collect(run, make_method("omega", Stopping(after, [])), width=ONE)
                    break
                except (Stopped, BaseExceptionGroup):
                    continue
            spent = trees.finished(run, method.key).values()
            found.append([one.model_copy(update={"seconds": 0.0}) for one in spent])
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("budget", "field"),
    [
        (Budget(nodes=6), "budget-nodes"),
        (Budget(policy_tokens=200), "budget-policy-tokens"),
        (Budget(evaluator_calls=5), "budget-evaluator-calls"),
        (Budget(money=0.5), "budget-money"),
        (Budget(seconds=1e-9), "budget-seconds"),
    ],
)
async def test_a_limit_of_a_tree_ends_it_between_rounds(
    budget: Budget, field: str, tmp_path: Path
) -> None:
    prices = Prices(Price(1000, 2000), Price(500, 500))
    with make_run(tmp_path) as run:
        method = make_method("rest-mcts", budget=budget, prices=prices)
        harvest = await collect(run, method)
        assert harvest.ended == {field: 6}
        free = make_method("rest-mcts")
        await collect(run, free)
        for name, tree in grown(run, method).items():
            nodes = grown(run, free)[name].nodes
            assert 1 < len(tree.nodes) < len(nodes)
            assert [n.step for n in tree.nodes] == [n.step for n in nodes[: len(tree.nodes)]]


async def test_a_limit_of_the_run_leaves_trees_unfinished_and_a_higher_one_goes_on(
    tmp_path: Path,
) -> None:
    with make_run(tmp_path / "whole") as run:
        method = make_method("rest-mcts")
        await collect(run, method)
        whole = grown(run, method)
        tokens = sum(
            one.policy.completion_tokens for one in trees.finished(run, method.key).values()
        )
    log: list[tuple[object, ...]] = []
    with make_run(tmp_path / "cut") as run:
        method = make_method("rest-mcts", Stopping(None, log))
        harvest = await collect(
            run, method, width=Width(2, 4, 4), total=Budget(policy_tokens=tokens // 2)
        )
        assert harvest.stopped == "budget-policy-tokens"
        assert 0 < harvest.finished < 6
        assert grown(run, method).items() <= whole.items()
        assert run.failures() == []
        asked = len(log)
        again = await collect(run, method, total=Budget(policy_tokens=tokens // 2))
        assert (again.finished, len(log)) == (0, asked)
        await collect(run, method)
        assert grown(run, method) == whole
        assert max(Counter(log).values()) == 1


async def test_a_policy_that_fails_altogether_is_a_failure_and_tried_again(tmp_path: Path) -> None:
    engine = ScriptedEngine(reply, failures={"sum 2?": 1})
    with make_run(tmp_path) as run:
        method = make_method("rollouts", engine)
        harvest = await collect(run, method)
        assert (harvest.finished, harvest.failed) == (5, 1)
        (failure,) = run.failures()
        assert (failure.stage, failure.problem_id) == (COLLECT, "p2")
        assert "scripted failure" in failure.error
        harvest = await collect(run, method)
        assert (harvest.finished, harvest.failed) == (1, 0)
        assert run.failures() == []


async def test_a_policy_that_fails_once_ends_one_branch(tmp_path: Path) -> None:
    engine = ScriptedEngine(reply, failures={"I see 1 at 1.": 1})
    with make_run(tmp_path, 1) as run:
        search = RestMcts(enough=None, rounds=5, leaves=3, ahead=0)
        method = replace(make_method("rest-mcts", engine), search=search)
        harvest = await collect(run, method)
        assert (harvest.finished, harvest.request_errors) == (1, 1)
        reasons = Counter(node.reason for node in grown(run, method)["p0"].nodes)
        assert reasons["policy-failed"] == 1
        assert len(reasons) == 2


async def test_an_evaluator_that_fails_ends_the_branches_it_was_asked_about(
    tmp_path: Path,
) -> None:
    with make_run(tmp_path, 4) as run:
        method = make_method("rest-mcts", scorer=HashScorer(failing="I see 1 at 2."))
        harvest = await collect(run, method)
        assert harvest.finished == 4
        assert harvest.request_errors > 0
        nodes = [node for tree in grown(run, method).values() for node in tree.nodes]
        ended = [node for node in nodes if node.reason]
        assert {node.reason for node in ended} == {"evaluator-failed"}
        assert all(node.judged is None for node in ended)
        assert any(node.judged is not None for node in nodes)


async def test_an_evaluator_without_a_verdict_ends_that_branch_alone(tmp_path: Path) -> None:
    with make_run(tmp_path, 4) as run:
        method = make_method("rest-mcts", scorer=HashScorer(silent="I see 1 at 2."))
        harvest = await collect(run, method)
        assert (harvest.finished, harvest.request_errors) == (4, 0)
        nodes = [node for tree in grown(run, method).values() for node in tree.nodes]
        silent = [node for node in nodes if "I see 1 at 2." in node.step]
        assert silent
        assert {node.reason for node in silent} == {"no-verdict"}
        assert {node.reason for node in nodes if node not in silent} == {""}


FAULTS: dict[str, tuple[str, str]] = {
    "writes nothing": ("", "empty-step"),
    "writes blanks": ("  \n \n", "empty-step"),
    "never finishes": ("Step 1: " + "and so on " * 500, "step-too-long"),
    "repeats itself": ("Step {n}: the same.\nStep {m}: the same.", "repeats"),
    "writes a novel": ("Step {n}: " + "x" * 10_000 + "\nAnswer: 5", "step-too-long"),
    "never ends": ("Step {n}: {n} more.\nStep {m}: {m} more.", "too-deep"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_policy_of_no_use_ends_its_branches_with_the_reason(
    fault: str, rule: str, tmp_path: Path
) -> None:
    text, reason = FAULTS[fault]

    def useless(prompt: Prompt, index: int) -> str:
        number = prompt.prefill.count("Step ") + 1
        return text.format(n=number, m=number + 1)

    limits = Limits(tokens=3000, step_tokens=3000, step_characters=900, depth=3)
    if fault == "never ends" and rule != "rest-mcts":
        return  # what ends there ends as a wrong solution
    with make_run(tmp_path, 2) as run:
        method = make_method(rule, ScriptedEngine(useless), limits=limits)
        harvest = await collect(run, method)
        assert (harvest.finished, harvest.failed) == (2, 0)
        for tree in grown(run, method).values():
            ended = {node.reason for node in tree.nodes if node.reason}
            # A search that goes through whole solutions and got not one step has no node for it.
            assert ended == {reason} or (reason == "empty-step" and len(tree.nodes) == 1)
            assert all(len(node.step) <= 900 for node in tree.nodes)


async def test_an_answer_in_step_one_is_a_solution(rule: str, tmp_path: Path) -> None:
    with make_run(tmp_path, 2) as run:
        method = make_method(rule, ScriptedEngine({"": ["Step 1: it is 5.\nAnswer: 5"]}))
        await collect(run, method)
        for tree in grown(run, method).values():
            assert [(n.finished, n.correct) for n in tree.nodes[1:]] == [(True, True)]


async def test_a_full_disk_ends_the_run_with_its_own_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise RunStorageError("the disk is full")

    with make_run(tmp_path) as run:
        monkeypatch.setattr(trees, "put", full)
        with pytest.raises(RunStorageError, match="the disk is full"):
            await collect(run, make_method("rest-mcts"))
        assert len(asyncio.all_tasks()) == 1


async def test_answers_of_one_turn_are_one_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: list[int] = []
    put = trees.put

    def counted(run: Run, key: str, calls: Sequence[Any], grown: Sequence[Grown] = ()) -> None:
        commits.append(len(calls) + len(grown))
        put(run, key, calls, grown)

    monkeypatch.setattr(trees, "put", counted)
    with make_run(tmp_path, 40) as run:
        await collect(run, make_method("rollouts"), width=Width(40, 200, 40))
    assert sum(commits) == 400
    assert len(commits) < 20


async def test_a_wish_to_stop_waits_for_what_is_under_way_and_begins_nothing_more(
    rule: str, tmp_path: Path
) -> None:
    halt = Halt()

    class Halting(ScriptedEngine):
        async def generate(
            self, prompt: Prompt, n: int, sampling: Sampling, seed: int, *, first: int = 0
        ) -> list[Completion]:
            halt.asked = halt.asked or self.requests >= 3
            return await super().generate(prompt, n, sampling, seed, first=first)

    scorer = HashScorer() if rule[:2] == "re" else None
    with make_run(tmp_path / "whole") as run:
        engine = ScriptedEngine(reply)
        await collect(run, make_method(rule, engine, scorer), width=ONE)
        whole, every = grown(run, make_method(rule, engine, scorer)), engine.requests
    with make_run(tmp_path / "torn") as run:
        first = Halting(reply)
        harvest = await collect(run, make_method(rule, first, scorer), width=ONE, halt=halt)
        assert harvest.stopped == "interrupt"
        assert first.requests < every
        rest = ScriptedEngine(reply)
        method = make_method(rule, rest, scorer)
        await collect(run, method, width=ONE)
        assert grown(run, method) == whole
        assert first.requests + rest.requests == every
