"""MathVista (AI4Math/MathVista): mathematics in figures, with choices or free.

Columns `pid, question, decoded_image, choices, unit, precision, answer, question_type,
answer_type, query, metadata`; the authors' JSON has a path in `image` and the pictures in
`images.zip`. The answer of a question with choices is the text of one of them. VLMEvalKit's
TSV has the whole query as `question`, and the letter in `answer_option`.
"""

from __future__ import annotations

from vilbench.errors import ProblemError
from vilbench.problems.adapters.options import apart, without_hint
from vilbench.problems.adapters.source import (
    Identity,
    Part,
    Source,
    enough_choices,
    kind_of_answer,
)
from vilbench.problems.cells import Cells, spelled_list
from vilbench.problems.rows import letter_of
from vilbench.types import AnswerKind, Problem

_TYPES = ("multi_choice", "free_form")
_KEPT = ("split", "language", "source", "category", "task", "context", "grade", "skills")


def read(cells: Cells, identity: Identity) -> Problem:
    """The problem of a row."""
    kind_of_question = cells.text("question_type")
    if kind_of_question not in _TYPES:
        raise ProblemError(f"is none of {', '.join(_TYPES)}", field="question_type")
    asked = apart(without_hint(cells.text("question")))
    choices: tuple[str, ...] = ()
    precision, answer = cells.whole("precision"), cells.scalar("answer")
    if kind_of_question == "multi_choice":
        choices = enough_choices(cells.texts("choices") or asked.choices, "choices")
        answer, kind = _gold(cells, answer, choices), "choice"
    else:
        kind = _kind(cells.optional("answer_type"), answer)
        if kind == "number" and cells.optional("answer_type") == "integer":
            precision = 0
    metadata = dict(cells.mapping("metadata"))
    for key in _KEPT:
        if cells.has(key) and key not in metadata:
            metadata[key] = cells.get(key)
    kept = Cells(metadata, cells.pictures, cells.notes)
    return Problem(
        id=cells.scalar("pid" if cells.has("pid") else "index"),
        source=identity.source,
        question=asked.question if choices else without_hint(cells.text("question")),
        images=cells.images("decoded_image" if cells.has("decoded_image") else "image"),
        answer=answer,
        answer_kind=kind,
        choices=choices,
        category=kept.optional("task"),
        precision=precision if kind in ("number", "list") else None,
        unit=cells.optional("unit") or None,
        metadata={**kept.metadata(*_KEPT), **cells.metadata("answer_type")},
    )


def _gold(cells: Cells, answer: str, choices: tuple[str, ...]) -> str:
    """The letter: given, or of the one choice with the answer's text."""
    if cells.has("answer_option"):
        return letter_of(cells.text("answer_option"), choices, cells.notes)
    same = [place for place, text in enumerate(choices) if text.strip() == answer.strip()]
    if len(same) != 1:
        raise ProblemError(
            f"{answer!r:.60} is the text of {len(same)} of the choices, not of one",
            field="answer",
        )
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[same[0]]


def _kind(answer_type: str, answer: str) -> AnswerKind:
    """Kind of a free answer.

    Raises:
        ProblemError: The answer is not of its type.
    """
    if answer_type == "list":
        spelled_list(answer, "answer")
        return "list"
    found = kind_of_answer(answer)
    if answer_type in ("integer", "float") and found != "number":
        raise ProblemError(f"{answer!r:.60} is no number, but {answer_type}", field="answer")
    return found


SOURCE = Source(
    title="MathVista",
    repository="AI4Math/MathVista",
    revision="2b6ad69445fbb5695c9b165475e8decdbeb97747",
    parts={
        "testmini": Part(
            files=(
                "testmini-*.parquet",
                "testmini.json",
                "MathVista_MINI.tsv",
                "*testmini*.jsonl",
                "*.tsv",
            ),
            split="testmini",
            rows=1000,
        ),
        "test": Part(
            files=("test-*.parquet", "test.json"),
            split="test",
            rows=5141,
            closed="its answers are not public: use testmini",
        ),
    },
    columns=("pid|index", "question", "decoded_image|image|image_path", "answer", "question_type"),
    read=read,
    about="mathematics in figures, charts and diagrams; choices, numbers, lists, words",
)
