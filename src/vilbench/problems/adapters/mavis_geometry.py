"""MAVIS-Geometry (CaraJ/MAVIS-Geometry): drawn geometry problems in versions, with choices.

Columns as other loaders read them: `image_text_lite` and `image_vision_dominant`, `choices`,
`answer_index` (from 0), and `text_en`, an object with `text_lite_question`,
`vision_dominant_question`, `text_dominant_question` and `CoT_reasoning`. The text-lite version
is taken, and another one where a row lacks it.
"""

from __future__ import annotations

from vilbench.errors import ProblemError
from vilbench.problems.adapters.source import Identity, Part, Source, choice_at, enough_choices
from vilbench.problems.cells import Cells
from vilbench.types import Modality, Problem

_VERSIONS: tuple[tuple[str, str, Modality], ...] = (
    ("text_lite_question", "image_text_lite", "text-lite"),
    ("vision_dominant_question", "image_vision_dominant", "visual-dominant"),
    ("text_dominant_question", "image_text_lite", "text-dominant"),
)


def read(cells: Cells, identity: Identity) -> Problem:
    """The problem of a row."""
    texts = Cells(cells.mapping("text_en"), cells.pictures, cells.notes)
    choices = enough_choices(cells.texts("choices"), "choices")
    for question, image, modality in _VERSIONS:
        if texts.has(question) and cells.has(image):
            return Problem(
                id=cells.scalar("id") if cells.has("id") else identity.default,
                source=identity.source,
                question=texts.text(question),
                images=cells.images(image),
                answer=choice_at(cells.whole("answer_index"), choices, "answer_index"),
                answer_kind="choice",
                choices=choices,
                modality=modality,
                metadata=texts.metadata("CoT_reasoning"),
            )
    raise ProblemError("no version has both a question and its picture", field="text_en")


SOURCE = Source(
    title="MAVIS-Geometry",
    repository="CaraJ/MAVIS-Geometry",
    parts={
        "train": Part(
            files=("visualization-*.parquet", "*.parquet", "*.jsonl"), split="visualization"
        )
    },
    columns=("text_en", "choices", "answer_index", "image_text_lite|image_vision_dominant"),
    read=read,
    about="training: drawn geometry problems in versions, with choices",
)
