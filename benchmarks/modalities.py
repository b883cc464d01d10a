"""One reward model for text-dominant and visual-dominant problems at once: what helps?

Equally many solutions with the exact checker's values, seen once, made up in five ways:

* `natural`: six solutions of `embedded:small` a puzzle and two made up, one slip anywhere;
* `balanced`: half of the puzzles text-dominant, half visual-dominant, families in turn;
* `perception`: the two made up have their slip in a step that reads the picture or the text;
* `contrast`: the two made up are right solutions of another puzzle of the same kind, shown with
  this picture (visual-dominant puzzles; the others as in `natural`);
* `together`: balanced, one of the two with a slip of perception, one a contrast.

    python benchmarks/modalities.py --out build/modalities
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from ablation import Row, main
from vilbench.problems.puzzles.claims import WORDINGS
from vilbench.problems.puzzles.puzzle import KINDS, Puzzle, draw, gold_claims, solution
from vilbench.problems.puzzles.scene import Look, Seek, Twin, derive
from vilbench.training.embedded.examples import Attempt, gold
from vilbench.training.embedded.labels import by_checker, row

DRAWN = 6
"""Solutions of the model in every group; the others are made up."""

WAYS = ("natural", "balanced", "perception", "contrast", "together")


def kind(group: list[Row]) -> tuple[str, Twin]:
    """Family and twin of a puzzle's rows."""
    family, twin, *_ = group[0]["group"].split("-")
    return family, "text" if twin == "text" else "visual"


def puzzle_of(group: list[Row]) -> Puzzle:
    """The puzzle that rows are of."""
    *_, split, seed, index = group[0]["group"].split("-")
    assert split == "train"
    return draw(*kind(group), "train", int(index), int(seed))


def slip(puzzle: Puzzle, rng: random.Random) -> Attempt:
    """The gold derivation with one thing read wrongly, and its consequences."""
    scene = puzzle.scene
    places = [place for place, one in enumerate(scene.nodes) if isinstance(one, Look | Seek)]
    claims = gold_claims(scene)
    for _ in range(8):
        place = rng.choice(places)
        alike = [fact for fact in scene.facts.values() if _form(fact) == _form(claims[place].value)]
        value = rng.choice(sorted(alike))
        if value.isdigit() and rng.random() < 0.5:
            value = str(max(0, int(value) + rng.choice((-2, -1, 1, 2))))
        if value == claims[place].value:
            continue
        changed = derive(scene.nodes, scene.facts, scene.options, {place: value})
        if changed is None:
            changed = [*claims[:place], claims[place]._replace(value=value), *claims[place + 1 :]]
        wordings = [rng.randrange(WORDINGS) for _ in changed]
        return Attempt(puzzle, solution(changed, changed[-1].value, wordings))
    return gold(puzzle, rng)


def _form(value: str) -> str:
    return "number" if value.isdigit() else value.split(" ")[0] if "row" in value else "words"


def contrast(puzzle: Puzzle, other: Puzzle, rng: random.Random) -> Attempt:
    """A right solution of another puzzle, held against this one."""
    return Attempt(puzzle, gold(other, rng).text)


def made(
    group: list[Row], other: list[Row], ways: tuple[str, str], rng: random.Random
) -> Iterator[Row]:
    """The model's solutions of a group, and two made up in these ways."""
    yield from group[:DRAWN]
    puzzle = puzzle_of(group)
    for place, way in enumerate(ways, DRAWN):
        if way == "natural" or (way == "contrast" and kind(group)[1] == "text"):
            yield group[place]
            continue
        attempt = (
            slip(puzzle, rng) if way == "perception" else contrast(puzzle, puzzle_of(other), rng)
        )
        new = row(puzzle, place, attempt.text, by_checker(attempt))
        yield group[place] if new is None else new


def rows(groups: list[list[Row]], way: str, seed: int) -> Iterator[Row]:
    """The rows of a way, without end but that of the groups."""
    rng = random.Random(f"{seed}/{way}")
    full = [group for group in groups if len(group) == DRAWN + 2]
    random.Random(seed).shuffle(full)
    alike = {one: [group for group in full if kind(group) == one] for one in KINDS}
    ways = {
        "perception": ("perception", "perception"),
        "contrast": ("contrast", "contrast"),
        "together": ("perception", "contrast"),
    }
    for group in _balanced(alike) if way in ("balanced", "together") else full:
        other = rng.choice(alike[kind(group)])
        yield from made(group, other, ways.get(way, ("natural", "natural")), rng)


def _balanced(alike: dict[tuple[str, Twin], list[list[Row]]]) -> Iterator[list[Row]]:
    """Groups of both modalities in turn, and in each of its families in turn."""
    turns = []
    for twin in ("text", "visual"):
        of_twin = [groups for (_, one), groups in alike.items() if one == twin]
        turns.append([group for turn in zip(*of_twin, strict=False) for group in turn])
    for pair in zip(*turns, strict=False):
        yield from pair


if __name__ == "__main__":
    main(
        __doc__,
        WAYS,
        lambda groups, way: rows(groups, way, seed=1),
        by="modality",
        solutions=8_000,
    )
