"""The committed recipe of the embedded checkpoints (`make embedded`).

For each size: captions alone teach the vision tower to see, which the full mixture does not
(`LOG.md`); a first stage learns to solve and to judge made-up errors; its own solutions
of training puzzles are then sampled and labelled by the exact checker; a second stage goes
on with those among what is judged. Weights are stored in bfloat16.

    python -m vilbench.training.embedded.recipe --out build/embedded --size base
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from vilbench.engines.local import LocalEngine
from vilbench.problems.puzzles.puzzle import KINDS, Puzzle, Split, contents, draw
from vilbench.problems.puzzles.scene import Twin
from vilbench.training.embedded.architecture import Size, make_model, make_processor, make_tokenizer
from vilbench.training.embedded.examples import (
    FORMAT,
    WEIGHTS,
    Attempt,
    Example,
    Task,
    caption,
    corrupt,
    draw_puzzle,
    judge,
    solve,
)
from vilbench.training.embedded.loop import Plan, train
from vilbench.types import Sampling

SEED = 20261
"""Names the puzzle sequence that training draws from."""

ALIGN: dict[Size, Plan] = {
    "small": Plan("align-small", 800, 32, (2e-3, 1.5e-3), warm_up=True),
    "base": Plan("align-base", 600, 32, (2e-3, 1.5e-3), warm_up=True),
}
FIRST: dict[Size, Plan] = {
    "small": Plan("first-small", 1504, 32, (1.5e-3, 1e-3), warm_up=False),
    "base": Plan("first-base", 904, 32, (1.5e-3, 1e-3), warm_up=False),
}
SECOND: dict[Size, Plan] = {
    "small": Plan("second-small", 1600, 32, (1e-3, 2e-5), warm_up=False),
    "base": Plan("second-base", 448, 32, (1e-3, 2e-5), warm_up=False),
}

CAPTIONS = 0.15
"""Share of captions while the model learns to solve."""

ATTEMPTED = 1500
"""Training puzzles that a model attempts between the stages."""

SAMPLES = 4
"""Its solutions of each."""


def processor_for() -> Any:
    """The processor that both sizes share; its tokenizer learns from the training stream."""
    rng = random.Random("tokenizer")
    texts = ["system user assistant You are a helpful assistant."]
    for _ in range(3000):
        puzzle = draw_puzzle(rng, SEED)
        tasks: tuple[Task, Task] = ("judge-step", "judge-whole")
        examples = [
            solve(puzzle, rng),
            judge(corrupt(puzzle, rng), rng.choice(tasks), rng),
            caption(puzzle, rng),
        ]
        for example in examples:
            if example is not None:
                texts += [part for part in example.prompt.parts if isinstance(part, str)]
                texts.append(example.reply)
    return make_processor(make_tokenizer(texts))


def draw_align(rng: random.Random, share: float) -> Example:
    """An example of the stage before: what is in the picture, and nothing else."""
    while True:
        family, twin = rng.choices(KINDS, WEIGHTS)[0]
        if twin == "visual":
            puzzle = draw(family, twin, "train", rng.randrange(10**9), SEED)
            example = caption(puzzle, rng)
            if example is not None:
                return example


def draw_first(rng: random.Random, share: float) -> Example:
    """An example of the first stage: mostly solving, some captions, judging fades in."""
    puzzle = draw_puzzle(rng, SEED)
    roll = rng.random()
    if roll < CAPTIONS:
        return caption(puzzle, rng) or solve(puzzle, rng)
    if roll < CAPTIONS + 0.1 + 0.2 * share:
        return draw_judgement(made_up(puzzle, rng), rng)
    return solve(puzzle, rng)


def made_up(puzzle: Puzzle, rng: random.Random) -> Attempt:
    """A gold solution or one with a made-up error."""
    if rng.random() < 0.35:
        return Attempt(puzzle, solve(puzzle, rng).reply)
    return corrupt(puzzle, rng)


def draw_judgement(attempt: Attempt, rng: random.Random) -> Example:
    """A request to judge a step (mostly) or the whole of an attempt."""
    return judge(attempt, "judge-step" if rng.random() < 0.7 else "judge-whole", rng)


def draw_second(attempts: Sequence[Attempt], rng: random.Random) -> Example:
    """An example of the second stage: nearly half of it judges, mostly own solutions."""
    roll = rng.random()
    if roll < 0.46:
        own = rng.random() < 0.65
        attempt = rng.choice(attempts) if own else made_up(draw_puzzle(rng, SEED), rng)
        return draw_judgement(attempt, rng)
    puzzle = draw_puzzle(rng, SEED)
    if roll < 0.54:
        return caption(puzzle, rng) or solve(puzzle, rng)
    return solve(puzzle, rng)


class _Kept(NamedTuple):
    """An attempt as it is kept in a file: the puzzle by its name."""

    family: str
    twin: Twin
    number: int
    text: str


def own_attempts(checkpoint: Path, folder: Path, puzzles: int, samples: int) -> list[Attempt]:
    """Solutions of training puzzles by the checkpoint itself, sampled at temperature 1.

    They are kept in `folder`, and taken from there by a training that goes on.
    """
    path = folder / "attempts.json"
    if not path.exists():
        kept = asyncio.run(_sample(checkpoint, puzzles, samples))
        part = path.with_suffix(".part")
        part.write_text(json.dumps(kept), encoding="utf-8")
        part.replace(path)
    return [
        Attempt(draw(one.family, one.twin, "train", one.number, SEED), one.text)
        for one in (_Kept(*row) for row in json.loads(path.read_text(encoding="utf-8")))
    ]


async def _sample(checkpoint: Path, puzzles: int, samples: int) -> list[_Kept]:
    rng = random.Random("attempts")
    names = [(*rng.choices(KINDS, WEIGHTS)[0], rng.randrange(10**9)) for _ in range(puzzles)]
    sampling = Sampling(max_tokens=160)
    async with LocalEngine(checkpoint) as engine:

        async def solutions(family: str, twin: Twin, number: int) -> list[_Kept]:
            problem = draw(family, twin, "train", number, SEED).problem
            completions = await engine.generate(FORMAT.ask(problem), samples, sampling, number)
            return [_Kept(family, twin, number, one.text) for one in completions]

        found = await asyncio.gather(*(solutions(*name) for name in names))
    return [one for some in found for one in some]


def check_apart(seen: set[str]) -> None:
    """Holds everything that training has seen against the dev and test puzzles.

    Raises:
        AssertionError: One of them occurs in training.
    """
    splits: tuple[Split, Split] = ("dev", "test")
    for split in splits:
        if not seen.isdisjoint(contents(split, 2000)):
            raise AssertionError(f"puzzles of the {split} split were seen in training")


def main() -> None:
    """Trains one size from nothing to the folder that ships."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", choices=["small", "base"], required=True)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    train_size(arguments.size, arguments.out / arguments.size)


def train_size(size: Size, folder: Path) -> None:
    """Both stages of one size; the result is in `folder / "final"`."""
    processor = processor_for()
    model = make_model(processor.tokenizer, size, seed=SEED)
    seen = train(model, processor, ALIGN[size], draw_align, folder, _say)
    seen |= train(model, processor, FIRST[size], draw_first, folder, _say)
    first = folder / "first"
    _save(model, processor, first)
    attempts = own_attempts(first, folder, ATTEMPTED, SAMPLES)
    _say(f"{size}: {len(attempts)} solutions of its own")

    def draw_judging(rng: random.Random, share: float) -> Example:
        return draw_second(attempts, rng)

    seen |= train(model, processor, SECOND[size], draw_judging, folder, _say)
    check_apart(seen)
    _say(f"{size}: {len(seen)} puzzles seen, none of dev or test among them")
    _save(model.to(torch.bfloat16), processor, folder / "final")


def _save(model: Any, processor: Any, folder: Path) -> None:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
