"""What a run stores beside problems, solutions and scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from pydantic import Field, JsonValue

from vilbench.search import Continuation, Judged
from vilbench.types import Record, Usage, Verdict

EXTRACT: Final = "extract"

Stage = Literal["sample", "score", "collect", "extract"]


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


class Spent(Record):
    """What the search of one problem cost.

    Attributes:
        nodes: Nodes made, without the root.
        policy: Tokens of the policy.
        policy_calls: Requests to it.
        continuations: Completions that it gave.
        evaluator: Tokens of the evaluator.
        evaluator_calls: Prefixes that it was asked about.
        seconds: Time that its rounds of requests took, each as long as its longest request.
    """

    nodes: int = Field(default=0, ge=0)
    policy: Usage = Usage()
    policy_calls: int = Field(default=0, ge=0)
    continuations: int = Field(default=0, ge=0)
    evaluator: Usage = Usage()
    evaluator_calls: int = Field(default=0, ge=0)
    seconds: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class Call(Record):
    """A paid request of a search that is not finished, with its answer.

    Attributes:
        problem_id: Whose search.
        name: Names the request among those of the problem.
        answer: Continuations by the policy, or values by the evaluator.
        usage: Tokens it took.
        seconds: Time it took.
    """

    problem_id: str
    name: str
    answer: tuple[Continuation, ...] | Judged
    usage: Usage = Usage()
    seconds: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class Extraction(Record):
    """What a model named as the final answer of a solution, read by the rules.

    Attributes:
        reply: What it said.
        answer: As the rules read it in the reply; None where they read none.
        verdict: Of that answer; never the model's own.
        quoted: Whether the answer stands word for word in the solution.
        usage: Tokens; those of equal solutions are counted once.
    """

    problem_id: str
    solution_index: int = Field(ge=0)
    reply: str
    answer: str | None
    verdict: Verdict
    quoted: bool
    usage: Usage = Usage()
