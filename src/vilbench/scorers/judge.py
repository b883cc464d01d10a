"""A vision-language model as judge: integer scores 1 to 5 for steps or whole solutions.

The protocol is that of the ViLBench paper (section on VLLMs as reward models): the judge
sees the question, the image and the solution (ORM) or the steps up to the one to score
(PRM), weighs relevance, coherence, accuracy and clarity, and ends with an overall score,
5 excellent to 1 very poor. The wording is ours.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from vilbench.errors import EngineError, VilbenchError
from vilbench.steps import extended, question_parts
from vilbench.types import (
    Completion,
    Generator,
    Granularity,
    Problem,
    Prompt,
    Sampling,
    Solution,
    StepScores,
    Usage,
)

LOWEST, HIGHEST = 1, 5
_SCORES = frozenset(str(score) for score in range(LOWEST, HIGHEST + 1))

# Where a reply names a score: a number of any script follows, possibly marked up or quoted.
_MARK = re.compile(
    r"(?<![^\W_])(?P<overall>overall[ \t_-]{0,4})?score[ \t*_`\"']{0,8}(?:[:=：]|is\b)"
    r"[ \t*_`\"'\[(]{0,8}(?=[-+]?\d)",
    re.IGNORECASE,
)
# A whole number with nothing behind it that makes it another one: no decimals, no range, no
# percentage, no scale but the one that is read.
_VALUE = re.compile(
    r"(?P<score>[0-9]{1,4})(?:\.0{1,4})?(?![^\W_]|[.,][0-9])[ \t*_`\"'\])(]{0,8}+"
    r"(?:(?:/|out of|of)[ \t]{0,4}(?P<scale>[0-9]{1,4}))?"
    r"(?![0-9%/~]|(?:[-–—,]|to\b|or\b|and\b)[ \t]{0,4}[0-9])",
    re.IGNORECASE,
)


class NoVerdict(VilbenchError):  # noqa: N818 - not a fault of the program
    """The judge's reply has no score that can be read without guessing."""


@dataclass(frozen=True)
class Judgement:
    """What a judge said.

    Attributes:
        score: Integer in 1..5 that the judge wrote.
        expected: Mean of the five scores under the judge's probabilities at the place of
            the score, in [1, 5]; None when the reply carries no log-probabilities.
        reasoning: Its words before the score.
    """

    score: int
    expected: float | None
    reasoning: str


@dataclass(frozen=True)
class JudgePrompt:
    """How a judge is asked and how its reply is read: one thing, so that they fit.

    Attributes:
        name: In fingerprints, with `version`; bump the version with any change of words.
        rubric: System turn.
        whole: Closing instruction for a whole solution.
        step: Closing instruction for the last of the steps shown.
        heading: Line above the solution.
        max_tokens: Most tokens of a reply.
    """

    name: str
    version: int
    rubric: str
    whole: str
    step: str
    heading: str
    max_tokens: int

    @property
    def fingerprint(self) -> str:
        """Name, version and a hash of every word and of the rules of reading."""
        asked = (self.rubric, self.whole, self.step, self.heading, str(self.max_tokens))
        words = "\0".join((*asked, _MARK.pattern, _VALUE.pattern))
        return f"{self.name}@{self.version}:{hashlib.sha256(words.encode()).hexdigest()[:12]}"

    def ask_whole(self, problem: Problem, solution: str) -> Prompt:
        """The request for a whole solution."""
        return self._ask(problem, solution, self.whole)

    def ask_step(self, problem: Problem, steps: str) -> Prompt:
        """The request for the last of `steps`, given those before it."""
        return self._ask(problem, steps, self.step)

    def _ask(self, problem: Problem, text: str, closing: str) -> Prompt:
        parts = question_parts(problem)
        newline = "\n" if parts and isinstance(parts[-1], str) else ""
        request = f"{newline}{self.heading}\n{text}\n{closing}"
        return Prompt(extended(parts, request), system=self.rubric)

    def read(self, completion: Completion) -> Judgement:
        """The verdict of a reply.

        What is called an overall score counts alone; without one, whatever is called a
        score. It may be named more than once, and "4/5" is 4.

        Raises:
            NoVerdict: There is no score, it is no integer from 1 to 5, or the reply names
                two that differ.
        """
        text = completion.text
        marks = list(_MARK.finditer(text))
        marks = [mark for mark in marks if mark["overall"]] or marks
        if not marks:
            raise NoVerdict("no score in the reply")
        values = {_value(text, mark.end()) for mark in marks}
        if len(values) > 1:
            raise NoVerdict(f"scores that differ: {', '.join(map(str, sorted(values)))}")
        reasoning = text[: marks[0].start()].strip(" \t\r\n*_#`\"',{}")
        return Judgement(values.pop(), _expectation(completion, marks[-1].end()), reasoning)


