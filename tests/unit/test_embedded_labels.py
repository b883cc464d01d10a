from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any, ClassVar

import pytest

from vilbench.problems.puzzles import Puzzle, check, draw
from vilbench.problems.puzzles.puzzle import gold_claims, solution
from vilbench.steps import FORMATS
from vilbench.testing import ScriptedEngine
from vilbench.training.data import load
from vilbench.training.embedded.examples import Attempt, corrupt, gold
from vilbench.training.embedded.labels import Wanted, by_checker, by_rollouts, write
from vilbench.training.rows import ValueRange
from vilbench.types import Completion, Prompt, Sampling

FORMAT = FORMATS["steps-brief"]


def puzzle_of(family: str = "angles", index: int = 2) -> Puzzle:
    return draw(family, "text" if family != "spatial" else "visual", "train", index)


def right_solution() -> str:
    claims = gold_claims(puzzle_of().scene)
    return solution(claims, claims[-1].value, [0] * len(claims))


def test_a_right_solution_is_worth_one_at_every_step() -> None:
    labels = by_checker(Attempt(puzzle_of(), right_solution()))
    assert labels.values == [1.0] * 6
    for text, marks in zip(right_solution().split("\nStep"), labels.marks, strict=True):
        assert sum(end - start for start, end, _ in marks) >= len(text.strip())


@pytest.mark.parametrize("family", ["angles", "charts", "counting", "machines", "spatial"])
def test_values_are_those_of_the_exact_checker(family: str) -> None:
    rng = random.Random(3)
    wrong = 0
    for index in range(30):
        attempt = corrupt(puzzle_of(family, index), rng)
        labels = by_checker(attempt)
        steps = [attempt.text[start:end] for start, end in FORMAT.split(attempt.text)]
        checks = check(attempt.puzzle.problem, steps)
        assert labels.values[:-1] == [float(step.sound) for step in checks[:-1]]
        right = attempt.text.endswith(f"Answer: {attempt.puzzle.problem.answer}")
        assert labels.values[-1] == float(right)
        wrong += not right
        for step, value, marks in zip(steps, labels.values, labels.marks, strict=True):
            assert all(0 <= start < end <= len(step) for start, end, _ in marks)
            assert not marks or marks[-1][2] == value
    assert wrong > 10


def test_what_cannot_be_told_has_no_value() -> None:
    lines = right_solution().split("\n")
    lines[2] = "Step 3: I wonder."
    labels = by_checker(Attempt(puzzle_of(), "\n".join(lines)))
    # The answer is there all the same.
    assert labels.values == [1.0, 1.0, None, None, None, 1.0]


async def test_values_of_prefixes_are_shares_of_right_continuations() -> None:
    puzzle = puzzle_of()
    answer = puzzle.problem.answer
    text = right_solution()
    other = text.replace("Step 2: ", "Step 2: so ")

    def reply(prompt: Prompt, index: int) -> str:
        # The longer the prefix, the more of the continuations are right.
        steps = prompt.prefill.count("Step")
        assert prompt.prefill.endswith("\n")
        return f"Answer: {answer if index < steps else 'none'}"

    engine = ScriptedEngine(reply)
    labels = await by_rollouts(engine, puzzle, [text, other], 8, seed=1)
    assert [one.values for one in labels] == [[k / 8 for k in range(1, 6)] + [1.0]] * 2
    # The first step is the same in both and is continued once.
    assert engine.requests == 9 and engine.completions == 72


def test_rows_are_what_training_reads(tmp_path: Path) -> None:
    rows = run(tmp_path, Wanted(6, "train", 2, 2, "checker", 0, 7))
    assert len(rows) == 6 * 4 and len({row["group"] for row in rows}) == 6
    loaded = load(tmp_path / "rows.jsonl", ValueRange(0.0, 1.0))
    assert len(loaded.rows) == len(rows) and not loaded.rejected
    for one, row in zip(loaded.rows, rows, strict=True):
        assert list(one.values) == row["values"]
        assert one.group == f"={row['group']}"
        assert len(one.images) == 1


def test_labelling_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    wanted = Wanted(6, "dev", 2, 1, "checker", 0, 7)
    whole = run(tmp_path / "whole", wanted)
    broken = tmp_path / "broken"
    broken.mkdir()
    written = (tmp_path / "whole" / "rows.jsonl").read_text().splitlines(keepends=True)
    # In the middle of a line, in the middle of a puzzle's rows.
    (broken / "rows.jsonl").write_text("".join(written[:7]) + written[7][:20])
    assert run(broken, wanted) == whole


def run(folder: Path, wanted: Wanted) -> list[dict[str, Any]]:
    engine = ScriptedEngine({"": ["Step 1: so 1 + 1 = 2.\nAnswer: 2"]})
    count = asyncio.run(write(engine, wanted, folder))
    lines = (folder / "rows.jsonl").read_text(encoding="ascii").splitlines()
    assert count == len(lines)
    return [json.loads(line) for line in lines]


class Listening(ScriptedEngine):
    """Remembers the seeds it is asked with."""

    seeds: ClassVar[list[int]] = []

    async def generate(
        self, prompt: Prompt, n: int, sampling: Sampling, seed: int, *, first: int = 0
    ) -> list[Completion]:
        self.seeds.append(seed)
        return await super().generate(prompt, n, sampling, seed, first=first)


def test_every_puzzle_has_random_numbers_of_its_own(tmp_path: Path) -> None:
    engine = Listening({"": ["Step 1: so 1 + 1 = 2.\nAnswer: 2"]})
    asyncio.run(write(engine, Wanted(6, "train", 2, 0, "checker", 0, 7), tmp_path))
    assert len(engine.seeds) == len(set(engine.seeds)) == 6


def test_gold_is_gold() -> None:
    labels = by_checker(gold(puzzle_of(), random.Random(0)))
    assert set(labels.values) == {1.0}
