"""Continuations by a policy: how it is asked to go on, and what is read from its reply.

A reply is read with the prefix before it, by the splitter of the step format, and cut where a
step begins. Model text is hostile: whatever makes a branch useless ends it with a reason,

    empty-step      nothing was written
    step-too-long   a step of more characters, or tokens, than the limits allow
    repeats         the step before it again, or one that was written twice already
    too-deep        more steps than the limits allow
    unfinished      the tokens were used up before the solution ended
    content-filter  the server cut the reply
    policy-failed   the request failed for good, or was answered in part

and leaves what was written before it as it is. The step that the reason speaks of is the last
of the continuation, cut to the limit where it is too long.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from vilbench.answers import extract, grade, soon, states
from vilbench.errors import EngineError, InputError
from vilbench.search import Continuation, Draw, stream_seed
from vilbench.steps import StepFormat, Strategy
from vilbench.types import Completion, Generator, Problem, Prompt, Sampling, Usage

_JOINTS: Mapping[Strategy, str] = MappingProxyType({"blank-line": "\n\n", "sentence": " "})
_MARKER = re.compile(r"\W{0,8}step\s{0,4}\d{1,3}\W{0,8}", re.IGNORECASE)


@dataclass(frozen=True)
class Limits:
    """Bounds of what a policy may write.

    Attributes:
        tokens: Most tokens of a continuation to the end.
        step_tokens: Most tokens of one step, where steps are asked for one by one.
        step_characters: Most characters of a step.
        depth: Most steps of a solution.
    """

    tokens: int = 1024
    step_tokens: int = 256
    step_characters: int = 2000
    depth: int = 32


@dataclass(frozen=True)
class Drawn:
    """What came of a `Draw`.

    Attributes:
        continuations: As many as were asked for.
        usage: Tokens of them all.
        error: Why the request failed, wholly or in part; "" where it did not.
    """

    continuations: tuple[Continuation, ...]
    usage: Usage = field(default_factory=Usage)
    error: str = ""


@dataclass(frozen=True)
class Grader:
    """Grades solutions of one problem; an answer that was met before costs nothing.

    Attributes:
        problem: Whose solutions.
    """

    problem: Problem
    _known: dict[str | None, bool] = field(default_factory=dict)

    def is_right(self, text: str) -> bool:
        """Whether a solution's final answer is right; one that cannot be read is not."""
        answer = extract(text, self.problem)
        right = self._known.get(answer)
        if right is None:
            right = self._known[answer] = grade(answer, self.problem) == "correct"
        return right


