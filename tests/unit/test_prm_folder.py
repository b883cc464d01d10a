from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import engine_data as data
import prm_data as prm
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForImageTextToText

from vilbench.errors import CheckpointError
from vilbench.prm.folder import NAME, PrmConfig, load, read_config, save, untrained
from vilbench.prm.model import RewardModel

WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(prm.folder(), tmp_path / "prm"))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_tensors(folder: Path, **changes: torch.Tensor | None) -> None:
    tensors = load_file(folder / WEIGHTS)
    for name, tensor in changes.items():
        tensors.pop(name.replace("__", "."), None)
        if tensor is not None:
            tensors[name.replace("__", ".")] = tensor
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})


def refused(folder: Path, file: str, field: str | None, told: str | None) -> None:
    with pytest.raises(CheckpointError, match=told) as caught:
        load(folder, "cpu")
    assert caught.value.file == str(folder / file if file else folder)
    assert caught.value.field == field


def same(one: RewardModel, other: RewardModel) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_what_is_saved_is_loaded(folder: Path) -> None:
    loaded = load(folder, "cpu")
    assert same(loaded.model, prm.loaded().model)
    assert loaded.config == prm.loaded().config == read_config(folder)
    assert not loaded.model.training
    encoded = loaded.encoder().encode((data.picture(3), "?"), ["a", "b"])
    assert encoded == prm.loaded().encoder().encode((data.picture(3), "?"), ["a", "b"])
    ids = (*encoded.prompt.ids, *encoded.ids)
    pixels = dict(data.encoder().pixels(encoded.prompt.images))
    assert torch.equal(prm.values(loaded, ids, pixels), prm.values(prm.loaded(), ids, pixels))


def test_the_fingerprint_changes_with_what_changes_a_value(folder: Path) -> None:
    first = load(folder, "cpu").fingerprint
    assert load(folder, "cpu").fingerprint == first
    seen = {first, load(folder, "cpu", "bfloat16").fingerprint}
    edit(folder / NAME, max_tokens=99, overflow="drop-early")
    seen.add(load(folder, "cpu").fingerprint)
    edit_tensors(folder, score__weight=torch.ones(1, 128))
    seen.add(load(folder, "cpu").fingerprint)
    assert len(seen) == 4


def test_bias_activation_and_training_are_kept(tmp_path: Path) -> None:
    base = prm.loaded()
    model = RewardModel(base.model.backbone, bias=True, seed=2, activation="sigmoid")
    with torch.no_grad():
        model.score.bias.fill_(0.5)
    config = base.config.model_copy(
        update={
            "bias": True,
            "activation": "sigmoid",
            "training": "f" * 64,
            "step_token": "<|im_start|>",
        }
    )
    save(model, base.processor, config, tmp_path)
    loaded = load(tmp_path, "cpu")
    assert same(loaded.model, model)
    assert loaded.model.activation == "sigmoid"
    assert loaded.config == config
    assert loaded.encoder().step_id == data.tokenizer().convert_tokens_to_ids("<|im_start|>")
    for wrong in ({"bias": False}, {"activation": "identity"}):
        with pytest.raises(ValueError, match="another head"):
            save(model, base.processor, config.model_copy(update=wrong), tmp_path)


def test_the_layout_is_one_that_servers_turn_into_a_classifier(folder: Path) -> None:
    """The backbone's own tensor names, `score.weight` of one row, one label, its own class."""
    ours = load_file(folder / WEIGHTS)
    theirs = load_file(data.checkpoint() / WEIGHTS)
    assert ours.keys() == theirs.keys() | {"score.weight"}
    assert ours["score.weight"].shape == (1, 128)
    assert ours["score.weight"].dtype == torch.float32
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    config = AutoConfig.from_pretrained(folder)
    stock = AutoConfig.from_pretrained(data.checkpoint())
    assert (config.model_type, config.architectures) == (stock.model_type, stock.architectures)
    assert config.num_labels == config.get_text_config().num_labels == 1
    assert not [path for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".py")]
    processor, images = (
        json.loads((folder / f"{name}_config.json").read_text())
        for name in ("processor", "preprocessor")
    )
    assert processor["processor_class"] == images["processor_class"] == "Qwen2_5_VLProcessor"
    assert images["image_processor_type"] == "Qwen2VLImageProcessor"
    assert images.items() >= processor["image_processor"].items()
    model, report = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    assert set(report["unexpected_keys"]) == {"score.weight"}
    assert not report["missing_keys"]
    assert type(model) is type(prm.loaded().model.backbone)


