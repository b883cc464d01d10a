"""The committed recipe of the embedded checkpoints (`make embedded`).

For each size: a first stage learns to solve and to judge made-up errors; its own solutions
of training puzzles are then sampled and labelled by the exact checker; a second stage goes
on with those among what is judged. Weights are stored in bfloat16.

    python -m vilbench.training.embedded.recipe --out build/embedded --size base
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import Any

import torch

from vilbench.training.embedded.architecture import Size, make_model, make_processor, make_tokenizer
from vilbench.training.embedded.examples import (
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

SEED = 20261
"""Names the puzzle sequence that training draws from."""

FIRST: dict[Size, Plan] = {
    "small": Plan("first-small", 3200, 32, (2e-3, 1e-3), warm_up=True),
    "base": Plan("first-base", 1600, 32, (2e-3, 1e-3), warm_up=True),
}


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


def draw_first(rng: random.Random, share: float) -> Example:
    """An example of the first stage: captions fade out, judging fades in."""
    puzzle = draw_puzzle(rng, SEED)
    roll = rng.random()
    captions = max(0.08, 0.35 - 0.9 * share)
    if roll < captions:
        return caption(puzzle, rng) or solve(puzzle, rng)
    if roll < captions + 0.05 + 0.25 * share:
        return draw_judgement(puzzle_attempt(puzzle, rng), rng)
    return solve(puzzle, rng)


def puzzle_attempt(puzzle: Any, rng: random.Random) -> Attempt:
    """A gold solution or one with a made-up error."""
    if rng.random() < 0.35:
        return Attempt(puzzle, solve(puzzle, rng).reply)
    return corrupt(puzzle, rng)


def draw_judgement(attempt: Attempt, rng: random.Random) -> Example:
    """A request to judge a step (mostly) or the whole of an attempt."""
    return judge(attempt, "judge-step" if rng.random() < 0.7 else "judge-whole", rng)


def main() -> None:
    """Trains one size from nothing to the folder that ships."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", choices=["small", "base"], required=True)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    size: Size = arguments.size
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    folder: Path = arguments.out / size
    processor = processor_for()
    model = make_model(processor.tokenizer, size, seed=SEED)
    train(model, processor, FIRST[size], draw_first, folder, lambda line: print(line, flush=True))  # noqa: T201
    model.save_pretrained(folder / "first")
    processor.save_pretrained(folder / "first")


if __name__ == "__main__":
    main()
