"""A small run, and what makes one."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import PIL.Image
from pydantic import JsonValue

from vilbench.store.manifest import Manifest
from vilbench.store.run import Run
from vilbench.types import BytesSource, Image, Problem, Solution, Span, StepScores, Usage

RECIPE: dict[str, JsonValue] = {
    "sample": {"temperature": 1.0, "n": 4},
    "scorers": [{"name": "judge"}, {"name": "likelihood"}],
}


@contextmanager
def in_memory() -> Iterator[Path]:
    """A folder in memory where there is one: these tests sync the disk a thousand times.

    Every user can reach it, unlike pytest's own.
    """
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def manifest(**changes: Any) -> Manifest:
    options: dict[str, Any] = {"recipe": RECIPE, "seed": 7, "problem_set": "puzzles:test"}
    return Manifest.of("demo", **{**options, **changes})


def image(shade: int) -> Image:
    buffer = io.BytesIO()
    PIL.Image.new("L", (8, 8), shade).save(buffer, "PNG")
    return Image.of(BytesSource(buffer.getvalue()))


def problem(identity: str, *images: Image, **changes: Any) -> Problem:
    fields: dict[str, Any] = {"question": "How many?", "answer": "3", "answer_kind": "number"}
    return Problem(id=identity, source="counting", images=images, **{**fields, **changes})


def solution(problem_id: str, index: int = 0, text: str = "One.\nTwo.") -> Solution:
    return Solution(
        problem_id=problem_id,
        index=index,
        text=text,
        steps=(Span(0, 4), Span(5, len(text))),
        answer="3",
        verdict="correct",
        finish_reason="stop",
        usage=Usage(prompt_tokens=5, completion_tokens=2),
        seed=7,
    )


def score(problem_id: str, index: int = 0, *values: float | None) -> StepScores:
    return StepScores(
        problem_id=problem_id,
        solution_index=index,
        scorer="judge",
        granularity="step",
        values=values or (0.1, None),
    )


def openings(folder: Path) -> list[Callable[[], Run]]:
    """Both ways to open a run."""
    return [lambda: Run.read(folder), lambda: Run.open(folder, manifest())]


def in_child(body: Callable[[], None]) -> int:
    """Run `body` in a forked process, which ends without any clean-up; returns its id."""
    child = os.fork()
    if child == 0:
        try:
            body()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return child


def ended(child: int) -> int:
    """Wait for a child; its exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