def test_bfloat16_and_shards(tmp_path: Path) -> None:
    base = prm.loaded()
    save(base.model, base.processor, base.config, tmp_path)
    size = (tmp_path / WEIGHTS).stat().st_size
    save(
        *(base.model, base.processor, base.config, tmp_path),
        dtype=torch.bfloat16,
        shard_size="300KB",
    )
    assert not (tmp_path / WEIGHTS).exists()  # nothing stale beside the shards
    shards = list(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 2
    assert sum(path.stat().st_size for path in shards) < 0.6 * size
    assert AutoConfig.from_pretrained(tmp_path).dtype == torch.bfloat16
    loaded = load(tmp_path, "cpu")
    assert loaded.model.backbone.dtype == torch.float32
    assert torch.equal(loaded.model.score.weight, base.model.score.weight)
    for name, tensor in base.model.backbone.state_dict().items():
        assert torch.equal(loaded.model.backbone.state_dict()[name], tensor.bfloat16().float())
    save(base.model, base.processor, base.config, tmp_path)
    assert not list(tmp_path.glob("model-*")) + list(tmp_path.glob("*.index.json"))
    assert same(load(tmp_path, "cpu").model, base.model)


def test_a_gathered_state_takes_the_place_of_the_models(tmp_path: Path) -> None:
    base = prm.loaded()
    state = {name: tensor + 1 for name, tensor in base.model.state_dict().items()}
    save(base.model, base.processor, base.config, tmp_path, state=state)
    loaded = load(tmp_path, "cpu").model
    assert torch.equal(loaded.score.weight, base.model.score.weight + 1)
    weight = loaded.backbone.get_input_embeddings().weight
    assert torch.equal(weight, base.model.backbone.get_input_embeddings().weight + 1)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt"])
def test_pickles_are_not_loaded(folder: Path, name: str) -> None:
    (folder / WEIGHTS).rename(folder / name)
    refused(folder, name, None, "pickled weights")


@pytest.mark.parametrize("file", ["config.json", "processor_config.json", "tokenizer_config.json"])
def test_code_of_the_folder_is_never_run(folder: Path, file: str) -> None:
    edit(folder / file, auto_map={"AutoModel": "evil.Model"})
    refused(folder, file, "auto_map", "code of its own")


def test_prm_json_takes_no_other_keys(folder: Path) -> None:
    edit(folder / NAME, auto_map={"AutoModel": "evil.Model"})
    refused(folder, NAME, "auto_map", "is no key that is known here")


def test_truncated_weights(folder: Path) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    for size in (4, len(whole) - 1):
        (folder / WEIGHTS).write_bytes(whole[:size])
        refused(folder, WEIGHTS, None, "bytes instead of|cut")


def test_another_backbone_than_prm_json_tells_of(folder: Path) -> None:
    ours = json.loads((folder / NAME).read_text())["backbone"]
    for field, file, wrong in (
        ("model_type", "config.json", "llava"),
        ("hidden_size", "config.json", 64),
        ("vocabulary", "tokenizer.json", "0" * 64),
    ):
        edit(folder / NAME, backbone=ours | {field: wrong})
        refused(folder, file, field, "another backbone")
    edit(folder / NAME, backbone=ours | {"fingerprint": "x"})  # of before the training
    load(folder, "cpu")


def test_a_head_that_is_none(folder: Path) -> None:
    for tensor, told in (
        (None, "no such tensor"),
        (torch.zeros(2, 128), r"shape \[2, 128\] instead of \[1, 128\]"),
        (torch.zeros(128), "shape"),
        (torch.full((1, 128), torch.nan), "finite"),
        (torch.zeros(1, 128, dtype=torch.int64), "finite"),
    ):
        edit_tensors(folder, score__weight=tensor)
        refused(folder, "", "score.weight", told)


def test_bias_and_prm_json_must_agree(folder: Path) -> None:
    edit(folder / NAME, bias=True)
    refused(folder, "", "score.bias", "no such tensor")
    edit_tensors(folder, score__bias=torch.zeros(1))
    load(folder, "cpu")
    edit(folder / NAME, bias=False)
    refused(folder, "", "score.bias", "unexpected")


@pytest.mark.parametrize(
    ("change", "field", "told"),
    [
        ({"format": "none"}, "format", "is none of"),
        ({"format_fingerprint": "steps-brief@0-0"}, None, "was steps-brief@0-0"),
        ({"value_range": [1, 0]}, "value_range", "no range"),
        ({"value_range": [0, 1e999]}, "value_range", None),
        ({"schema_version": 2}, "schema_version", None),
        ({"overflow": "cut"}, "overflow", None),
        ({"max_tokens": 0}, "max_tokens", None),
        ({"activation": "tanh"}, "activation", None),
        ({"backbone": {"name": "x"}}, "backbone.fingerprint", "is missing"),
    ],
)
def test_wrong_values_in_prm_json(
    folder: Path, change: dict[str, Any], field: str | None, told: str | None
) -> None:
    edit(folder / NAME, **change)
    refused(folder, NAME, field, told)


def test_no_prm_json(folder: Path) -> None:
    (folder / NAME).write_text("{")
    refused(folder, NAME, None, "JSON")
    (folder / NAME).write_bytes(b"\xff\xfe")
    refused(folder, NAME, None, "not readable")
    (folder / NAME).unlink()
    refused(folder, NAME, None, "no reward model's folder")
    refused(folder / "absent", NAME, None, "no reward model's folder")


def test_a_reward_model_is_no_backbone(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="unexpected") as caught:
        untrained(folder, format=prm.BRIEF, device="cpu")
    assert caught.value.field == "score.weight"


def test_the_configuration_is_frozen_and_goes_through_json() -> None:
    config = prm.loaded().config
    assert PrmConfig.model_validate_json(config.model_dump_json()) == config
    with pytest.raises(ValueError, match="frozen"):
        config.bias = True  # type: ignore[misc]
