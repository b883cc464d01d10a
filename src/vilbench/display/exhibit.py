"""Gallery of the report: a problem, some of its solutions, and what each scorer said."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vilbench.display import numerals
from vilbench.display.method import Group, method
from vilbench.display.picture import Picture, picture
from vilbench.display.text import name, visible
from vilbench.evaluate.results import Histogram
from vilbench.types import Image, Problem, Solution, StepScores, Verdict

COLOURS = 7
"""Number of score colours, from low (0) to high."""

NO_VERDICT = "no verdict"

_QUESTION_LIMIT = 4_000
_STEP_LIMIT = 3_000
_NOTE_LIMIT = 2_000
_ANSWER_LIMIT = 200
_MOST_STEPS = 60
_BLANKS = " \t\r\n"
"""Only these are trimmed: whatever else looks blank is shown."""
_VERDICTS: Mapping[Verdict, str] = {
    "correct": "✓ right",
    "wrong": "✗ wrong",
    "unparsed": "? no answer found",
    "failed": "! sampling failed",
}


@dataclass(frozen=True)
class Exhibit:
    """A problem to show.

    Attributes:
        solutions: A few of its solutions, in the order to show them.
        scores: Their scores, any number of scorers; others are ignored.
        picks: Method -> index of the solution that it picked, shown or not.
    """

    problem: Problem
    solutions: tuple[Solution, ...]
    scores: tuple[StepScores, ...]
    picks: Mapping[str, int]


@dataclass(frozen=True)
class Chip:
    """One value on its colour; `style` is a CSS class."""

    scorer: str
    text: str
    style: str


@dataclass(frozen=True)
class StepLine:
    """A stretch of a solution's text; `number` is 0 for text that belongs to no step."""

    number: int
    text: str
    chips: tuple[Chip, ...] = ()


@dataclass(frozen=True)
class Note:
    """What a scorer said beside one value; `place` names the step."""

    place: str
    text: str


@dataclass(frozen=True)
class ScorerNotes:
    """All that one scorer said about a solution."""

    scorer: str
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class Card:
    """A solution as it is shown."""

    index: int
    verdict: Verdict
    verdict_text: str
    answer: str
    error: str
    picked_by: tuple[str, ...]
    whole: tuple[Chip, ...]
    columns: tuple[str, ...]
    lines: tuple[StepLine, ...]
    left_out: int
    notes: tuple[ScorerNotes, ...]


@dataclass(frozen=True)
class Choice:
    """One choice of a multiple-choice question."""

    letter: str
    text: str
    gold: bool


@dataclass(frozen=True)
class Display:
    """An exhibit as it is shown; every text is visible text."""

    id: str
    source: str
    modality: str
    question: str
    choices: tuple[Choice, ...]
    answer: str
    pictures: tuple[Picture, ...]
    cards: tuple[Card, ...]
    picked_elsewhere: tuple[str, ...]


def rank(value: float, histogram: Histogram) -> float:
    """Share of the scorer's values below `value`, values of its bin counting half."""
    total = sum(histogram.counts)
    if not total:
        return 0.5
    at = min(max(bisect_right(histogram.edges, value) - 1, 0), len(histogram.counts) - 1)
    return (sum(histogram.counts[:at]) + histogram.counts[at] / 2) / total


def chip(scorer: str, value: float | None, histogram: Histogram | None) -> Chip:
    """The value as number and colour; None says so in words and has no colour."""
    shown = name(scorer)
    if value is None:
        return Chip(shown, NO_VERDICT, "none")
    if histogram is None:
        return Chip(shown, numerals.score(value), "plain")
    level = min(COLOURS - 1, int(rank(value, histogram) * COLOURS))
    return Chip(shown, numerals.score(value), f"s{level}")


