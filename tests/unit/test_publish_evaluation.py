"""Figures of a run in the two forms of the hub, as its own library reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import EvalResult, ModelCardData, parse_eval_result_entries
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results
from publish_data import run_with_results, screen

from vilbench.errors import InputError
from vilbench.problems.adapters import find
from vilbench.publish.evaluation import Benchmark, Figure, eval_results, model_index
from vilbench.publish.index import Index, write_index
from vilbench.publish.provenance import Dataset, dataset_of
from vilbench.store.run import Run

COMMIT = "0123456789abcdef0123456789abcdef01234567"
VISTA = Dataset("mathvista:testmini", "AI4Math/MathVista", None, "testmini", COMMIT)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return run_with_results(tmp_path / "run")


def index(run: Path, folder: Path, **options: Any) -> tuple[Index, dict[str, Any]]:
    with Run.read(run) as stored:
        done = write_index(stored, folder, screen(), **options)
    return done, yaml.safe_load((folder / "model-index.yaml").read_text())


def test_the_hubs_library_reads_the_index(run: Path, tmp_path: Path) -> None:
    done, data = index(run, tmp_path / "out", title="me/prm")
    assert done == Index("prm", ("model-index.yaml",), False)
    name, results = model_index_to_eval_results(data["model-index"])
    assert name == "me/prm" and all(isinstance(one, EvalResult) for one in results)
    rows = json.loads((run / "results.json").read_text())["rows"]
    best = [row for row in rows if row["k"] == 2 and row["source"] == row["modality"] == "all"]
    accuracies = {f"accuracy, {row['method']}": row["accuracy"] for row in best}
    mine = [one for one in results if one.metric_type == "accuracy"]
    assert [one.metric_name for one in mine] == [
        f"accuracy, prm/{name}" for name in ("mean", "last-1", "min", "last-2")
    ]
    for one in mine:
        assert one.metric_value == pytest.approx(accuracies[str(one.metric_name)], abs=1e-6)
        assert one.metric_args is not None and {"detail", "ci_low", "ci_high"} <= set(
            one.metric_args
        )
    # There and back again: nothing is lost that the hub knows of.
    card: Any = ModelCardData(eval_results=results, model_name=name)
    again = eval_results_to_model_index(name, results)
    assert card.to_dict()["model-index"] == again == data["model-index"]


def test_figures_of_the_policy(run: Path, tmp_path: Path) -> None:
    done, data = index(run, tmp_path / "out", of="policy")
    assert done.of == "policy" and data["model-index"][0]["name"] == "policy"
    names = [one["name"] for one in data["model-index"][0]["results"][0]["metrics"]]
    assert names == ["accuracy, cot", "accuracy, majority", "accuracy, oracle"]
    with pytest.raises(InputError, match="no figures of 'judge'; there are prm, policy"):
        index(run, tmp_path / "out", of="judge")


def test_results_for_the_leaderboard_of_a_benchmark(run: Path, tmp_path: Path) -> None:
    done, _ = index(run, tmp_path / "out", benchmark=Benchmark.parse("me/puzzles:dev"))
    assert done.files == ("model-index.yaml", ".eval_results/puzzles-dev.yaml") and done.named
    data = yaml.safe_load((tmp_path / "out/.eval_results/puzzles-dev.yaml").read_text())
    (entry,) = parse_eval_result_entries(data)
    assert (entry.dataset_id, entry.task_id) == ("me/puzzles", "dev")
    with Run.read(run) as stored:
        assert entry.date == stored.manifest.created
    assert str(entry.notes).startswith("accuracy, prm/mean; 4 problems, best of 2 by policy")
    assert "95 % interval" in str(entry.notes)


def figure(dataset: Dataset, *, main: bool = True) -> Figure:
    return Figure("accuracy, x", "accuracy", 0.5, dataset, "5 problems", main=main)


def test_a_public_source_is_named_with_its_commit() -> None:
    told = f"mathvista:testmini: AI4Math/MathVista@{COMMIT}, prepared 2026, sha256 1"
    assert dataset_of("mathvista:testmini", (told,)) == VISTA
    assert find("mathvista").repository == VISTA.repository
    assert dataset_of("mathvista:testmini", ("mathvista:testmini: a local copy",)).revision is None
    assert dataset_of("puzzles:dev", ()) == Dataset("puzzles:dev")
    assert dataset_of("mathvista:testmini+mmstar:val", (told,)).repository is None
    (result,) = model_index("m", [figure(VISTA)])[0]["results"]
    assert result["dataset"] == {
        "name": "mathvista:testmini",
        "type": "AI4Math/MathVista",
        "split": "testmini",
        "revision": COMMIT,
    }
    files = eval_results([figure(VISTA), figure(VISTA, main=False)], None, "2026-01-01")
    (data,) = (yaml.safe_load(one) for one in files.values())
    assert [one["dataset"] for one in data] == [
        {"id": "AI4Math/MathVista", "task_id": "default", "revision": COMMIT}
    ]


def test_a_benchmark_is_one() -> None:
    assert Benchmark.parse("a/b") == Benchmark("a/b", "default")
    for wrong in ("a", "a/b:", "a/b c", "../b:c", "a/b:c:d", ""):
        with pytest.raises(InputError, match="is not OWNER/NAME"):
            Benchmark.parse(wrong)
    two = [figure(VISTA), figure(Dataset("puzzles:dev"))]
    with pytest.raises(InputError, match="several data sets"):
        eval_results(two, Benchmark("a/b", "c"), "2026-01-01")
    assert eval_results([figure(Dataset("puzzles:dev"))], None, "2026-01-01") == {}
