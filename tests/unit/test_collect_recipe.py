"""Recipes that collect: what they may say, what changes a tree, and what is built of them."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
from collect_data import reply

from vilbench import config
from vilbench.collect.budget import Budget, Price, Prices
from vilbench.collect.policy import Limits
from vilbench.config import classes
from vilbench.config.engine import LocalEngineConfig
from vilbench.config.scorers import JudgeConfig, PrmScorerConfig
from vilbench.errors import RecipeError
from vilbench.search import Rollouts
from vilbench.steps import FORMATS
from vilbench.testing import ScriptedEngine

GOOD = """\
name: mine
seed: 3
problems: {source: puzzles, split: train, limit: 4}
policy:
  engine: {kind: local, model: "embedded:small"}
  format: steps-brief
  max_tokens: 99
search: {rule: rest-mcts, rounds: 4}
evaluator:
  scorer:
    kind: judge
    name: judge
    granularity: step
    engine: {kind: local, model: "embedded:small"}
  grade_weight: 1.0
budget: {nodes: 50}
"""


def parsed(text: str, folder: Path) -> config.CollectRecipe:
    path = folder / "mine.yaml"
    path.write_text(text)
    return config.load_collecting(str(path))


def shipped() -> list[str]:
    return [Path(one.name).stem for one in files("vilbench.recipes").joinpath("collect").iterdir()]


@pytest.mark.parametrize("name", shipped())
def test_shipped_recipes_load(name: str) -> None:
    recipe = config.load_collecting(name)
    assert recipe.name == name
    assert "puzzles:test" not in recipe.problem_set


def test_the_twins_are_there() -> None:
    assert {"vilreward-collect", "embedded-collect", "embedded-rollouts"} <= set(shipped())


@pytest.mark.parametrize("place", ["policy", "evaluator"])
def test_keys_of_servers_are_looked_for(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("A_KEY", raising=False)
    served = '{kind: openai, model: m, server: vllm, base_url: "http://x/v1", api_key_env: A_KEY}'
    local = '{kind: local, model: "embedded:small"}'
    head, middle, tail = GOOD.split(local)
    text = f"{head}{served}{middle}{local}{tail}"
    if place == "evaluator":
        text = f"{head}{local}{middle}{served}{tail}"
    config.check_keys(parsed(GOOD, tmp_path))
    recipe = parsed(text, tmp_path)
    with pytest.raises(RecipeError, match="A_KEY holds no key"):
        config.check_keys(recipe)
    monkeypatch.setenv("A_KEY", "sk-one")
    config.check_keys(recipe)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("rounds: 4", "rounds: 0", "line 8|row 8"),
        ("rounds: 4", "round: 4", "search.round"),
        ("rest-mcts", "best-mcts", "search"),
        ("rule: rest-mcts, ", "", "search.rule"),
        ("granularity: step", "granularity: steps", "evaluator.scorer.granularity"),
        ("nodes: 50", "nodes: yes", "budget.nodes"),
        ("budget: {nodes: 50}", "budget: {money: 5}", "prices"),
        ("  grade_weight: 1.0", "  grade_weight: 0.0\n  scorer_weight: 0.0", "above 0"),
    ],
)
def test_faults_are_placed(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in GOOD
    with pytest.raises(RecipeError, match=said) as caught:
        parsed(GOOD.replace(old, new), tmp_path)
    assert "mine.yaml" in str(caught.value)


def test_a_search_that_nothing_values_is_refused(tmp_path: Path) -> None:
    head, _, tail = GOOD.partition("evaluator:")
    without = head + tail[tail.index("budget") :]
    with pytest.raises(RecipeError, match="ahead: null"):
        parsed(without, tmp_path)
    recipe = parsed(without.replace("rounds: 4", "rounds: 4, ahead: null"), tmp_path)
    assert recipe.evaluator.scorer is None


def test_identity_holds_what_changes_a_tree_and_no_more(tmp_path: Path) -> None:
    recipe = parsed(GOOD, tmp_path)
    same = {
        "width.trees": 3,
        "total.nodes": 9,
        "prices.policy.prompt": 2.0,
        "max_failures": 0.5,
        "policy.engine.device": "cpu",
    }
    assert recipe.changed(same).identity() == recipe.identity()
    for path, value in {
        "policy.temperature": 0.5,
        "policy.max_depth": 3,
        "search.branch": 2,
        "evaluator.grade_weight": 2.0,
        "budget.nodes": 51,
        "problems.limit": 5,
    }.items():
        assert recipe.changed({path: value}).identity() != recipe.identity(), path
    priced = {"prices.policy.prompt": 2.0, "budget.money": 1.0}
    dearer = {**priced, "prices.policy.prompt": 3.0}
    assert recipe.changed(priced).identity() != recipe.changed(dearer).identity()


def test_models_are_named_once(tmp_path: Path) -> None:
    assert parsed(GOOD, tmp_path).models() == ("embedded:small",)
    head, _, tail = GOOD.partition("    kind: judge")
    by_prm = '    kind: prm\n    model: "embedded:vilprm"\n'
    other = head + by_prm + tail[tail.index("  grade_weight") :]
    assert parsed(other, tmp_path).models() == ("embedded:small", "embedded:vilprm")


def engine(folder: object, **options: object) -> ScriptedEngine:
    """Stands for a local model."""
    return ScriptedEngine(reply, name=str(options["name"]))


def test_what_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(classes._CLASSES, "engine/local", f"{__name__}:engine")
    text = GOOD.replace("budget: {nodes: 50}", "budget: {nodes: 50, money: 2}")
    text += "total: {seconds: 9}\nwidth: {policy: 5}\nprices: {policy: {completion: 7}}\n"
    built = config.build_method(parsed(text, tmp_path))
    assert len(built.engines) == 1
    method = built.method
    assert method.policy.limits == Limits(99, 256, 2000, 32)
    assert (method.policy.seed, method.policy.format) == (3, FORMATS["steps-brief"])
    evaluator = method.evaluator
    assert (evaluator.reading, evaluator.low, evaluator.high) == ("last-steps", 1, 5)
    assert (evaluator.scorer_weight, evaluator.grade_weight) == (1, 1)
    assert method.budget == Budget(nodes=50, money=2)
    assert method.prices == Prices(Price(0, 7))
    assert (built.total, built.width.policy, built.width.trees) == (Budget(seconds=9), 5, 64)
    whole = GOOD.replace("granularity: step", "granularity: solution")
    assert config.build_method(parsed(whole, tmp_path)).method.evaluator.reading == "whole"


def test_the_grade_alone_needs_no_scorer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(classes._CLASSES, "engine/local", f"{__name__}:engine")
    built = config.build_method(config.load_collecting("embedded-rollouts"))
    assert built.method.evaluator.scorer is None
    assert isinstance(built.method.search, Rollouts)


def test_local_models_recall_unless_told_otherwise(tmp_path: Path) -> None:
    def recalls(recipe: config.CollectRecipe) -> tuple[bool, bool]:
        judge = recipe.evaluator.scorer
        assert isinstance(judge, JudgeConfig)
        engines = recipe.policy.engine, judge.engine
        first, second = (one.recall for one in engines if isinstance(one, LocalEngineConfig))
        return first, second

    first = parsed(GOOD, tmp_path)
    assert recalls(first) == (True, True)
    told = parsed(GOOD.replace('"embedded:small"}', '"embedded:small", recall: false}'), tmp_path)
    assert recalls(told) == (False, False)
    # A run may go on with the other: what is found is the same.
    assert told.identity() == first.identity()
    solver = config.load("embedded").sample.engine
    assert isinstance(solver, LocalEngineConfig) and not solver.recall


def test_reward_models_recall_unless_told_otherwise(tmp_path: Path) -> None:
    head, _, tail = GOOD.partition("    kind: judge")
    _, _, tail = tail.partition("\n  grade")
    told = {"": True, "    recall: true\n": True, "    recall: false\n": False}
    for line, expected in told.items():
        text = f'{head}    kind: prm\n    model: "embedded:vilprm"\n{line}  grade{tail}'
        scorer = parsed(text, tmp_path).evaluator.scorer
        assert isinstance(scorer, PrmScorerConfig) and scorer.recall == expected
    assert not any(one.recall for one in config.load("embedded").scorers if one.kind == "prm")


def test_a_search_is_scored_anew_without_recall() -> None:
    """What it becomes is a run like any other, whose values hang on nothing asked before."""
    search = config.load_searching("embedded-search")
    assert isinstance(search.scorer, PrmScorerConfig) and search.scorer.recall
    run = search.run()
    (scorer,) = run.scorers
    assert isinstance(scorer, PrmScorerConfig) and not scorer.recall
    assert isinstance(run.sample.engine, LocalEngineConfig) and not run.sample.engine.recall