def display(
    exhibit: Exhibit,
    scorers: Sequence[str],
    histograms: Mapping[str, Histogram],
    pictured: Callable[[Image], Picture] = picture,
) -> Display:
    """The exhibit with scores coloured by their rank among all values of their scorer.

    Args:
        exhibit: What is shown.
        scorers: All scorers, in the order of the columns.
        histograms: Values by scorer; where there is none its values have no colour.
        pictured: How an image is put on the page; into the page itself by default.
    """
    problem = exhibit.problem
    shown = {s.index for s in exhibit.solutions}
    elsewhere = {m: i for m, i in exhibit.picks.items() if i not in shown}
    gold = problem.answer.strip().upper()
    letters = [chr(ord("A") + i) if i < 26 else str(i + 1) for i in range(len(problem.choices))]
    return Display(
        id=name(problem.id),
        source=name(problem.source),
        modality=problem.modality,
        question=visible(problem.question, _QUESTION_LIMIT, lines=True),
        choices=tuple(
            Choice(letter, visible(text, _ANSWER_LIMIT), letter == gold)
            for letter, text in zip(letters, problem.choices, strict=True)
        ),
        answer=visible(problem.answer, _ANSWER_LIMIT),
        pictures=tuple(pictured(image) for image in problem.images),
        cards=tuple(_card(exhibit, s, scorers, histograms) for s in exhibit.solutions),
        picked_elsewhere=tuple(
            f"solution {index} ({'; '.join(grouped(methods, scorers))})"
            for index, methods in sorted(_by_index(elsewhere).items())
        ),
    )


def _by_index(picks: Mapping[str, int]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for picker, index in picks.items():
        found.setdefault(index, []).append(picker)
    return found


def grouped(names: Sequence[str], scorers: Sequence[str]) -> tuple[str, ...]:
    """Methods with one scorer told together: "judge-prm: mean, last-2"."""
    groups: dict[str, list[str]] = {}
    for m in (method(text, scorers) for text in names):
        alone = m.group is not Group.SCORER or not m.aggregation
        groups.setdefault(m.name if alone else m.scorer, []).append("" if alone else m.aggregation)
    return tuple(
        name(head) if not any(rest) else f"{name(head)}: {', '.join(name(r) for r in rest if r)}"
        for head, rest in groups.items()
    )


def _card(
    exhibit: Exhibit,
    solution: Solution,
    scorers: Sequence[str],
    histograms: Mapping[str, Histogram],
) -> Card:
    order = {s: i for i, s in enumerate(scorers)}
    mine = sorted(
        (s for s in exhibit.scores if s.solution_index == solution.index),
        key=lambda s: (order.get(s.scorer, len(order)), s.scorer),
    )
    by_step = [s for s in mine if s.granularity == "step"]
    lines = _lines(solution, by_step, histograms)
    picked = [m for m, index in exhibit.picks.items() if index == solution.index]
    return Card(
        index=solution.index,
        verdict=solution.verdict,
        verdict_text=_VERDICTS[solution.verdict],
        answer="" if solution.answer is None else visible(solution.answer, _ANSWER_LIMIT),
        error=visible(solution.error or "", _NOTE_LIMIT),
        picked_by=grouped(picked, scorers),
        whole=tuple(
            chip(s.scorer, s.values[0] if s.values else None, histograms.get(s.scorer))
            for s in mine
            if s.granularity == "solution"
        ),
        columns=tuple(name(s.scorer) for s in by_step),
        lines=tuple(lines[:_MOST_STEPS]),
        left_out=max(0, len(lines) - _MOST_STEPS),
        notes=tuple(_notes(s) for s in mine if any(n.strip(_BLANKS) for n in s.notes)),
    )


def _lines(
    solution: Solution, by_step: Sequence[StepScores], histograms: Mapping[str, Histogram]
) -> list[StepLine]:
    """Steps with their values, and between them whatever text no step holds."""
    lines: list[StepLine] = []
    done = 0
    for i, (start, end) in enumerate(solution.steps):
        _add_rest(lines, solution.text[done:start])
        chips = tuple(
            chip(s.scorer, s.values[i] if i < len(s.values) else None, histograms.get(s.scorer))
            for s in by_step
        )
        lines.append(StepLine(i + 1, _step_text(solution.text[start:end]), chips))
        done = max(done, end)
    _add_rest(lines, solution.text[done:])
    return lines


def _add_rest(lines: list[StepLine], text: str) -> None:
    if text.strip(_BLANKS):
        lines.append(StepLine(0, _step_text(text)))


def _step_text(text: str) -> str:
    return visible(text.strip(_BLANKS), _STEP_LIMIT, lines=True)


def _notes(scores: StepScores) -> ScorerNotes:
    whole = scores.granularity == "solution"
    return ScorerNotes(
        name(scores.scorer),
        tuple(
            Note(
                "the solution" if whole else f"step {i + 1}",
                visible(text.strip(_BLANKS), _NOTE_LIMIT, lines=True),
            )
            for i, text in enumerate(scores.notes[:_MOST_STEPS])
            if text.strip(_BLANKS)
        ),
    )
