"""The commands as a user runs them, on the shipped `embedded:small` and few problems."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vilbench.problems.files import load_jsonl
from vilbench.testing import tiny_png

VILBENCH = [sys.executable, "-c", "from vilbench.cli import main; main()"]

RECIPE = """\
name: quick
problems: {source: puzzles, split: dev, limit: 9}
sample:
  engine: {kind: local, model: "embedded:small"}
  format: steps-brief
  n: 4
  max_tokens: 120
scorers:
  - {kind: judge, name: judge-orm, granularity: solution, prompt: brief,
     engine: {kind: local, model: "embedded:small"}}
  - {kind: judge, name: judge-prm, granularity: step, prompt: brief,
     engine: {kind: local, model: "embedded:small"}}
  - {kind: likelihood, format: steps-brief, engine: {kind: local, model: "embedded:small"}}
concurrency: 1
"""


def vilbench(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*VILBENCH, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "quick.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def whole(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without interruption."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    vilbench("run", recipe, "--out", folder)
    return folder


def test_a_run_leaves_table_results_and_report(whole: Path) -> None:
    results = json.loads((whole / "results.json").read_text())
    assert results["n_problems"] == 9
    methods = {row["method"] for row in results["rows"]}
    assert {"cot", "oracle", "judge-orm", "judge-prm/last-1", "likelihood/mean"} <= methods
    assert (whole / "report.html").read_text().startswith("<!doctype html>")


def test_stages_one_by_one_give_the_same(recipe: Path, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    vilbench("sample", recipe, "--out", folder)
    vilbench("score", folder)
    assert (folder / "results.json").read_bytes() == (whole / "results.json").read_bytes()


def test_report_needs_no_model(whole: Path) -> None:
    before = (whole / "results.json").read_bytes()
    program = (
        "import sys; from vilbench.cli import main\n"
        f"sys.argv = ['vilbench', 'report', {str(whole)!r}]\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=100)
    assert (whole / "results.json").read_bytes() == before


def rows(folder: Path, table: str) -> list[tuple[object, ...]]:
    """Names of the stored units with their row numbers; empty while there is no table."""
    try:
        with sqlite3.connect(f"file:{folder / 'run.sqlite'}?mode=ro", uri=True) as connection:
            query = f"SELECT rowid, key, problem_id, sample FROM {table} ORDER BY rowid"  # noqa: S608
            return connection.execute(query).fetchall()
    except sqlite3.OperationalError:
        return []


@pytest.mark.parametrize(("table", "enough"), [("solutions", 20), ("scores", 60)])
def test_killed_and_started_again(
    recipe: Path, whole: Path, tmp_path: Path, table: str, enough: int
) -> None:
    folder = tmp_path / "run"
    command = [*VILBENCH, "run", str(recipe), "--out", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while len(rows(folder, table)) < enough and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {name: rows(folder, name) for name in ("solutions", "scores")}
    assert len(kept[table]) >= enough
    again = vilbench("run", recipe, "--out", folder)
    for name, before in kept.items():
        # What was stored is there still, under the numbers it got then: not written twice.
        assert rows(folder, name)[: len(before)] == before
    stored = re.search(r"sample: 9 problems, (\d+) stored already", again.stdout)
    assert stored is not None
    assert int(stored[1]) == len(kept["solutions"]) // 4
    assert (folder / "results.json").read_bytes() == (whole / "results.json").read_bytes()


def test_interrupted_once(recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [*VILBENCH, "run", str(recipe), "--out", str(folder)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Where tests run in the background SIGINT is ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    while len(rows(folder, "solutions")) < 4 and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "goes on from there" in said
    assert "Traceback" not in said


def test_export_reads_back(whole: Path, tmp_path: Path) -> None:
    vilbench("export", whole, "--format", "jsonl", "--to", tmp_path / "out")
    loaded = load_jsonl(tmp_path / "out" / "problems.jsonl")
    assert len(loaded.problems) == 9
    assert not loaded.rejected
    lines = (tmp_path / "out" / "solutions.jsonl").read_text().splitlines()
    assert len(lines) == 36
    assert set(json.loads(lines[0])) == {
        *("problem_id", "index", "text", "steps", "answer", "verdict", "finish_reason", "seed")
    }
    scores = (tmp_path / "out" / "scores.jsonl").read_text().splitlines()
    assert {json.loads(line)["scorer"] for line in scores} == {
        *("judge-orm", "judge-prm", "likelihood")
    }


def test_another_recipe_on_the_same_folder(recipe: Path, whole: Path) -> None:
    refused = vilbench("run", recipe, "--out", whole, "-n", 5, code=2)
    assert "sample.n: 4 -> 5" in refused.stderr
    assert "--fresh" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_folder_that_is_no_run(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    vilbench("run", recipe, "--out", tmp_path, "--fresh", code=2)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_wrong_recipe(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(RECIPE.replace("  n: 4", "  samples: 4"))
    refused = vilbench("run", path, "--out", tmp_path / "run", code=2)
    assert "wrong.yaml, row 6, field 'sample.samples'" in refused.stderr
    assert not (tmp_path / "run").exists()


def test_a_missing_model_leaves_no_folder(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    refused = vilbench("run", recipe, "--out", out, "--engine", "embedded:huge", code=2)
    assert "embedded:small" in refused.stderr
    assert not out.exists()


def test_bad_rows_are_set_aside_and_told(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(tiny_png("red", (64, 64)))
    (tmp_path / "one.png").write_bytes(tiny_png("red", (1, 1)))
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "torn.png").write_bytes(tiny_png("red", (64, 64))[:60])
    lines = [
        {"id": "a", "question": "What colour?", "image": "good.png", "answer": "red"},
        {"id": "b", "question": "What colour?", "image": "none.png", "answer": "red"},
        {"id": "c", "question": "What colour?", "image": "one.png", "answer": "red"},
        {"id": "d", "question": "What colour?", "image": "empty.png", "answer": "red"},
        {"id": "e", "question": "What colour?", "image": "torn.png", "answer": "red"},
        {"id": "f", "question": "What colour?", "image": "good.png"},
        {"id": "a", "question": "Again?", "image": "good.png", "answer": "red"},
        {"id": "g", "question": "Which?", "choices": ["x", "y"], "answer": "z"},
    ]
    data = tmp_path / "mine.jsonl"
    data.write_text("\n".join(map(json.dumps, lines)) + "\n")
    out = tmp_path / "run"
    told = vilbench("run", recipe, "--problems", data, "--out", out, code=1).stdout
    for row, field in ((2, "image"), (3, "image"), (4, "image"), (5, "image"), (6, "answer")):
        assert re.search(rf"mine\.jsonl, row {row}, field '{field}", told), (row, told)
    assert re.search(r"row 7, field 'id'", told)
    assert re.search(r"row 8, field 'answer'", told)
    results = json.loads((out / "results.json").read_text())
    assert results["n_problems"] == 1
    assert len(results["rejected"]) == 7
    data.write_text(json.dumps(lines[5]) + "\n")
    vilbench("run", recipe, "--problems", data, "--out", tmp_path / "no", code=2)


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"], ["problems", "list"]])
def test_light_commands_load_no_torch(arguments: list[str]) -> None:
    program = (
        "import sys; import vilbench; from vilbench.cli import main\n"
        f"sys.argv = ['vilbench', *{arguments!r}]\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        "heavy = {'torch', 'transformers', 'scipy', 'jinja2'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=60)


def test_problems_show(tmp_path: Path) -> None:
    told = vilbench("problems", "show", "puzzles:dev", "--limit", 9, "--images", tmp_path).stdout
    assert told.count("answer: ") == 9
    assert len(list(tmp_path.glob("*.png"))) == 9
