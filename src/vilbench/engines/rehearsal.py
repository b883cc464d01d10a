"""A generator that costs nothing: it counts what it is asked and writes as much as is expected.

What asks it does not notice, so that a rehearsed stage makes the very requests that the real
one would make: equal prefixes asked once, searches that stop where they would stop.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os.path import commonprefix

from vilbench.engines.lengths import Lengths
from vilbench.errors import ImageError
from vilbench.images import Size, size_of
from vilbench.steps import StepFormat
from vilbench.types import Completion, Image, Problem, Prompt, Sampling, Token, Usage

_UNREADABLE = Size(1024, 1024)
"""What an image counts as that cannot be read here."""


@dataclass(frozen=True)
class Work:
    """What was asked of a model.

    Attributes:
        requests: Prompts sent.
        completions: Answers written; of a model that scores, solutions read.
        prompt_tokens: Tokens read; the prompt of several completions once.
        cached_tokens: Of them, those that began a request before as well, about the same
            problem: a server that keeps prefixes need not compute them again.
        completion_tokens: Tokens written.
        most_completion_tokens: Tokens written at most, where every answer runs to its limit.
        longest_tokens: Sum over requests of the longest answer's tokens, which one waits for.
        images: Images sent.
    """

    requests: float = 0
    completions: float = 0
    prompt_tokens: float = 0
    cached_tokens: float = 0
    completion_tokens: float = 0
    most_completion_tokens: float = 0
    longest_tokens: float = 0
    images: float = 0

    def __add__(self, other: Work) -> Work:
        return Work(*(a + b for a, b in zip(_figures(self), _figures(other), strict=True)))

    def times(self, factor: float) -> Work:
        """So many times as much."""
        return Work(*(factor * figure for figure in _figures(self)))


def _figures(work: Work) -> tuple[float, ...]:
    return (
        *(work.requests, work.completions, work.prompt_tokens, work.cached_tokens),
        work.completion_tokens,
        *(work.most_completion_tokens, work.longest_tokens, work.images),
    )


@dataclass(frozen=True)
class Solving:
    """What a solver is expected to write.

    Attributes:
        format: How it is asked, by which its steps are told apart.
        steps: Of a solution.
        tokens: Of a solution.
        right: Share of solutions with the right answer.
        problems: By the parts of their prompts.
    """

    format: StepFormat
    steps: int
    tokens: int
    right: float
    problems: Mapping[tuple[str | Image, ...], Problem]


@dataclass
class Rehearsal:
    """A `Generator` and `LikelihoodModel` that only counts.

    Attributes:
        name: Of the model that it stands for.
        lengths: Tokens of what that model reads.
        solving: What it writes where it is asked to solve; None for a judge.
        reply_tokens: What it writes where it judges.
        most_samples: Samples that the server takes in one request.
        work: What it has been asked since `taken`.
    """

    name: str
    lengths: Lengths
    solving: Solving | None = None
    reply_tokens: int = 0
    most_samples: int = 1 << 30
    work: Work = field(default_factory=Work)
    _sizes: dict[str, int] = field(default_factory=dict)
    _before: dict[tuple[object, ...], str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Of a rehearsal; nothing of it is kept."""
        return f"rehearsal/{self.name}"

    def taken(self) -> Work:
        """The work since the last time, which begins anew."""
        work, self.work = self.work, Work()
        self._before.clear()
        return work

    async def generate(
        self, prompt: Prompt, n: int, sampling: Sampling, seed: int, *, first: int = 0
    ) -> list[Completion]:
        """Completions of the expected length; see `Generator.generate`."""
        made = [self._completion(prompt, sampling, f"{seed}/{first + k}") for k in range(n)]
        written = [completion.usage.completion_tokens for completion in made]
        requests = math.ceil(n / self.most_samples)
        self.work += Work(
            requests=requests,
            completions=n,
            prompt_tokens=requests * self.of_prompt(prompt),
            cached_tokens=self._cached(prompt) + (requests - 1) * self.of_prompt(prompt),
            completion_tokens=sum(written),
            most_completion_tokens=n * sampling.max_tokens,
            longest_tokens=requests * max(written, default=0),
            images=requests * len(prompt.images),
        )
        return made

    async def score_tokens(self, prompt: Prompt, replies: Sequence[str]) -> list[tuple[Token, ...]]:
        """Tokens of the replies, a token a word; see `LikelihoodModel`."""
        suffixes = [self.lengths.of_text(reply) for reply in replies]
        self.read(prompt, suffixes, self._cached(prompt))
        return [(Token(reply, -1.0),) for reply in replies]

    def read(self, prompt: Prompt, suffixes: Sequence[float], cached: float) -> None:
        """Counts a prompt that is read once, with texts of so many tokens behind it.

        Args:
            prompt: The prompt.
            suffixes: Tokens of each text.
            cached: Tokens of the prompt that need not be computed again.
        """
        self.work += Work(
            requests=1,
            completions=len(suffixes),
            prompt_tokens=self.of_prompt(prompt) + sum(suffixes),
            cached_tokens=cached,
            images=len(prompt.images),
        )

    def of_prompt(self, prompt: Prompt) -> float:
        """Tokens of a prompt."""
        texts = [prompt.system, prompt.prefill, *(p for p in prompt.parts if isinstance(p, str))]
        messages = 1 + bool(prompt.system) + bool(prompt.prefill)
        images = sum(self._of_image(image) for image in prompt.images)
        return sum(map(self.lengths.of_text, texts)) + images + self.lengths.of_messages(messages)

    def _cached(self, prompt: Prompt) -> float:
        """Tokens at the beginning of a prompt that began the one before it as well."""
        last = prompt.parts[-1] if prompt.parts else ""
        text = last if isinstance(last, str) else ""
        parts = prompt.parts[:-1] if text else prompt.parts
        before = self._before.get((prompt.system, parts))
        text += prompt.prefill
        self._before[prompt.system, parts] = text
        if before is None:
            return 0.0
        texts = (prompt.system, *(part for part in parts if isinstance(part, str)))
        images = sum(self._of_image(image) for image in prompt.images)
        shared = commonprefix([before, text])  # noqa: RUF071 - characters are meant
        return sum(map(self.lengths.of_text, (*texts, shared))) + images

    def _of_image(self, image: Image) -> int:
        known = self._sizes.get(image.digest)
        if known is None:
            try:
                size = size_of(image.read())
            except ImageError:
                size = _UNREADABLE
            known = self._sizes[image.digest] = self.lengths.of_image(size)
        return known

    def _completion(self, prompt: Prompt, sampling: Sampling, stream: str) -> Completion:
        if self.solving is None:
            return self._verdict(sampling)
        return self._solution(self.solving, prompt, sampling, stream)

    def _verdict(self, sampling: Sampling) -> Completion:
        before = f"Reasoning: {self._words('verdict', self.reply_tokens - 8)}\nOverall Score: "
        tokens = (Token(before, -0.1), Token("3", -0.1, {"3": -0.5, "4": -1.0}))
        usage = Usage(completion_tokens=min(self.reply_tokens, sampling.max_tokens))
        return Completion(f"{before}3", "stop", usage, tokens if sampling.top_logprobs else ())

    def _solution(
        self, solving: Solving, prompt: Prompt, sampling: Sampling, stream: str
    ) -> Completion:
        """The steps behind those of the prefill, up to a stop, and the answer at the end."""
        done = len(solving.format.split(prompt.prefill)) if prompt.prefill else 0
        left = max(1, solving.steps - done)
        each = max(4, solving.tokens // solving.steps)
        joint = "\n\n" if solving.format.strategy == "blank-line" else "\n"
        steps = []
        for number in range(done + 1, done + left + 1):
            mark = f"Step {number}: " if solving.format.strategy == "marker" else ""
            steps.append(f"{mark}{self._words(f'{stream}/{number}', each - 4)}.")
        text = joint.join(steps) + f"\nAnswer: {_answer(solving, prompt, stream)}"
        for stop in sampling.stop:
            text = text.split(stop, 1)[0]
        written = math.ceil(self.lengths.of_text(text))
        if written <= sampling.max_tokens:
            return Completion(text, "stop", Usage(completion_tokens=written))
        kept = text[: round(sampling.max_tokens * self.lengths.bytes_per_token)]
        return Completion(kept, "length", Usage(completion_tokens=sampling.max_tokens))

    def _words(self, stream: str, tokens: int) -> str:
        """About so many tokens of text that is the stream's own."""
        size = max(1, round(tokens * self.lengths.bytes_per_token))
        own = hashlib.sha256(stream.encode()).hexdigest()[:8]
        return (f"{own} " + "so it is " * (size // 9 + 1))[:size].rstrip()


def _answer(solving: Solving, prompt: Prompt, stream: str) -> str:
    problem = solving.problems.get(prompt.parts)
    drawn = int.from_bytes(hashlib.sha256(f"{stream}/right".encode()).digest()[:4], "big")
    if problem is None:
        return "unknown"
    if drawn < solving.right * 2**32:
        return problem.answer
    if problem.answer_kind == "choice":
        return "B" if problem.answer == "A" else "A"
    return "-9876543"


@dataclass(frozen=True)
class ReadScores:
    """Values of candidates that were counted and not scored."""

    values: tuple[tuple[float | None, ...], ...]
    lengths: tuple[int, ...]
    computed: tuple[int, ...]


@dataclass(frozen=True)
class RehearsedScoring:
    """The scoring of a reward model that only counts, by its way of sharing prefixes.

    As the real one does, the ways "shared" and "tree" compute a question once, however often
    it is scored.

    Attributes:
        model: Takes the count.
        way: "per-prefix", "per-candidate", "shared" or "tree".
        recall: Whether "tree" computes steps once, too.
    """

    model: Rehearsal
    way: str = "tree"
    recall: bool = False
    _known: dict[Prompt, set[tuple[str, ...]]] = field(default_factory=dict)

    def score(
        self, parts: Sequence[str | Image], candidates: Sequence[Sequence[str]]
    ) -> ReadScores:
        """Counts the tokens that the real model would compute; see `scorers.prm.Scoring`."""
        prompt = Prompt(tuple(parts))
        lengths = [[self.model.lengths.of_text(step) + 1 for step in one] for one in candidates]
        whole = [sum(one) for one in lengths]
        before = self.model.of_prompt(prompt)
        if self.way == "tree":
            nodes = {
                tuple(one[: place + 1]): some[place]
                for one, some in zip(candidates, lengths, strict=True)
                for place in range(len(one))
            }
            recalled = self._known.get(prompt, ()) if self.recall else ()
            read = sum(nodes[node] for node in nodes if node not in recalled)
        elif self.way == "shared":
            read = sum(whole)
        elif self.way == "per-candidate":
            read = sum(whole) + before * (len(candidates) - 1)
        else:
            prefixes = [sum(one[: place + 1]) for one in lengths for place in range(len(one))]
            read = sum(prefixes) + before * (len(prefixes) - 1)
        share = read / max(len(candidates), 1)
        cached = before if prompt in self._known else 0.0
        if self.way in ("shared", "tree"):
            self._known.setdefault(prompt, set())
        if self.recall and self.way == "tree":
            self._known[prompt].update(nodes)
        self.model.read(prompt, [share] * len(candidates), cached)
        return ReadScores(
            tuple((0.5,) * len(one) for one in candidates),
            tuple(round(before + length) for length in whole),
            tuple(round(share + (before - cached) * (k == 0)) for k in range(len(candidates))),
        )