@dataclass(frozen=True)
class Policy:
    """A generator that goes on from prefixes.

    Attributes:
        generator: The model.
        format: How it is asked for steps and how its steps are told apart.
        temperature: Of continuations that are not greedy.
        top_p: The same.
        limits: Bounds of its text.
        seed: Of the run; every prefix of every problem has a random stream of its own.
    """

    generator: Generator
    format: StepFormat
    temperature: float
    top_p: float
    limits: Limits
    seed: int

    @property
    def fingerprint(self) -> str:
        """Changes with whatever changes a continuation."""
        said = (
            self.generator.fingerprint,
            self.format.fingerprint,
            repr((self.temperature, self.top_p, self.limits, self.seed)),
        )
        return hashlib.sha256("\0".join(said).encode()).hexdigest()

    @property
    def joint(self) -> str:
        """What stands between two steps."""
        return _JOINTS.get(self.format.strategy, "\n")

    async def draw(self, grader: Grader, request: Draw) -> Drawn:
        """Continuations of a prefix; a request that fails gives branches that end."""
        problem = grader.problem
        error, completions = "", list[Completion]()
        try:
            completions = await self.generator.generate(
                self._prompt(problem, request),
                request.count,
                self._sampling(request),
                self._seed(problem, request),
                first=request.first,
            )
        except (EngineError, InputError) as failure:
            error = str(failure) or type(failure).__name__
        found = await soon(
            problem,
            lambda: [self._read(grader, request, one) for one in completions[: request.count]],
        )
        if len(completions) != request.count and not error:
            error = f"the policy gave {len(completions)} completions, not {request.count}"
        lacking = request.count - len(found)
        found += [Continuation((), reason="policy-failed")] * lacking
        usage = sum((one.usage for one in completions), Usage())
        return Drawn(tuple(found), usage, error)

    def joined(self, steps: tuple[str, ...]) -> str:
        """The text of a prefix."""
        return self.joint.join(steps)

    def _prompt(self, problem: Problem, request: Draw) -> Prompt:
        ask = self.format.ask(problem)
        return Prompt(ask.parts, ask.system, self._prefill(request.steps))

    def _prefill(self, steps: tuple[str, ...]) -> str:
        return self.joined((*steps, "")) if steps else ""

    def _sampling(self, request: Draw) -> Sampling:
        temperature = 0.0 if request.greedy else self.temperature
        tokens, stop = self.limits.tokens, tuple[str, ...]()
        if request.length is not None:
            tokens = min(tokens, request.length * self.limits.step_tokens)
            stop = self._stops(len(request.steps) + request.length, request.length)
        return Sampling(temperature, self.top_p, tokens, stop)

    def _stops(self, last: int, length: int) -> tuple[str, ...]:
        """Where the step behind number `last` begins; () where no text tells."""
        if self.format.strategy == "marker":
            return (f"\nStep {last + 1}",)
        joint = {"newline": "\n", "blank-line": "\n\n"}.get(self.format.strategy)
        return (joint,) if joint is not None and length == 1 else ()

    def _seed(self, problem: Problem, request: Draw) -> int:
        """Of a stream that requests of another length do not share."""
        kind = f"{problem.id}\0{request.length}\0{request.greedy}"
        return stream_seed(self.seed, kind, request.steps)

    def _read(self, grader: Grader, request: Draw, completion: Completion) -> Continuation:
        if completion.finish_reason == "error":
            return Continuation((), reason="policy-failed")
        prefix = self._prefill(request.steps)
        pieces = self._pieces(prefix, _storable(completion.text))
        kept: list[str] = []
        met = Counter(_bare(step) for step in request.steps)
        before = _bare(request.steps[-1]) if request.steps else None
        for piece in pieces[: request.length]:
            bare = _bare(piece)
            reason = self._fault(piece, len(request.steps) + len(kept))
            if not reason and (bare == before or met[bare] > 1):
                reason = "repeats"
            if reason:
                kept.append(piece[: self.limits.step_characters])
                return Continuation(tuple(kept), reason=reason)
            kept.append(piece)
            met[bare] += 1
            before = bare
        return self._ended(grader, request, completion, tuple(kept), cut=len(pieces) > len(kept))

    def _fault(self, step: str, above: int) -> str:
        if len(step) > self.limits.step_characters:
            return "step-too-long"
        return "too-deep" if above >= self.limits.depth else ""

    def _ended(
        self,
        grader: Grader,
        request: Draw,
        completion: Completion,
        steps: tuple[str, ...],
        *,
        cut: bool,
    ) -> Continuation:
        """How a continuation ends whose steps are all usable."""
        if cut:
            return Continuation(steps)
        if not steps:
            return Continuation((), reason="empty-step")
        if completion.finish_reason == "content_filter":
            return Continuation(steps, reason="content-filter")
        if completion.finish_reason == "length":
            reason = "unfinished" if request.length is None else "step-too-long"
            return Continuation(steps, reason=reason)
        if request.length is not None and not states(steps[-1]):
            return Continuation(steps)
        text = self.joined((*request.steps, *steps))
        return Continuation(steps, True, grader.is_right(text))

    def _pieces(self, prefix: str, text: str) -> list[str]:
        """The steps of a reply; what goes on with the prefix's last step is one of its own."""
        whole = prefix + text
        found = []
        for start, end in self.format.split(whole):
            piece = whole[max(start, len(prefix)) : end].strip()
            if end > len(prefix) and piece:
                found.append(piece)
        return found


def _storable(text: str) -> str:
    """The text without halves of surrogate pairs, which no file can hold."""
    return text.encode("utf-8", "replace").decode()


def _bare(step: str) -> str:
    """A step without its number and its white space, by which repeats are known."""
    return " ".join(step[_numbered(step) :].split())


def _numbered(step: str) -> int:
    """Characters of a step's number at its beginning."""
    found = _MARKER.match(step)
    return found.end() if found else 0
