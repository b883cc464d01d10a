"""What step values cost in the embedded world, and how well they tell right steps from wrong.

A model's solutions of puzzles are labelled in several ways; the exact checker says which of
their prefixes are right. Every way labels the same prefixes: those of the first `SOLUTIONS`
solutions of each puzzle, without the ends, whose value is their grade and costs nothing. Only
ReST-MCTS* grows its own: its row speaks of the steps of its own trees. The cost is the tokens
that the policy writes for the whole of a tree, the solutions themselves included.

"faults" reads the trees of plain rollouts by `search.faults`, its model fitted to these trees.
Two rows show what costs nothing: the number of the step alone, and the answers of the solutions
alone. Early steps are right more often than late ones, and any value that falls along a solution
profits from that; the last column therefore compares steps of the same number alone.

A continuation depends on its prefix and its number alone, so the ways share what they draw
from equal prefixes: every continuation is computed once here and counted by whoever asks.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from vilbench.collect.evaluator import Evaluator
from vilbench.collect.forest import Width, collect
from vilbench.collect.growth import Method
from vilbench.collect.policy import Grader, Limits, Policy
from vilbench.embedded import model_folder
from vilbench.engines.local import LocalEngine
from vilbench.metrics import Bootstrap, Stratified, pooled_auroc, within_auroc
from vilbench.problems.puzzles.puzzle import Puzzle, puzzles
from vilbench.search import (
    Draw,
    Omega,
    RestMcts,
    Rollouts,
    TreeRecord,
    fault_targets,
    normalized,
    omega_targets,
    rest_targets,
    rollout_targets,
)
from vilbench.search.faults import fit
from vilbench.store import trees
from vilbench.store.manifest import Manifest
from vilbench.store.run import Run
from vilbench.store.trees import Grown
from vilbench.training.embedded.examples import FORMAT, Attempt
from vilbench.training.embedded.labels import by_checker
from vilbench.types import Completion, Generator, Prompt, Sampling, Usage

SOLUTIONS = 4
"""Solutions of a puzzle whose steps are labelled."""

SEED = 4
"""Names the puzzles and what is sampled; the settings of `search.faults` were looked at with it."""

LIMITS = Limits(tokens=160, step_tokens=64, step_characters=400, depth=16)

Values = Callable[[TreeRecord], Mapping[int, float | None]]

Reader = Callable[[Sequence[TreeRecord]], Values]
"""Looks at all trees of a search and says how each is read."""


class Way(NamedTuple):
    """A way to label.

    Attributes:
        name: Of the curve.
        setting: Of the point on it.
        search: Which search.
        reader: How its trees are read.
        own: It is measured on the steps of its own trees.
    """

    name: str
    setting: str
    search: RestMcts | Rollouts | Omega
    reader: Reader
    own: bool = False


Area = tuple[float | None, float | None, float | None]
"""Value and interval of an AUROC."""


@dataclasses.dataclass(frozen=True)
class Point:
    """A point of a curve.

    Attributes:
        tokens: Written by the policy, for a puzzle.
        prompt_tokens: Read by it, for a puzzle.
        steps: Labelled and known to the checker, in all.
        coverage: Share of the steps known to the checker that got a label.
        within: AUROC among the steps of one puzzle, with its interval.
        pooled: AUROC among all steps, with its interval.
        same: AUROC among steps of the same number, with its interval.
    """

    name: str
    setting: str
    tokens: float
    prompt_tokens: float
    steps: int
    coverage: float
    within: Area
    pooled: Area
    same: Area


class Memo:
    """A generator that computes no completion twice, and tells each one's own tokens.

    Args:
        engine: Computes them.
        file: Keeps them from one start to the next.
    """

    def __init__(self, engine: Generator, file: Path | None) -> None:
        self._engine = engine
        self._known: dict[str, list[Completion]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._file = file
        if file is not None and file.exists():
            for line in file.read_text(encoding="utf-8").splitlines():
                name, found = json.loads(line)
                self._known.setdefault(name, []).extend(
                    Completion(text, reason, Usage(prompt_tokens=read, completion_tokens=written))
                    for text, reason, read, written in found
                )

    @property
    def name(self) -> str:
        """The engine's."""
        return self._engine.name

    @property
    def fingerprint(self) -> str:
        """The engine's."""
        return self._engine.fingerprint

    async def generate(
        self, prompt: Prompt, n: int, sampling: Sampling, seed: int, *, first: int = 0
    ) -> list[Completion]:
        """Completions of the stream, computed where they are not known; see `Generator`."""
        said = repr((self.fingerprint, prompt, sampling, seed))
        name = hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()
        async with self._locks.setdefault(name, asyncio.Lock()):
            known = self._known.setdefault(name, [])
            lacking = first + n - len(known)
            if lacking > 0:
                more = await self._engine.generate(
                    prompt, lacking, sampling, seed, first=len(known)
                )
                more = [dataclasses.replace(one, tokens=()) for one in more]
                known += more
                self._keep(name, more)
        return known[first : first + n]

    def _keep(self, name: str, more: Sequence[Completion]) -> None:
        if self._file is None:
            return
        found = [
            (c.text, c.finish_reason, c.usage.prompt_tokens, c.usage.completion_tokens)
            for c in more
        ]
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps([name, found]) + "\n")


