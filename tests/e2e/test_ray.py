"""Runs on a cluster of two machines, which are two processes here: the same, whatever is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from ray_models import Setting, begun, build

from vilbench import config
from vilbench.collect.forest import collect
from vilbench.config.building import build_all
from vilbench.config.staff import ExecutorConfig, Role, Staff, roles
from vilbench.errors import RunError
from vilbench.evaluate.pools import Scale
from vilbench.evaluate.sampling import Sampler, sample
from vilbench.evaluate.scoring import score
from vilbench.evaluate.stages import SAMPLE, SCORE, noted
from vilbench.executors.cluster import LOOPBACK, Needs, connected, hiring
from vilbench.executors.models import pooled
from vilbench.executors.pool import Pool
from vilbench.guided.solutions import Answering, answer
from vilbench.steps import FORMATS
from vilbench.store import trees
from vilbench.store.manifest import Manifest
from vilbench.store.run import Run
from vilbench.testing import make_problem
from vilbench.types import Sampling

pytestmark = pytest.mark.ray

PROBLEMS = 24
LIMIT = 6
"""Of problems where models are at work."""

N = 2
HERE = Path(__file__).parent
SETTINGS = {
    **LOOPBACK,
    "PYTHONPATH": str(HERE),
    "OMP_NUM_THREADS": "1",
}
IMPATIENT = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 300,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 2,
}


class Machines(NamedTuple):
    """The cluster: one machine that stays, and the way to others."""

    cluster: Any
    address: str

    def another(self) -> Any:
        return self.cluster.add_node(num_cpus=1, object_store_memory=80_000_000)


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SETTINGS.items():
            patch.setenv(name, value)
        pytest.importorskip("ray", reason="ray is not installed: pip install 'vilbench[ray]'")
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 2, "object_store_memory": 80_000_000, "_system_config": IMPATIENT}
        cluster = Cluster(initialize_head=True, head_node_args={**head, "include_dashboard": False})
        with connected(cluster.address, 1, Needs()):
            yield Machines(cluster, cluster.address)
        cluster.shutdown()


def a_run(folder: Path, questions: Sequence[str] = ()) -> Run:
    names = [f"p{place}" for place in range(PROBLEMS)]
    run = Run.open(folder, Manifest.of("scripted", {}, seed=0, problem_set="sums"))
    run.add_problems([make_problem(id=name, question=f"{name}?") for name in [*names, *questions]])
    return run


def setting(folder: Path) -> Setting:
    return Setting(str(folder / "log"), str(folder / "held"))


def sampler(generator: Any) -> Sampler:
    return Sampler(generator, FORMATS["steps-brief"], N, Sampling(), seed=0)


def rows(folder: Path) -> tuple[Any, Any]:
    """Solutions and scores of a run, by problem and index."""
    with Run.read(folder) as run:
        begun = noted(run)
        solutions = run.solutions(begun.sample_key)
        return solutions, {name: run.scores(key) for name, key in begun.score_keys.items()}


@asynccontextmanager
async def hired(folder: Path, workers: int) -> AsyncIterator[Pool]:
    pool = Pool(hiring(build, [setting(folder)], Needs()), workers)
    try:
        yield pool
    finally:
        await pool.aclose()


async def sampled_and_scored(run: Run, pool: Pool, concurrency: int = 6) -> None:
    engine, scorer = await pool.open()
    generator = pooled(pool, 0, engine, 2)
    await sample(run, sampler(generator), concurrency=concurrency)
    await score(run, pooled(pool, 1, scorer, 2), noted(run).sample_key, concurrency=concurrency)


async def until(log: Path, reached: Callable[[], bool]) -> list[tuple[int, str]]:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    return begun(log)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """Rows of the same run without workers."""
    folder = tmp_path_factory.mktemp("plain")

    async def main() -> None:
        engine, scorer = build([setting(folder)])
        with a_run(folder / "run") as run:
            await sample(run, sampler(engine))
            await score(run, scorer, noted(run).sample_key)

    asyncio.run(main())
    return rows(folder / "run")


async def test_the_run_ends_complete_when_a_worker_and_a_machine_are_killed(
    machines: Machines, tmp_path: Path, plain: tuple[Any, Any]
) -> None:
    other = machines.another()
    log, held = tmp_path / "log", tmp_path / "held"
    held.touch()
    with a_run(tmp_path / "run") as run:
        async with hired(tmp_path, workers=3) as pool:
            work = asyncio.create_task(sampled_and_scored(run, pool))
            (worker, _), *_ = await until(log, lambda: len(begun(log)) == 6)
            os.kill(worker, signal.SIGKILL)
            # Another stands in its place, and has begun one of its jobs.
            await until(log, lambda: len({pid for pid, _ in begun(log)}) == 4)
            other.all_processes["raylet"][0].process.kill()
            await until(log, lambda: pool.counts.lost == 2)
            held.unlink()
            await asyncio.wait_for(work, 60)
            # Two of the worker, one or two of the machine.
            assert 3 <= pool.counts.again <= 4
            assert (pool.counts.set_aside, run.failures()) == (0, [])
            assert pool.counts.jobs == 2 * PROBLEMS
    machines.cluster.remove_node(other, allow_graceful=False)
    assert len(begun(log)) == 2 * PROBLEMS + pool.counts.again
    assert rows(tmp_path / "run") == plain


async def test_a_problem_that_ends_its_workers_is_set_aside(
    machines: Machines, tmp_path: Path, plain: tuple[Any, Any]
) -> None:
    log, folder = tmp_path / "log", tmp_path / "run"
    with a_run(folder, ["poison"]) as run:
        async with hired(tmp_path, workers=2) as pool:
            await sampled_and_scored(run, pool)
            assert pool.counts.set_aside == 1
        (failure,) = run.failures()
        assert (failure.stage, failure.problem_id) == (SAMPLE, "poison")
        assert "set aside, tried 3 times: its worker ended" in failure.error
    tries = [pid for pid, question in begun(log) if question == "poison"]
    assert len(tries) == len(set(tries)) == 3
    assert rows(folder) == plain


async def test_no_more_is_under_way_than_workers_take(machines: Machines, tmp_path: Path) -> None:
    log = tmp_path / "log"
    (tmp_path / "held").touch()
    with a_run(tmp_path / "run") as run:
        async with hired(tmp_path, workers=2) as pool:
            work = asyncio.create_task(sampled_and_scored(run, pool, concurrency=PROBLEMS))
            await until(log, lambda: len(begun(log)) >= 4)
            await asyncio.sleep(0.5)
            assert list(Counter(pid for pid, _ in begun(log)).values()) == [2, 2]
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


def test_a_cluster_is_on_the_loopback_alone(machines: Machines) -> None:
    import ray

    pids = [
        one.pid
        for node in machines.cluster.list_all_nodes()
        for some in node.all_processes.values()
        for one in (process.process for process in some)
    ]
    heard = []
    for pid in pids:
        for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
            with suppress(psutil.NoSuchProcess):  # a worker that ended meanwhile
                heard += [
                    connection.laddr.ip
                    for connection in process.net_connections()
                    if connection.status == psutil.CONN_LISTEN
                ]
    assert heard
    assert {ip.removeprefix("::ffff:") for ip in heard} == {"127.0.0.1"}
    assert ray.is_initialized()


EXACT = ExecutorConfig(workers=2, jobs=1)
"""One problem at a time on each worker: then not even rounding depends on where it runs."""


class Recipes(NamedTuple):
    """The same models in a run, in collecting and in a search."""

    run: config.Recipe
    collecting: config.CollectRecipe
    searching: config.SearchRecipe


def recipes() -> Recipes:
    few: dict[str, object] = {"problems.limit": LIMIT, "sample.n": N}
    narrow = {
        "problems.limit": 1,
        "width": {"trees": 1, "policy": 1, "evaluator": 1},
        # What a model recalls depends on what it was asked before, and values by rounding on that.
        "policy.engine.recall": False,
    }
    trees = {"budget.nodes": 8, "evaluator.scorer.engine.recall": False}
    beams = {"search.beams": [2], "scorer.recall": False}
    return Recipes(
        config.load("embedded").changed(few).only(["judge-prm", "prm"]),
        config.load_collecting("embedded-collect").changed({**narrow, **trees}),
        config.load_searching("embedded-search").changed({**narrow, **beams}),
    )


@asynccontextmanager
async def embedded(made: Recipes) -> AsyncIterator[Staff]:
    """Workers that hold the models of all three."""
    wanted: dict[str, Role] = {}
    for recipe in (made.run, made.collecting, made.searching.trees()):
        wanted |= {role.key: role for role in roles(recipe, (SAMPLE, SCORE), EXACT)}
    held = tuple(wanted.values())
    pool = Pool(hiring(build_all, [role.config for role in held], Needs()), EXACT.workers)
    try:
        yield Staff(pool, held, await pool.open(), EXACT.workers)
    finally:
        await pool.aclose()


async def all_three(made: Recipes, folder: Path, staff: Staff | None) -> None:
    """Samples and scores, collects, and searches, each into a folder of its own."""
    built = config.build(made.run, staff=staff)
    assert built.sampler is not None
    with opened(made.run, folder / "run") as run:
        await sample(run, built.sampler, concurrency=built.concurrency)
        for scorer, width in zip(built.scorers, built.widths, strict=True):
            await score(run, scorer, noted(run).sample_key, concurrency=width)
        assert run.failures() == []
    collecting = config.build_method(made.collecting, staff)
    with opened(made.collecting, folder / "collect") as run:
        await collect(run, collecting.method, width=collecting.width)
    searching = config.build_method(made.searching.trees(), staff)
    with opened(made.searching, folder / "search") as run:
        await collect(run, searching.method, width=searching.width)
        answer(run, Answering(searching.method, Scale(0.0, 1.0)))
    if staff is None:
        for engine in (*built.engines, *collecting.engines, *searching.engines):
            await engine.aclose()


def opened(recipe: Any, folder: Path) -> Run:
    manifest = Manifest.of(
        recipe.name, recipe.identity(), seed=recipe.seed, problem_set=recipe.problem_set
    )
    run = Run.open(folder, manifest)
    run.add_problems(config.load_problems(recipe).problems)
    return run


def grown(folder: Path) -> list[Any]:
    """Trees of a run, with what they cost but for time."""
    with Run.read(folder) as run:
        (key,) = {str(event.data["key"]) for event in run.events() if event.kind == "collect"}
        found = list(trees.trees(run, key))
        # A worker does not compute a question again that it saw before: whose are cached differs.
        read = [one.spent.evaluator.model_copy(update={"cached_tokens": 0}) for one in found]
        return [
            (one.tree, one.spent.model_copy(update={"seconds": 0.0, "evaluator": usage}))
            for one, usage in zip(found, read, strict=True)
        ]


async def test_embedded_models_say_the_same_on_workers_and_after_ctrl_c(
    machines: Machines, tmp_path: Path
) -> None:
    made, folder = recipes(), tmp_path / "there"
    interrupted(machines.address, folder / "run")
    async with embedded(made) as staff:
        await all_three(made, folder, staff)
        assert staff.pool.counts.again == 0
    await all_three(made, tmp_path / "here", None)
    assert rows(folder / "run") == rows(tmp_path / "here" / "run")
    assert len(rows(folder / "run")[1]) == 2
    for name in ("collect", "search"):
        assert grown(folder / name) == grown(tmp_path / "here" / name) != []
    assert rows(folder / "search") == rows(tmp_path / "here" / "search")


def interrupted(address: str, folder: Path) -> None:
    """Stops a command with Ctrl-C when something is stored and something is not."""
    command = [
        *(sys.executable, "-m", "vilbench", "sample", "embedded", "--limit", str(LIMIT)),
        *("-n", str(N), "--scorer", "judge-prm", "--scorer", "prm", "--plain"),
        *("--executor", "ray", "--address", address, "--per-worker", "jobs=1"),
        *("--out", str(folder)),
    ]
    process = subprocess.Popen(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while stored(folder) == 0 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "stopping: what is under way is finished and stored" in said
    assert "stopped; what was done is stored" in said
    assert 0 < stored(folder) < LIMIT


def stored(folder: Path) -> int:
    """Problems with solutions."""
    try:
        return len(rows(folder)[0])
    except RunError:
        return 0
