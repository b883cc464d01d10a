"""A reward model's card and folder, its training and its figures among them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import prm_data as prm
import pytest
import yaml
from huggingface_hub import ModelCard
from publish_data import run_with_results, screen
from safetensors import safe_open

from vilbench.errors import CheckpointError, InputError
from vilbench.evaluate.scoring import score_key
from vilbench.evaluate.stages import note_scoring
from vilbench.prm.folder import fingerprints, load
from vilbench.prm.scoring import PrmScoring
from vilbench.publish.evaluation import Benchmark, Figure
from vilbench.publish.model import model
from vilbench.publish.model_card import card
from vilbench.publish.provenance import Dataset
from vilbench.publish.publication import Publication, write
from vilbench.scorers.prm import PrmScorer
from vilbench.store.run import Run
from vilbench.training.manifest import TrainManifest

PUZZLES = Dataset("puzzles:test")
FIGURES = (
    Figure(
        *("accuracy, prm/last-2", "accuracy", 0.7214, PUZZLES, "500 problems", "vilbench run x"),
        low=0.7,
        high=0.75,
    ),
    Figure("AUROC | <b>within</b>", "auroc", 0.8, PUZZLES, "500", "vilbench run x"),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(prm.folder(), tmp_path / "prm"))


def header(text: str) -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return parsed


def made(folder: Path, **options: Any) -> Publication:
    return model(folder, screen(), title="me/prm", **options)


def test_a_card_is_filled_from_the_configuration() -> None:
    config = prm.loaded().config
    named = config.backbone.model_copy(update={"name": "Qwen/Qwen2.5-VL-3B-Instruct"})
    config = config.model_copy(update={"backbone": named, "training": "abc123", "max_tokens": 99})
    text = card(config, FIGURES, title="me/prm", license="apache-2.0")
    head = header(text)
    assert head["base_model"] == "Qwen/Qwen2.5-VL-3B-Instruct"
    assert head["license"] == "apache-2.0"
    assert head["library_name"] == "vilbench"
    assert "process-reward-model" in head["tags"]
    for told in (
        "abc123",
        "99 tokens; beyond it: an error",
        "linear, 128 to 1, without a bias",
        config.format_fingerprint,
        "| accuracy, prm/last-2 | 0.721 | 0.700 to 0.750 | puzzles:test | 500 problems |",
        r"| AUROC \| \<b\>within\</b\> | 0.800 |  | puzzles:test | 500 |",
    ):
        assert told in text
    assert text.count("```bash\nvilbench run x\n```") == 1
    # The hub's own reader takes it.
    read: Any = ModelCard(text).data
    assert read.get("base_model") == "Qwen/Qwen2.5-VL-3B-Instruct"
    assert [one.metric_value for one in read.eval_results] == [0.7214, 0.8]


def test_a_card_makes_nothing_up() -> None:
    text = card(prm.loaded().config, title="me/prm")
    assert "None was given with this model." in text
    assert "Nothing is known of it beside its fingerprint." in text
    assert "none: the head is random" in text
    assert not {"base_model", "model-index", "license"} & header(text).keys()
    sigmoid = prm.loaded().config.model_copy(
        update={
            "activation": "sigmoid",
            "bias": True,
            "step_token": "<|x|>",
            "overflow": "drop-early",
        }
    )
    told = card(sigmoid, title="me/prm")
    assert "with a bias, then a sigmoid" in told
    assert "first steps are left out" in told
    assert r"\<\|x\|\>" in told


def test_hostile_names_stay_in_their_place() -> None:
    config = prm.loaded().config
    bad = config.backbone.model_copy(update={"name": "x\n---\n# <script> | [a](b)"})
    text = card(config.model_copy(update={"backbone": bad}), title="me/prm")
    assert "\n# <script>" not in text
    assert "<script>" not in text
    assert header(text)["library_name"] == "vilbench"


def test_the_code_of_a_card_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import engine_data as data

    code = card(prm.loaded().config, title="me/prm").split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(folder.parent)
    folder.rename(folder.parent / "folder")
    (folder.parent / "picture.png").write_bytes(data.picture(1).read())
    exec(compile(code, "card", "exec"), {})  # noqa: S102 - of our own card


def test_the_model_is_published_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    (folder / "checkpoint-10").mkdir()
    (folder / "checkpoint-10" / "state.json").write_text("{}")
    (folder / "training_args.bin").write_bytes(b"x")
    (folder / "events.tfevents").write_bytes(b"x")
    (folder / "README.md").write_text("old")
    (folder / "account.json").write_text('{"key": "of mine"}')
    (folder / "notes.txt").write_text("mine")
    done = made(folder)
    assert {one.name for one in done.entries} == {
        *("README.md", "prm.json", "config.json", "generation_config.json"),
        *("model.safetensors", "tokenizer.json", "tokenizer_config.json"),
        *("processor_config.json", "preprocessor_config.json", "chat_template.jinja"),
    }
    assert dict(done.left_out) == {
        "README.md": "a new card is written",
        "account.json": "no part of it",
        "checkpoint-10/": "no part of it (1 files)",
        "events.tfevents": "no part of it",
        "notes.txt": "no part of it",
        "training_args.bin": "may hold code: pickles are not published",
    }
    assert (folder / "README.md").read_text() == "old"
    write(done, tmp_path / "out")
    assert load(tmp_path / "out").fingerprint == load(folder).fingerprint
    with pytest.raises(InputError, match="choose another --to"):
        write(done, folder)


def test_weights_in_several_files_go_with_their_index(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").rename(folder / "part-1.safetensors")
    with safe_open(folder / "part-1.safetensors", "pt") as weights:
        names = dict.fromkeys(weights.keys(), "part-1.safetensors")
        index = {"metadata": {"total_size": 1}, "weight_map": names}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "adapter.safetensors").write_bytes(b"x")
    write(made(folder), tmp_path / "out")
    assert load(tmp_path / "out").fingerprint == load(folder).fingerprint
    assert not (tmp_path / "out" / "adapter.safetensors").exists()


def test_paths_that_a_library_left_are_shortened(folder: Path, tmp_path: Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text()) | {"_name_or_path": "/data/ann/models/qwen"}
    path.write_text(json.dumps(config))
    vocabulary = (folder / "tokenizer.json").read_bytes()
    write(made(folder), tmp_path / "out")
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert written == config | {"_name_or_path": "qwen"}
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == vocabulary


def test_the_training_stands_in_the_card(folder: Path) -> None:
    manifest = TrainManifest(
        recipe={"name": "mine", "data": {"train": "/home/ann/rows.jsonl"}, "seed": 3},
        fingerprint="f" * 64,
        data={"/home/ann/rows.jsonl": "d" * 64},
        order="o",
        backbone="b",
        rows=1234,
        dev_rows=56,
        groups=7,
        rejected=("row 3",),
        processes=1,
        versions={"torch": "2.6"},
    )
    (folder.parent / "training.json").write_text(manifest.model_dump_json())
    with pytest.raises(InputError, match="is the training of another model"):
        made(folder, training=folder.parent)
    config = json.loads((folder / "prm.json").read_text())
    (folder / "prm.json").write_text(json.dumps(config | {"training": "f" * 64}))
    text = made(folder, training=folder.parent).card
    for told in (
        "| rows learnt from | 1,234 |",
        "| rows set aside | 1 |",
        f"| data: rows.jsonl | sha256 {'d' * 64} |",
        "train: rows.jsonl",
        "| versions | torch 2.6 |",
    ):
        assert told in text
    assert "/home/ann" not in text
    (folder.parent / "training.json").write_text("{")
    with pytest.raises(InputError, match="manifest of the training cannot be read"):
        made(folder, training=folder.parent)


def scored_by(folder: Path, place: Path) -> Path:
    """A run whose scorer `prm` is the model in a folder."""
    run_with_results(place)
    loaded = load(folder)
    key = score_key(PrmScorer(PrmScoring(loaded), loaded.fingerprint), "drawn")
    with Run.open(place, Run.read(place).manifest) as run:
        note_scoring(run, "prm", key, "drawn")
    return place


def test_figures_are_those_of_runs_with_this_very_model(folder: Path, tmp_path: Path) -> None:
    assert load(folder).fingerprint in fingerprints(folder)
    run = scored_by(folder, tmp_path / "run")
    named = Benchmark("me/puzzles", "test")
    done = made(folder, runs=[run], benchmark=named)
    results = header(done.card)["model-index"][0]["results"]
    assert results[0]["dataset"] == {"name": "puzzles:dev", "type": "puzzles:dev"}
    assert results[0]["metrics"][0]["name"] == "accuracy, prm/mean"
    files = dict(done.entries)
    told = yaml.safe_load(bytes(files[".eval_results/puzzles-dev.yaml"]))
    assert told[0]["dataset"] == {"id": "me/puzzles", "task_id": "test"}
    assert "vilbench run" in done.card
    with pytest.raises(InputError, match="two runs are over the same problems"):
        made(folder, runs=[run, run], benchmark=named)


def test_figures_of_another_model_are_refused(folder: Path, tmp_path: Path) -> None:
    run = scored_by(folder, tmp_path / "run")
    config = json.loads((folder / "prm.json").read_text())
    (folder / "prm.json").write_text(json.dumps(config | {"max_tokens": 77}))
    with pytest.raises(InputError, match=r"no scorer of the run \(prm\) is the model in prm"):
        made(folder, runs=[run])


def test_what_is_no_reward_model_is_not_published(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(CheckpointError, match="safetensors"):
        made(folder)
    (folder / "prm.json").unlink()
    with pytest.raises(CheckpointError, match="no reward model's folder"):
        made(folder)
