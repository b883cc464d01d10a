"""How the benchmarks themselves ask: words before and after a question, marks of choices.

The words are those of each benchmark's own evaluation, as a protocol has to repeat them: a
score under other words is another score. Where a benchmark tells no words for a way of
asking, there is none here either, and the format's own instruction stands in.

    MMStar       "Answer with the option's letter ...", as common harnesses ask it; direct only
    MMMU-Pro     mmmu-pro/prompts.yaml: direct and cot, of the standard and the vision sets
    MathVista    the hints of `query`, which say where the value stands and of what kind it is;
                 they are the same for both ways of asking
    MathVerse    `query_wo` and `query_cot`; without a question text (vision only) it says that
                 the question stands in the image
    RealWorldQA  the closing line of its questions; direct only
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from types import MappingProxyType
from typing import Literal

from vilbench.errors import ProblemError
from vilbench.types import Problem

Way = Literal["direct", "reasoning"]
"""For the answer alone, or for the reasoning before it."""


@dataclass(frozen=True)
class Wording:
    """What stands around a question.

    Attributes:
        before: Before the question, line ends included.
        after: After question and choices, line ends included.
        heading: Line above the choices.
        mark: Of a choice: `{}` is its letter.
        unit: Around the unit, which follows the question; "" leaves the unit out.
    """

    before: str = ""
    after: str = ""
    heading: str = ""
    mark: str = "{}. "
    unit: str = ""

    def text(self, problem: Problem) -> str:
        """The whole request, with the marks of images still in it.

        Raises:
            ProblemError: The problem has more choices than there are letters.
        """
        question = problem.question
        if self.unit and problem.unit:
            question += self.unit.replace("{}", problem.unit)
        lines = [question] if question else []
        if problem.choices:
            lines += [self.heading] if self.heading else []
            lines += listed(problem.choices, self.mark)
        return self.before + "\n".join(lines) + self.after


def listed(choices: Sequence[str], mark: str = "{}. ") -> list[str]:
    """A line for each choice, its letter first.

    Raises:
        ProblemError: There are more choices than letters.
    """
    if len(choices) > len(ascii_uppercase):
        raise ProblemError(f"more than {len(ascii_uppercase)} choices", field="choices")
    return [
        mark.replace("{}", letter) + choice
        for letter, choice in zip(ascii_uppercase, choices, strict=False)
    ]


def _mmstar(problem: Problem, way: Way) -> Wording | None:
    del problem
    if way == "reasoning":
        return None
    return Wording(after="\nAnswer with the option's letter from the given choices directly.")


_LAST_LINE = (
    "The last line of your response should be of the following format: 'Answer: $LETTER' "
    "(without quotes) where LETTER is one of options."
)
_THINK = "Think step by step before answering."


def _mmmu_pro(problem: Problem, way: Way) -> Wording:
    vision = not problem.question
    if way == "direct":
        directly = "Answer with the option letter from the given choices directly."
        words = f"{directly} {_LAST_LINE}" if vision else directly
    elif vision:
        words = (
            "Write out the multiple-choice question in the image and then solve it. "
            f"{_LAST_LINE} {_THINK}"
        )
    else:
        words = f"Answer the preceding multiple choice question. {_LAST_LINE} {_THINK}"
    return Wording(after=words if vision and not problem.choices else f"\n{words}")


_ONE_PLACE, _TWO_PLACES = 1, 2


def _mathvista(problem: Problem, way: Way) -> Wording:
    del way
    if problem.answer_kind == "choice":
        asked = "and provide the correct option letter, e.g., A, B, C, D"
    elif problem.answer_kind == "list":
        asked = (
            "requiring a Python list as an answer and provide the final list, "
            "e.g., [1, 2, 3], [1.2, 1.3, 1.4]"
        )
    elif problem.answer_kind == "number" and not problem.precision:
        asked = "requiring an integer answer and provide the final value, e.g., 1, 2, 3"
    elif problem.answer_kind == "number" and problem.precision == _ONE_PLACE:
        asked = (
            "requiring a floating-point number with one decimal place and provide the final "
            "value, e.g., 1.2, 1.3, 1.4"
        )
    elif problem.answer_kind == "number" and problem.precision == _TWO_PLACES:
        asked = (
            "requiring a floating-point number with two decimal places and provide the final "
            "value, e.g., 1.23, 1.34, 1.45"
        )
    else:
        asked = "and provide the final answer"
    return Wording(
        before=f"Hint: Please answer the question {asked}, at the end.\nQuestion: ",
        heading="Choices:",
        mark="({}) ",
        unit=" (Unit: {})",
    )


def _mathverse(problem: Problem, way: Way) -> Wording:
    choice = problem.answer_kind in ("choice", "choices")
    sought = "the correct option letter, e.g., A, B, C, D" if choice else ""
    sought = sought or "the final value, e.g., 1, 2.5, 300"
    if way == "direct":
        words = f"Please directly answer the question and provide {sought}."
    else:
        words = (
            f"Please first conduct reasoning, and then answer the question and provide {sought}, "
            "at the end."
        )
    if not problem.question:
        words = f"According to the question shown in the image, p{words[1:]}"
        return Wording(before=words + ("\n" if problem.choices else ""), mark="{}:")
    return Wording(before=f"{words}\nQuestion: ", heading="Choices:", mark="{}:")


def _realworldqa(problem: Problem, way: Way) -> Wording | None:
    if way == "reasoning":
        return None
    choice = problem.answer_kind == "choice"
    sought = "only the letter of the correct option and nothing else" if choice else ""
    sought = sought or "a single word or number"
    return Wording(after=f"\nPlease answer directly with {sought}.")


WORDINGS: Mapping[str, Callable[[Problem, Way], Wording | None]] = MappingProxyType(
    {
        "MMStar": _mmstar,
        "MMMU-Pro": _mmmu_pro,
        "MathVista": _mathvista,
        "MathVerse": _mathverse,
        "RealWorldQA": _realworldqa,
    }
)
"""By `Problem.source`; a benchmark that is not here has no words of its own."""


def wording(problem: Problem, way: Way) -> Wording | None:
    """How the problem's benchmark asks; None where it is not known to."""
    found = WORDINGS.get(problem.source)
    return found(problem, way) if found else None


def samples() -> tuple[Problem, ...]:
    """Problems that between them draw every wording: what a fingerprint of them runs over."""
    numbers: list[dict[str, object]] = [
        {"answer_kind": "number", "precision": places} for places in (None, 0, 1, 2, 3)
    ]
    kinds: list[dict[str, object]] = [
        {"answer_kind": "choice", "choices": ("x", "y")},
        {"answer_kind": "choice"},
        {"answer_kind": "choices", "choices": ("x", "y")},
        {"answer_kind": "list"},
        {"answer_kind": "text"},
        *numbers,
    ]
    return tuple(
        Problem.model_validate(
            {"id": "p", "source": source, "question": question, "answer": "A", "unit": "u", **kind}
        )
        for source in WORDINGS
        for question in ("q", "")
        for kind in kinds
    )
