"""Which models of a recipe go to workers, and what the options of a command ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pool_data import Crew
from typer.testing import CliRunner

from vilbench import config
from vilbench.cli.app import app
from vilbench.config import staffing
from vilbench.config.staff import ExecutorConfig, Staff, roles
from vilbench.errors import InputError, RecipeError
from vilbench.evaluate.stages import SAMPLE, SCORE
from vilbench.executors import cluster
from vilbench.executors.bench import Facts
from vilbench.testing import ScriptedEngine, TableScorer

EXECUTOR = ExecutorConfig(workers=3, jobs=4)
BOTH = (SAMPLE, SCORE)
SERVED = {"kind": "openai", "model": "m", "base_url": "http://127.0.0.1:1/v1"}


def held(recipe: Any, stages: tuple[str, ...] = BOTH) -> list[tuple[str, int]]:
    found = []
    for role in roles(recipe, stages, EXECUTOR):
        named: Any = role.config
        found.append((getattr(named, "name", None) or named.model, role.at_once))
    return found


def test_what_is_loaded_goes_to_workers_each_once() -> None:
    recipe = config.load("embedded")
    scorers = [
        *(("judge-orm", 1), ("judge-prm", 1), ("likelihood", 1), ("prm", 1)),
        ("prm-untrained", 1),
    ]
    assert held(recipe) == [("embedded:small", 4), *scorers]
    assert held(recipe, (SAMPLE,)) == [("embedded:small", 4)]
    assert held(recipe, (SCORE,)) == scorers
    same = {"engine": {"kind": "local", "model": "embedded:small"}}
    assert held(recipe.changed({"sample.extraction": same}), (SAMPLE,)) == [("embedded:small", 4)]


def test_what_is_served_is_asked_from_here() -> None:
    recipe = config.load("embedded").only(["judge-prm", "prm"])
    changed = recipe.changed({"sample.engine": SERVED})
    assert [name for name, _ in held(changed)] == ["judge-prm", "prm"]
    judged = changed.model_dump(mode="json")
    judged["scorers"][0]["engine"] = SERVED
    judged["scorers"][1] = {"kind": "remote", "base_url": "http://127.0.0.1:1/v1"}
    del judged["main"]
    assert held(config.parse(judged, "recipe")) == []


def test_searches_hold_policy_and_evaluator() -> None:
    assert held(config.load_collecting("embedded-collect")) == [
        ("embedded:small", 4),
        ("judge-prm", 4),
    ]
    assert held(config.load_collecting("embedded-rollouts")) == [("embedded:small", 4)]


def test_folders_travel_by_their_whole_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = config.load("embedded").only(["judge-prm", "prm"])
    data = recipe.model_dump(mode="json")
    data["sample"]["engine"]["model"] = data["scorers"][0]["engine"]["model"] = "models/small"
    data["scorers"][1]["model"] = "models/prm"
    moved = config.parse(data, "recipe")
    engine, judge, prm = (role.config for role in roles(moved, BOTH, EXECUTOR))
    assert isinstance(engine, config.LocalEngineConfig)
    assert isinstance(judge, config.JudgeConfig)
    assert judge.engine == engine
    assert engine.model == str(tmp_path / "models/small")
    assert prm.model == str(tmp_path / "models/prm")  # type: ignore[union-attr]


async def test_a_run_is_built_over_workers() -> None:
    recipe = config.load("embedded").only(["judge-prm", "prm"])
    wanted = roles(recipe, BOTH, EXECUTOR)
    models = [ScriptedEngine({}), *(TableScorer(name, "step", {}) for name in ("j", "p"))]
    pool = Crew(lambda number: models).pool(1)
    staff = Staff(pool, wanted, await pool.open(), EXECUTOR.workers)
    built = config.build(recipe, BOTH, staff)
    assert built.sampler is not None
    assert built.sampler.generator.fingerprint == ScriptedEngine({}).fingerprint
    assert [one.name for one in built.scorers] == ["j", "p"]
    # As many as the workers take, and one for each to go on with.
    assert (built.concurrency, built.widths) == (15, (6, 6))
    assert built.engines == (pool,)
    alone = config.build(recipe.changed({"sample.engine": SERVED}), (SAMPLE,), staff)
    assert alone.concurrency == recipe.concurrency
    assert [type(one).__name__ for one in alone.engines] == ["OpenAIEngine", "Pool"]
    await pool.aclose()


async def test_a_search_is_as_wide_as_its_workers() -> None:
    recipe = config.load_collecting("embedded-collect")
    wanted = roles(recipe, BOTH, EXECUTOR)
    facts = (Facts("small", "f", None), Facts("judge-prm", "g", "step"))
    pool = Crew().pool(1)
    built = config.build_method(recipe, Staff(pool, wanted, facts, EXECUTOR.workers))
    assert (built.width.policy, built.width.evaluator, built.width.trees) == (15, 15, 16)
    wide = Staff(pool, wanted, facts, 64)
    assert config.build_method(recipe, wide).width.trees == 320


async def test_nothing_is_begun_for_servers_alone() -> None:
    recipe = config.load("embedded").changed({"sample.engine": SERVED})
    said: list[str] = []
    async with staffing.staffed(EXECUTOR, recipe, (SAMPLE,), said.append) as staff:
        assert staff is None
    assert "no worker is begun" in said[0]
    async with staffing.staffed(None, recipe, (SAMPLE,), said.append) as staff:
        assert staff is None
    assert len(said) == 1


async def test_without_ray_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*given: object) -> Any:
        raise ModuleNotFoundError("No module named 'ray'", name="ray")

    monkeypatch.setattr(cluster, "connected", missing)
    with pytest.raises(RecipeError, match=r"pip install 'vilbench\[ray\]'"):
        async with staffing.staffed(EXECUTOR, config.load("embedded"), say=print):
            pass


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[ExecutorConfig]:
    """What commands ask for; they end there."""
    found: list[ExecutorConfig] = []

    def staffed(executor: ExecutorConfig, *_: object, **__: object) -> None:
        found.append(executor)
        raise InputError("as far as this test goes")

    monkeypatch.setattr(config, "staffed", staffed)
    return found


OPTIONS = (
    *("--executor", "ray", "--address", "10.0.0.1:6379", "--workers", "4"),
    *("--per-worker", "gpus=0.5, cpus=2,jobs=16,tries=2,seconds=60"),
)


@pytest.mark.parametrize(
    "command",
    [
        ("run", "embedded", "--limit", "1"),
        ("sample", "embedded", "--limit", "1"),
        ("collect", "embedded-collect", "--limit", "1"),
        ("search", "embedded-search", "--limit", "1"),
    ],
)
def test_options_say_what_workers_take(
    command: tuple[str, ...], tmp_path: Path, asked: list[ExecutorConfig]
) -> None:
    done = CliRunner().invoke(app, [*command, *OPTIONS, "--out", str(tmp_path / "run")])
    assert (done.exit_code, "as far as this test goes" in done.output) == (2, True)
    assert asked == [
        ExecutorConfig(
            address="10.0.0.1:6379", workers=4, gpus=0.5, cpus=2, jobs=16, tries=2, seconds=60
        )
    ]


def test_score_takes_them_too(tmp_path: Path, asked: list[ExecutorConfig]) -> None:
    folder = str(tmp_path / "run")
    begun = ["sample", "embedded", "--limit", "1", "--out", folder, "--executor", "ray"]
    CliRunner().invoke(app, begun)
    done = CliRunner().invoke(app, ["score", folder, "--executor", "ray", "--workers", "2"])
    assert "as far as this test goes" in done.output
    assert asked == [ExecutorConfig(), ExecutorConfig(workers=2)]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--workers", "2"], "--workers"),
        (["--address", "auto"], "--address"),
        (["--executor", "dask"], "none of ray"),
        (["--executor", "ray", "--per-worker", "gpus"], "NAME=NUMBER"),
        (["--executor", "ray", "--per-worker", "ram=4"], "NAME=NUMBER"),
        (["--executor", "ray", "--per-worker", "gpus=-1"], "gpus"),
        (["--executor", "ray", "--per-worker", "jobs=0"], "jobs"),
        (["--executor", "ray", "--per-worker", "cpus=many"], "cpus"),
        (["--executor", "ray", "--per-worker", "cpus=nan"], "cpus"),
        (["--executor", "ray", "--workers", "0"], "--workers"),
    ],
)
def test_wrong_options_are_refused(options: list[str], told: str, tmp_path: Path) -> None:
    command = ["sample", "embedded", "--out", str(tmp_path / "run"), *options]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 2
    assert told in done.output
    assert not (tmp_path / "run").exists()
