"""ViLBench (UCSC-VLAA/ViLBench): 600 questions of the five other benchmarks.

The names of its columns are not published. They are found by a table of names that sets of
this kind use; what is not found is told with the columns that there are, and the recipe's
`columns` can name it.
"""

from __future__ import annotations

from collections.abc import Mapping

from vilbench.errors import ProblemError
from vilbench.problems.adapters.options import apart, without_hint
from vilbench.problems.adapters.source import Identity, Part, Source, kind_of_answer
from vilbench.problems.cells import Cells
from vilbench.problems.rows import letter_of
from vilbench.types import AnswerKind, Problem

NAMES: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "index", "pid", "sample_index", "question_id", "qid"),
    "question": ("question", "query", "prompt", "problem"),
    "answer": ("answer", "ground_truth", "gt_answer", "gt", "label", "solution"),
    "choices": ("choices", "options"),
    "image": ("image", "images", "decoded_image", "image_1", "image_path"),
    "benchmark": ("source", "dataset", "benchmark", "data_source", "bench", "dataset_name"),
    "category": ("category", "subject", "task", "problem_version"),
}
"""Names under which each thing is looked for, in this order."""

_BENCHMARKS: Mapping[str, str] = {
    "mmstar": "MMStar",
    "mmmupro": "MMMU-Pro",
    "mathvista": "MathVista",
    "mathverse": "MathVerse",
    "realworldqa": "RealWorldQA",
}


def read(cells: Cells, identity: Identity) -> Problem:
    """The problem of a row; its category is the benchmark that it is from."""
    found = {thing: _found(cells, names) for thing, names in NAMES.items()}
    for needed in ("question", "answer"):
        if found[needed] is None:
            raise ProblemError(
                f"none of {', '.join(NAMES[needed])}; the row has {', '.join(cells.values)}",
                field=needed,
            )
    question = cells.text(str(found["question"]))
    asked = apart(without_hint(question))
    listed = cells.texts(found["choices"]) if found["choices"] else ()
    choices = cells.lettered() or listed or asked.choices
    answer, kind = _gold(cells, str(found["answer"]), choices)
    benchmark = cells.scalar(found["benchmark"]) if found["benchmark"] else ""
    return Problem(
        id=cells.scalar(found["id"]) if found["id"] else identity.default,
        source=identity.source,
        question=asked.question if choices else without_hint(question),
        images=cells.images(found["image"]) if found["image"] else (),
        answer=answer,
        answer_kind=kind,
        choices=choices,
        category=_benchmark(benchmark),
        metadata=cells.metadata(*(key for key in (found["category"],) if key)),
    )


def _found(cells: Cells, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if cells.has(name)), None)


def _gold(cells: Cells, key: str, choices: tuple[str, ...]) -> tuple[str, AnswerKind]:
    answer = cells.scalar(key).strip()
    if choices:
        return letter_of(answer, choices, cells.notes), "choice"
    if len(answer) == 1 and answer.isascii() and answer.isupper():
        cells.notes.append("the answer is one letter: its choices are taken to be shown")
        return answer, "choice"
    return answer, kind_of_answer(answer)


def _benchmark(name: str) -> str:
    plain = "".join(character for character in name.lower() if character.isalnum())
    for begin, title in _BENCHMARKS.items():
        if plain.startswith(begin):
            return title
    return name


SOURCE = Source(
    title="ViLBench",
    repository="UCSC-VLAA/ViLBench",
    parts={
        "test": Part(
            files=("test*.parquet", "*.parquet", "*.jsonl", "*.json", "*.tsv"),
            split="test",
            rows=600,
        ),
        # Where the hub names its only split so.
        "train": Part(
            files=("train*.parquet", "*.parquet", "*.jsonl", "*.json", "*.tsv"),
            split="train",
            rows=600,
        ),
    },
    columns=("|".join(NAMES["question"]), "|".join(NAMES["answer"])),
    read=read,
    about="600 questions of the five benchmarks on which process rewards are preferred",
)
