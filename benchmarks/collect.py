"""Collecting step values: what the engine itself costs, and how full it keeps a server.

    python benchmarks/collect.py overhead --problems 10 100 1000 10000 --json overhead.json
    python benchmarks/collect.py latency --problems 600 --json latency.json
    python benchmarks/collect.py economy --puzzles 200 --json economy.json

`overhead`: a policy and an evaluator that answer at once, so that all time is the engine's:
search, asking, reading and grading replies, and storing every answer before it is acted on.
Every size runs in a process of its own, on one core; memory is its peak. A node operation is
a leaf selected, a step expanded, a value given to a step, or a visit carried up to the root.
`search` is the share of the trees alone, without an engine around them.

`latency`: a policy server that takes 200 ms for a request and has 64 places. The share of
places that are taken is measured from the time when all of them are for the first time until
the last problem begins: after that there is no more work to give.

`economy`: see `economy.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

from rich.console import Console
from rich.table import Table

from vilbench.collect.evaluator import Evaluator
from vilbench.collect.forest import Width, collect
from vilbench.collect.growth import Method
from vilbench.collect.policy import Limits, Policy
from vilbench.progress import Silence
from vilbench.search import (
    Answer,
    Continuation,
    Draw,
    Judged,
    Omega,
    Request,
    RestMcts,
    Rollouts,
    Tree,
    TreeRecord,
    begin,
)
from vilbench.steps import FORMATS
from vilbench.store import trees
from vilbench.store.manifest import Manifest
from vilbench.store.run import Run
from vilbench.testing import ScriptedEngine, make_problem
from vilbench.types import (
    Completion,
    Granularity,
    Problem,
    Prompt,
    Sampling,
    Solution,
    StepScores,
)

STEPS = 5
"""Steps of a made-up solution, the answer among them."""

SEARCHES: dict[str, RestMcts | Rollouts | Omega] = {
    "rest-mcts": RestMcts(ahead=0, enough=None, rounds=12, leaves=4),
    "rollouts": Rollouts(solutions=4, rollouts=4),
    "omega": Omega(rollouts=4, searches=8, together=2),
}


@dataclasses.dataclass(frozen=True)
class Overhead:
    """What the engine cost.

    Attributes:
        nodes: Of all trees.
        operations: Node operations.
        seconds: On the clock.
        processor: Of the processor.
        megabytes: Peak memory of the process.
        search: Seconds of the processor that the trees alone take for as many nodes.
    """

    rule: str
    problems: int
    nodes: int
    operations: int
    requests: int
    seconds: float
    processor: float
    megabytes: float
    search: float

    @property
    def rate(self) -> float:
        """Node operations a second of the processor."""
        return self.operations / self.processor


def reply(prompt: Prompt, index: int) -> str:
    """The rest of a made-up solution of four steps and an answer; right one time in three."""
    chance = crc32(f"{prompt.parts[0]!r}{prompt.prefill}{index}".encode())
    at = prompt.prefill.count("Step ") + 1
    steps = [f"Step {n}: I see {chance >> 3 * n & 7} of them." for n in range(at, STEPS)]
    return "\n".join([*steps, f"Step {STEPS}: The answer is {4 + chance % 3}."])


class Instant(ScriptedEngine):
    """A scripted engine that keeps no prompts: ten thousand problems ask a lot."""

    async def generate(
        self, prompt: Prompt, n: int, sampling: Sampling, seed: int, *, first: int = 0
    ) -> list[Completion]:
        """The scripted completions; see `Generator`."""
        self.prompts.clear()
        return await super().generate(prompt, n, sampling, seed, first=first)


class Readings:
    """A scorer that answers at once, from a hash of the prefix."""

    name = "readings"
    granularity: Granularity = "step"
    fingerprint = "readings"

    async def score(self, problem: Problem, solutions: Sequence[Solution]) -> list[StepScores]:
        """A value of every prefix; see `StepScorer`."""
        return [
            StepScores(
                problem_id=problem.id,
                solution_index=one.index,
                scorer=self.name,
                granularity="step",
                values=tuple(crc32(one.text[: s.end].encode()) % 97 / 96 for s in one.steps),
            )
            for one in solutions
        ]


class Server:
    """A policy server: `places` requests at a time, each takes `latency` seconds.

    Attributes:
        taken: Places times seconds, since it was full for the first time.
        full_at: When that was; None before.
    """

    name = "server"
    fingerprint = "server"

    def __init__(self, latency: float, places: int) -> None:
        self._latency = latency
        self._places = places
        self._free = asyncio.Semaphore(places)
        self._engine = Instant(reply)
        self._busy = 0
        self._last = 0.0
        self.taken = 0.0
        self.full_at: float | None = None

    async def generate(
        self, prompt: Prompt, n: int, sampling: Sampling, seed: int, *, first: int = 0
    ) -> list[Completion]:
        """The scripted completions, when the server has come to them."""
        async with self._free:
            self.count(1)
            if self._busy == self._places and self.full_at is None:
                self.full_at, self.taken = time.perf_counter(), 0.0
            await asyncio.sleep(self._latency)
            self.count(-1)
        return await self._engine.generate(prompt, n, sampling, seed, first=first)

    def count(self, more: int = 0) -> float:
        """Brings `taken` up to now, and gives it."""
        now = time.perf_counter()
        self.taken += self._busy * (now - self._last) if self._last else 0.0
        self._last, self._busy = now, self._busy + more
        return self.taken


class Watch(Silence):
    """Notes how full the server was when the last problem began.

    Attributes:
        share: Of the places, since the server was full for the first time.
    """

    def __init__(self, server: Server, places: int, until: int) -> None:
        self._server, self._places, self._until = server, places, until
        self._finished = 0
        self.share: float | None = None
        self.seconds = 0.0

    def advance(self, stage: str, *, failed: bool) -> None:
        """Reads the server when the last problem begins."""
        self._finished += 1
        if self._finished == self._until and self._server.full_at is not None:
            self.seconds = time.perf_counter() - self._server.full_at
            self.share = self._server.count() / (self._places * self.seconds)


def problems(count: int) -> list[Problem]:
    return [make_problem(id=f"p{n}", question=f"How much is {n}?") for n in range(count)]


def manifest() -> Manifest:
    return Manifest.of("bench", {}, seed=0, problem_set="made-up")


def method(rule: str, generator: ScriptedEngine | Server) -> Method:
    policy = Policy(generator, FORMATS["steps-brief"], 1.0, 1.0, Limits(), 0)
    return Method(SEARCHES[rule], policy, Evaluator(Readings()))


def overhead(rule: str, count: int) -> Overhead:
    """Collects from `count` problems in this process."""
    asked = method(rule, Instant(reply))
    with (
        tempfile.TemporaryDirectory() as folder,
        Run.open(Path(folder) / "run", manifest()) as run,
    ):
        run.add_problems(problems(count))
        begun, processor = time.perf_counter(), time.process_time()
        asyncio.run(collect(run, asked))
        seconds = time.perf_counter() - begun
        processor = time.process_time() - processor
        megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        nodes = operations = requests = 0
        for grown in trees.trees(run, asked.key):
            nodes += len(grown.tree.nodes) - 1
            operations += node_operations(grown.tree)
            requests += grown.spent.policy_calls + grown.spent.evaluator_calls
    alone = search_alone(rule) * nodes
    return Overhead(rule, count, nodes, operations, requests, seconds, processor, megabytes, alone)


def node_operations(tree: TreeRecord) -> int:
    """Leaves selected, steps expanded, values given and visits carried up in a search."""
    made = len(tree.nodes) - 1
    valued = sum(1 for node in tree.nodes[1:] if node.value is not None)
    chosen = tree.nodes[0].visits if tree.rule == "rest-mcts" else 0
    counted = sum(node.rollouts for node in tree.nodes)
    return made + valued + 2 * chosen + counted


def search_alone(rule: str, count: int = 100) -> float:
    """Seconds of the processor for a node, without an engine."""

    def answer(request: Request, number: int) -> Answer:
        if isinstance(request, Draw):
            prompt = Prompt((str(number),), prefill="".join(f"{s}\n" for s in request.steps))
            found = []
            for index in range(request.first, request.first + request.count):
                lines = reply(prompt, index).split("\n")[: request.length]
                done = len(request.steps) + len(lines) == STEPS
                found.append(Continuation(tuple(lines), done, "5" in lines[-1] if done else None))
            return tuple(found)
        return Judged(tuple(crc32(step.encode()) % 97 / 96 for step in request.steps[-1:]))

    inside, nodes = 0.0, 0
    for number in range(count):
        tree = Tree(str(number), SEARCHES[rule].rule, 0)
        search = begin(tree, SEARCHES[rule])
        given: list[Answer] | None = None
        while True:
            started = time.process_time()
            try:
                asked = next(search) if given is None else search.send(given)
            except StopIteration:
                break
            finally:
                inside += time.process_time() - started
            given = [answer(request, number) for request in asked]
        nodes += len(tree.nodes) - 1
    return inside / nodes


async def latency(rule: str, count: int, seconds: float, places: int) -> Watch:
    """Collects from `count` problems with the policy on a server."""
    server = Server(seconds, places)
    width = Width(trees=4 * places, policy=2 * places, evaluator=2 * places)
    if count <= 2 * width.trees:
        raise SystemExit(f"a steady state takes more than {2 * width.trees} problems")
    watch = Watch(server, places, count - width.trees)
    with (
        tempfile.TemporaryDirectory() as folder,
        Run.open(Path(folder) / "run", manifest()) as run,
    ):
        run.add_problems(problems(count))
        await collect(run, method(rule, server), width=width, progress=watch)
    return watch


def show_overhead(given: argparse.Namespace) -> list[dict[str, object]]:
    table = Table("search", "problems", "nodes", "operations", "s", "cpu s", "ops/cpu s", "nodes/s")
    table.add_column("MB")
    table.add_column("search alone, cpu s")
    found: list[dict[str, object]] = []
    for rule in given.rules:
        for count in given.problems:
            command = [sys.executable, __file__, "one", "--rules", rule, "--problems", str(count)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
            one = Overhead(**json.loads(done.stdout))
            found.append({**dataclasses.asdict(one), "operations_per_second": one.rate})
            table.add_row(
                *(rule, f"{count}", f"{one.nodes}", f"{one.operations}", f"{one.seconds:.2f}"),
                *(f"{one.processor:.2f}", f"{one.rate:.0f}", f"{one.nodes / one.processor:.0f}"),
                *(f"{one.megabytes:.0f}", f"{one.search:.2f}"),
            )
    Console(width=140).print(table)
    return found


def show_latency(given: argparse.Namespace) -> list[dict[str, object]]:
    table = Table("search", "problems", "places", "latency", "steady s", "places taken")
    found: list[dict[str, object]] = []
    for rule in given.rules:
        for count in given.problems:
            watch = asyncio.run(latency(rule, count, given.latency, given.places))
            if watch.share is None:
                raise SystemExit("the server was never full")
            found.append({"rule": rule, "problems": count, "share": watch.share})
            table.add_row(
                *(rule, f"{count}", f"{given.places}", f"{given.latency:g} s"),
                *(f"{watch.seconds:.1f}", f"{watch.share:.1%}"),
            )
    Console(width=140).print(table)
    return found


def main() -> None:
    """Runs one of the measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["overhead", "latency", "economy", "one"])
    parser.add_argument("--rules", nargs="+", choices=list(SEARCHES), default=["rest-mcts"])
    parser.add_argument("--problems", nargs="+", type=int, default=[])
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--places", type=int, default=64)
    parser.add_argument("--model", default="embedded:small")
    parser.add_argument("--puzzles", type=int, default=200)
    parser.add_argument("--seed", type=int, help="of the puzzles and of what is sampled")
    parser.add_argument("--curves", nargs="+", default=[], help="names of labels; all by default")
    parser.add_argument("--cache", type=Path, help="keeps what the policy wrote")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.what == "one":
        one = overhead(given.rules[0], given.problems[0])
        print(json.dumps(dataclasses.asdict(one)))
        return
    if given.what == "overhead":
        given.problems = given.problems or [10, 100, 1000, 10000]
        found = show_overhead(given)
    elif given.what == "latency":
        given.problems = given.problems or [600]
        found = show_latency(given)
    else:
        from economy import SEED, Wanted, show_economy

        seed = SEED if given.seed is None else given.seed
        wanted = Wanted(given.model, given.puzzles, seed, tuple(given.curves), given.cache)
        found = show_economy(wanted)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
