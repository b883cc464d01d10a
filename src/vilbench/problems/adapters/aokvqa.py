"""A-OKVQA (HuggingFaceM4/A-OKVQA): questions that need knowledge of the world, 4 choices.

Columns `image, question_id, question, choices, correct_choice_idx, direct_answers,
difficult_direct_answer, rationales`. Answers of the test split are not public.
"""

from __future__ import annotations

from vilbench.problems.adapters.source import Identity, Part, Source, choice_at, enough_choices
from vilbench.problems.cells import Cells
from vilbench.types import Problem


def read(cells: Cells, identity: Identity) -> Problem:
    """The problem of a row."""
    choices = enough_choices(cells.texts("choices"), "choices")
    return Problem(
        id=cells.scalar("question_id"),
        source=identity.source,
        question=cells.text("question"),
        images=cells.images("image"),
        answer=choice_at(cells.whole("correct_choice_idx"), choices, "correct_choice_idx"),
        answer_kind="choice",
        choices=choices,
        metadata=cells.metadata("rationales", "direct_answers"),
    )


SOURCE = Source(
    title="A-OKVQA",
    repository="HuggingFaceM4/A-OKVQA",
    parts={
        "train": Part(files=("train-*.parquet", "*train*.json"), split="train", rows=17056),
        "validation": Part(files=("validation-*.parquet",), split="validation", rows=1145),
    },
    columns=("question_id", "image", "question", "choices", "correct_choice_idx"),
    read=read,
    about="training: questions about photographs that need knowledge of the world",
)