def _value(text: str, place: int) -> int:
    """The score that stands at a place; raises `NoVerdict` for anything else."""
    match = _VALUE.match(text, place)
    if (
        match is None
        or match["scale"] not in (None, str(HIGHEST))
        or not LOWEST <= int(match["score"]) <= HIGHEST
    ):
        said = text[place : place + 20].split("\n", 1)[0]
        raise NoVerdict(f"not an integer from {LOWEST} to {HIGHEST}: {said}")
    return int(match["score"])


def _expectation(completion: Completion, place: int) -> float | None:
    """Mean score under the probabilities of the token that holds character `place`.

    Every spelling of a score counts ("4" and " 4"). None when that token carries no
    alternatives that are scores, or the tokens do not spell the text.
    """
    end = 0
    for token in completion.tokens:
        start, end = end, end + len(token.text)
        if not completion.text.startswith(token.text, start):
            return None
        if end <= place:
            continue
        total = weighted = 0.0
        for alternative, logprob in token.top.items():
            text = alternative.strip()
            if text in _SCORES:
                mass = math.exp(logprob)
                total += mass
                weighted += int(text) * mass
        return weighted / total if total else None
    return None


_RUBRIC = """\
You evaluate reasoning about visual questions. You are given an image, a question about it, \
and a solution, which may be incomplete: then judge what is there.
Weigh four things:
- relevance: it uses what the image and the question provide and moves towards the answer;
- coherence: it follows from what was said before it;
- accuracy: what it reads from the image and what it computes are correct;
- clarity: it can be followed without guessing.
The scale: 5 excellent, 4 good, 3 fair, 2 poor, 1 very poor."""

_REPLY = """\
Reply in two lines:
Reasoning: what you checked and what you found
Overall Score: an integer from 1 to 5"""

PROMPTS: Mapping[str, JudgePrompt] = MappingProxyType(
    {
        "rubric": JudgePrompt(
            name="rubric",
            version=1,
            rubric=_RUBRIC,
            whole=f"Evaluate the solution as a whole.\n{_REPLY}",
            step=f"Evaluate the last step above, given the steps before it.\n{_REPLY}",
            heading="Solution:",
            max_tokens=512,
        ),
        "one-turn": JudgePrompt(
            name="one-turn",
            version=1,
            rubric="",
            whole=f"{_RUBRIC}\n\nEvaluate the solution above as a whole.\n{_REPLY}",
            step=f"{_RUBRIC}\n\nEvaluate its last step, given the steps before it.\n{_REPLY}",
            heading="Solution:",
            max_tokens=512,
        ),
        "brief": JudgePrompt(
            name="brief",
            version=1,
            rubric="",
            whole="Rate this solution.",
            step="Rate the last step.",
            heading="Solution:",
            max_tokens=96,
        ),
    }
)
"""`rubric` for real models; `one-turn` for judges of which some take no system turn, such as
Molmo, so that all are asked in the same words; `brief` is what the embedded models have learnt."""


