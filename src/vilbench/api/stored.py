"""A stored run as objects and as data frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from vilbench.errors import InputError, RunError
from vilbench.evaluate.results import Results
from vilbench.evaluate.stages import noted
from vilbench.store.folder import RESULTS
from vilbench.store.run import Run
from vilbench.types import Problem, Solution, StepScores

TableName = Literal["problems", "solutions", "scores", "results"]

_TABLES: Final = ("problems", "solutions", "scores", "results")


@dataclass(frozen=True)
class StoredRun:
    """What a run holds, read into memory.

    Attributes:
        folder: Of the run.
        problems: In their order, with their images.
        solutions: Of the last sampling, by problem and index.
        scores: Of these solutions, scorer by scorer.
        results: What the run shows.
    """

    folder: Path
    problems: tuple[Problem, ...]
    solutions: tuple[Solution, ...]
    scores: tuple[StepScores, ...]
    results: Results

    def table(self, name: TableName) -> list[dict[str, Any]]:
        """Rows of plain values: "problems", "solutions", "scores" or "results".

        Raises:
            InputError: There is no such table.
        """
        if name == "problems":
            return [
                {
                    **one.model_dump(exclude={"images"}),
                    "images": [image.digest for image in one.images],
                }
                for one in self.problems
            ]
        if name == "solutions":
            return [{**one.model_dump(), "steps": one.step_texts()} for one in self.solutions]
        if name == "scores":
            return [one.model_dump() for one in self.scores]
        if name == "results":
            return [one.model_dump() for one in self.results.rows]
        raise InputError(f"'{name}' is no table; there are {', '.join(_TABLES)}")

    def frame(self, name: TableName) -> Any:
        """The same as a `pandas.DataFrame`.

        Raises:
            InputError: There is no such table, or pandas is not installed.
        """
        rows = self.table(name)
        try:
            import pandas as pd
        except ModuleNotFoundError as error:
            raise InputError("data frames need pandas: pip install pandas") from error
        return pd.DataFrame(rows)


def load_run(folder: str | Path) -> StoredRun:
    """A stored run that has been reported.

    Raises:
        RunError: There is none, or it has no results yet.
    """
    place = Path(folder)
    with Run.read(place) as run:
        begun = noted(run)
        path = place / RESULTS
        try:
            results = Results.model_validate_json(path.read_bytes())
        except (OSError, ValueError) as error:
            raise RunError(f"{path}: cannot be read; 'vilbench report' makes it") from error
        return StoredRun(
            folder=place,
            problems=tuple(run.problems()),
            solutions=tuple(
                one for pool in run.solutions(begun.sample_key).values() for one in pool
            ),
            scores=tuple(
                one for key in begun.score_keys.values() for one in run.scores(key).values()
            ),
            results=results,
        )
