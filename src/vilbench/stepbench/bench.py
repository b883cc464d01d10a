"""What is measured: solutions of a run with marks of their steps, and those kept for thresholds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vilbench.errors import InputError, RunError
from vilbench.evaluate.labels import Labeller, checked, soundness
from vilbench.evaluate.stages import noted
from vilbench.problems.processbench import NONE_WRONG
from vilbench.stepbench.marks import Mark, content
from vilbench.stepbench.storing import KEY, Stored, stored
from vilbench.store.records import ScoreRef
from vilbench.store.run import Run
from vilbench.types import Problem, Solution, StepScores

Values = Mapping[ScoreRef, StepScores]
"""Scores of a scorer by solution."""


@dataclass(frozen=True)
class Known:
    """A solution with what is known of its steps.

    Attributes:
        ref: Names it among the scores.
        marks: A mark per step; at least one.
        first_error: Index of the first wrong step, -1 for none, None where it is not settled.
    """

    ref: ScoreRef
    marks: tuple[Mark, ...]
    first_error: int | None


@dataclass(frozen=True)
class Pool:
    """The solutions of a problem.

    Attributes:
        problem: Names the cluster of a resample.
        subset: That it is reported in.
        solutions: With steps; may be none.
    """

    problem: Problem
    subset: str
    solutions: tuple[Known, ...]


@dataclass(frozen=True)
class Bench:
    """Pools to report, and pools to choose thresholds on, of different problems.

    Attributes:
        title: Of the benchmark.
        pools: At least one.
        dev: May be none.
        origin: What `dev` is, in words.
        notes: What a reader should know.
    """

    title: str
    pools: tuple[Pool, ...]
    dev: tuple[Pool, ...] = ()
    origin: str = ""
    notes: tuple[str, ...] = ()


def of_run(run: Run, labeller: Labeller = checked) -> Bench:
    """The solutions of a run: marked ones of a benchmark, or puzzles by the exact checker.

    A step of a puzzle is right if it and all steps before it are: the value of a prefix.
    Solutions without steps are left out, and told.

    Raises:
        RunError: Nothing has been sampled, or nothing is known of any step; or what is known
            does not go with the solutions.
    """
    problems = run.problems()
    if not problems:
        raise RunError(f"{run.folder}: the run has no problems")
    solutions = run.solutions(noted(run).sample_key)
    kept = [stored(problem) for problem in problems]
    if any(kept):
        return _benchmark(run.folder, problems, kept, solutions)
    pools = tuple(
        Pool(one, one.source, tuple(_checked(one, solutions.get(one.id, ()), labeller)))
        for one in problems
    )
    if not any(pool.solutions for pool in pools):
        raise RunError(
            f"{run.folder}: nothing is known of the steps of these solutions; they are of no "
            "step benchmark and of no puzzle"
        )
    drawn = sum(len(solutions.get(one.id, ())) for one in problems)
    without = drawn - sum(len(pool.solutions) for pool in pools)
    told = (f"{without} solutions have no step, or none that anything is known of",)
    title = f"{run.manifest.problem_set}, by the exact checker"
    return Bench(title, pools, notes=told if without else ())


def _benchmark(
    folder: Path,
    problems: Sequence[Problem],
    kept: Sequence[Stored | None],
    solutions: Mapping[str, Sequence[Solution]],
) -> Bench:
    test: list[Pool] = []
    dev: list[Pool] = []
    titles: dict[str, None] = {}
    for problem, record in zip(problems, kept, strict=True):
        if record is None:
            continue
        known = tuple(_known(folder, one, record) for one in solutions.get(problem.id, ()))
        pool = Pool(problem, problem.category or problem.source, known)
        (dev if record.role == "dev" else test).append(pool)
        if record.role == "test":
            titles[record.benchmark] = None
    return Bench(" + ".join(titles), tuple(test), tuple(dev), "a set of its own" if dev else "")


def _known(folder: Path, solution: Solution, record: Stored) -> Known:
    """What a problem's metadata hold of a solution.

    Raises:
        RunError: They hold nothing of it, or of other steps than it has.
    """
    place = f"{folder}: problem {solution.problem_id[:80]!r}, metadata.{KEY}.rows"
    if solution.index >= len(record.rows):
        raise RunError(
            f"{place}: {len(record.rows)} of them, and none is solution {solution.index}"
        )
    row, steps = record.rows[solution.index], len(solution.steps)
    if len(row.marks) != steps:
        told = f"{len(row.marks)} marks of a solution of {steps} steps"
        raise RunError(f"{place}[{solution.index}]: {told}")
    if row.first_error is not None and not NONE_WRONG <= row.first_error < steps:
        told = f"the first error is step {row.first_error} of {steps}, counted from 0"
        raise RunError(f"{place}[{solution.index}]: {told}")
    return Known(ScoreRef(solution.problem_id, solution.index), row.marks, row.first_error)


def _checked(
    problem: Problem, solutions: Sequence[Solution], labeller: Labeller
) -> Iterator[Known]:
    seen: dict[tuple[str, ...], tuple[bool | None, ...]] = {}
    for solution in solutions:
        texts = solution.step_texts()
        if texts not in seen:
            labels = labeller(problem, solution)
            seen[texts] = () if labels is None else soundness(labels)
        sound = seen[texts]
        if sound:
            yield Known(ScoreRef(problem.id, solution.index), _marks(sound), _first(sound))


def _marks(sound: tuple[bool | None, ...]) -> tuple[Mark, ...]:
    return tuple(0 if one is None else 1 if one else -1 for one in sound)


def _first(sound: tuple[bool | None, ...]) -> int | None:
    """The first wrong step; None where a step before it, or any at all, cannot be told."""
    if None in sound:
        return None
    return sound.index(False) if False in sound else NONE_WRONG


def with_dev(bench: Bench, dev: Sequence[Pool], origin: str) -> Bench:
    """The bench with pools to choose on; those of a problem that is reported are left out.

    Raises:
        InputError: None is left.
    """
    reported = {content(pool.problem) for pool in bench.pools}
    others = tuple(pool for pool in dev if content(pool.problem) not in reported)
    if not others:
        raise InputError(f"{origin}: every problem is among those that are reported")
    notes = bench.notes
    if len(others) < len(dev):
        notes = (
            *notes,
            f"{origin}: {len(dev) - len(others)} of {len(dev)} problems are among those that are "
            "reported, and were not used to choose",
        )
    return replace(bench, dev=others, origin=origin, notes=notes)


def split(bench: Bench, share: float, seed: int) -> Bench:
    """The bench with a part of its own problems set apart to choose on.

    Of each subset the problems whose hash with the seed is lowest, `share` of them, at least one
    of two; problems with the same content go together.

    Raises:
        InputError: It has thresholds chosen elsewhere, or too few problems.
    """
    by_subset: dict[str, dict[str, str]] = {}
    for pool in bench.pools:
        name = content(pool.problem)
        ranked = hashlib.sha256(f"{seed}\0{name}".encode()).hexdigest()
        by_subset.setdefault(pool.subset, {})[name] = ranked
    chosen: set[str] = set()
    for members in by_subset.values():
        count = max(1, round(share * len(members))) if len(members) > 1 else 0
        chosen |= set(sorted(members, key=lambda name: members[name])[:count])
    dev = tuple(pool for pool in bench.pools if content(pool.problem) in chosen)
    pools = tuple(pool for pool in bench.pools if content(pool.problem) not in chosen)
    if not dev or not pools:
        raise InputError("there are too few problems to set some apart for the threshold")
    origin = f"{share:.0%} of its own problems (seed {seed}), which are in no figure"
    return replace(bench, pools=pools, dev=dev, origin=origin)


def set_apart(bench: Bench, subset: str) -> Bench:
    """The bench with one of its subsets to choose on, which is in no figure then.

    Raises:
        InputError: There is no such subset, or no other.
    """
    known = list(dict.fromkeys(pool.subset for pool in bench.pools))
    if subset not in known or len(known) == 1:
        raise InputError(
            f"'{subset}' is no subset beside others; there are {', '.join(known)}", field="subset"
        )
    dev = tuple(pool for pool in bench.pools if pool.subset == subset)
    taken = {content(pool.problem) for pool in dev}
    pools = tuple(
        pool for pool in bench.pools if pool.subset != subset and content(pool.problem) not in taken
    )
    return replace(
        bench, pools=pools, dev=dev, origin=f"the subset {subset}, which is in no figure"
    )
