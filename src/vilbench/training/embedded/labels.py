"""Training rows for the embedded reward model: a model's solutions with a value at every step.

Puzzles of the train split (or of dev, to select by) are solved by a model, and the solutions
labelled in one of two ways:

* `checker`: a step is worth 1 where the exact checker finds it and all before it right, 0 from
  the first wrong one on, nothing where that cannot be told; the last step is worth what the
  answer is. Characters are marked likewise (`examples.mark`). Made-up solutions may be added.
* `rollouts`: a step is worth the share of right answers among the model's own continuations of
  the prefix that it ends (Monte Carlo, after Math-Shepherd, Wang et al., 2024), the last one
  what its answer is.

Rows and pictures are as `vilbench train` reads them. Each puzzle's rows are written whole, and
what is in the file is not done again.

    python -m vilbench.training.embedded.labels --model embedded:small --out build/labels \
        --puzzles 6000 --samples 6 --made-up 2
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from vilbench.answers import read
from vilbench.embedded import model_folder
from vilbench.engines.local import LocalEngine
from vilbench.problems.puzzles.puzzle import KINDS, Puzzle, draw, split_of
from vilbench.problems.puzzles.scene import Twin
from vilbench.training.embedded.examples import FORMAT, WEIGHTS, Attempt, corrupt, gold, mark
from vilbench.types import Generator, Prompt, Sampling, Span

SEED = 20262
"""Names the puzzle sequence; another one than the checkpoints were trained on."""

TOGETHER = 24
"""Puzzles that are sampled and written at a time."""


class Labels(NamedTuple):
    """Of one solution with S steps.

    Attributes:
        values: `[S]` in [0, 1], None where it is not known.
        marks: `[S]` lists of `[start, end, value]` in characters of the step's text.
    """

    values: list[float | None]
    marks: list[list[tuple[int, int, float]]]


def by_checker(attempt: Attempt) -> Labels:
    """Values of the exact checker, and of the answer for the last step."""
    spans = FORMAT.split(attempt.text)
    values: list[float | None] = []
    marks: list[list[tuple[int, int, float]]] = []
    known = list(mark(attempt))
    for start, end in spans:
        inside = [
            (max(one.start, start) - start, min(one.end, end) - start, one.value)
            for one in known
            if one.start < end and one.end > start
        ]
        marks.append(inside)
        values.append(inside[-1][2] if inside else None)
    if values:
        values[-1] = _answered(attempt.puzzle, attempt.text)
        marks[-1] = [one for one in marks[-1] if one[2] == values[-1]]
    return Labels(values, marks)


async def by_rollouts(
    model: Generator, puzzle: Puzzle, texts: Sequence[str], rollouts: int, seed: int
) -> list[Labels]:
    """Values of prefixes by the model's own continuations; equal prefixes are continued once."""
    ask = FORMAT.ask(puzzle.problem)
    spans = {text: FORMAT.split(text) for text in texts}
    prefixes = {
        text[: step.end] for text, steps in spans.items() for step in _all_but_the_last(steps)
    }

    async def value(prefix: str) -> float:
        prompt = Prompt(ask.parts, ask.system, prefill=prefix + "\n")
        sampling = Sampling(max_tokens=160)
        ends = await model.generate(prompt, rollouts, sampling, seed)
        return sum(_answered(puzzle, f"{prefix}\n{end.text}") for end in ends) / rollouts

    ordered = sorted(prefixes)
    found = dict(zip(ordered, await asyncio.gather(*map(value, ordered)), strict=True))
    labels = []
    for text in texts:
        values: list[float | None] = [
            found[text[: step.end]] for step in _all_but_the_last(spans[text])
        ]
        if spans[text]:
            values.append(_answered(puzzle, text))
        labels.append(Labels(values, [[] for _ in values]))
    return labels


def row(puzzle: Puzzle, place: int, text: str, labels: Labels) -> dict[str, Any] | None:
    """A training row; None for a solution of which nothing is known."""
    if all(value is None for value in labels.values):
        return None
    problem = puzzle.problem
    return {
        "id": f"{problem.id}-{place}",
        "group": problem.id,
        "question": problem.question,
        "choices": list(problem.choices),
        "images": [f"images/{image.digest}.png" for image in problem.images],
        "steps": [text[start:end] for start, end in FORMAT.split(text)],
        "values": labels.values,
        "marks": labels.marks,
    }


class Wanted(NamedTuple):
    """What is labelled.

    Attributes:
        puzzles: How many.
        split: Of the split; never "test".
        samples: Solutions of each by the model.
        made_up: Made-up ones of each, two of three with an error; for the checker alone.
        labels: The way, "checker" or "rollouts".
        rollouts: Continuations of each prefix.
    """

    puzzles: int
    split: Literal["train", "dev"]
    samples: int
    made_up: int
    labels: str
    rollouts: int
    seed: int


