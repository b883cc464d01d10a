"""A run as a data set: the tables read back, the card, what stays behind."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from publish_data import SECRET, run_with_results, screen
from puzzle_run import puzzle_run
from typer.testing import CliRunner

from vilbench.cli.app import app
from vilbench.errors import RunError
from vilbench.evaluate.analysis import Plan, analyse
from vilbench.evaluate.stages import note_sampling
from vilbench.problems import own
from vilbench.publish import results
from vilbench.publish.evaluation import Benchmark
from vilbench.publish.index import write_index
from vilbench.publish.inspect_log import write_log
from vilbench.publish.publication import Publication, write
from vilbench.store.manifest import Manifest
from vilbench.store.run import Run
from vilbench.testing import make_problem, make_solution
from vilbench.types import StepScores


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return run_with_results(tmp_path / "run")


def published(run: Path, tmp_path: Path, **options: Any) -> Publication:
    room = tmp_path / "room"
    room.mkdir(exist_ok=True)
    with Run.read(run) as stored:
        made = results.results(stored, room, screen(), **options)
    write(made, tmp_path / "out")
    return made


def front(text: str) -> dict[str, Any]:
    header: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return header


def test_every_table_is_loaded_by_datasets(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    published(run, tmp_path)
    out, cache = str(tmp_path / "out"), str(tmp_path / "cache")

    def table(*name: str) -> Any:
        return datasets.load_dataset(out, *name, split="test", cache_dir=cache)

    with Run.read(run) as stored:
        problems, pools = stored.problems(), stored.solutions("drawn")
        scores = list(stored.scores("scored by prm").values())
    solutions = [one for pool in pools.values() for one in pool]
    rows = table()
    assert rows["text"] == [one.text for one in solutions]
    assert rows["steps"] == [list(one.step_texts()) for one in solutions]
    assert rows["verdict"] == [one.verdict for one in solutions]
    assert rows.features["seed"].dtype == "int64"
    asked = table("problems")
    assert asked["id"] == [one.id for one in problems]
    assert asked[0]["images"][0].width > 0
    assert asked.features["images"] == datasets.List(datasets.Image())
    given = table("scores")
    assert given["values"] == [list(one.values) for one in scores]
    assert set(given["scorer"]) == {"prm"}
    shown = table("results")
    stored_rows = json.loads((run / "results.json").read_text())["rows"]
    assert [dict(row) for row in shown] == stored_rows


def test_published_problems_are_own_data(run: Path, tmp_path: Path) -> None:
    published(run, tmp_path)
    found = own.load(tmp_path / "out" / "data" / "problems.parquet")
    with Run.read(run) as stored:
        assert found.problems == tuple(stored.problems())
    assert not found.rejected


def test_the_card_tells_what_where_and_how_sure(run: Path, tmp_path: Path) -> None:
    text = published(run, tmp_path, title="me | <b>my</b> run", license="mit").card
    head = front(text)
    assert (head["license"], head["pretty_name"]) == ("mit", "me | <b>my</b> run")
    assert head["configs"][0]["config_name"] == "solutions" and head["configs"][0]["default"]
    for entry in head["configs"]:
        assert (tmp_path / "out" / entry["data_files"][0]["path"]).is_file()
    with Run.read(run) as stored:
        fingerprint = stored.manifest.fingerprint
    for told in (
        r"# me \| \<b\>my\</b\> run",
        "| problems | 4 of puzzles:dev |",
        "| policy | policy, 2 solutions a problem, seed 3 |",
        f"| fingerprint | {fingerprint} |",
        "| cot | 0.500 | 0.500 to 0.500 |  |  |  |",
        "| prm/last-1 | 1.000 | 1.000 to 1.000 | +0.500 | 0.500 to 0.500 | ",
        "vilbench run\n",
        "model: embedded:small",
        "| solutions | 8 |",
    ):
        assert told in text, told
    assert "<b>" not in text.split("---\n", 2)[2]


def test_hostile_names_and_texts_stay_in_their_place(tmp_path: Path) -> None:
    hostile = "\x1b[31m</script>\u202e\u2028\u0085\x00 ,;\t{}[]\"'\n# no heading\n---\n|```"
    problem = make_problem(
        id=hostile, question=hostile, choices=("a", "b"), answer="A", answer_kind="choice"
    )
    manifest = Manifest.of(hostile, {"x": hostile}, seed=0, problem_set=f"a/../b:{hostile}")
    with Run.open(tmp_path / "run", manifest) as run:
        run.add_problems([problem])
        note_sampling(run, "k", 2, hostile)
        failed = make_solution(problem, 1, "", verdict="failed", finish_reason="error", error="x")
        run.put_solutions("k", [make_solution(problem, 0, hostile, answer="A"), failed])
        run.write_results(analyse(run, Plan(2, ())).model_dump_json())
    text = published(tmp_path / "run", tmp_path, title=hostile).card
    body = text.split("\n---\n", 1)[1]
    assert "\n# no heading" not in body and "\n---" not in body and "<script>" not in body
    assert all(one.isprintable() or one in "\n\t" for one in text)
    assert front(text)["tags"][-1] == "vilbench"
    rows = own.load(tmp_path / "out" / "data" / "problems.parquet")
    assert [one.question for one in rows.problems] == [hostile]
    with Run.read(tmp_path / "run") as run:
        path = write_log(run, tmp_path / "logs", screen())
        write_index(run, tmp_path / "index", screen(), of="policy", benchmark=Benchmark("a/b", "c"))
    assert path.parent == tmp_path / "logs"
    first, second = json.loads(path.read_text(encoding="ascii"))["samples"]
    assert first["output"]["completion"] == hostile and first["id"] == hostile
    assert second["error"]["message"] == "sampling failed" and second["output"]["choices"] == []
    (name,) = (tmp_path / "index" / ".eval_results").iterdir()
    assert re.fullmatch(r"[a-z0-9-]+\.yaml", name.name)


def test_what_is_the_users_own_stays_behind(run: Path, tmp_path: Path) -> None:
    (run / "notes.pkl").write_bytes(b"x")
    (run / "sub").mkdir()
    (run / "sub" / "mine.txt").write_text("x")
    with Run.open(run, Run.read(run).manifest) as stored:
        line = f"vilbench run /home/ann/my.yaml --out /data/ann/runs --key {SECRET}"
        stored.event("command", {"line": line, "recipe": {}})
        first = stored.problems()[0]
        stored.put_scores(
            "scored by prm",
            [
                StepScores(
                    problem_id=first.id,
                    solution_index=7,
                    scorer="prm",
                    granularity="step",
                    values=(0.5,),
                    notes=(f"I read /home/ann/papers/x.txt and {SECRET}",),
                    error="http://10.0.0.7:8000 is out",
                )
            ],
        )
    made = published(run, tmp_path)
    whole = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*.*"))
    for hidden in (b"/home/ann", b"/data/ann", SECRET.encode(), b"10.0.0.7"):
        assert hidden not in whole
    assert "vilbench run my.yaml --out runs --key <secret>" in made.card
    assert {one.name for one in made.left_out} >= {"run.sqlite", "manifest.json", "notes.pkl"}
    assert dict(made.left_out)["notes.pkl"].startswith("may hold code")
    assert dict(made.left_out)["sub/"] == "no part of it (1 files)"
    assert "secrets replaced: 2" in made.remarks
    assert any("names no license" in one for one in made.remarks)


def test_a_step_benchmark_is_published_with_its_figures(tmp_path: Path) -> None:
    puzzle_run(tmp_path / "run", "test").close()
    asked = ["stepbench", str(tmp_path / "run"), "--split", "0.5"]
    assert CliRunner().invoke(app, asked).exit_code == 0
    made = published(tmp_path / "run", tmp_path)
    assert [one.name for one in made.entries] == [
        *("README.md", "data/solutions.parquet", "data/problems.parquet", "data/scores.parquet"),
        "stepbench.json",
    ]
    assert len(front(made.card)["configs"]) == 3
    for told in (
        "Marked steps of ",
        "| macro-F1 of steps, weighted over subsets, prm | 1.000 | 1.000 to 1.000 |",
        "| AUROC of marked steps within problems, prm | 1.000 |",
        "All figures are in\n`stepbench.json`.",
    ):
        assert told in made.card, told
    with Run.read(tmp_path / "run") as run:
        done = write_index(run, tmp_path / "index", screen(), benchmark=Benchmark("a/b", "c"))
        log = json.loads(write_log(run, tmp_path / "logs", screen()).read_text())
    assert done.of == "prm" and done.named
    index = yaml.safe_load((tmp_path / "index" / "model-index.yaml").read_text())
    metrics = index["model-index"][0]["results"][0]["metrics"]
    assert [one["type"] for one in metrics] == ["f1", "f1", "auroc"]
    assert "threshold from" in metrics[0]["args"]["detail"]
    assert log["results"]["scores"] == [] and len(log["samples"]) == 8


def test_a_run_without_results_is_told_how_to_get_them(tmp_path: Path) -> None:
    puzzle_run(tmp_path / "run").close()
    with pytest.raises(RunError, match="'vilbench report' makes it"):
        published(tmp_path / "run", tmp_path)
    (tmp_path / "run" / "results.json").write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        published(tmp_path / "run", tmp_path)


def test_results_of_another_run_are_refused(run: Path, tmp_path: Path) -> None:
    data = json.loads((run / "results.json").read_text())
    (run / "results.json").write_text(json.dumps(data | {"fingerprint": "0" * 64}))
    with pytest.raises(RunError, match="is of another run"):
        published(run, tmp_path)
