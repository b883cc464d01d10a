"""Problems from the hub, by the real library against a server on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import table_data as data
from hub_server import hub
from source_data import MMMU_STANDARD, MMMU_VISION, mmmu_schema

from vilbench.errors import InputError
from vilbench.problems import own
from vilbench.problems.hub import is_commit, is_saved

COMMIT = "0123456789abcdef0123456789abcdef01234567"

CARD = """---
configs:
- config_name: standard (10 options)
  data_files:
  - {split: test, path: standard (10 options)/test-*}
- config_name: vision
  data_files:
  - {split: test, path: vision/test-*}
---
"""


def command(url: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`vilbench` in a process of its own: the libraries read their endpoint once."""
    environment = {
        "HF_ENDPOINT": url,
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "VILBENCH_DATA": str(folder / "prepared"),
        "HOME": str(folder),
        "PATH": "",
        "OMP_NUM_THREADS": "1",
        "no_proxy": "*",
    }
    program = "from vilbench.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=240,
        check=False,
    )


def mmmu(folder: Path) -> Path:
    rows = MMMU_STANDARD[1:]
    schema = mmmu_schema(rows[0])
    path = folder / "standard (10 options)" / "test-00000-of-00001.parquet"
    data.parquet(path, rows, schema)
    data.parquet(folder / "vision" / "test-00000-of-00001.parquet", MMMU_VISION)
    (folder / "README.md").write_text(CARD)
    return folder


def test_a_source_is_prepared_from_the_hub_at_the_present_commit(tmp_path: Path) -> None:
    with hub(mmmu(tmp_path / "files"), "MMMU/MMMU_Pro", COMMIT) as server:
        done = command(server.url, tmp_path, "problems", "prepare", "mmmu-pro:vision")
        assert done.returncode == 0, done.stderr
        assert f"MMMU/MMMU_Pro is at {COMMIT}" in done.stdout
        assert "1 problems of mmmu-pro:vision, 0 rows set aside" in done.stdout
        asked = [path for path in server.seen if "/resolve/" in path]
        assert asked
        assert all(f"/resolve/{COMMIT}/" in path for path in asked)
    card = json.loads((tmp_path / "prepared" / "mmmu-pro-vision" / "prepared.json").read_text())
    assert (card["revision"], card["repository"]) == (COMMIT, "MMMU/MMMU_Pro")
    (image,) = (tmp_path / "prepared" / "mmmu-pro-vision" / "images").iterdir()
    # The bytes that were uploaded, neither decoded nor encoded anew.
    assert image.read_bytes() == data.PICTURES[2]
    # From here on no hub is needed.
    said = command("http://127.0.0.1:9", tmp_path, "problems", "show", "mmmu-pro:vision")
    assert "answer: C" in said.stdout, said.stderr


def test_a_commit_that_the_hub_has_not_is_told(tmp_path: Path) -> None:
    with hub(mmmu(tmp_path / "files"), "MMMU/MMMU_Pro", COMMIT) as server:
        other = "f" * 40
        done = command(server.url, tmp_path, "problems", "prepare", "mmmu-pro", "--revision", other)
    assert done.returncode == 2
    assert "cannot be had from the hub" in done.stderr
    assert "a downloaded copy can be given as path" in done.stderr
    assert not (tmp_path / "prepared").exists()


@pytest.mark.parametrize(
    ("revision", "verdict"), [(COMMIT, True), ("main", False), (COMMIT[:12], False), ("", False)]
)
def test_a_commit_is_named_in_full(revision: str, *, verdict: bool) -> None:
    assert is_commit(revision) is verdict


def test_a_folder_that_datasets_saved(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "question": datasets.Value("string"),
            "answer": datasets.Value("string"),
            "image": datasets.Image(),
            "choices": datasets.List(datasets.Value("string")),
        }
    )
    rows = [
        {
            "question": "Which?",
            "answer": "B",
            "image": data.feature(data.PICTURES[0]),
            "choices": ["red", "blue"],
        },
        {"question": "What?", "answer": "3", "image": None, "choices": []},
    ]
    made = datasets.Dataset.from_list(rows, features=features)
    made.save_to_disk(tmp_path / "own")
    made.to_parquet(tmp_path / "own.parquet")
    assert is_saved(tmp_path / "own")
    found = own.load(tmp_path / "own")
    assert found.problems == own.load(tmp_path / "own.parquet").problems
    assert [problem.answer for problem in found.problems] == ["B", "3"]
    assert found.problems[0].images[0].read() == data.PICTURES[0]
    (tmp_path / "own" / "state.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read by datasets"):
        own.load(tmp_path / "own")
