"""MMMU-Pro (MMMU/MMMU_Pro): college questions of 30 subjects, with up to ten choices.

Two forms with text, of 4 and of 10 choices: `id, question, options, image_1 ... image_7,
answer, subject`; `options` is the text of a Python list, and `<image 1>` in question and
choices says where a picture stands. In the form `vision` question and choices are in the
picture: `id, image, options, answer, subject`; its choices are kept in the metadata and are
not shown. VLMEvalKit's TSV has the choices in columns and its pictures as a list.

All forms share one repository, so nothing but a form's own files is taken of a folder, and
a row of another form, as a file given by its path may have, is set aside.
"""

from __future__ import annotations

import re

from vilbench.errors import ProblemError
from vilbench.problems.adapters.source import Identity, Part, Source, enough_choices
from vilbench.problems.cells import Cells
from vilbench.problems.rows import letter_of
from vilbench.types import Image, Problem

_SLOTS = tuple(f"image_{number}" for number in range(1, 8))
_MARK = re.compile(r"<image (\d{1,2})>")
_KEPT = ("topic_difficulty", "img_type", "explanation", "category")
_STANDARD_10, _STANDARD_4, _VISION = "standard-10", "standard-4", "vision"


def read(cells: Cells, identity: Identity) -> Problem:
    """The problem of a row of either form.

    Raises:
        ProblemError: It cannot be used, or is of another form than `identity.part`.
    """
    options = cells.lettered() or cells.texts("options")
    choices = enough_choices(options, "options")
    # VLMEvalKit writes that word where the picture holds the question.
    seen = not cells.has("question") or cells.get("question") == "placeholder"
    _check_form(identity.part, seen=seen, choices=len(choices))
    images = cells.images("image") if seen or not any(map(cells.has, _SLOTS)) else _slots(cells)
    if not images:
        raise ProblemError("there is no picture", field="image" if seen else "image_1")
    question = "" if seen else cells.text("question")
    for text in (question, *(() if seen else choices)):
        _check_marks(text, len(images))
    metadata = cells.metadata(*_KEPT)
    if seen:
        metadata["options"] = list(choices)
    return Problem(
        id=cells.scalar("id" if cells.has("id") else "index"),
        source=identity.source,
        question=question,
        images=images,
        answer=letter_of(cells.text("answer"), choices, cells.notes),
        answer_kind="choice",
        choices=() if seen else choices,
        category=cells.optional("subject"),
        modality="visual-only" if seen else "unspecified",
        metadata=metadata,
    )


def _check_form(part: str, *, seen: bool, choices: int) -> None:
    if part == _VISION and not seen:
        raise ProblemError(
            f"is there, but in the split {_VISION} the picture alone holds it: the row is of "
            "another split",
            field="question",
        )
    if part in (_STANDARD_10, _STANDARD_4) and seen:
        raise ProblemError(
            f"is missing: a row whose picture holds it is of the split {_VISION}", field="question"
        )
    if part == _STANDARD_4 and choices > 4:
        raise ProblemError(
            f"{choices} choices, but the split {_STANDARD_4} has at most 4", field="options"
        )


def _slots(cells: Cells) -> tuple[Image, ...]:
    """The pictures of `image_1` and on, without a gap: marks count by the columns."""
    filled = [slot for slot in _SLOTS if cells.has(slot)]
    for slot, wanted in zip(filled, _SLOTS, strict=False):
        if slot != wanted:
            raise ProblemError(f"is empty, but {slot} is not", field=wanted)
    return cells.images(*filled)


def _check_marks(text: str, images: int) -> None:
    for mark in _MARK.finditer(text):
        if not 1 <= int(mark[1]) <= images:
            raise ProblemError(
                f"'{mark[0]}' stands in the text, and there are {images} pictures",
                field=f"image_{int(mark[1])}",
            )


SOURCE = Source(
    title="MMMU-Pro",
    repository="MMMU/MMMU_Pro",
    parts={
        _STANDARD_10: Part(
            files=("standard (10 options)/*.parquet", "MMMU_Pro_10c.tsv"),
            split="test",
            config="standard (10 options)",
            rows=1730,
        ),
        _STANDARD_4: Part(
            files=("standard (4 options)/*.parquet", "MMMU_Pro_4c.tsv"),
            split="test",
            config="standard (4 options)",
            rows=1730,
        ),
        _VISION: Part(
            files=("vision/*.parquet", "MMMU_Pro_V.tsv"),
            split="test",
            config="vision",
            rows=1730,
        ),
    },
    columns=("id|index", "answer", "options|A", "image|image_1|image_path"),
    read=read,
    about="college questions of 30 subjects; 10 or 4 choices, or all in the picture",
)
