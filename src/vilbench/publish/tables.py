"""Rows of problems, solutions, scores and results, as published tables have them.

The columns of problems are those of own data, so that a published set is one: `vilbench run
--problems FOLDER` takes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from vilbench.evaluate.results import Row
from vilbench.publish.privacy import Screen
from vilbench.store.parquet import Column, held
from vilbench.types import Problem, Solution, StepScores

PROBLEMS: Final = (
    Column("id", "string"),
    Column("source", "string"),
    Column("question", "string"),
    Column("images", "image", lists=1),
    Column("answer", "string"),
    Column("answer_kind", "string"),
    Column("choices", "string", lists=1),
    Column("category", "string"),
    Column("modality", "string"),
    Column("precision", "int64"),
    Column("unit", "string"),
    Column("metadata", "string"),
)
SOLUTIONS: Final = (
    Column("problem_id", "string"),
    Column("index", "int64"),
    Column("text", "string"),
    Column("steps", "string", lists=1),
    Column("answer", "string"),
    Column("verdict", "string"),
    Column("finish_reason", "string"),
    Column("seed", "int64"),
    Column("prompt_tokens", "int64"),
    Column("completion_tokens", "int64"),
)
SCORES: Final = (
    Column("problem_id", "string"),
    Column("solution_index", "int64"),
    Column("scorer", "string"),
    Column("granularity", "string"),
    Column("values", "float64", lists=1),
    Column("notes", "string", lists=1),
)
RESULTS: Final = (
    *(Column(name, "string") for name in ("problem_set", "source", "modality", "method")),
    *(Column(name, "int64") for name in ("k", "n_problems")),
    *(
        Column(name, "float64")
        for name in Row.model_fields
        if name not in ("problem_set", "source", "modality", "method", "k", "n_problems")
    ),
)


def problem_rows(problems: Iterable[Problem], screen: Screen) -> Iterator[Mapping[str, Any]]:
    """Problems with their pictures; `metadata` is JSON.

    Raises:
        ImageError: A picture is missing or has changed.
    """
    for problem in problems:
        row = problem.model_dump(mode="json", exclude={"images", "metadata"})
        row = screen.data(row)
        row["images"] = [held(image) for image in problem.images]
        row["metadata"] = json.dumps(screen.data(dict(problem.metadata)))
        yield row


def solution_rows(solutions: Iterable[Solution], screen: Screen) -> Iterator[Mapping[str, Any]]:
    """Solutions; why one failed stays behind, since such errors name servers and files."""
    for one in solutions:
        yield {
            "problem_id": screen.text(one.problem_id),
            "index": one.index,
            "text": screen.text(one.text),
            "steps": screen.data(one.step_texts()),
            "answer": None if one.answer is None else screen.text(one.answer),
            "verdict": one.verdict,
            "finish_reason": one.finish_reason,
            "seed": one.seed,
            "prompt_tokens": one.usage.prompt_tokens,
            "completion_tokens": one.usage.completion_tokens,
        }


def score_rows(scores: Iterable[StepScores], screen: Screen) -> Iterator[Mapping[str, Any]]:
    """Scores, with what a scorer said beside its values."""
    for one in scores:
        yield {
            "problem_id": screen.text(one.problem_id),
            "solution_index": one.solution_index,
            "scorer": one.scorer,
            "granularity": one.granularity,
            "values": list(one.values),
            "notes": screen.data(one.notes),
        }


def result_rows(rows: Iterable[Row]) -> Iterator[Mapping[str, Any]]:
    """The rows of `results.json`."""
    for row in rows:
        yield row.model_dump(mode="json")