def ways() -> list[Way]:
    """Every point of every curve; cheap ones first."""
    filled = by(partial(omega_targets, fill=True))
    shares, progress = by(rollout_targets), by(rest_targets)
    nothing = Rollouts(solutions=SOLUTIONS, rollouts=0)
    found = [
        Way("number of the step", "-", nothing, by(falling)),
        Way("faults", "0", nothing, faults),
    ]
    for name, reader in (("rollouts", shares), ("faults", faults)):
        for k in (1, 2, 4, 8, 16):
            search = Rollouts(solutions=SOLUTIONS, rollouts=k)
            found.append(Way(name, f"{k}", search, reader))
    for k in (1, 2, 4, 8, 16):
        search = Rollouts(solutions=SOLUTIONS, rollouts=k, shared=True)
        found.append(Way("rollouts, shared", f"{k}", search, shares))
    for k in (2, 4, 8, 16):
        omega = Omega(solutions=SOLUTIONS, rollouts=k, searches=SOLUTIONS)
        found.append(Way("OmegaPRM", f"{k}", omega, filled))
    for k in (2, 4, 8, 16):
        omega = Omega(
            solutions=SOLUTIONS, rollouts=k, searches=SOLUTIONS, shared=True, chunk=max(1, k // 4)
        )
        found.append(Way("OmegaPRM, shared, until right", f"{k}", omega, filled))
    for rounds in (4, 8, 16, 32):
        rest = RestMcts(enough=None, rounds=rounds, ahead=None, keep_ahead=True)
        found.append(Way("ReST-MCTS*", f"{rounds}", rest, progress, own=True))
        found.append(Way("ReST-MCTS*, rise", f"{rounds}", rest, by(rises), own=True))
        found.append(Way("ReST-MCTS*, faults", f"{rounds}", rest, faults, own=True))
    return found


def by(values: Values) -> Reader:
    """Reads every tree by itself."""
    return lambda trees: values


def faults(trees: Sequence[TreeRecord]) -> Values:
    """Reads trees by a model of all of them."""
    return partial(fault_targets, model=fit(trees))


def depths(tree: TreeRecord) -> dict[int, int]:
    """The number of every node's step, from 1; 0 for the root."""
    found: dict[int, int] = {}
    for node in tree.nodes:
        found[node.node] = 0 if node.parent is None else found[node.parent] + 1
    return found


def falling(tree: TreeRecord) -> Mapping[int, float | None]:
    """Less with every step, and nothing else."""
    return {node: 1 / (1 + depth) for node, depth in depths(tree).items()}


def rises(tree: TreeRecord) -> Mapping[int, float | None]:
    """What a step adds under ReST-MCTS*, scaled to [0, 1]: right steps rise, wrong ones fall."""
    values = rest_targets(tree)
    found: dict[int, float | None] = {}
    for node in tree.nodes:
        value = values[node.node]
        before = values[node.parent] if node.parent is not None else None
        found[node.node] = None if value is None or before is None else (value - before + 1) / 2
    return found


class Labeller:
    """Labels the same puzzles in many ways; a search that two ways read is made once."""

    def __init__(self, memo: Memo, puzzles: Sequence[Puzzle], seed: int) -> None:
        self._policy = Policy(memo, FORMAT, 1.0, 1.0, LIMITS, seed)
        self._puzzles = {puzzle.problem.id: puzzle for puzzle in puzzles}
        self._grown: dict[str, list[Grown]] = {}

    async def measure(self, way: Way) -> Point:
        """A point of a curve."""
        scores: list[list[float | None]] = []
        right: list[list[bool]] = []
        numbers: list[list[int]] = []
        grown = await self._trees(way.search)
        read = way.reader([tree for tree, _ in grown])
        for tree, _ in grown:
            puzzle = self._puzzles[tree.problem_id]
            wanted = None if way.own else await _prefixes(self._policy, puzzle)
            values, depth = read(tree), depths(tree)
            known = exact(puzzle, tree, wanted)
            numbers.append([depth[node] for node in known])
            scores.append([values[node] for node in known])
            right.append(list(known.values()))
        steps = sum(len(some) for some in scores)
        labelled = sum(1 for some in scores for score in some if score is not None)
        bootstrap = Bootstrap(len(scores))
        within = within_auroc(scores, right, bootstrap)
        pooled = pooled_auroc(scores, right, bootstrap)
        same = Stratified(scores, right, numbers).pooled(bootstrap)
        return Point(
            name=way.name,
            setting=way.setting,
            tokens=sum(one.spent.policy.completion_tokens for one in grown) / len(grown),
            prompt_tokens=sum(one.spent.policy.prompt_tokens for one in grown) / len(grown),
            steps=labelled,
            coverage=labelled / max(steps, 1),
            within=(within.value, within.low, within.high),
            pooled=(pooled.value, pooled.low, pooled.high),
            same=(same.value, same.low, same.high),
        )

    async def _trees(self, search: RestMcts | Rollouts | Omega) -> list[Grown]:
        method = Method(search, self._policy, Evaluator())
        if method.key not in self._grown:
            with (
                tempfile.TemporaryDirectory() as folder,
                Run.open(Path(folder) / "run", _manifest()) as run,
            ):
                run.add_problems([puzzle.problem for puzzle in self._puzzles.values()])
                await collect(run, method, width=Width(trees=16, policy=64))
                self._grown[method.key] = list(trees.trees(run, method.key))
        return self._grown[method.key]


async def _prefixes(policy: Policy, puzzle: Puzzle) -> set[tuple[str, ...]]:
    """All prefixes of the solutions that every way labels, ends left out."""
    drawn = await policy.draw(Grader(puzzle.problem), Draw((), SOLUTIONS))
    return {
        tuple(normalized(step) for step in one.steps[:end])
        for one in drawn.continuations
        for end in range(1, len(one.steps))
    }


def exact(puzzle: Puzzle, tree: TreeRecord, wanted: set[tuple[str, ...]] | None) -> dict[int, bool]:
    """Whether prefixes are right, by node, where the checker can tell; ends are left out.

    Args:
        puzzle: The puzzle.
        tree: Its tree.
        wanted: Prefixes that are asked for; None for all.
    """
    paths: dict[int, tuple[int, ...]] = {0: ()}
    for node in tree.nodes[1:]:
        assert node.parent is not None
        paths[node.node] = (*paths[node.parent], node.node)
    found: dict[int, bool] = {}
    inner = {node.parent for node in tree.nodes}
    for leaf, path in paths.items():
        if leaf in inner:
            continue
        texts = [tree.nodes[place].step for place in path]
        text = "\n".join(texts)
        if [text[start:end] for start, end in FORMAT.split(text)] != texts:
            continue
        values = by_checker(Attempt(puzzle, text)).values
        for place, value in zip(path[:-1], values, strict=False):
            if value is not None:
                found[place] = value == 1
    kept: dict[int, bool] = {}
    for place, value in sorted(found.items()):
        prefix = tuple(normalized(tree.nodes[step].step) for step in paths[place])
        if wanted is None or prefix in wanted:
            kept[place] = value
    return kept


def _manifest() -> Manifest:
    return Manifest.of("economy", {}, seed=0, problem_set="puzzles")


class Wanted(NamedTuple):
    """What is measured.

    Attributes:
        model: The policy.
        puzzles: How many.
        seed: Names the puzzles and what is sampled.
        names: Of the curves; all where empty.
        cache: Keeps what the policy wrote.
    """

    model: str
    puzzles: int
    seed: int = SEED
    names: tuple[str, ...] = ()
    cache: Path | None = None


async def curves(wanted: Wanted) -> list[Point]:
    """All points."""
    asked = list(puzzles("train", wanted.puzzles, wanted.seed))
    found = []
    async with LocalEngine(model_folder(wanted.model)) as engine:
        labeller = Labeller(Memo(engine, wanted.cache), asked, wanted.seed)
        for way in ways():
            if not wanted.names or way.name in wanted.names:
                found.append(await labeller.measure(way))
                print(found[-1], flush=True)
    return found


def show_economy(wanted: Wanted) -> list[dict[str, object]]:
    points = asyncio.run(curves(wanted))
    base = next(p for p in points if (p.name, p.setting) == ("rollouts", "16"))
    table = Table("labels", "setting", "tokens", "of 16 rollouts", "steps", "coverage")
    table.add_column("AUROC within")
    table.add_column("AUROC pooled")
    table.add_column("AUROC, same number")
    for point in points:
        table.add_row(
            *(
                point.name,
                point.setting,
                f"{point.tokens:.0f}",
                f"{point.tokens / base.tokens:.2f}",
            ),
            *(f"{point.steps}", f"{point.coverage:.2f}"),
            *(_interval(one) for one in (point.within, point.pooled, point.same)),
        )
    Console(width=160).print(table)
    return [dataclasses.asdict(point) for point in points]


def _interval(area: Area) -> str:
    value, low, high = area
    return "-" if value is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"
