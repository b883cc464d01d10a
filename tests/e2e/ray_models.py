"""Models that workers of a cluster build in tests; every request leaves a line in a log."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from vilbench.testing import ScriptedEngine
from vilbench.types import Completion, Granularity, Problem, Prompt, Sampling, Solution, StepScores


class Setting(NamedTuple):
    """What travels to workers.

    Attributes:
        log: Gets a line for each request that is begun: process and question.
        held: While there is such a file, no request is answered.
    """

    log: str
    held: str


def build(settings: Sequence[Setting]) -> tuple[Engine, Scorer]:
    """The models of a worker, or of the test itself."""
    (setting,) = settings
    return Engine(setting), Scorer(setting)


def begun(log: Path) -> list[tuple[int, str]]:
    """Process and question of every request so far."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [(int(pid), question) for pid, question in (line.split(" ", 1) for line in lines)]


class Engine(ScriptedEngine):
    """Answers by question and index; a question with "poison" in it ends the process."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(_reply)
        self._setting = setting

    async def generate(
        self, prompt: Prompt, n: int, sampling: Sampling, seed: int, *, first: int = 0
    ) -> list[Completion]:
        """As the script has it."""
        await _request(self._setting, str(prompt.parts[0]).split("?")[0])
        return await super().generate(prompt, n, sampling, seed, first=first)


class Scorer:
    """Scores by a hash of each step."""

    name = "hash"
    granularity: Granularity = "step"
    fingerprint = "hash"

    def __init__(self, setting: Setting) -> None:
        self._setting = setting

    async def score(self, problem: Problem, solutions: Sequence[Solution]) -> list[StepScores]:
        """A value from 1 to 5 for each step."""
        await _request(self._setting, problem.question.rstrip("?"))
        return [
            StepScores(
                problem_id=one.problem_id,
                solution_index=one.index,
                scorer=self.name,
                granularity="step",
                values=tuple(float(1 + crc32(step.encode()) % 5) for step in one.step_texts()),
            )
            for one in solutions
        ]


def _reply(prompt: Prompt, index: int) -> str:
    number = 4 + crc32(f"{prompt.parts[0]}{index}".encode()) % 3
    return f"Step 1: I see {number}.\nStep 2: so it is {number} at {index}.\nAnswer: {number}"


async def _request(setting: Setting, question: str) -> None:
    _write(Path(setting.log), f"{os.getpid()} {question}\n")
    held = Path(setting.held)
    while held.exists():  # noqa: ASYNC110, ASYNC240 - another process takes it away
        await asyncio.sleep(0.02)
    if "poison" in question:
        os._exit(1)


def _write(log: Path, line: str) -> None:
    with log.open("a") as file:
        file.write(line)