async def write(model: Generator, wanted: Wanted, folder: Path) -> int:
    """Writes `rows.jsonl` and `images/` below `folder`; returns the number of rows.

    Raises:
        AssertionError: A puzzle is not of the split.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    path = folder / "rows.jsonl"
    lines = path.read_text(encoding="ascii").splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines if line.endswith("\n")]
    groups = [json.loads(line)["group"] for line in whole]
    # A kill may have cut the last puzzle short; the same rows come out again.
    whole = [line for line, group in zip(whole, groups, strict=True) if group != groups[-1]]
    done = set(groups[: len(whole)])
    path.write_text("".join(whole), encoding="ascii")
    names = [_name(wanted.seed, number) for number in range(wanted.puzzles)]
    puzzles = (draw(*name[:2], wanted.split, name[2], wanted.seed) for name in dict.fromkeys(names))
    todo = [puzzle for puzzle in puzzles if puzzle.problem.id not in done]
    count = len(whole)
    with path.open("a", encoding="ascii") as file:
        for begin in range(0, len(todo), TOGETHER):
            group = todo[begin : begin + TOGETHER]
            found = await asyncio.gather(*(_rows(model, puzzle, wanted) for puzzle in group))
            for puzzle, rows in zip(group, found, strict=True):
                if split_of(puzzle.content) != wanted.split:
                    raise AssertionError(f"{puzzle.problem.id} is of another split")
                for image in puzzle.problem.images:
                    (folder / "images" / f"{image.digest}.png").write_bytes(image.read())
                file.write("".join(json.dumps(one) + "\n" for one in rows))
                count += len(rows)
            file.flush()
            if begin // TOGETHER % 10 == 9:
                _say(f"{begin + len(group)}/{len(todo)} puzzles, {count} rows")
    return count


async def _rows(model: Generator, puzzle: Puzzle, wanted: Wanted) -> list[dict[str, Any]]:
    problem = puzzle.problem
    sampling = Sampling(max_tokens=160)
    seed = stream_seed(wanted.seed, problem.id)
    drawn = await model.generate(FORMAT.ask(problem), wanted.samples, sampling, seed)
    texts = [one.text for one in drawn]
    if wanted.labels == "rollouts":
        labels = await by_rollouts(model, puzzle, texts, wanted.rollouts, seed + 1)
    else:
        rng = random.Random(f"{wanted.seed}/{problem.id}")
        for _ in range(wanted.made_up):
            made = gold(puzzle, rng) if rng.random() < 0.34 else corrupt(puzzle, rng)
            texts.append(made.text)
        labels = [by_checker(Attempt(puzzle, text)) for text in texts]
    rows = (row(puzzle, place, *one) for place, one in enumerate(zip(texts, labels, strict=True)))
    return [one for one in rows if one is not None]


def stream_seed(seed: int, problem_id: str) -> int:
    """Seed of a puzzle's samples, in [0, 2**63).

    One seed for all puzzles would give sample k the same random numbers everywhere: its words
    would tell whether it is wrong, and a reward model learns that first (`LOG.md`).
    """
    digest = hashlib.sha256(f"labels/{seed}/{problem_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _name(seed: int, number: int) -> tuple[str, Twin, int]:
    rng = random.Random(f"labels/{seed}/{number}")
    family, twin = rng.choices(KINDS, WEIGHTS)[0]
    return family, twin, rng.randrange(10**9)


def _all_but_the_last(steps: Sequence[Span]) -> Sequence[Span]:
    return steps[:-1]


def _answered(puzzle: Puzzle, text: str) -> float:
    return float(read(text, puzzle.problem).verdict == "correct")


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def main() -> None:
    """Writes the rows of a training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="embedded:small")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--puzzles", type=int, default=6000)
    parser.add_argument("--split", choices=["train", "dev"], default="train")
    parser.add_argument("--samples", type=int, default=6)
    parser.add_argument("--made-up", type=int, default=0)
    parser.add_argument("--labels", choices=["checker", "rollouts"], default="checker")
    parser.add_argument("--rollouts", type=int, default=8)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    wanted = Wanted(
        puzzles=given.puzzles,
        split=given.split,
        samples=given.samples,
        made_up=given.made_up,
        labels=given.labels,
        rollouts=given.rollouts,
        seed=given.seed,
    )

    async def work() -> int:
        async with LocalEngine(model_folder(given.model)) as engine:
            return await write(engine, wanted, given.out)

    _say(f"{asyncio.run(work())} rows")


if __name__ == "__main__":
    main()
