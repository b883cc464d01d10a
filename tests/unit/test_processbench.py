"""Rows of ProcessBench: read, or set aside with their place."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from marked_data import processbench_folder, processbench_row

from vilbench.errors import InputError
from vilbench.problems.processbench import NOT_GIVEN, processbench
from vilbench.stepbench.marks import apart, load


def test_subsets_of_a_folder_and_of_an_archive(tmp_path: Path) -> None:
    folder = processbench_folder(
        tmp_path / "set",
        gsm8k=[processbench_row(0), processbench_row(1, label=1, final_answer_correct=False)],
        math=[processbench_row(2, id="math-2")],
    )
    (folder / "dataset_infos.json").write_text("{}")
    found = processbench(folder)
    one, two, three = found.solutions
    assert (one.problem.id, one.problem.category, one.problem.modality) == (
        *("gsm8k-0", "gsm8k"),
        "text-only",
    )
    assert (one.problem.images, one.problem.answer) == ((), NOT_GIVEN)
    assert (one.policy, one.right, one.first_error) == ("Qwen2-7B-Instruct", True, -1)
    assert (two.first_error, two.right, len(two.steps)) == (1, False, 2)
    assert three.problem.category == "math"
    assert "2 rows; ProcessBench, gsm8k, is known to have 400" in found.notes[0]
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as made:
        for file in folder.iterdir():
            made.write(file, f"ProcessBench/{file.name}")
    assert processbench(archive).solutions == found.solutions


def test_a_single_file_tells_subsets_by_its_name_or_by_the_ids(tmp_path: Path) -> None:
    rows = [processbench_row(0, id="omnimath-7"), processbench_row(1, id="x")]
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [one.problem.category for one in processbench(mixed).solutions] == ["omnimath", ""]
    named = tmp_path / "math.jsonl"
    named.write_text(mixed.read_text())
    assert [one.problem.category for one in processbench(named).solutions] == ["math", "math"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"steps": []}, "steps"),
        ({"steps": None}, "steps"),
        ({"steps": ["a", " "]}, "steps[1]"),
        ({"steps": 3}, "steps"),
        ({"problem": None}, "problem"),
        ({"problem": 5}, "problem"),
        ({"label": 2}, "label"),
        ({"label": -2}, "label"),
        ({"label": True}, "label"),
        ({"label": "1"}, "label"),
        ({"label": None}, "label"),
        ({"final_answer_correct": "yes"}, "final_answer_correct"),
        ({"id": "gsm8k-0"}, "id"),
    ],
)
def test_rows_that_cannot_be_used(tmp_path: Path, changes: dict[str, object], field: str) -> None:
    rows = [processbench_row(0), processbench_row(1, **changes)]
    found = processbench(processbench_folder(tmp_path, gsm8k=rows))
    (error,) = found.rejected
    assert (error.file, error.row, error.field) == (str(tmp_path / "gsm8k.json"), 2, field)
    assert len(found.solutions) == 1


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds none of gsm8k\.json"):
        processbench(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        processbench(tmp_path / "absent")
    (tmp_path / "math.json").write_text('{"a": ')
    with pytest.raises(InputError, match="not JSON"):
        processbench(tmp_path)


def test_a_limit_counts_for_each_subset(tmp_path: Path) -> None:
    rows = [processbench_row(number) for number in range(3)]
    others = [processbench_row(number, id=f"math-{number}") for number in range(3)]
    found = processbench(processbench_folder(tmp_path, gsm8k=rows, math=others), limit=2)
    assert [one.problem.id for one in found.solutions] == ["gsm8k-0", "gsm8k-1", "math-0", "math-1"]
    assert "rows from 3 on are not needed" in found.notes[0]


def test_marks_end_at_the_first_error_and_problems_are_grouped(tmp_path: Path) -> None:
    steps = ["a", "b", "c"]
    rows = [
        processbench_row(0, steps=steps, label=1, final_answer_correct=False),
        processbench_row(1, problem="What is 0 + 1, twice?", steps=steps, label=-1),
        processbench_row(2, steps=steps, label=0),
    ]
    found = load("processbench", processbench_folder(tmp_path, gsm8k=rows))
    one, two = found.groups
    assert [solution.marks for solution in one.solutions] == [(1, -1, 0), (1, 1, 1)]
    assert [solution.verdict for solution in one.solutions] == ["wrong", "correct"]
    assert two.solutions[0].marks == (-1, 0, 0)
    assert apart(found.groups, (one,)) == (two,)
