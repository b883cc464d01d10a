"""What a search asks for, and what it is told: its whole contact with the world.

    search = rest.search(tree, settings)        # a generator, see `Search`
    round = next(search)                        # requests that can be answered at once
    round = search.send([answer, ...])          # one answer per request, in their order
    StopIteration.value                         # why it stopped: "solved", "exhausted", ...

A driver that stops early (a budget) closes the generator; the tree stands as far as it grew.
Answers that are stored can be sent again: the same answers give the same requests.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass

POLICY_FAILED = "policy-failed"
"""Reason of a continuation that a failed request left without an end."""


@dataclass(frozen=True, slots=True)
class Draw:
    """Continuations of a prefix by the policy; answered by a tuple of `Continuation`.

    Attributes:
        steps: The prefix, step by step, as the policy wrote it; () asks from the question.
        count: How many continuations.
        first: How many were drawn from this very prefix before, with the same `length` and
            `greedy`: the answers are numbers `first` to `first + count - 1` of its stream.
        length: Most steps of a continuation; None goes on to the end of the solution.
        greedy: The most probable continuation; `count` is then 1.
    """

    steps: tuple[str, ...]
    count: int
    first: int = 0
    length: int | None = None
    greedy: bool = False


@dataclass(frozen=True, slots=True)
class Continuation:
    """What the policy went on with.

    Attributes:
        steps: As it wrote them; () where nothing usable came.
        finished: It ended the solution with the last of them.
        correct: Whether the final answer is right, where finished; else None.
        reason: Why the branch ends behind `steps`, "" where it may go on or is finished:
            "empty-step", "step-too-long", "repeats", "too-deep", "policy-failed", ...
    """

    steps: tuple[str, ...]
    finished: bool = False
    correct: bool | None = None
    reason: str = ""

    @property
    def counts(self) -> bool:
        """It is evidence of what the policy does: it was not lost to a failed request."""
        return self.reason != POLICY_FAILED


@dataclass(frozen=True, slots=True)
class Judge:
    """The evaluator's values of prefixes; answered by a `Judged`.

    Attributes:
        steps: A solution or the beginning of one.
        count: The last so many of its steps are asked for, at least 1.
        correct: Of a finished solution, whether its answer is right; else None. An evaluator
            that counts the grade of answers weighs it in at the last step.
    """

    steps: tuple[str, ...]
    count: int = 1
    correct: bool | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """An evaluator's answer.

    Attributes:
        values: In [0, 1], one per step asked for, in order; None is no verdict.
        reason: Why a value is missing, such as "evaluator-failed"; else "".
    """

    values: tuple[float | None, ...]
    reason: str = ""


Request = Draw | Judge
Answer = tuple[Continuation, ...] | Judged
Round = Sequence[Request]
"""Requests that do not depend on each other; all of one round are answered together."""

Search = Generator[Round, Sequence[Answer], str]
"""Yields rounds, is sent their answers in the same order, returns why it stopped."""


def draws(answers: Sequence[Answer]) -> list[tuple[Continuation, ...]]:
    """The answers to a round of draws; raises `TypeError` for one of another kind."""
    found = []
    for answer in answers:
        if isinstance(answer, Judged):
            raise TypeError("a draw is answered by continuations")
        found.append(answer)
    return found


def judgements(answers: Sequence[Answer]) -> list[Judged]:
    """The answers to a round for the evaluator; raises `TypeError` for one of another kind."""
    found = []
    for answer in answers:
        if not isinstance(answer, Judged):
            raise TypeError("a request to judge is answered by values")
        found.append(answer)
    return found


def stream_seed(seed: int, problem_id: str, steps: Sequence[str]) -> int:
    """Seed of the random stream that belongs to a prefix, in [0, 2**63).

    Prefixes that differ in white space alone share a stream. The visit is no part of it: a
    `Draw` counts on within the stream by its `first`.
    """
    path = [" ".join(step.split()) for step in steps]
    name = json.dumps([seed, problem_id, path])
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1
