"""What work costs on many machines: of a job on a cluster here, of a whole project on GPUs.

    python benchmarks/scaling.py                      # a job on Ray's workers, with nothing in it
    python benchmarks/scaling.py --jobs 500
    python benchmarks/scaling.py --costs              # GPU hours and prices, as in docs/scale.md

Jobs go the whole way of a run's: from the pool to an actor on this machine and back. What is
measured is their time at so many under way, the time of one alone, and the processor time of
this process; then what this process does itself with a solution: reads, grades and stores it.

Costs rest on tokens that the dry run of the paper's recipe counts, and on the assumptions in
`benchmarks/hardware.yaml`; nothing is asked of a model.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import Field

from vilbench import config
from vilbench.config.forecasting import forecast
from vilbench.engines.rehearsal import Work
from vilbench.evaluate.sampling import Sampler, sample
from vilbench.executors.bench import Job
from vilbench.executors.cluster import Needs, connected, hiring
from vilbench.executors.pool import Pool
from vilbench.steps import FORMATS
from vilbench.store.manifest import Manifest
from vilbench.store.run import Run
from vilbench.testing import ScriptedEngine, make_problem
from vilbench.types import Record, Sampling

ASSUMPTIONS = Path(__file__).with_name("hardware.yaml")
_AT_ONCE = 8
_IMAGE_BYTES = 100_000
_WARM_UP = 50
_ANY = config.ProblemsConfig(source="any problems", limit=1000)
"""No set: the dry run takes made-up problems, whatever sets lie ready on this machine."""


class Gpu(Record):
    """An accelerator: its peaks in bfloat16, and its price."""

    name: str
    usd_per_hour: float = Field(gt=0)
    memory_gb: float = Field(gt=0)
    tflops: float = Field(gt=0)
    gb_per_s: float = Field(gt=0)


class Model(Record):
    """A model in bfloat16.

    Attributes:
        kv_bytes: Keys and values of a token.
    """

    name: str
    parameters: float = Field(gt=0)
    kv_bytes: float = Field(gt=0)

    @property
    def bytes(self) -> float:
        """Of the weights."""
        return 2 * self.parameters


class Assumptions(Record):
    """What costs rest on; see `hardware.yaml`."""

    gpus: tuple[Gpu, ...] = Field(min_length=1)
    reading: float = Field(gt=0, le=1)
    writing: float = Field(gt=0, le=1)
    memory: float = Field(gt=0, le=1)
    most_sequences: int = Field(ge=1)
    policy: Model
    reward_model: Model
    labels: int = Field(ge=1)
    kept: float = Field(gt=0, le=1)
    problems: int = Field(ge=1)
    solutions: int = Field(ge=1)
    gpus_at_once: int = Field(ge=1)

    def read_per_s(self, gpu: Gpu, model: Model) -> float:
        """Tokens that a GPU reads in a second: arithmetic bounds it, two operations a weight."""
        return gpu.tflops * 1e12 * self.reading / (2 * model.parameters)

    def written_per_s(self, gpu: Gpu, model: Model, context: float) -> float:
        """Tokens that a GPU writes in a second: bandwidth bounds it.

        For every token of all answers under way the weights are read once, and for each of them
        the keys and values of what stands before. 0 where the model does not fit.

        Args:
            gpu: The GPU.
            model: The model.
            context: Tokens before the one that is written, on average.
        """
        room = gpu.memory_gb * 1e9 * self.memory - model.bytes
        sequences = min(self.most_sequences, room // (model.kv_bytes * context))
        if sequences < 1:
            return 0.0
        moved = model.bytes + sequences * model.kv_bytes * context
        rate = sequences * gpu.gb_per_s * 1e9 * self.writing / moved
        return min(rate, self.read_per_s(gpu, model))

    def hours(self, gpu: Gpu, model: Model, work: Work) -> float:
        """GPU hours of work; infinite where the model does not fit."""
        read = (work.prompt_tokens - work.cached_tokens) / self.read_per_s(gpu, model)
        if not work.completion_tokens:
            return read / 3600
        each = work.completion_tokens / work.completions
        context = work.prompt_tokens / work.requests + each / 2
        rate = self.written_per_s(gpu, model, context)
        return (read + work.completion_tokens / rate) / 3600 if rate else float("inf")


class Counted(NamedTuple):
    """What models are asked, by the dry run.

    Attributes:
        trees: Problems that are searched.
        policy: Work of the tree search's policy.
        hosted: Work of its evaluator, the hosted model of the recipe.
        hosted_usd: The price of that.
        judge: The same values by a model like the policy, which sees images in full.
        problems: Problems of a Best-of-N run.
        sampled: Work of its policy.
        scored: Work of its reward model.
    """

    trees: float
    policy: Work
    hosted: Work
    hosted_usd: float
    judge: Work
    problems: float
    sampled: Work
    scored: Work

    def scaled(self, given: Assumptions) -> Counted:
        """As much of both as is asked for."""
        searching = given.labels / given.kept / self.hosted.completions
        running = given.problems / self.problems
        return Counted(
            self.trees * searching,
            self.policy.times(searching),
            self.hosted.times(searching),
            self.hosted_usd * searching,
            self.judge.times(searching),
            given.problems,
            self.sampled.times(running),
            self.scored.times(running),
        )


def counted(solutions: int) -> Counted:
    """Tokens of the shipped recipes, with so many solutions of a problem in Best-of-N."""
    collecting = config.load_collecting("vilreward-collect")
    collecting = collecting.model_copy(update={"problems": _ANY})
    engine = collecting.policy.engine.model_dump(mode="json")
    found = forecast(collecting)
    policy, hosted = found.lines
    _, judge = forecast(collecting.changed({"evaluator.scorer.engine": engine})).lines
    recipe = config.load("paper/reward-model").only(["prm"])
    recipe = recipe.model_copy(update={"problems": _ANY})
    run = forecast(recipe.changed({"sample.n": solutions, "sample.engine": engine}))
    sampled, scored = (line.work for line in run.lines)
    trees, problems = found.sets[0].count, run.sets[0].count
    told = (policy.work, hosted.work, hosted.usd or 0.0, judge.work)
    return Counted(trees, *told, problems, sampled, scored)


def costs(given: Assumptions, found: Counted) -> Iterator[str]:
    """The tables of docs/scale.md, as lines of Markdown."""
    asked = found.scaled(given)
    best = f"best-of-{given.solutions}"
    yield "| work | requests | answers | tokens read | of them not cached | tokens written |"
    yield "|:--|--:|--:|--:|--:|--:|"
    for name, work in (
        (f"labels: policy, {asked.trees:,.0f} trees", asked.policy),
        (f"labels: hosted judge, {given.labels:,} kept values", asked.hosted),
        ("labels: the same by one's own judge", asked.judge),
        (f"{best}: policy, {given.problems:,} problems", asked.sampled),
        (f"{best}: reward model", asked.scored),
    ):
        read = work.prompt_tokens
        figures = (work.requests, work.completions, read, read - work.cached_tokens)
        cells = [_short(figure) for figure in (*figures, work.completion_tokens)]
        yield f"| {' | '.join((name, *cells))} |"
    yield ""
    yield f"The hosted judge costs {asked.hosted_usd:,.0f} USD beside the policy's hours."
    yield ""
    yield (
        "| GPU | USD an hour | reads tokens/s | writes tokens/s | labels: policy h | own judge h | "
        f"both USD | {best}: sample h | score h | both USD | hours on {given.gpus_at_once} GPUs |"
    )
    yield "|:--|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    for gpu in given.gpus:
        yield f"| {' | '.join(_cells(given, gpu, asked))} |"


def _cells(given: Assumptions, gpu: Gpu, asked: Counted) -> Iterator[str]:
    policy, judge, sampled = (
        given.hours(gpu, given.policy, work) for work in (asked.policy, asked.judge, asked.sampled)
    )
    scored = given.hours(gpu, given.reward_model, asked.scored)
    each = asked.sampled
    context = each.prompt_tokens / each.requests + each.completion_tokens / each.completions / 2
    yield from (gpu.name, f"{gpu.usd_per_hour:.2f}")
    yield _short(given.read_per_s(gpu, given.policy))
    yield _short(given.written_per_s(gpu, given.policy, context))
    yield from (f"{policy:,.2f}", f"{judge:,.2f}", f"{(policy + judge) * gpu.usd_per_hour:,.2f}")
    yield from (f"{sampled:,.0f}", f"{scored:,.0f}")
    yield f"{(sampled + scored) * gpu.usd_per_hour:,.0f}"
    yield f"{(sampled + scored) / given.gpus_at_once:,.1f}"


def _short(figure: float) -> str:
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if figure >= size:
            return f"{figure / min(size, 1e3 if unit == ' k' else size):,.1f}{unit}"
    return f"{figure:,.0f}"


class Empty:
    """A model of a worker that does nothing."""

    name = fingerprint = "empty"

    async def nothing(self, data: bytes) -> int:
        """Takes what it is sent."""
        return len(data)


def build(configs: Sequence[Any]) -> list[Empty]:
    """The models of a worker."""
    return [Empty() for _ in configs]


class Row(NamedTuple):
    """Milliseconds of a job.

    Attributes:
        name: What was measured.
        wall: On the clock, all jobs by their number.
        here: Processor time of this process.
    """

    name: str
    wall: float
    here: float


async def _timed(name: str, count: int, work: Callable[[], Awaitable[object]]) -> Row:
    began, used = time.perf_counter(), time.process_time()
    await work()
    wall, here = time.perf_counter() - began, time.process_time() - used
    return Row(name, 1e3 * wall / count, 1e3 * here / count)


async def jobs(pool: Pool, count: int, at_once: int, data: bytes) -> None:
    """So many jobs, so many of them under way."""
    left = iter(range(count))

    async def caller() -> None:
        for _ in left:
            await pool.call(Job(0, "nothing", (data,)), at_once)

    await asyncio.gather(*(caller() for _ in range(at_once)))


async def overhead(count: int) -> list[Row]:
    """What jobs take on one worker of a cluster on this machine."""
    pool = Pool(hiring(build, [0], Needs()), 1)
    await pool.open()
    try:
        await jobs(pool, _WARM_UP, _AT_ONCE, b"")
        image = os.urandom(_IMAGE_BYTES)
        return [
            await _timed("alone", count, lambda: jobs(pool, count, 1, b"")),
            await _timed(f"{_AT_ONCE} under way", count, lambda: jobs(pool, count, _AT_ONCE, b"")),
            await _timed(
                f"{_AT_ONCE} under way, 100 KB each",
                count,
                lambda: jobs(pool, count, _AT_ONCE, image),
            ),
        ]
    finally:
        await pool.aclose()


async def reading(problems: int, n: int) -> Row:
    """What this process does itself with a solution that a worker has written."""
    text = "Step 1: I count 3 circles.\nStep 2: I add 2.\nAnswer: 5"
    sampler = Sampler(ScriptedEngine({"": [text]}), FORMATS["steps"], n, Sampling(), seed=0)
    with (
        tempfile.TemporaryDirectory() as folder,
        Run.open(Path(folder) / "run", Manifest.of("r", {}, seed=0, problem_set="r")) as run,
    ):
        run.add_problems([make_problem(id=f"p{place}") for place in range(problems)])
        await sample(run, sampler, concurrency=1)  # what is loaded late is loaded now
        more = Sampler(ScriptedEngine({"": [text]}), FORMATS["steps"], n, Sampling(), seed=1)
        work = sample(run, more, concurrency=_AT_ONCE)
        return await _timed("a solution, read and stored", problems * n, lambda: work)


def measure(count: int) -> Iterator[str]:
    """Times of jobs and solutions, as lines."""
    with connected(None, 1, Needs()) as room:
        rows = asyncio.run(overhead(count))
    rows.append(asyncio.run(reading(max(1, count // 24), 24)))
    python = platform.python_version()
    yield f"{platform.machine()}, {os.cpu_count()} CPUs, Python {python}; {room.told()}"
    yield f"{'':36} {'ms on the clock':>16} {'ms of this process':>19}"
    for row in rows:
        yield f"{row.name:36} {row.wall:16.2f} {row.here:19.2f}"


def assumed(path: Path) -> Assumptions:
    """Assumptions of a file."""
    return Assumptions.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--costs", action="store_true", help="tables of GPU hours and prices")
    parser.add_argument("--assumptions", type=Path, default=ASSUMPTIONS)
    parser.add_argument("--jobs", type=int, default=2000)
    options = parser.parse_args()
    if options.costs:
        given = assumed(options.assumptions)
        lines = costs(given, counted(given.solutions))
    else:
        lines = measure(options.jobs)
    for line in lines:
        print(line)


if __name__ == "__main__":
    main()