class JudgeScorer:
    """A generative judge as a StepScorer.

    Args:
        generator: The model that judges; asked at temperature 0.
        granularity: "solution" for the ORM, "step" for the PRM.
        prompt: How it is asked.
        expectation: Give the expected score under the judge's probabilities, which removes
            most ties, in place of the integer. A reply without log-probabilities is then a
            missing verdict.
        name: In tables; "judge-orm" or "judge-prm" by default.
    """

    def __init__(
        self,
        generator: Generator,
        granularity: Granularity,
        prompt: JudgePrompt,
        *,
        expectation: bool = True,
        name: str | None = None,
    ) -> None:
        self._generator = generator
        self._granularity: Granularity = granularity
        self._prompt = prompt
        self._expectation = expectation
        self._name = name or ("judge-prm" if granularity == "step" else "judge-orm")

    @property
    def name(self) -> str:
        """Name in tables."""
        return self._name

    @property
    def granularity(self) -> Granularity:
        """Steps or the whole solution."""
        return self._granularity

    @property
    def fingerprint(self) -> str:
        """Generator, prompt and way of reading."""
        way = "expected" if self._expectation else "integer"
        parts = ("judge", self._generator.fingerprint, self._prompt.fingerprint)
        return "/".join((*parts, self._granularity, way))

    async def score(self, problem: Problem, solutions: Sequence[Solution]) -> list[StepScores]:
        """Scores in [1, 5]; None where the reply gives no verdict, or there is no reply.

        Requests that are alike, as the first steps of many solutions are, are asked once;
        their tokens count for the first solution that needed them. A request that failed
        for good takes the value of its step, or of its solution, and nothing else: the
        records that it touches carry its error.

        Raises:
            EngineError: Every request failed for good.
        """
        wanted = [self._texts(solution) for solution in solutions]
        distinct = list(dict.fromkeys(text for texts in wanted for text in texts))
        known = await self._replies(problem, distinct)
        paid: set[str] = set()
        records = []
        for solution, texts in zip(solutions, wanted, strict=True):
            usage = sum((known[text].usage for text in texts if text not in paid), Usage())
            paid.update(texts)
            records.append(
                StepScores(
                    problem_id=problem.id,
                    solution_index=solution.index,
                    scorer=self._name,
                    granularity=self._granularity,
                    values=tuple(known[text].value for text in texts),
                    notes=tuple(known[text].note for text in texts),
                    usage=usage,
                    error=next((e for text in texts if (e := known[text].error)), None),
                )
            )
        return records

    def _texts(self, solution: Solution) -> list[str]:
        if self._granularity == "solution":
            return [solution.text]
        return [solution.text[: span.end] for span in solution.steps]

    async def _replies(self, problem: Problem, texts: Sequence[str]) -> dict[str, _Reply]:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {text: group.create_task(self._ask(problem, text)) for text in texts}
        except ExceptionGroup as failures:
            # One error, as the Protocol has it; a fault of the program goes before the others.
            raise min(failures.exceptions, key=lambda e: isinstance(e, VilbenchError)) from None
        replies = {text: task.result() for text, task in tasks.items()}
        errors = [reply.error for reply in replies.values() if reply.error is not None]
        if errors and len(errors) == len(replies):
            raise EngineError(errors[0])
        return replies

    async def _ask(self, problem: Problem, text: str) -> _Reply:
        by_step = self._granularity == "step"
        ask = self._prompt.ask_step if by_step else self._prompt.ask_whole
        sampling = Sampling(
            temperature=0.0,
            max_tokens=self._prompt.max_tokens,
            top_logprobs=20 if self._expectation else 0,
        )
        try:
            (completion,) = await self._generator.generate(ask(problem, text), 1, sampling, seed=0)
        except EngineError as error:
            return _Reply(None, f"no verdict (the request failed): {error}", Usage(), str(error))
        try:
            judgement = self._prompt.read(completion)
        except NoVerdict as error:
            return _Reply(None, f"no verdict ({error}): {completion.text}", completion.usage)
        value = judgement.expected if self._expectation else float(judgement.score)
        if value is None:
            note = f"no verdict (no log-probabilities of the score): {completion.text}"
            return _Reply(None, note, completion.usage)
        return _Reply(value, judgement.reasoning, completion.usage)


@dataclass(frozen=True)
class _Reply:
    """What came of a request; `error` where it failed for good."""

    value: float | None
    note: str
    usage: Usage
    error: str | None = None
