"""What a run stores beside problems, solutions and scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from pydantic import Field, JsonValue

from vilbench.types import Record

Stage = Literal["sample", "score"]


class Failure(Record):
    """A unit that failed for good in this session; cleared when the unit succeeds later.

    Attributes:
        stage: Where it failed.
        key: Key under which the unit would have been stored.
        problem_id: Its problem.
        error: What the user is told.
        attempts: How often it was tried, retries included.
    """

    stage: Stage
    key: str
    problem_id: str
    error: str
    attempts: int = Field(ge=1)


class Event(Record):
    """Something that happened to the run (`at` is ISO 8601 in UTC)."""

    kind: str
    at: str
    data: Mapping[str, JsonValue] = Field(default_factory=dict)


class ScoreRef(NamedTuple):
    """Names one solution among the scores of a key."""

    problem_id: str
    solution_index: int
