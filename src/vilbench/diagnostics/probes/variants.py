"""A variant: one way to change what a scorer is asked, from a seed and without a model."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vilbench.diagnostics.probes.cases import Case, Deck, stream
from vilbench.evaluate.scoring import Pool
from vilbench.types import Problem, Solution, Span

Rewrite = Callable[[Problem, Solution, random.Random], Solution | None]
"""A changed candidate; None where the change does not apply. Index and verdict stay."""

Repaint = Callable[[Problem, Deck, str], Problem | None]
"""The problem with other images, by the name of a random stream; None where it has none."""

Arrange = Callable[[Sequence[Solution], random.Random], Sequence[Sequence[Solution]]]
"""The candidates as one or several calls of the scorer."""

Part = Callable[[Case, Deck], Sequence[Solution]]
"""Which candidates of a case a variant is about."""


Fits = Callable[[Problem, Deck], bool]
"""Whether a change can be made to a problem at all, told without making it."""


def any_problem(problem: Problem, deck: Deck) -> bool:
    """Every problem."""
    return True


def has_images(problem: Problem, deck: Deck) -> bool:
    """Problems that show something."""
    return bool(problem.images)


def has_donor(problem: Problem, deck: Deck) -> bool:
    """Problems whose images could be those of another."""
    return bool(problem.images) and bool(deck.donors(problem))


def everyone(case: Case, deck: Deck) -> Sequence[Solution]:
    """All drawn candidates."""
    return case.solutions


def wrong_ones(case: Case, deck: Deck) -> Sequence[Solution]:
    """The candidates that attacks are tried on: wrong answers, as many as the draw says."""
    return case.wrong(deck.draw.attacked)


@dataclass(frozen=True)
class Variant:
    """A named change. Perturbed candidates keep the index of the one that they come from.

    Attributes:
        probe: Name of the probe that it belongs to.
        name: Name within the probe.
        version: Raised whenever the change changes.
        rewrite: Changes a candidate.
        repaint: Changes the images of a problem.
        arrange: Makes the calls; one call by default.
        part: Which candidates it is about.
        fits: Which problems it is for.
    """

    probe: str
    name: str
    version: int
    rewrite: Rewrite | None = None
    repaint: Repaint | None = None
    arrange: Arrange | None = None
    part: Part = everyone
    fits: Fits = any_problem

    def calls(self, case: Case, deck: Deck) -> list[Sequence[Solution]]:
        """Changed candidates by the calls that they are scored in; no image is made for this."""
        solutions = self._solutions(case, deck) if self.fits(case.problem, deck) else []
        if self.arrange is None:
            return [solutions] if solutions else []
        rng = random.Random(self._stream(case.problem, deck))
        return [call for call in self.arrange(solutions, rng) if call]

    def touched(self, case: Case, deck: Deck) -> frozenset[int]:
        """Indices of the candidates that it changes."""
        return frozenset(one.index for call in self.calls(case, deck) for one in call)

    def concerned(self, case: Case, deck: Deck) -> int:
        """How many candidates it is about, whether or not it can change them."""
        return len(self.part(case, deck))

    def pools(self, case: Case, deck: Deck) -> list[Pool]:
        """The calls with their problem; none where it does not apply.

        Raises:
            ImageError: An image that is to be changed cannot be read.
        """
        calls = self.calls(case, deck)
        problem: Problem | None = case.problem
        if calls and self.repaint is not None:
            problem = self.repaint(case.problem, deck, self._stream(case.problem, deck))
        return [] if problem is None else [Pool(problem, call) for call in calls]

    def _solutions(self, case: Case, deck: Deck) -> list[Solution]:
        chosen = self.part(case, deck)
        if self.rewrite is None:
            return list(chosen)
        found = []
        for one in chosen:
            rng = random.Random(self._stream(case.problem, deck, one))
            changed = self.rewrite(case.problem, one, rng)
            if changed is not None:
                found.append(changed)
        return found

    def _stream(self, problem: Problem, deck: Deck, solution: Solution | None = None) -> str:
        index = "" if solution is None else str(solution.index)
        return stream(deck.draw.seed, self.probe, self.name, problem.id, index)


def with_steps(solution: Solution, steps: Sequence[str]) -> Solution | None:
    """The solution with other texts for its steps, what is between them kept; None if it is same.

    Args:
        solution: The solution.
        steps: As many texts as it has steps.
    """
    text, spans, end = "", [], 0
    for span, step in zip(solution.steps, steps, strict=True):
        text += solution.text[end : span.start]
        spans.append(Span(len(text), len(text) + len(step)))
        text += step
        end = span.end
    text += solution.text[end:]
    if text == solution.text:
        return None
    return solution.model_copy(update={"text": text, "steps": tuple(spans)})


def with_spans(solution: Solution, spans: Sequence[Span]) -> Solution | None:
    """The same text with other boundaries of steps; None if they are the same."""
    if tuple(spans) == solution.steps:
        return None
    return solution.model_copy(update={"steps": tuple(spans)})
