"""The committed recipe of the embedded checkpoints (`make embedded`).

Both sizes share a trunk, which is of the small size: captions alone teach the vision tower to
see, which the full mixture does not (`LOG.md`), then it learns to solve and to judge made-up
errors. Its own solutions of training puzzles are sampled and labelled by the exact checker, and
each size goes on with those: `small` as it is, `base` with three more layers. A third stage is
mostly right solutions again. `base` then learns to tell rows and columns of a picture apart, and
to compare what it reads with what it would have said: on solutions by `small`, and on texts with
values replaced at random (decision 007). Weights are stored in bfloat16.

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

from vilbench.backbone.processor import load_processor
from vilbench.engines.local import LocalEngine
from vilbench.problems.puzzles.puzzle import KINDS, Puzzle, Split, contents, draw
from vilbench.problems.puzzles.scene import Twin
from vilbench.training.embedded.architecture import (
    SHAPES,
    Size,
    grow,
    make_model,
    make_processor,
    make_tokenizer,
)
from vilbench.training.embedded.examples import (
    FORMAT,
    WEIGHTS,
    Attempt,
    Example,
    Task,
    caption,
    corrupt,
    draw_puzzle,
    find,
    gold,
    judge,
    solve,
    spoil,
)
from vilbench.training.embedded.loop import Learner, Plan, train
from vilbench.types import Sampling

SEED = 20261
"""Names the puzzle sequence that training draws from."""

ALIGN = Plan("align", 800, 32, (2e-3, 1.5e-3), warm_up=True)
FIRST = Plan("first", 1504, 32, (1.5e-3, 1e-3), warm_up=False)
SECOND: dict[Size, Plan] = {
    "small": Plan("second-small", 1000, 32, (1e-3, 2e-5), warm_up=False),
    "base": Plan("second-base", 2000, 32, (1.2e-3, 2e-5), warm_up=False),
}

THIRD: dict[Size, Plan] = {
    "small": Plan("third-small", 800, 32, (1.2e-3, 2e-5), warm_up=True),
    "base": Plan("third-base", 800, 32, (1.2e-3, 2e-5), warm_up=True),
}

SEE = Plan("see", 800, 32, (1.5e-3, 1.5e-4), warm_up=True)
FOURTH = Plan("fourth", 4800, 32, (1.5e-3, 2e-5), warm_up=True)

CAPTIONS = 0.15
"""Share of captions while the model learns to solve."""

ATTEMPTED = 4000
"""Training puzzles that the trunk attempts."""

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
            solve(gold(puzzle, rng)),
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
        return caption(puzzle, rng) or solve(gold(puzzle, rng))
    if roll < CAPTIONS + 0.05 + 0.2 * share:
        return draw_judgement(made_up(puzzle, rng), rng)
    return solve(made_up(puzzle, rng, right=0.7))


def made_up(puzzle: Puzzle, rng: random.Random, right: float = 0.35) -> Attempt:
    """A gold solution, so often as `right` says, or one with a made-up error."""
    return gold(puzzle, rng) if rng.random() < right else corrupt(puzzle, rng)


def draw_judgement(attempt: Attempt, rng: random.Random) -> Example:
    """A request to judge a step (mostly) or the whole of an attempt."""
    return judge(attempt, "judge-step" if rng.random() < 0.7 else "judge-whole", rng)


def draw_second(attempts: Sequence[Attempt], rng: random.Random) -> Example:
    """An example of the second stage: a third of it judges; mostly the trunk's solutions."""
    roll = rng.random()
    if roll < 0.08:
        puzzle = draw_puzzle(rng, SEED)
        return caption(puzzle, rng) or solve(gold(puzzle, rng))
    if roll < 0.42:
        own = rng.random() < 0.7
        return draw_judgement(
            rng.choice(attempts) if own else made_up(draw_puzzle(rng, SEED), rng), rng
        )
    if roll < 0.68:
        return solve(rng.choice(attempts))
    return solve(made_up(draw_puzzle(rng, SEED), rng, right=0.75))


def draw_third(attempts: Sequence[Attempt], rng: random.Random) -> Example:
    """An example of the third stage: mostly right solutions, which most attempts are not."""
    roll = rng.random()
    if roll < 0.08:
        puzzle = draw_puzzle(rng, SEED)
        return caption(puzzle, rng) or solve(gold(puzzle, rng))
    if roll < 0.26:
        own = rng.random() < 0.5
        return draw_judgement(
            rng.choice(attempts) if own else made_up(draw_puzzle(rng, SEED), rng), rng
        )
    return solve(made_up(draw_puzzle(rng, SEED), rng, right=0.8))


