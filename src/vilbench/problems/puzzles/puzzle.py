"""Drawing puzzles: a seed names a problem, a split never meets another.

The puzzle of `(family, twin, split, index)` is always the same. Splits use disjoint seeds
and, beyond that, disjoint content: a scene belongs to the split that the hash of its
content falls into, whatever seed drew it, and both twins of a scene share its content.
So no test scene can occur in training, be it reworded or redrawn, and no text question of one
split stands in another: a content holds no more than the text twin tells.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple, get_args

from vilbench.errors import ProblemError
from vilbench.problems.puzzles import angles, charts, counting, machines, spatial
from vilbench.problems.puzzles.canvas import Canvas
from vilbench.problems.puzzles.claims import WORDINGS, Claim, evaluate, word
from vilbench.problems.puzzles.scene import Scene, Twin, derive
from vilbench.types import BytesSource, Image, Problem

VERSION = 2
"""Bump it when a change draws other puzzles from the same seeds."""

Split = Literal["train", "dev", "test"]

FAMILIES: Mapping[str, Callable[[random.Random, int], Scene]] = {
    "angles": angles.draw,
    "charts": charts.draw,
    "counting": counting.draw,
    "machines": machines.draw,
    "spatial": spatial.draw,
}

KINDS: tuple[tuple[str, Twin], ...] = (
    ("angles", "text"),
    ("angles", "visual"),
    ("charts", "text"),
    ("charts", "visual"),
    ("counting", "text"),
    ("counting", "visual"),
    ("machines", "text"),
    ("machines", "visual"),
    ("spatial", "visual"),
)
"""Every family with its twins; `spatial` is perception alone and has no text twin."""

_BUCKETS = 20
_TEST_BUCKET, _DEV_BUCKET = 0, 1


class Puzzle(NamedTuple):
    """A problem with the scene that it was drawn from."""

    problem: Problem
    scene: Scene
    content: str


def content_key(family: str, scene: Scene) -> str:
    """Hash of what the puzzle asks and shows, the same for both twins and any jitter."""
    return hashlib.sha256(repr((family, scene.content)).encode()).hexdigest()


def split_of(content: str) -> Split:
    """The only split in which this content may occur: 5 % dev, 5 % test."""
    bucket = int(content[:12], 16) % _BUCKETS
    return "test" if bucket == _TEST_BUCKET else "dev" if bucket == _DEV_BUCKET else "train"


def draw(family: str, twin: Twin, split: Split, index: int, seed: int = 0) -> Puzzle:
    """Puzzle number `index` of a kind in a split.

    Args:
        family: A key of `FAMILIES`.
        twin: Where the information is; `spatial` knows "visual" only.
        split: Which disjoint part of the puzzles.
        index: From 0, without end; levels 1, 2, 3 take turns.
        seed: Another seed gives another sequence of the same split.

    Raises:
        ProblemError: There is no such family, twin or split.
    """
    if (family, twin) not in KINDS:
        raise ProblemError(f"there are no {twin} puzzles of the family '{family}'")
    name, scene, content = _found(family, split, index, seed)
    canvas_stream = random.Random(f"{name}/{twin}")
    canvas = Canvas(canvas_stream)
    scene.paint(canvas, twin, canvas_stream)
    return Puzzle(_problem(family, twin, split, index, seed, scene, canvas.png()), scene, content)


class _Found(NamedTuple):
    """A scene with the name of the random stream that it came from."""

    name: str
    scene: Scene
    content: str


def _found(family: str, split: Split, index: int, seed: int) -> _Found:
    """The first scene of the puzzle's streams whose content belongs to the split."""
    if split not in get_args(Split):
        raise ProblemError(f"there is no split '{split}': take {', '.join(get_args(Split))}")
    for attempt in itertools.count():
        name = f"vilbench-puzzles/{VERSION}/{split}/{seed}/{family}/{index}/{attempt}"
        scene = FAMILIES[family](random.Random(name), index % 3 + 1)
        content = content_key(family, scene)
        if split_of(content) == split:
            return _Found(name, scene, content)
    raise AssertionError("a split has its share of every family")


def puzzles(split: Split, limit: int, seed: int = 0) -> Iterator[Puzzle]:
    """`limit` puzzles of a split, the kinds taking turns."""
    for number in range(limit):
        family, twin = KINDS[number % len(KINDS)]
        yield draw(family, twin, split, number // len(KINDS), seed)


def contents(split: Split, limit: int, seed: int = 0) -> Iterator[str]:
    """Content keys of what `puzzles` draws, without its pictures: much quicker."""
    for number in range(limit):
        family, _ = KINDS[number % len(KINDS)]
        yield _found(family, split, number // len(KINDS), seed).content


def solution(claims: list[Claim], answer: str, wordings: list[int]) -> str:
    """Numbered steps and the answer line, as solutions of puzzles are written."""
    lines = [
        f"Step {number}: {word(claim, wording)}"
        for number, (claim, wording) in enumerate(zip(claims, wordings, strict=True), 1)
    ]
    return "\n".join([*lines, f"Answer: {answer}"])


def gold_claims(scene: Scene) -> list[Claim]:
    """The claims of the gold derivation."""
    claims = derive(scene.nodes, scene.facts, scene.options)
    if claims is None:
        raise AssertionError("a gold derivation always leads to its end")
    return claims


def gold_solution(puzzle: Puzzle, rng: random.Random) -> str:
    """A right solution in wordings drawn from `rng`."""
    claims = gold_claims(puzzle.scene)
    return solution(claims, claims[-1].value, [rng.randrange(WORDINGS) for _ in claims])


def _problem(
    family: str, twin: Twin, split: Split, index: int, seed: int, scene: Scene, png: bytes
) -> Problem:
    claims = gold_claims(scene)
    keys = [claim.key for claim in claims if claim.kind == "equation"] + list(scene.extra)
    equations = {key: str(value) for key in keys if (value := evaluate(key)) is not None}
    return Problem(
        id=f"{family}-{twin}-{split}-{seed}-{index}",
        source=family,
        question=scene.questions[twin],
        images=(Image.of(BytesSource(png)),),
        answer=claims[-1].value,
        answer_kind=scene.answer_kind,
        choices=scene.options,
        category=f"level-{scene.level}",
        modality="text-dominant" if twin == "text" else "visual-dominant",
        metadata={
            "puzzle": VERSION,
            "level": scene.level,
            "facts": dict(scene.facts),
            "equations": equations,
            "gold": [word(claim, 0) for claim in claims],
        },
    )
