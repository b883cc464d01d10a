"""MMStar (Lin-Chen/MMStar): 1,500 questions that need the picture, choices in the text.

Columns `index, question, image, answer, category, l2_category, meta_info`; VLMEvalKit's TSV
may have the choices in columns A to D as well.
"""

from __future__ import annotations

from vilbench.problems.adapters.options import apart, without_hint
from vilbench.problems.adapters.source import Identity, Part, Source
from vilbench.problems.cells import Cells
from vilbench.problems.rows import letter_of
from vilbench.types import Problem


def read(cells: Cells, identity: Identity) -> Problem:
    """The problem of a row."""
    asked = apart(without_hint(cells.text("question")))
    choices = cells.lettered() or asked.choices
    if not choices:
        cells.notes.append("the choices could not be told from the question and stay in it")
    return Problem(
        id=cells.scalar("index"),
        source=identity.source,
        question=asked.question,
        images=cells.images("image"),
        answer=letter_of(cells.text("answer"), choices, cells.notes),
        answer_kind="choice",
        choices=choices,
        category=cells.optional("category"),
        metadata=cells.metadata("l2_category", "bench", "meta_info"),
    )


SOURCE = Source(
    title="MMStar",
    repository="Lin-Chen/MMStar",
    parts={
        "val": Part(
            files=("mmstar.parquet", "*val*.parquet", "MMStar.tsv", "*.jsonl", "*.parquet"),
            split="val",
            rows=1500,
        )
    },
    columns=("index", "question", "image|image_path", "answer"),
    read=read,
    about="perception and reasoning that need the picture, 4 choices",
)
