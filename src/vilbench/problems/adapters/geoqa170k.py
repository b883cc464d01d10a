"""Geo170K (Luckyjhg/Geo170K): plane geometry as conversations, made from GeoQA and others.

Columns `image` (a path into `images.zip`) and `conversations` of turns `{from, value}`: the
first one asks, with choices under "Choices:", and the last one ends with "Answer:" and a
letter. The split `alignment` has captions and no problems.
"""

from __future__ import annotations

from collections.abc import Mapping

from vilbench.errors import ProblemError
from vilbench.problems.adapters.options import apart
from vilbench.problems.adapters.source import Identity, Part, Source, kind_of_answer
from vilbench.problems.cells import Cells, kind_of
from vilbench.problems.rows import letter_of
from vilbench.types import Problem

_QUESTION, _ANSWER = "Question:", "Answer:"


def read(cells: Cells, identity: Identity) -> Problem:
    """The problem of a conversation of one question and one answer."""
    asked_text, told = _turns(cells)
    _, mark, after = asked_text.replace("<image>", "").rpartition(_QUESTION)
    asked = apart(after if mark else asked_text.replace("<image>", ""))
    solution, mark, answer = told.rpartition(_ANSWER)
    answer = answer.strip().rstrip(".").strip()
    if not mark or not answer:
        raise ProblemError(f"has no '{_ANSWER}' with an answer", field="conversations[1].value")
    choices = asked.choices
    return Problem(
        id=cells.scalar("id") if cells.has("id") else identity.default,
        source=identity.source,
        question=asked.question,
        images=cells.images("image"),
        answer=letter_of(answer, choices, cells.notes) if choices else answer,
        answer_kind="choice" if choices else kind_of_answer(answer),
        choices=choices,
        metadata={"solution": solution.strip()} if solution.strip() else {},
    )


def _turns(cells: Cells) -> tuple[str, str]:
    turns = cells.get("conversations")
    if not isinstance(turns, list | tuple):
        raise ProblemError(f"must be a list, not {kind_of(turns)}", field="conversations")
    if len(turns) != 2:
        raise ProblemError(
            f"{len(turns)} turns, not a question and an answer", field="conversations"
        )
    said = []
    for place, (turn, who) in enumerate(zip(turns, ("human", "gpt"), strict=True)):
        value = turn.get("value") if isinstance(turn, Mapping) else None
        if not isinstance(turn, Mapping) or turn.get("from") != who or not isinstance(value, str):
            raise ProblemError(f"is no turn of '{who}'", field=f"conversations[{place}]")
        said.append(value)
    return said[0], said[1]


SOURCE = Source(
    title="GeoQA170K",
    repository="Luckyjhg/Geo170K",
    parts={
        "train": Part(
            files=("qa_tuning-*.parquet", "qa_tuning.json", "qa_tuning.jsonl"), split="qa_tuning"
        )
    },
    columns=("image", "conversations"),
    read=read,
    about="training: plane geometry with choices, as conversations",
)
