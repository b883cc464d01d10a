"""Files of the schemas of VisualProcessBench and ProcessBench, made of puzzles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vilbench.problems.puzzles import puzzles
from vilbench.problems.puzzles.checker import check
from vilbench.problems.puzzles.claims import word
from vilbench.problems.puzzles.puzzle import Split, gold_claims

_LABELS = {"right": 1, "wrong": -1, "unchecked": 0}


def visualprocessbench_folder(folder: Path, count: int, split: Split = "dev") -> Path:
    """`test.jsonl` and `images/`: a right and a wrong solution of each puzzle, a row each.

    The wrong one has a wrong claim in its middle and says nothing in its last step.
    """
    (folder / "images").mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    for number, puzzle in enumerate(puzzles(split, count)):
        problem = puzzle.problem
        name = f"images/{number}.png"
        (folder / name).write_bytes(problem.images[0].read())
        right = [word(claim, 0) for claim in gold_claims(puzzle.scene)]
        middle = len(right) // 2
        wrong = [
            *right[:middle],
            "So 99 + 99 = 7.",
            *right[middle:],
            "That is all there is to say.",
        ]
        for policy, steps in (("one", right), ("two", wrong)):
            labels = [_LABELS[one.label] for one in check(problem, steps)]
            rows.append(
                {
                    "image": [name],
                    "question": problem.question,
                    "answer": problem.answer,
                    "response": {"steps": steps, "process_correctness": labels},
                    "policy_model": policy,
                    "data_source": problem.source,
                }
            )
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def processbench_row(number: int, **changes: object) -> dict[str, object]:
    """A row of `gsm8k.json`."""
    return {
        "id": f"gsm8k-{number}",
        "generator": "Qwen2-7B-Instruct",
        "problem": f"What is {number} + 1, twice?",
        "steps": [f"{number} + 1 = {number + 1}", f"Twice that is {2 * number + 2}."],
        "final_answer_correct": True,
        "label": -1,
        **changes,
    }


def processbench_folder(folder: Path, **subsets: list[dict[str, object]]) -> Path:
    """A file for each subset, as the hub has them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in subsets.items():
        (folder / f"{name}.json").write_text(json.dumps(rows))
    return folder
