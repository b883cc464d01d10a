"""`vilbench stepbench` within one process: stored runs, dry runs, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from marked_data import processbench_folder, processbench_row, visualprocessbench_folder
from puzzle_run import puzzle_run
from typer.testing import CliRunner

from vilbench.cli.app import app
from vilbench.config import load_stepbench
from vilbench.stepbench.records import Stepbench


def said(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["stepbench", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done.output


def test_a_run_over_puzzles_by_hand(tmp_path: Path) -> None:
    puzzle_run(tmp_path, "test").close()
    output = said(tmp_path, "--split", 0.5)
    found = Stepbench.model_validate_json((tmp_path / "stepbench.json").read_text())
    # Two families of two puzzles each; half of each family is for the threshold.
    assert (found.n_problems, found.n_dev, found.n_solutions) == (2, 2, 4)
    (overall,) = found.overall
    # Only the last step of the wrong solution is wrong, and it has the lowest value of all.
    assert (overall.weighted_f1, overall.pooled_f1) == (1.0, 1.0)
    assert (overall.location_mean, overall.location_pooled) == (1.0, 1.0)
    (cut,) = found.cut_offs
    assert cut.step == cut.first_error == pytest.approx(0.4)
    assert "prm: right from 0.4 on, first error below 0.4" in output
    # Where the thresholds come from is told once, and not scorer by scorer.
    assert output.count("50% of its own problems") == 1
    assert found.published == ()


def test_a_folder_without_a_run_is_called_that(tmp_path: Path) -> None:
    assert "no run here" in said(tmp_path, code=2)


def test_without_a_threshold_from_elsewhere_areas_alone_are_told(tmp_path: Path) -> None:
    puzzle_run(tmp_path, "test").close()
    output = said(tmp_path)
    assert "prm has no threshold from other problems" in output
    found = json.loads((tmp_path / "stepbench.json").read_text())
    assert found["locations"] == []
    assert found["steps"][0]["within"] == 1.0


def test_thresholds_come_from_other_problems_and_the_same_scorer(tmp_path: Path) -> None:
    puzzle_run(tmp_path / "test", "test").close()
    puzzle_run(tmp_path / "dev", "dev").close()
    # The puzzles of both are the same, whatever the runs are called.
    output = said(tmp_path / "test", "--dev", tmp_path / "dev", code=2)
    assert "every problem is among those that are reported" in output
    assert "one place" in said(tmp_path / "test", "--dev", tmp_path / "dev", "--split", 0.5, code=2)
    assert "no share" in said(tmp_path / "test", "--split", 1, code=2)
    assert "no subset beside others" in said(tmp_path / "test", "--subset", "maps", code=2)
    assert not (tmp_path / "test" / "stepbench.json").exists()


def recipe(folder: Path, kind: str, data: Path, more: str = "") -> Path:
    path = folder / "mine.yaml"
    path.write_text(
        f"name: mine\nbenchmark: {{kind: {kind}, path: {data}}}\n{more}"
        "scorers:\n"
        '  - {kind: prm, model: "embedded:vilprm"}\n'
        "  - {kind: judge, name: j, granularity: step, prompt: brief,\n"
        '     engine: {kind: local, model: "embedded:base"}}\n'
    )
    return path


def test_a_dry_run_counts_prefixes_once(tmp_path: Path) -> None:
    rows = [
        processbench_row(0, steps=["a", "b"], label=-1),
        processbench_row(1, problem="What is 0 + 1, twice?", steps=["a", "c", "d"], label=0),
    ]
    mine = recipe(tmp_path, "processbench", processbench_folder(tmp_path / "set", gsm8k=rows))
    output = said(mine, "--dry-run")
    assert "1 problems, 2 solutions, 5 steps" in output
    # a, a b, a c, a c d: the first step is asked about once.
    assert "j: 4 requests to embedded:base" in output
    assert "mine: no model is asked" in output
    assert "name a run folder" in said(mine, code=2)


def test_a_set_of_its_own_chooses_without_problems_of_the_other(tmp_path: Path) -> None:
    data = visualprocessbench_folder(tmp_path / "set", 4)
    rows = data / "test.jsonl"
    more = f"threshold: {{kind: file, dev: {{kind: visualprocessbench, path: {rows}}}}}\n"
    output = said(recipe(tmp_path, "visualprocessbench", data, more), "--dry-run", code=2)
    assert "every problem is among those that are reported" in output
    same = more.replace(str(rows), str(data))
    output = said(recipe(tmp_path, "visualprocessbench", data, same), "--dry-run", code=2)
    assert "thresholds need other problems" in output


@pytest.mark.parametrize("name", ["visualprocessbench", "processbench"])
def test_shipped_recipes_load(name: str) -> None:
    found = load_stepbench(name)
    assert found.benchmark.kind == name
    assert found.threshold.kind != "chosen"


def test_where_thresholds_come_from_is_no_part_of_a_run(tmp_path: Path) -> None:
    found = load_stepbench("processbench")
    other = found.model_copy(update={"threshold": load_stepbench("visualprocessbench").threshold})
    assert found.identity() == other.identity()
    assert found.identity() != load_stepbench("visualprocessbench").identity()
