"""RealWorldQA (xai-org/RealworldQA): 765 photographs, many from cars, a question each.

Columns `image, question, answer`, no index; choices stand in the text as lines "A. ", and a
last sentence asks for the bare answer. An answer is a letter, a word or a number. VLMEvalKit's
TSV has an index and the choices in columns.
"""

from __future__ import annotations

from vilbench.problems.adapters.options import apart, without
from vilbench.problems.adapters.source import Identity, Part, Source, kind_of_answer
from vilbench.problems.cells import Cells
from vilbench.problems.rows import letter_of
from vilbench.types import Problem

_LETTER = "Please answer directly with only the letter of the correct option and nothing else."
_SHORT = "Please answer directly with a single word or number."


def read(cells: Cells, identity: Identity) -> Problem:
    """The problem of a row."""
    given = cells.text("question")
    asked = apart(without(given, (_LETTER, _SHORT)))
    choices = cells.lettered() or asked.choices
    answer = cells.scalar("answer").strip()
    choice = bool(choices) or _LETTER in given
    if choice and not choices:
        cells.notes.append("the choices could not be told from the question and stay in it")
    return Problem(
        id=cells.scalar("index") if cells.has("index") else identity.default,
        source=identity.source,
        question=asked.question,
        images=cells.images("image"),
        answer=letter_of(answer, choices, cells.notes) if choice else answer,
        answer_kind="choice" if choice else kind_of_answer(answer),
        choices=choices,
        metadata=cells.metadata("image_path"),
    )


SOURCE = Source(
    title="RealWorldQA",
    repository="xai-org/RealworldQA",
    parts={
        "test": Part(
            files=("test-*.parquet", "RealWorldQA.tsv", "*.parquet", "*.jsonl"),
            split="test",
            rows=765,
        )
    },
    columns=("image|image_path", "question", "answer"),
    read=read,
    about="photographs of the real world; letters, words and numbers",
)
