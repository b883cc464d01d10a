"""A made-up policy and evaluator for searches, and a driver that answers from them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from vilbench.search import (
    Answer,
    Continuation,
    Draw,
    Guided,
    Judge,
    Judged,
    Omega,
    Request,
    RestMcts,
    Rollouts,
    Tree,
    TreeRecord,
    begin,
)

Settings = RestMcts | Rollouts | Omega | Guided
Answers = Callable[[Request], Answer]


@dataclass
class World:
    """Solutions of `length` steps; a step is right with chance `skill`, and says so.

    Every answer depends on the request alone.
    """

    seed: int = 0
    length: int = 5
    skill: float = 0.8
    wordings: int = 2
    broken: float = 0.0

    def __call__(self, request: Request) -> Answer:
        if isinstance(request, Judge):
            return self.judge(request)
        return tuple(self._draw(request, request.first + n) for n in range(request.count))

    def judge(self, request: Judge) -> Judged:
        rng = random.Random(f"{self.seed}/{request.steps}")
        if rng.random() < self.broken:
            return Judged((None,) * request.count, "evaluator-failed")
        ends = range(len(request.steps) - request.count + 1, len(request.steps) + 1)
        return Judged(tuple(0.7 * _right(request.steps[:end]) + 0.2 * rng.random() for end in ends))

    def _draw(self, request: Draw, number: int) -> Continuation:
        name = f"{self.seed}/{request.steps}/{number}/{request.length}/{request.greedy}"
        rng = random.Random(name)
        steps: list[str] = []
        if rng.random() < self.broken:
            reason = rng.choice(["policy-failed", "empty-step", "repeats"])
            return Continuation(("again",) if reason == "repeats" else (), reason=reason)
        for place in range(len(request.steps), self.length):
            if len(steps) == request.length:
                return Continuation(tuple(steps))
            word = "right" if rng.random() < self.skill else "wrong"
            steps.append(f"{place} {word} {rng.randrange(self.wordings)}")
        return Continuation(tuple(steps), True, _right((*request.steps, *steps)))


def _right(steps: tuple[str, ...]) -> bool:
    return all("right" in step for step in steps)


@dataclass
class Played:
    """A search that was driven to its end."""

    tree: Tree
    stopped: str = ""
    requests: list[Request] = field(default_factory=list)

    @property
    def record(self) -> TreeRecord:
        return self.tree.record(self.stopped)

    @property
    def drawn(self) -> int:
        return sum(one.count for one in self.requests if isinstance(one, Draw))


def play(settings: Settings, answers: Answers, *, rounds: int | None = None) -> Played:
    """Drives a search to its end, or for some rounds."""
    played = Played(Tree("p", settings.rule, 7))
    search = begin(played.tree, settings)
    given = None
    while rounds is None or rounds > 0:
        try:
            asked = next(search) if given is None else search.send(given)
        except StopIteration as end:
            played.stopped = end.value
            return played
        played.requests += asked
        given = [answers(request) for request in asked]
        rounds = None if rounds is None else rounds - 1
    search.close()
    played.stopped = "budget"
    return played


def scripted(said: dict[tuple[str, ...], list[Continuation]], judged: dict[str, float]) -> Answers:
    """Draws by prefix in order of `first`; values by the step's text."""

    def answer(request: Request) -> Answer:
        if isinstance(request, Draw):
            return tuple(said[request.steps][request.first : request.first + request.count])
        return Judged(tuple(judged[step] for step in request.steps[-request.count :]))

    return answer
