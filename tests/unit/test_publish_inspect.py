"""A run as a log of Inspect AI: its fields, and the log as the package itself reads it."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from publish_data import SECRET, run_with_results, screen

from vilbench.evaluate.stages import note_scoring
from vilbench.publish.inspect_log import write_log
from vilbench.store.records import ScoreRef
from vilbench.store.run import Run
from vilbench.types import StepScores


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return run_with_results(tmp_path / "run")


def written(run: Path, folder: Path) -> tuple[Path, dict[str, Any]]:
    with Run.read(run) as stored:
        path = write_log(stored, folder, screen())
    return path, json.loads(path.read_text(encoding="ascii"))


def test_the_log_has_the_fields_of_the_format(run: Path, tmp_path: Path) -> None:
    path, log = written(run, tmp_path / "logs")
    # The header comes first: readers stop there where they need no more.
    assert list(log) == ["version", "status", "eval", "plan", "results", "stats", "samples"]
    assert re.fullmatch(r"[\d-]+T[\d-]+\+00-00_puzzles-dev_[0-9a-f]{22}\.json", path.name)
    assert (log["version"], log["status"]) == (2, "success")
    spec = log["eval"]
    assert (spec["task"], spec["model"]) == ("puzzles:dev", "vilbench/policy")
    assert spec["config"] == {"epochs": 2, "epochs_reducer": ["mean"]}
    assert spec["dataset"]["samples"] == len(spec["dataset"]["sample_ids"]) == 4
    assert [one["name"] for one in spec["scorers"]] == ["answer", "prm"]
    assert spec["metadata"]["recipe"]["sample"]["n"] == 2
    assert log["plan"]["steps"][0]["solver"] == "vilbench/sample"
    assert log["results"]["total_samples"] == log["results"]["completed_samples"] == 8
    usage = log["stats"]["model_usage"]["vilbench/policy"]
    assert {"input_tokens", "output_tokens", "total_tokens"} <= usage.keys()


def test_solutions_are_epochs_with_their_scores(run: Path, tmp_path: Path) -> None:
    _, log = written(run, tmp_path / "logs")
    with Run.read(run) as stored:
        problems, pools = stored.problems(), stored.solutions("drawn")
        scores = stored.scores("scored by prm")
    assert [(one["id"], one["epoch"]) for one in log["samples"]] == [
        (problem.id, epoch) for problem in problems for epoch in (1, 2)
    ]
    for place, sample in enumerate(log["samples"]):
        problem = problems[place // 2]
        solution = pools[problem.id][place % 2]
        assert sample["target"] == problem.answer
        assert sample["choices"] == (list(problem.choices) or None)
        asked, said = sample["messages"]
        assert sample["input"] == [asked] and asked["role"] == "user"
        assert asked["content"][-1] == {"type": "text", "text": problem.question}
        assert (said["role"], said["content"]) == ("assistant", solution.text)
        assert sample["output"]["completion"] == solution.text
        assert sample["output"]["choices"][0]["stop_reason"] == "stop"
        answer = sample["scores"]["answer"]
        assert answer == {"value": "CN"[place % 2], "answer": solution.answer}
        values = scores[ScoreRef(problem.id, place % 2)].values
        given = sample["scores"]["prm"]
        assert given["metadata"]["values"] == list(values)
        assert given["value"] == {
            "prm/mean": pytest.approx(sum(v for v in values if v is not None) / len(values)),
            "prm/min": min(v for v in values if v is not None),
            "prm/last-1": values[-1],
        }
        assert sample["model_usage"]["vilbench/policy"] == sample["output"]["usage"]
        assert sample["metadata"]["steps"] == list(solution.step_texts())


def test_pictures_stand_in_the_first_epoch_alone(run: Path, tmp_path: Path) -> None:
    _, log = written(run, tmp_path / "logs")
    with Run.read(run) as stored:
        first = stored.problems()[0]
    head, data = log["samples"][0]["input"][0]["content"][0]["image"].split(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(data) == first.images[0].read()
    assert log["samples"][1]["input"][0]["content"][0] == {
        "type": "text",
        "text": "(1 pictures: see the first epoch)",
    }
    assert all(one["metadata"]["images"] for one in log["samples"][:2])


def test_the_accuracy_of_every_way_to_select(run: Path, tmp_path: Path) -> None:
    _, log = written(run, tmp_path / "logs")
    rows = json.loads((run / "results.json").read_text())["rows"]
    whole = [row for row in rows if row["source"] == row["modality"] == "all"]
    best = {row["method"]: row for row in whole if row["k"] == 2}
    found = {one["name"]: one for one in log["results"]["scores"]}
    assert found.keys() == {"answer", *best} - {"cot"}
    assert found["answer"]["metrics"]["accuracy"]["value"] == best["cot"]["accuracy"]
    chosen = found["prm/last-1"]
    assert (chosen["scorer"], chosen["reducer"]) == ("prm", "best_of_2")
    metric = chosen["metrics"]["accuracy"]
    assert metric["metadata"]["ci_low"] == best["prm/last-1"]["ci_low"]


def test_no_verdict_is_no_score_and_secrets_stay(run: Path, tmp_path: Path) -> None:
    with Run.open(run, Run.read(run).manifest) as stored:
        problem = stored.problems()[0]
        note_scoring(stored, "judge", "judged", "drawn")
        for index, values in enumerate(((None,), (4.0,))):
            record = StepScores(
                problem_id=problem.id,
                solution_index=index,
                scorer="judge",
                granularity="solution",
                values=values,
                notes=(f"my key is {SECRET}",),
            )
            stored.put_scores("judged", [record])
    path, log = written(run, tmp_path / "logs")
    assert "judge" not in log["samples"][0]["scores"]
    assert log["samples"][1]["scores"]["judge"]["value"] == 4.0
    assert log["samples"][1]["scores"]["judge"]["explanation"] == "my key is <secret>"
    assert SECRET not in path.read_text()


def test_inspect_reads_the_log(run: Path, tmp_path: Path) -> None:
    """Where inspect_ai is installed; the fields above are those that it asks for."""
    inspect = pytest.importorskip("inspect_ai.log")
    path, log = written(run, tmp_path / "logs")
    read = inspect.read_eval_log(str(path))
    assert read.status == "success" and len(read.samples) == 8
    assert (
        read.samples[0].scores["prm"].metadata["values"]
        == (log["samples"][0]["scores"]["prm"]["metadata"]["values"])
    )
    assert inspect.read_eval_log(str(path), header_only=True).eval.config.epochs == 2
    assert len(inspect.list_eval_logs(str(tmp_path / "logs"))) == 1
