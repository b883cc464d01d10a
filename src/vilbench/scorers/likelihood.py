"""How likely a model finds each step: the baseline that costs no judge and no training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from vilbench.types import (
    Granularity,
    LikelihoodModel,
    Problem,
    Prompt,
    Solution,
    Span,
    StepScores,
    Token,
    Usage,
)


class Question(Protocol):
    """How a problem is put to the model; `vilbench.steps.StepFormat` is one."""

    @property
    def fingerprint(self) -> str:
        """Changes with the words of the request."""
        ...

    def ask(self, problem: Problem) -> Prompt:
        """The request."""
        ...


class LikelihoodScorer:
    """A `StepScorer`: the mean log-probability of a step's tokens, natural, at most 0.

    The whole solution is scored in one pass, as the reply to the problem, so that each step
    is told given the problem and the steps before it. A token belongs to the step that holds
    its last character that is not blank (a line break often shares a token with the full
    stop before it), a blank token to the step that holds its last character. A token outside
    all steps belongs to none, and a step without a token gets None.

    Args:
        model: Whose likelihood it is: the solver's own, or another's.
        format: How the problem is put to it; the one that the solutions were sampled with
            gives what the solver itself thinks of them.
        name: Name in tables and in the store.
    """

    def __init__(self, model: LikelihoodModel, format: Question, name: str = "likelihood") -> None:  # noqa: A002 - the recipe's word
        self._model = model
        self._format = format
        self._name = name

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
        """Model and words of the request."""
        return "/".join(("likelihood", self._model.fingerprint, self._format.fingerprint))

    async def score(self, problem: Problem, solutions: Sequence[Solution]) -> list[StepScores]:
        """Scores of `solutions`; equal texts are scored once.

        Raises:
            EngineError: The request failed for good.
        """
        texts = list(dict.fromkeys(solution.text for solution in solutions))
        if not texts:
            return []
        replies = await self._model.score_tokens(self._format.ask(problem), texts)
        tokens = dict(zip(texts, replies, strict=True))
        return [
            StepScores(
                problem_id=solution.problem_id,
                solution_index=solution.index,
                scorer=self._name,
                granularity="step",
                values=step_means(tokens[solution.text], solution.steps),
                usage=Usage(prompt_tokens=len(tokens[solution.text])),
            )
            for solution in solutions
        ]


def step_means(tokens: Sequence[Token], steps: Sequence[Span]) -> tuple[float | None, ...]:
    """Mean log-probability of each step's tokens, None for a step without one.

    Args:
        tokens: They spell the text that `steps` point into. An empty one, which is a part of
            a character that a later token completes, goes with that later token.
        steps: In order and disjoint.
    """
    sums = [0.0] * len(steps)
    counts = [0] * len(steps)
    step = position = 0
    waiting: list[float] = []
    for token in tokens:
        waiting.append(token.logprob)
        if not token.text:
            continue
        last = position + len(token.text.rstrip() or token.text) - 1
        position += len(token.text)
        while step < len(steps) and steps[step].end <= last:
            step += 1
        if step < len(steps) and steps[step].start <= last:
            sums[step] += sum(waiting)
            counts[step] += len(waiting)
        waiting.clear()
    return tuple(
        total / count if count else None for total, count in zip(sums, counts, strict=True)
    )
