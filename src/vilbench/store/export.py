"""A stored run as JSONL files and images, for other tools.

    problems.jsonl    in the schema of own problems, so that it can be loaded again
    solutions.jsonl   problem_id, index, text, steps (texts), answer, verdict,
                      finish_reason, seed
    scores.jsonl      problem_id, solution_index, scorer, granularity, values
    images/           encoded images, by hash

Lines are plain ASCII: what a model wrote reaches a terminal as escapes, and line
separators of Unicode split no line.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

from pydantic import JsonValue

from vilbench.errors import InputError, RunError
from vilbench.images import extension
from vilbench.store.disk import replacing, storage_errors
from vilbench.store.run import Run
from vilbench.types import Image, Problem, Solution, StepScores

PROBLEMS, SOLUTIONS, SCORES = "problems.jsonl", "solutions.jsonl", "scores.jsonl"
_IMAGES = "images"
FILES = frozenset({PROBLEMS, SOLUTIONS, SCORES, _IMAGES})
"""What an export leaves in its folder."""


def refuse_foreign(folder: Path, files: Collection[str], marks: Collection[str]) -> None:
    """Nothing that is not ours is written over, and nothing is written among it.

    A folder that is not there yet will do, and so will one that git alone has touched.

    Args:
        folder: Where an export is to go.
        files: Names that exports leave there.
        marks: Those of them that are in no folder but an export's.

    Raises:
        InputError: The folder is neither empty nor an earlier export.
        RunStorageError: It cannot be read.
    """
    with storage_errors(folder):
        if not folder.exists():
            return
        names = {path.name for path in folder.iterdir() if not path.name.startswith(".git")}
    others = sorted(names.difference(files))
    if names and (others or names.isdisjoint(marks)):
        told = (others or sorted(names))[0]
        raise InputError(
            f"holds '{told[:80]}' and is no earlier export; choose another folder",
            file=folder,
            field="--to",
        )


def export_jsonl(
    run: Run,
    folder: Path,
    *,
    key: str | None = None,
    score_keys: Collection[str] | None = None,
) -> None:
    """Write a run's content below `folder`; each file is replaced whole.

    Args:
        run: The run, open for reading or writing.
        folder: Where; made with its parents. Not the run's own folder.
        key: Which solutions; may be None where the run has no more than one key.
        score_keys: Which scores; None takes all.

    Raises:
        RunError: `folder` is the run's own, the key is unknown or ambiguous, or two keys
            hold scores of one scorer for one solution.
        RunStorageError: `folder` cannot be written.
        ImageError: A stored image is missing or has changed.
    """
    if folder.resolve() == run.folder.resolve():
        raise RunError(f"{folder}: this is the run itself; export to another folder")
    problems = run.problems()
    solutions = _solutions(run, key)
    scores = _scores(run, run.score_keys() if score_keys is None else score_keys)
    with storage_errors(folder):
        (folder / _IMAGES).mkdir(parents=True, exist_ok=True)
        names = {
            image: write_image(folder, image)
            for image in dict.fromkeys(image for one in problems for image in one.images)
        }
        write_lines(folder / PROBLEMS, (_problem_row(one, names) for one in problems))
        write_lines(folder / SOLUTIONS, map(_solution_row, solutions))
        write_lines(folder / SCORES, map(_scores_row, scores))


def _solutions(run: Run, key: str | None) -> list[Solution]:
    keys = run.solution_keys()
    if key is not None and key not in keys:
        raise RunError(f"{run.folder}: no solutions under the key {key!r}; there are {keys}")
    if key is None and len(keys) > 1:
        raise RunError(f"{run.folder}: several pools of solutions, name one of {keys}")
    pools = [run.solutions(one) for one in (keys if key is None else [key])]
    return [one for pool in pools for of_problem in pool.values() for one in of_problem]


def _scores(run: Run, keys: Collection[str]) -> list[StepScores]:
    found: dict[tuple[str, str, int], StepScores] = {}
    for key in keys:
        for ref, one in run.scores(key).items():
            place = (one.scorer, *ref)
            if place in found:
                raise RunError(
                    f"{run.folder}: scorer {one.scorer!r} has scores of problem "
                    f"{ref.problem_id!r}, solution {ref.solution_index} under two keys"
                )
            found[place] = one
    return list(found.values())


def write_image(folder: Path, image: Image) -> str:
    """Write an image below an export's folder; returns its path relative to that."""
    data = image.read()
    name = f"{_IMAGES}/{image.digest}.{extension(data)}"
    (folder / _IMAGES).mkdir(parents=True, exist_ok=True)
    with replacing(folder / name) as file:
        file.write(data)
    return name


def write_lines(path: Path, rows: Iterable[Mapping[str, JsonValue]]) -> None:
    """Write a file of JSON lines in plain ASCII, whole or not at all."""
    with replacing(path) as file:
        for row in rows:
            _write_row(file, row)


def _write_row(file: BinaryIO, row: Mapping[str, JsonValue]) -> None:
    file.write(json.dumps(row, allow_nan=False).encode("ascii") + b"\n")


def _problem_row(problem: Problem, names: Mapping[Image, str]) -> Mapping[str, JsonValue]:
    return {
        "id": problem.id,
        "source": problem.source,
        "question": problem.question,
        "images": [names[image] for image in problem.images],
        "answer": problem.answer,
        "answer_kind": problem.answer_kind,
        "choices": list(problem.choices),
        "category": problem.category,
        "modality": problem.modality,
        "precision": problem.precision,
        "unit": problem.unit,
        "metadata": dict(problem.metadata),
    }


def _solution_row(solution: Solution) -> Mapping[str, JsonValue]:
    return {
        "problem_id": solution.problem_id,
        "index": solution.index,
        "text": solution.text,
        "steps": list(solution.step_texts()),
        "answer": solution.answer,
        "verdict": solution.verdict,
        "finish_reason": solution.finish_reason,
        "seed": solution.seed,
    }


def _scores_row(scores: StepScores) -> Mapping[str, JsonValue]:
    return {
        "problem_id": scores.problem_id,
        "solution_index": scores.solution_index,
        "scorer": scores.scorer,
        "granularity": scores.granularity,
        "values": list(scores.values),
    }