def draw_see(rng: random.Random, share: float) -> Example:
    """An example for `base` alone: where things are in a picture, and which option says what."""
    while True:
        roll = rng.random()
        family = "spatial" if roll < 0.35 else "counting" if roll < 0.55 else "machines"
        twin: Twin = rng.choice(["text", "visual"]) if family == "machines" else "visual"
        puzzle = draw(family, twin, "train", rng.randrange(10**9), SEED)
        example = find(puzzle, rng) if family == "machines" else caption(puzzle, rng)
        if example is not None:
            return example


def draw_fourth(attempts: Sequence[Attempt], rng: random.Random, share: float) -> Example:
    """An example of the fourth stage: texts to be read with surprise, fewer as it goes on.

    The rest is solving and judging, half of it solutions by `small`.
    """
    roll, spoilt = rng.random(), 0.45 - 0.3 * share
    puzzle = draw_puzzle(rng, SEED)
    if roll < 0.5 * spoilt:
        return spoil(solve(gold(puzzle, rng)), rng)
    seen = caption(puzzle, rng)
    if roll < spoilt and seen is not None:
        return spoil(seen, rng)
    if roll < spoilt + 0.12 and seen is not None:
        return seen
    if puzzle.problem.choices and rng.random() < 0.2:
        return find(puzzle, rng)
    attempt = rng.choice(attempts) if rng.random() < 0.5 else made_up(puzzle, rng, right=0.55)
    return draw_judgement(attempt, rng) if rng.random() < 0.4 else solve(attempt)


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
            # What was cut short ends in no end token to learn.
            whole = [one.text for one in completions if one.finish_reason == "stop"]
            return [_Kept(family, twin, number, text) for text in whole]

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
    parser.add_argument("--size", choices=["trunk", "small", "base"], required=True)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    if arguments.size == "trunk":
        train_trunk(arguments.out / "trunk")
    else:
        train_size(arguments.size, arguments.out)


class Trunk(NamedTuple):
    """What both sizes begin with.

    Attributes:
        seen: Content keys of the puzzles that it was trained on.
        attempts: Its own solutions of training puzzles.
    """

    learner: Learner
    processor: Any
    seen: set[str]
    attempts: list[Attempt]


def train_trunk(folder: Path) -> Trunk:
    """The stages that both sizes share; what is in `folder` already is not done again."""
    first = folder / "first"
    processor = load_processor(first) if first.exists() else processor_for()
    learner = Learner(make_model(processor.tokenizer, "small", seed=SEED))
    seen = train(learner, processor, ALIGN, draw_align, folder, _say)
    seen |= train(learner, processor, FIRST, draw_first, folder, _say)
    _save(learner.model, processor, first)
    attempts = own_attempts(first, folder, ATTEMPTED, SAMPLES)
    _say(f"trunk: {len(attempts)} solutions of its own")
    return Trunk(learner, processor, seen, attempts)


def train_size(size: Size, out: Path) -> None:
    """One size from the trunk on; the result is in `out / size / "final"`."""
    learner, processor, seen, attempts = train_trunk(out / "trunk")
    if size == "base":
        grown = Learner(grow(learner.model, processor.tokenizer, size, SEED))
        grown.sense.load_state_dict(learner.sense.state_dict())
        learner = grown

    def draw_own(rng: random.Random, share: float) -> Example:
        return draw_second(attempts, rng)

    def draw_right(rng: random.Random, share: float) -> Example:
        return draw_third(attempts, rng)

    seen = seen | train(learner, processor, SECOND[size], draw_own, out / size, _say)
    seen |= train(learner, processor, THIRD[size], draw_right, out / size, _say)
    if size == "base":
        learner, more = compare(learner, processor, out)
        seen |= more
    check_apart(seen)
    _say(f"{size}: {len(seen)} puzzles seen, none of dev or test among them")
    _save(learner.model.to(torch.bfloat16), processor, out / size / "final")


def compare(learner: Learner, processor: Any, out: Path) -> tuple[Learner, set[str]]:
    """What `base` learns beyond `small`, whose solutions it reads; with the puzzles seen.

    Its layers above those of the trunk compare: the trunk's depth must know the next token.
    """
    given = own_attempts(out / "small" / "final", out / "base", ATTEMPTED, SAMPLES)
    # Halves of characters, which `small` says now and then, cannot be found in a prompt again.
    attempts = [one for one in given if one.text.isascii()]
    seen = train(learner, processor, SEE, draw_see, out / "base", _say)
    comparing = Learner(learner.model, early=SHAPES["small"].layers)
    comparing.sense.load_state_dict(learner.sense.state_dict())

    def draw_read(rng: random.Random, share: float) -> Example:
        return draw_fourth(attempts, rng, share)

    return comparing, seen | train(comparing, processor, FOURTH, draw_read, out / "base", _say)


def _save(model: Any, processor: Any, folder: Path) -> None:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
