"""MathVerse (AI4Math/MathVerse): each problem in six versions, from text alone to picture alone.

Columns `sample_index, problem_index, problem_version, question, image, answer, question_type,
metadata, query_wo, query_cot, question_for_eval`. Choices stand in the text under "Choices:".
Of the version Vision Only nothing is shown but the picture, whatever the columns hold, and of
Text Only no picture. An answer to a question with choices is a letter, several letters, or
the text of a choice.
"""

from __future__ import annotations

from collections.abc import Mapping

from vilbench.errors import ProblemError
from vilbench.problems.adapters.options import apart
from vilbench.problems.adapters.source import Identity, Part, Source, kind_of_answer
from vilbench.problems.cells import Cells
from vilbench.problems.rows import letter_of, letters_of, shown
from vilbench.types import AnswerKind, Modality, Problem

VERSIONS: Mapping[str, Modality] = {
    "Text Only": "text-only",
    "Text Dominant": "text-dominant",
    "Text Lite": "text-lite",
    "Vision Intensive": "visual-intensive",
    "Vision Dominant": "visual-dominant",
    "Vision Only": "visual-only",
}

_CHOICE_TYPES = ("multi-choice", "multi_choice")
_TYPES = (*_CHOICE_TYPES, "free-form", "free_form")


def read(cells: Cells, identity: Identity) -> Problem:
    """The problem of a row."""
    version = cells.text("problem_version").strip()
    if version not in VERSIONS:
        raise ProblemError(
            f"{shown(version)} is none of {', '.join(VERSIONS)}", field="problem_version"
        )
    modality = VERSIONS[version]
    images = () if modality == "text-only" else cells.images("image")
    if modality != "text-only" and not images:
        raise ProblemError(f"is empty, though the version is {version}", field="image")
    question = "" if modality == "visual-only" else cells.text("question").strip()
    asked = apart(question)
    answer, kind = cells.scalar("answer").strip(), cells.text("question_type").strip()
    if kind not in _TYPES:
        raise ProblemError(f"{shown(kind)} is none of {', '.join(_TYPES)}", field="question_type")
    choice = kind in _CHOICE_TYPES
    # A picture may hold choices that the text lacks; the full question knows them.
    known = cells.lettered() or asked.choices or apart(cells.optional("question_for_eval")).choices
    found, gold = _gold(answer, known, cells) if choice else (kind_of_answer(answer), answer)
    details = cells.mapping("metadata")
    kept = Cells(details, cells.pictures, cells.notes)
    return Problem(
        id=cells.scalar("sample_index" if cells.has("sample_index") else "index"),
        source=identity.source,
        question=asked.question if choice else question,
        images=images,
        answer=gold,
        answer_kind=found,
        choices=asked.choices if choice else (),
        category=kept.optional("subject"),
        modality=modality,
        metadata={
            **kept.metadata("subfield", "source", "split"),
            **cells.metadata("problem_index", "problem_version", "question_for_eval"),
        },
    )


def _gold(answer: str, choices: tuple[str, ...], cells: Cells) -> tuple[AnswerKind, str]:
    """Kind and letters of the answer to a question with choices."""
    try:
        return "choice", letter_of(answer.strip("()."), choices, cells.notes)
    except ProblemError:
        try:
            return "choices", letters_of(answer, choices)
        except ProblemError:
            pass
        raise


SOURCE = Source(
    title="MathVerse",
    repository="AI4Math/MathVerse",
    parts={
        "testmini": Part(
            files=("testmini.parquet", "testmini-*.parquet", "testmini.json", "MathVerse_MINI.tsv"),
            split="testmini",
            config="testmini",
            rows=3940,
        ),
        "text-only": Part(
            files=("testmini_text_only*.parquet", "testmini_text_only.json"),
            split="testmini_text_only",
            config="testmini_text_only",
            rows=788,
        ),
    },
    columns=("sample_index|index", "problem_version", "question", "answer", "question_type"),
    read=read,
    about="geometry and functions in six versions, from text alone to picture alone",
)
