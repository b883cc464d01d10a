"""Solutions whose steps people have judged: VisualProcessBench (OpenGVLab/VisualProcessBench).

`test.jsonl` has a solution a row: `image` (a list of paths, or a single one), `question`,
`answer`, `response` with `steps` and `process_correctness`, `policy_model` and `data_source`.
A label is 1 for a right step, -1 for a wrong one and 0 for one that is neither, which
measures leave out. Some copies write 0 for wrong steps: where no label is -1, a note says so,
since nothing in the rows can tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from vilbench.errors import ImageError, ProblemError
from vilbench.problems.adapters.source import kind_of_answer
from vilbench.problems.cells import Cells, Pictures, kind_of, told
from vilbench.problems.loading import Loading, Place
from vilbench.problems.public import reads
from vilbench.problems.tables import Line
from vilbench.types import Problem

StepLabel = Literal[1, 0, -1]
"""Right, neither, wrong."""

TITLE = "VisualProcessBench"
ROWS, STEPS = 2866, 26950
"""What the whole set is known to have."""

_FILES = ("test.jsonl", "test-*.parquet", "*.jsonl", "*.json")


@dataclass(frozen=True)
class JudgedSolution:
    """A solution with a label at every step.

    Attributes:
        problem: What it solves; its category is the benchmark that it is from.
        steps: S texts; at least one.
        labels: `[S]`.
        policy: Model that wrote it.
    """

    problem: Problem
    steps: tuple[str, ...]
    labels: tuple[StepLabel, ...]
    policy: str


@dataclass(frozen=True)
class JudgedSet:
    """Judged solutions, in the order of the file.

    Attributes:
        solutions: The usable ones; each has a problem of its own.
        rejected: One error per row that was set aside.
        notes: What a reader should know.
    """

    solutions: tuple[JudgedSolution, ...]
    rejected: tuple[ProblemError | ImageError, ...]
    notes: tuple[str, ...]


def visualprocessbench(path: Path, *, limit: int | None = None) -> JudgedSet:
    """The solutions of VisualProcessBench; every picture is decoded once.

    Args:
        path: `test.jsonl`, or a folder or archive with it and its pictures.
        limit: Most solutions.

    Raises:
        InputError: There is no such file, it is damaged, or no row is usable.
    """
    loading = Loading(TITLE, path)
    judged: dict[str, JudgedSolution] = {}
    rows = 0
    for here in reads(path, _FILES):
        for line in here.table.lines:
            if loading.enough(limit, Place(here.table.file, line.number)):
                return _finished(loading, judged)
            rows += 1
            make = partial(_kept, judged, line, here.pictures, f"visualprocessbench-{rows}")
            loading.add(Place(here.table.file, line.number), make)
    if rows != ROWS:
        loading.notes.append(f"{path}: {rows:,} rows; {TITLE} is known to have {ROWS:,}")
    return _finished(loading, judged)


def _finished(loading: Loading, judged: Mapping[str, JudgedSolution]) -> JudgedSet:
    found = loading.finished()
    solutions = tuple(judged[problem.id] for problem in found.problems)
    met = {label for solution in solutions for label in solution.labels}
    notes = found.notes
    if -1 not in met and 0 in met:
        notes = (
            *notes,
            f"{loading.origin}: no label is -1; 0 is read as neither right nor wrong, which "
            "is not what a copy means that writes 0 for wrong",
        )
    return JudgedSet(solutions, found.rejected, notes)


def _kept(
    judged: dict[str, JudgedSolution],
    line: Line,
    pictures: Pictures,
    identity: str,
    notes: list[str],
) -> Problem:
    solution = _solution(Cells(line.read(), pictures, notes), identity)
    judged[solution.problem.id] = solution
    return solution.problem


def _solution(cells: Cells, identity: str) -> JudgedSolution:
    response = Cells(cells.mapping("response"), cells.pictures, cells.notes)
    if not response.values:
        raise ProblemError("is missing", field="response")
    steps = response.texts("steps")
    if not steps:
        raise ProblemError("there is no step", field="response.steps")
    for place, step in enumerate(steps):
        if not step.strip():
            raise ProblemError("is empty", field=f"response.steps[{place}]")
    given = response.get("process_correctness")
    if not isinstance(given, list | tuple):
        raise ProblemError(
            f"must be a list, not {kind_of(given)}", field="response.process_correctness"
        )
    if len(given) != len(steps):
        raise ProblemError(
            f"{len(given)} labels for {len(steps)} steps", field="response.process_correctness"
        )
    labels = tuple(_label(value, place) for place, value in enumerate(given))
    answer = cells.scalar("answer").strip()
    letter = len(answer) == 1 and answer.isascii() and answer.isupper()
    problem = Problem(
        id=identity,
        source=TITLE,
        question=cells.text("question").replace("<image>", "").strip(),
        images=cells.images("image"),
        answer=answer,
        answer_kind="choice" if letter else kind_of_answer(answer),
        category=cells.optional("data_source"),
        metadata=cells.metadata("policy_model", "data_source"),
    )
    return JudgedSolution(problem, steps, labels, cells.optional("policy_model"))


def _label(value: object, place: int) -> StepLabel:
    for label in get_args(StepLabel):
        if value == label and not isinstance(value, bool):
            found: StepLabel = label
            return found
    raise ProblemError(
        f"{told(value)} is none of 1, -1 and 0", field=f"response.process_correctness[{place}]"
    )
