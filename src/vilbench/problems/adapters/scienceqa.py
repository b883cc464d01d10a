"""ScienceQA (derek-thomas/ScienceQA): school science, some questions with a picture.

Columns `image, question, choices, answer` (an index from 0), `hint, task, grade, subject,
topic, category, skill, lecture, solution`. The hint is part of what is asked.
"""

from __future__ import annotations

from vilbench.problems.adapters.source import Identity, Part, Source, choice_at, enough_choices
from vilbench.problems.cells import Cells
from vilbench.types import Problem


def read(cells: Cells, identity: Identity) -> Problem:
    """The problem of a row."""
    choices = enough_choices(cells.texts("choices"), "choices")
    images = cells.images("image")
    hint = cells.optional("hint").strip()
    question = cells.text("question")
    return Problem(
        id=identity.default,
        source=identity.source,
        question=f"{hint}\n{question}" if hint else question,
        images=images,
        answer=choice_at(cells.whole("answer"), choices, "answer"),
        answer_kind="choice",
        choices=choices,
        category=cells.optional("subject"),
        modality="unspecified" if images else "text-only",
        metadata=cells.metadata("task", "grade", "topic", "category", "skill", "solution"),
    )


SOURCE = Source(
    title="ScienceQA",
    repository="derek-thomas/ScienceQA",
    parts={
        name: Part(files=(f"{name}-*.parquet", f"{name}.jsonl"), split=name, rows=rows)
        for name, rows in (("train", 12726), ("validation", 4241), ("test", 4241))
    },
    columns=("question", "choices", "answer"),
    read=read,
    about="training: school science with choices, some with a picture",
)
