"""CLEVR-Math (dali-does/clevr-math): counting after adding and taking away in drawn scenes.

Columns `template, id, question, image, label` (a whole number).
"""

from __future__ import annotations

from vilbench.errors import ProblemError
from vilbench.problems.adapters.source import Identity, Part, Source
from vilbench.problems.cells import Cells
from vilbench.types import Problem


def read(cells: Cells, identity: Identity) -> Problem:
    """The problem of a row."""
    label = cells.whole("label")
    if label is None:
        raise ProblemError("is missing", field="label")
    return Problem(
        id=identity.default,
        source=identity.source,
        question=cells.text("question"),
        images=cells.images("image"),
        answer=str(label),
        answer_kind="number",
        category=cells.optional("template"),
        precision=0,
        metadata=cells.metadata("id"),
    )


SOURCE = Source(
    title="CLEVR-Math",
    repository="dali-does/clevr-math",
    parts={
        name: Part(files=(f"{name}-*.parquet", f"{name}.jsonl"), split=name, config="general")
        for name in ("train", "validation", "test")
    },
    columns=("question", "image", "label"),
    read=read,
    about="training: counting in drawn scenes after adding and taking away",
)
