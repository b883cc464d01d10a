r"""Fakes and factories that ship with the package; they need no test framework.

They answer from a script, so that a pipeline can be run and checked without a model:

    engine = ScriptedEngine({"How many": ["Step 1: I count 3.\nAnswer: 3"]})
    scorer = TableScorer("table", "step", {("p0", 0): [4.0, None]})
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import re
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vilbench.errors import EngineError
from vilbench.types import (
    Completion,
    FinishReason,
    Granularity,
    Problem,
    Prompt,
    Sampling,
    Solution,
    Span,
    StepScores,
    Token,
    Usage,
    Verdict,
)

Reply = str | Completion
"""A scripted reply: text that obeys `Sampling`, or a `Completion` that is given verbatim."""

Replies = Mapping[str, Sequence[Reply]] | Callable[[Prompt, int], Reply]
"""What a `ScriptedEngine` says: by a text that the prompt holds, or by a function."""

_TOKEN = re.compile(r"\s+|\d|[^\W\d]+|[^\w\s]")


def prompt_text(prompt: Prompt) -> str:
    """All text of a prompt, its parts, system turn and prefill on lines of their own."""
    texts = [part for part in prompt.parts if isinstance(part, str)]
    return "\n".join([prompt.system, *texts, prompt.prefill])


def scripted_completion(
    text: str,
    top: Mapping[str, Mapping[str, float]] | None = None,
    *,
    finish_reason: FinishReason = "stop",
) -> Completion:
    """A completion whose tokens are words, blanks, single digits and punctuation marks.

    Args:
        text: What the completion says.
        top: Log-probabilities of the alternatives at the last occurrence of a token, by
            that token's text, such as `{"4": {"4": -0.2, "5": -1.8}}` at a judge's score.
        finish_reason: Why it ended.

    Raises:
        ValueError: `top` names a token that the text lacks.
    """
    tokens = [Token(piece, -1.0, {}) for piece in _TOKEN.findall(text)]
    for wanted, alternatives in (top or {}).items():
        places = [i for i, token in enumerate(tokens) if token.text == wanted]
        if not places:
            raise ValueError(f"{wanted!r} is no token of {text[:80]!r}")
        logprob = alternatives.get(wanted, min(alternatives.values(), default=-1.0))
        tokens[places[-1]] = Token(wanted, logprob, dict(alternatives))
    usage = Usage(completion_tokens=len(tokens))
    return Completion(text, finish_reason, usage, tuple(tokens))


class ScriptedEngine:
    """A `Generator` and `LikelihoodModel` that answers from a script.

    Completion `i` of a prompt is reply `i` of the longest key that the prompt's text
    holds (the key "" fits every prompt), starting over behind the last one; a function is
    called with the prompt and `i`. The seed plays no part: what a test scripted is what
    it gets. Replies that are text are cut at `Sampling.stop` and at `max_tokens` and get
    tokens with made-up log-probabilities in [-2, 0), the same ones from `score_tokens`.

    Args:
        replies: The script.
        latency: Seconds that each request takes.
        failures: Requests that fail: how often a prompt that holds the key raises
            `EngineError` before it is answered.
        name: Name in tables.

    Attributes:
        prompts: Prompts of all requests, the failed ones included, in order.
        completions: Completions given out.
        scored: Replies scored by `score_tokens`.
        most_in_flight: Most requests that were under way at once.
    """

    def __init__(
        self,
        replies: Replies,
        *,
        latency: float = 0.0,
        failures: Mapping[str, int] | None = None,
        name: str = "scripted",
    ) -> None:
        self._replies = replies
        self._latency = latency
        self._failures = dict(failures or {})
        self._failed: Counter[str] = Counter()
        self._name = name
        self._in_flight = 0
        self.prompts: list[Prompt] = []
        self.completions = 0
        self.scored = 0
        self.most_in_flight = 0

    @property
    def name(self) -> str:
        """Name in tables."""
        return self._name

    @property
    def fingerprint(self) -> str:
        """Hash of name and script; a function counts by its qualified name."""
        if isinstance(self._replies, Mapping):
            script = repr(sorted((key, list(said)) for key, said in self._replies.items()))
        else:
            script = getattr(self._replies, "__qualname__", type(self._replies).__qualname__)
        return hashlib.sha256(f"{self._name}\0{script}".encode()).hexdigest()[:16]

    @property
    def requests(self) -> int:
        """Requests received, the failed ones included."""
        return len(self.prompts)

    async def generate(
        self, prompt: Prompt, n: int, sampling: Sampling, seed: int, *, first: int = 0
    ) -> list[Completion]:
        """The scripted completions `first` to `first + n - 1`.

        Raises:
            EngineError: `failures` says so.
            LookupError: The script has nothing for this prompt.
        """
        await self._request(prompt)
        found = [self._complete(prompt, first + i, sampling) for i in range(n)]
        self.completions += n
        return found

    async def score_tokens(self, prompt: Prompt, replies: Sequence[str]) -> list[tuple[Token, ...]]:
        """Tokens of each reply with made-up log-probabilities.

        Raises:
            EngineError: `failures` says so.
        """
        await self._request(prompt)
        self.scored += len(replies)
        return [_tokens(prompt, reply, top=0) for reply in replies]

    async def _request(self, prompt: Prompt) -> None:
        self.prompts.append(prompt)
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            # Even without latency other requests get their turn here, as with a server.
            await asyncio.sleep(self._latency)
        finally:
            self._in_flight -= 1
        text = prompt_text(prompt)
        for key, times in self._failures.items():
            if key in text and self._failed[key] < times:
                self._failed[key] += 1
                raise EngineError(f"scripted failure {self._failed[key]} of {times} for {key!r}")

    def _complete(self, prompt: Prompt, index: int, sampling: Sampling) -> Completion:
        reply = self._reply(prompt, index)
        if isinstance(reply, Completion):
            return reply
        finish_reason: FinishReason = "stop"
        ends = [at for stop in sampling.stop if (at := reply.find(stop)) >= 0]
        text = reply[: min(ends, default=len(reply))]
        tokens = _tokens(prompt, text, top=sampling.top_logprobs)
        if len(tokens) > sampling.max_tokens:
            tokens = tokens[: sampling.max_tokens]
            text = "".join(token.text for token in tokens)
            finish_reason = "length"
        usage = Usage(
            prompt_tokens=len(_TOKEN.findall(prompt_text(prompt))), completion_tokens=len(tokens)
        )
        return Completion(text, finish_reason, usage, tokens)

    def _reply(self, prompt: Prompt, index: int) -> Reply:
        if not isinstance(self._replies, Mapping):
            return self._replies(prompt, index)
        text = prompt_text(prompt)
        keys = [key for key in self._replies if key in text]
        if not keys:
            raise LookupError(f"the script has no reply to {text[:200]!r}")
        said = self._replies[max(keys, key=len)]
        return said[index % len(said)]


def _tokens(prompt: Prompt, text: str, *, top: int) -> tuple[Token, ...]:
    """Tokens of `text`; a log-probability depends on prompt, images and what came before."""
    images = "".join(image.digest for image in prompt.images)
    state = zlib.crc32((prompt_text(prompt) + images).encode("utf-8", "surrogatepass"))
    tokens = []
    for piece in _TOKEN.findall(text):
        state = zlib.crc32(piece.encode("utf-8", "surrogatepass"), state)
        logprob = -(state % 2000 + 1) / 1000
        tokens.append(Token(piece, logprob, {piece: logprob} if top else {}))
    return tuple(tokens)


class TableScorer:
    """A `StepScorer` that looks its values up.

    Args:
        name: Name in tables and in the store.
        granularity: Whether an entry holds a value per step or one in all.
        table: Values by problem id and solution index; a solution without an entry gets
            no verdict (None, for every step).

    Attributes:
        scored: Solutions scored.
    """

    def __init__(
        self,
        name: str,
        granularity: Granularity,
        table: Mapping[tuple[str, int], Sequence[float | None]],
    ) -> None:
        self._name = name
        self._granularity: Granularity = granularity
        self._table = {key: tuple(values) for key, values in table.items()}
        self.scored = 0

    @property
    def name(self) -> str:
        """Name in tables and in the store."""
        return self._name

    @property
    def granularity(self) -> Granularity:
        """Whether values speak of steps or of the solution."""
        return self._granularity

    @property
    def fingerprint(self) -> str:
        """Hash of name, granularity and table."""
        said = repr((self._name, self._granularity, sorted(self._table.items(), key=repr)))
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    async def score(self, problem: Problem, solutions: Sequence[Solution]) -> list[StepScores]:
        """The values of the table.

        Raises:
            ValueError: An entry has another length than the solution has places for values.
        """
        await asyncio.sleep(0)
        scores = [self._look_up(problem, solution) for solution in solutions]
        self.scored += len(scores)
        return scores

    def _look_up(self, problem: Problem, solution: Solution) -> StepScores:
        size = len(solution.steps) if self._granularity == "step" else 1
        values = self._table.get((problem.id, solution.index), (None,) * size)
        if len(values) != size:
            raise ValueError(
                f"{self._name} has {len(values)} values for solution {solution.index} of "
                f"problem {problem.id!r}, which takes {size}"
            )
        return StepScores(
            problem_id=problem.id,
            solution_index=solution.index,
            scorer=self._name,
            granularity=self._granularity,
            values=values,
        )


def make_problem(**overrides: Any) -> Problem:
    """A valid problem without images ("p0": 2 + 3), with any fields replaced."""
    fields: dict[str, Any] = {
        "id": "p0",
        "source": "sums",
        "question": "How much is 2 + 3?",
        "answer": "5",
        "answer_kind": "number",
    }
    return Problem(**{**fields, **overrides})


def make_solution(
    problem: Problem,
    index: int = 0,
    text: str = "I read 2 and 3.\nI add them.\nThe sum is 5.",
    *,
    answer: str | None = None,
    **overrides: Any,
) -> Solution:
    """A solution of `problem` with a step for each line of `text` that is not blank.

    The verdict follows from `answer`: "unparsed" for None, else "correct" where it equals
    the gold answer to the letter, else "wrong"; `overrides` replace any field.
    """
    verdict: Verdict = "wrong"
    if answer is None:
        verdict = "unparsed"
    elif answer == problem.answer:
        verdict = "correct"
    fields: dict[str, Any] = {
        "problem_id": problem.id,
        "index": index,
        "text": text,
        "steps": _lines(text),
        "answer": answer,
        "verdict": verdict,
        "finish_reason": "stop",
    }
    return Solution(**{**fields, **overrides})


def _lines(text: str) -> tuple[Span, ...]:
    spans = []
    start = 0
    for line in text.split("\n"):
        if line.strip():
            spans.append(Span(start, start + len(line)))
        start += len(line) + 1
    return tuple(spans)


def tiny_png(color: str = "red", size: tuple[int, int] = (2, 2)) -> bytes:
    """Encoded bytes of a one-colour RGB PNG of `size` (width, height) pixels."""
    from PIL import Image as PillowImage

    buffer = io.BytesIO()
    PillowImage.new("RGB", size, color).save(buffer, format="PNG")
    return buffer.getvalue()
