"""How the benchmarks ask, in their own words."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vilbench.errors import ProblemError
from vilbench.steps import FORMATS
from vilbench.steps.wordings import WORDINGS, samples, wording
from vilbench.types import BytesSource, Image, Problem

PICTURE = Image.of(BytesSource(b"picture"))


def problem(source: str, question: str = "How many?", **more: Any) -> Problem:
    return Problem.model_validate(
        {"id": "p", "source": source, "question": question, "answer": "A", **more}
    )


CHOICE: dict[str, Any] = {"answer_kind": "choice", "choices": ("40°", "60°")}
NUMBER: dict[str, Any] = {"answer_kind": "number"}
LAST_LINE = (
    "The last line of your response should be of the following format: 'Answer: $LETTER' "
    "(without quotes) where LETTER is one of options."
)


@pytest.mark.parametrize(
    ("form", "asked", "text"),
    [
        (
            "source-direct",
            problem("MMStar", **CHOICE),
            "How many?\nA. 40°\nB. 60°\n"
            "Answer with the option's letter from the given choices directly.",
        ),
        (
            "source-direct",
            problem("MMMU-Pro", **CHOICE),
            "How many?\nA. 40°\nB. 60°\n"
            "Answer with the option letter from the given choices directly.",
        ),
        (
            "source-steps",
            problem("MMMU-Pro", **CHOICE),
            "How many?\nA. 40°\nB. 60°\nAnswer the preceding multiple choice question. "
            f"{LAST_LINE} Think step by step before answering.",
        ),
        (
            "source-steps",
            problem("MMMU-Pro", "", answer_kind="choice"),
            "Write out the multiple-choice question in the image and then solve it. "
            f"{LAST_LINE} Think step by step before answering.",
        ),
        (
            "source-steps",
            problem("MathVista", **CHOICE),
            "Hint: Please answer the question and provide the correct option letter, e.g., A, B, "
            "C, D, at the end.\nQuestion: How many?\nChoices:\n(A) 40°\n(B) 60°",
        ),
        (
            "source-direct",
            problem("MathVista", unit="m", **NUMBER),
            "Hint: Please answer the question requiring an integer answer and provide the final "
            "value, e.g., 1, 2, 3, at the end.\nQuestion: How many? (Unit: m)",
        ),
        (
            "source-direct",
            problem("MathVista", precision=2, **NUMBER),
            "Hint: Please answer the question requiring a floating-point number with two decimal "
            "places and provide the final value, e.g., 1.23, 1.34, 1.45, at the end.\n"
            "Question: How many?",
        ),
        (
            "source-steps",
            problem("MathVerse", **CHOICE),
            "Please first conduct reasoning, and then answer the question and provide the correct "
            "option letter, e.g., A, B, C, D, at the end.\n"
            "Question: How many?\nChoices:\nA:40°\nB:60°",
        ),
        (
            "source-direct",
            problem("MathVerse", **NUMBER),
            "Please directly answer the question and provide the final value, e.g., 1, 2.5, 300.\n"
            "Question: How many?",
        ),
        (
            "source-steps",
            problem("MathVerse", "", answer_kind="choice"),
            "According to the question shown in the image, please first conduct reasoning, and "
            "then answer the question and provide the correct option letter, e.g., A, B, C, D, "
            "at the end.",
        ),
        (
            "source-direct",
            problem("RealWorldQA", **CHOICE),
            "How many?\nA. 40°\nB. 60°\nPlease answer directly with only the letter of the "
            "correct option and nothing else.",
        ),
        (
            "source-direct",
            problem("RealWorldQA", **NUMBER),
            "How many?\nPlease answer directly with a single word or number.",
        ),
    ],
)
def test_the_words_of_a_benchmark(form: str, asked: Problem, text: str) -> None:
    assert FORMATS[form].ask(asked).parts == (text,)


@pytest.mark.parametrize("source", ["MMStar", "RealWorldQA", "ViLBench", "mine"])
def test_without_words_for_reasoning_it_is_asked_as_by_steps(source: str) -> None:
    asked = problem(source, **CHOICE)
    assert FORMATS["source-steps"].ask(asked) == FORMATS["steps"].ask(asked)


def test_without_words_at_all_it_is_asked_directly() -> None:
    asked = problem("mine", **CHOICE)
    assert FORMATS["source-direct"].ask(asked) == FORMATS["direct"].ask(asked)


def test_images_stand_at_their_marks_whoever_words_it() -> None:
    asked = problem("MathVista", "See <image 1>.", images=(PICTURE,), **NUMBER)
    before, image, after = FORMATS["source-steps"].ask(asked).parts
    assert str(before).endswith("Question: See ")
    assert (image, after) == (PICTURE, ".")
    unmarked = problem("MathVista", images=(PICTURE,), **NUMBER)
    assert FORMATS["source-steps"].ask(unmarked).parts[0] == PICTURE


TEXT = st.text(st.sampled_from("{}%<>image 1\n\\$A.é"), max_size=20)


@settings(deadline=None)
@given(st.sampled_from(sorted(WORDINGS)), TEXT, st.lists(TEXT, max_size=3), TEXT)
def test_hostile_questions_stay_as_they_are(
    source: str, question: str, choices: list[str], unit: str
) -> None:
    kind = "choice" if choices else "number"
    asked = problem(source, question, choices=tuple(choices), answer_kind=kind, unit=unit)
    for form in ("source-steps", "source-direct"):
        text = "".join(str(part) for part in FORMATS[form].ask(asked).parts)
        assert question in text
        assert all(choice in text for choice in choices)


@pytest.mark.parametrize("source", sorted(WORDINGS))
def test_too_many_choices(source: str) -> None:
    asked = problem(source, choices=tuple("x" * 27), answer_kind="choice")
    with pytest.raises(ProblemError, match="field 'choices'"):
        FORMATS["source-direct"].ask(asked)


def test_samples_draw_every_wording() -> None:
    for source in WORDINGS:
        of_it = [one for one in samples() if one.source == source]
        kinds = {(one.answer_kind, one.precision, bool(one.question)) for one in of_it}
        assert len(kinds) == 18  # six kinds and places of a number, with a question and without
        drawn = {repr(wording(one, "direct")) for one in of_it}
        assert None not in drawn


def test_formats_are_pinned() -> None:
    """Changed words are another experiment: raise the version and note it in the changelog."""
    assert {name: form.fingerprint for name, form in FORMATS.items()} == {
        "steps": "steps@1-8a1f5ee8",
        "steps-brief": "steps-brief@1-b5d9d824",
        "direct": "direct@1-4d67998f",
        "source-steps": "source-steps@1-98bf2be2",
        "source-direct": "source-direct@1-cc80617b",
    }
    form = FORMATS["source-steps"]
    assert pickle.loads(pickle.dumps(form)) == form  # noqa: S301
