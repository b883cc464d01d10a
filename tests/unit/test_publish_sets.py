"""Problem sets and training data as data sets that load, with what they come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from curate_data import noise
from publish_data import SECRET, screen
from tree_data import counted, picture, problem

from vilbench.collect.data import DataConfig
from vilbench.collect.export import Labelling
from vilbench.curate import folder as curated
from vilbench.curate import kinship
from vilbench.curate.curation import curate as chosen_from
from vilbench.curate.pairs import Pair
from vilbench.curate.records import RuleCard
from vilbench.errors import InputError
from vilbench.problems import own, prepared
from vilbench.problems.sets import ProblemSet
from vilbench.publish.data import training_data
from vilbench.publish.problem_set import problem_set
from vilbench.publish.publication import Publication, write
from vilbench.search import TreeRecord
from vilbench.store import trees
from vilbench.store.manifest import Manifest
from vilbench.store.records import Spent
from vilbench.store.run import Run
from vilbench.store.trees import Grown
from vilbench.training.data import load
from vilbench.training.rows import ValueRange

PROBLEMS = (
    problem("a", picture(1), choices=("left", "right"), answer="B", answer_kind="choice"),
    problem("b", question="How long is it?", answer="3.5", answer_kind="number", unit="cm",
            precision=1, metadata={"grade": 7, "tags": ["x"]}),
    problem("c", picture(1), picture(2), category="k", modality="visual-only"),
)  # fmt: skip
COMMIT = "2b6ad69445fbb5695c9b165475e8decdbeb97747"


def datasets_offline(monkeypatch: pytest.MonkeyPatch) -> Any:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    return datasets


def front(text: str) -> dict[str, Any]:
    header: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return header


def a_set(folder: Path, *, name: str = "mathvista:testmini") -> Path:
    given = ProblemSet(name, PROBLEMS, notes=("one picture was converted",))
    prepared.write(given, folder, "AI4Math/MathVista", COMMIT)
    return folder


def published(folder: Path, tmp_path: Path, **options: Any) -> Publication:
    room = tmp_path / "room"
    room.mkdir(exist_ok=True)
    made = problem_set(folder, room, screen(), **options)
    write(made, tmp_path / "out")
    return made


def test_a_prepared_set_is_loaded_by_datasets_and_by_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = datasets_offline(monkeypatch)
    made = published(a_set(tmp_path / "set"), tmp_path, license="cc-by-4.0")
    out, cache = str(tmp_path / "out"), str(tmp_path / "cache")
    rows = datasets.load_dataset(out, split="test", cache_dir=cache)
    assert rows["id"] == ["a", "b", "c"]
    assert rows["precision"] == [None, 1, None]
    assert [len(images) for images in rows["images"]] == [1, 0, 2]
    assert rows[2]["images"][1].size == (6, 4)
    assert json.loads(rows[1]["metadata"]) == {"grade": 7, "tags": ["x"]}
    found = own.load(tmp_path / "out")
    assert found.problems == PROBLEMS and not found.rejected
    assert [one.read() for one in found.problems[2].images] == [
        one.read() for one in PROBLEMS[2].images
    ]
    for told in (
        "| source | AI4Math/MathVista |",
        f"| revision | {COMMIT} |",
        "- one picture was converted",
        "license: cc-by-4.0",
    ):
        assert told in made.card
    assert dict(made.left_out)["problems.jsonl"] == "its problems are in problems.parquet"


def test_a_set_that_was_changed_is_refused(tmp_path: Path) -> None:
    folder = a_set(tmp_path / "set")
    rows = (folder / "problems.jsonl").read_bytes()
    (folder / "problems.jsonl").write_bytes(rows.replace(b"3.5", b"3.6"))
    with pytest.raises(InputError, match="has been changed since it was prepared"):
        published(folder, tmp_path)


def test_a_curated_set_keeps_its_card_and_its_warnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = datasets_offline(monkeypatch)
    folder = curate(tmp_path / "curated")
    made = published(folder, tmp_path, title="Ann's choice")
    card, out = curated.card_of(folder), tmp_path / "out"
    assert made.what == "curated problem set"
    assert "# Ann's choice\n" in made.card
    assert "**Gains on this set are not gains elsewhere.**" in made.card
    assert card.fingerprint in made.card
    rows = datasets.load_dataset(str(out), split="test", cache_dir=str(tmp_path / "cache"))
    assert len(rows) == card.problems
    looked_at = datasets.load_dataset(
        str(out), "indicators", split="test", cache_dir=str(tmp_path / "cache")
    )
    assert [one["by_pair"] for one in looked_at] == [
        list(one.by_pair) for one in curated.indicators(folder)
    ]
    # Whoever takes the published folder as problems is warned as the one who made it is.
    assert own.load(out).problems == own.load(folder).problems
    manifest = Manifest.of("judged", {}, seed=0, problem_set="published")
    with Run.open(tmp_path / "run", manifest) as run:
        kinship.note(run, [out])
        assert [one.fingerprint for one in kinship.noted(run)] == [card.fingerprint]


def curate(folder: Path) -> Path:
    """A set chosen from noise."""
    pairs = [Pair(f"a{at}", f"a{at}-prm/mean", f"a{at}-orm") for at in range(2)]
    rule = RuleCard(splits=2, resamples=2)
    curated.write(chosen_from([noise(40, 6, 2)], pairs, rule, "prefer"), folder)
    return folder


def collected(folder: Path, *records: TreeRecord) -> Path:
    manifest = Manifest.of("my run", {}, seed=3, problem_set="own:train")
    with Run.open(folder, manifest) as run:
        run.add_problems([problem("p", picture(1), question=f"What is {SECRET}?")])
        run.event("command", {"line": "vilbench collect /home/ann/x.yaml --out /data/trees"})
        run.event("collect", {"key": "k", "rule": "rollouts", "policy": "small", "evaluator": ""})
        trees.put(run, "k", [], [Grown(one, Spent()) for one in records])
    return folder


def test_training_data_is_loaded_by_datasets_and_learnt_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = datasets_offline(monkeypatch)
    (tmp_path / "room").mkdir()
    with Run.read(collected(tmp_path / "run", counted("p"))) as run:
        made, summary = training_data(
            run,
            tmp_path / "room",
            screen(),
            DataConfig(),
            labelling=Labelling("Own", "mit", "vilbench export /home/ann/run --to-hub me/own"),
        )
    write(made, tmp_path / "out")
    assert {one.name for one in made.entries} == {
        *("README.md", "data/train.parquet", "collection.json")
    }
    rows = datasets.load_dataset(
        str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert len(rows) == summary.rows == 4
    assert rows[0]["question"] == "What is <secret>?"
    assert rows[0]["images"][0].size == (5, 4)
    table = tmp_path / "out" / "data" / "train.parquet"
    assert len(load(table, ValueRange(0.0, 1.0)).rows) == 4
    assert front(made.card)["license"] == "mit"
    for told in ("vilbench collect x.yaml --out trees", "vilbench export run --to-hub me/own"):
        assert told in made.card
    assert "secrets replaced: 4" in made.remarks
