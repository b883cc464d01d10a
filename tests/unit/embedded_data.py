"""A tokenizer and models far smaller than the shipped ones, for tests of their training."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import pytest

from vilbench.problems.puzzles import KINDS, draw
from vilbench.training.embedded import architecture
from vilbench.training.embedded.architecture import (
    Shape,
    make_model,
    make_processor,
    make_tokenizer,
)
from vilbench.training.embedded.examples import Example, caption, corrupt, gold, judge, solve

TINY = Shape(32, 2, 2, 1, 48, 32, 2, 2, 48, (4, 2, 2))


@cache
def examples() -> tuple[Example, ...]:
    """Examples of every kind and task, the same ones each time."""
    rng = random.Random("examples")
    found = []
    for index in range(6):
        for family, twin in KINDS:
            puzzle = draw(family, twin, "train", index)
            found.append(solve(gold(puzzle, rng)))
            found.append(solve(corrupt(puzzle, rng)))
            found.append(judge(corrupt(puzzle, rng), "judge-step", rng))
            found.append(judge(corrupt(puzzle, rng), "judge-whole", rng))
            shown = caption(puzzle, rng)
            if shown is not None:
                found.append(shown)
    return tuple(found)


@cache
def processor() -> Any:
    texts = ["system user assistant You are a helpful assistant."]
    for example in examples():
        texts += [part for part in example.prompt.parts if isinstance(part, str)]
        texts.append(example.reply)
    return make_processor(make_tokenizer(texts))


def tiny_model(seed: int = 0) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(architecture.SHAPES, "small", TINY)
        return make_model(processor().tokenizer, "small", seed)
