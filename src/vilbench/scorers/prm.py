"""A process reward model: one forward gives the values of all steps."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from vilbench.errors import EngineError, InputError
from vilbench.steps import question_parts
from vilbench.types import Granularity, Image, Problem, Solution, StepScores, Usage

Parts = tuple[str | Image, ...]
Steps = tuple[str, ...]


class Scored(Protocol):
    """What one call to a reward model gives; `vilbench.prm.scoring.Scored` is one."""

    @property
    def values(self) -> Sequence[Sequence[float | None]]:
        """For every candidate a value per step, None where there is none."""
        ...

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens of every candidate with its prompt."""
        ...

    @property
    def computed(self) -> Sequence[int]:
        """Of every candidate, tokens that were computed for it and for none before it."""
        ...


class Scoring(Protocol):
    """A reward model that scores candidates; `vilbench.prm.scoring.PrmScoring` is one.

    Called from one thread at a time.
    """

    def score(self, parts: Sequence[str | Image], candidates: Sequence[Sequence[str]]) -> Scored:
        """Values of all steps of all candidates for the question shown as `parts`.

        Raises:
            EngineError: They cannot be scored.
            InputError: The question or a candidate cannot be used.
        """
        ...


@runtime_checkable
class ManyScoring(Protocol):
    """A reward model that packs several questions into a call."""

    def score_many(self, questions: Sequence[Asked]) -> Sequence[Scored]:
        """What `Scoring.score` gives for each; one's fault is that of all.

        Raises:
            EngineError: As `score` does.
            InputError: As `score` does.
        """
        ...


class Asked(Protocol):
    """A question and its candidates; `vilbench.prm.scoring.Asked` is one."""

    @property
    def parts(self) -> Sequence[str | Image]:
        """How it is shown."""
        ...

    @property
    def candidates(self) -> Sequence[Sequence[str]]:
        """Steps of each."""
        ...


class Group(Protocol):
    """Solutions of one problem."""

    @property
    def problem(self) -> Problem:
        """The problem."""
        ...

    @property
    def solutions(self) -> Sequence[Solution]:
        """The solutions."""
        ...


class PrmScorer:
    """A `StepScorer`: a trained head's value after each step, given all before it.

    Values are around the labels of training, mostly in [0, 1], and may lie beyond them. A
    candidate that cannot be scored, such as one that is too long, takes its own values and
    no other's: its record carries the error.

    Args:
        scoring: The reward model.
        fingerprint: Changes with whatever changes a value.
        name: Name in tables and in the store.
    """

    def __init__(self, scoring: Scoring, fingerprint: str, name: str = "prm") -> None:
        self._scoring = scoring
        self._fingerprint = fingerprint
        self._name = name
        # Of threads and not of tasks: a task that is cancelled leaves its thread at work.
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """Name in tables and in the store."""
        return self._name

    @property
    def granularity(self) -> Granularity:
        """Always "step"."""
        return "step"

    @property
    def fingerprint(self) -> str:
        """Model, tokens and precision."""
        return f"prm/{self._fingerprint}"

    async def score(self, problem: Problem, solutions: Sequence[Solution]) -> list[StepScores]:
        """Scores of `solutions`; equal steps are scored once.

        Raises:
            EngineError: None of them can be scored.
        """
        if not solutions:
            return []
        found = await asyncio.to_thread(self._found, problem, _distinct(solutions))
        return self._records(solutions, found)

    async def score_groups(
        self, groups: Sequence[Group]
    ) -> Sequence[Sequence[StepScores] | EngineError]:
        """Scores of solutions of several problems, in one call where the model can do that.

        Returns:
            For each group what `score` gives, or the error that it raises.
        """
        every = await asyncio.to_thread(self._found_of_all, groups)
        outcomes: list[Sequence[StepScores] | EngineError] = []
        for group, found in zip(groups, every, strict=True):
            try:
                outcomes.append(self._records(group.solutions, found))
            except EngineError as error:
                outcomes.append(error)
        return outcomes

    def _records(
        self, solutions: Sequence[Solution], found: Mapping[Steps, _Found]
    ) -> list[StepScores]:
        wanted = [tuple(one.step_texts()) for one in solutions]
        errors = [found[steps].error for steps in wanted if found[steps].error is not None]
        if errors and len(errors) == len(wanted):
            raise EngineError(errors[0])
        first = {steps: k for k, steps in reversed(list(enumerate(wanted)))}
        return [
            StepScores(
                problem_id=solution.problem_id,
                solution_index=solution.index,
                scorer=self._name,
                granularity="step",
                values=found[steps].values,
                usage=found[steps].usage if first[steps] == k else found[steps].again,
                error=found[steps].error,
            )
            for k, (solution, steps) in enumerate(zip(solutions, wanted, strict=True))
        ]

    def _found_of_all(self, groups: Sequence[Group]) -> list[Mapping[Steps, _Found]]:
        """What came of each group; one by one where something is wrong with any of them."""
        asked = [_distinct(one.solutions) for one in groups]
        many = self._scoring
        try:
            if not isinstance(many, ManyScoring):
                return self._one_by_one(groups, asked)
            shown = [question_parts(one.problem) for one in groups]
            questions = [_Asked(*one) for one in zip(shown, asked, strict=True)]
            with self._lock:
                scored = many.score_many(questions)
        except (EngineError, InputError):
            return self._one_by_one(groups, asked)
        return [
            {
                steps: _Found(tuple(values), usage)
                for steps, values, usage in zip(some, one.values, _usages(one), strict=True)
            }
            for some, one in zip(asked, scored, strict=True)
        ]

    def _one_by_one(
        self, groups: Sequence[Group], asked: Sequence[Sequence[Steps]]
    ) -> list[Mapping[Steps, _Found]]:
        return [self._found(one.problem, some) for one, some in zip(groups, asked, strict=True)]

    def _found(self, problem: Problem, candidates: Sequence[Steps]) -> Mapping[Steps, _Found]:
        parts = question_parts(problem)
        found: dict[Steps, _Found] = {}
        todo = [candidates]
        with self._lock:
            while todo:
                some = todo.pop()
                try:
                    scored = self._scoring.score(parts, some)
                except (EngineError, InputError) as error:
                    if len(some) > 1:
                        # Halves, down to the one that is to blame.
                        middle = len(some) // 2
                        todo += [some[:middle], some[middle:]]
                        continue
                    told = f"problem '{problem.id}': {error}"
                    found[some[0]] = _Found((None,) * len(some[0]), Usage(), told)
                else:
                    for steps, values, usage in zip(
                        some, scored.values, _usages(scored), strict=True
                    ):
                        found[steps] = _Found(tuple(values), usage)
        return found


def _distinct(solutions: Sequence[Solution]) -> tuple[Steps, ...]:
    return tuple(dict.fromkeys(tuple(one.step_texts()) for one in solutions))


def _usages(scored: Scored) -> list[Usage]:
    """Of every candidate; what others with the same beginning paid is cached."""
    return [
        Usage(prompt_tokens=length, cached_tokens=max(0, length - computed))
        for length, computed in zip(scored.lengths, scored.computed, strict=True)
    ]


@dataclass(frozen=True)
class _Asked:
    parts: Parts
    candidates: Sequence[Steps]


@dataclass(frozen=True)
class _Found:
    """What came of a candidate; `error` where it could not be scored."""

    values: tuple[float | None, ...]
    usage: Usage
    error: str | None = None

    @property
    def again(self) -> Usage:
        """Of an equal candidate, for which nothing was computed."""
        return self.usage.model_copy(update={"cached_tokens": self.usage.prompt_tokens})
