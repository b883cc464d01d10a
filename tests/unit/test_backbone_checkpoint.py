from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import engine_data as data
import pytest
import torch
from safetensors.torch import load_file, save_file

from vilbench.backbone.checkpoint import fingerprint, load
from vilbench.errors import CheckpointError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(data.checkpoint(), tmp_path / "model"))


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a folder was looked for on the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def refused(folder: Path, file: str, told: str, field: str | None = None) -> None:
    with pytest.raises(CheckpointError, match=told) as caught:
        load(folder, "cpu")
    assert caught.value.file == str(folder / file if file else folder)
    assert caught.value.field == field


def test_a_folder_loads(folder: Path) -> None:
    loaded = load(folder)
    assert not loaded.model.training
    assert loaded.model.dtype == (torch.bfloat16 if torch.cuda.is_available() else torch.float32)
    assert len(loaded.end_ids) == 1 + len(data.END_TEXTS)
    assert data.tokenizer().eos_token_id in loaded.end_ids
    assert type(loaded.processor).__name__ == "QwenVLProcessor"
    assert load(folder, "cpu", "bfloat16").model.dtype == torch.bfloat16


@pytest.mark.parametrize("device", ["cuda:99", "xpu:99", "nonsense"])
def test_a_device_that_is_not_there_is_named(folder: Path, device: str) -> None:
    with pytest.raises(CheckpointError, match=f"'{device}' cannot be used here") as caught:
        load(folder, device)
    assert (caught.value.file, caught.value.field) == (str(folder), "device")


def test_a_folder_of_the_stock_classes_loads(folder: Path) -> None:
    """The files of `Qwen/Qwen2.5-VL-3B-Instruct` have these names and class names."""
    saved = json.loads((folder / "processor_config.json").read_text())
    images = saved["image_processor"] | {
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2_5_VLProcessor",
        "min_pixels": 4096,
        "max_pixels": 262144,
    }
    images.pop("size", None)
    (folder / "preprocessor_config.json").write_text(json.dumps(images))
    (folder / "processor_config.json").unlink()
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    edit(folder / "tokenizer_config.json", processor_class="Qwen2_5_VLProcessor")
    loaded = load(folder, "cpu")
    assert loaded.processor.chat_template == template
    assert loaded.processor.image_processor.patch_size == 16
    assert loaded.processor.image_processor.size["longest_edge"] == 262144


def test_the_registered_processor_loads_by_the_automatic_class(folder: Path) -> None:
    from transformers import AutoProcessor

    assert type(AutoProcessor.from_pretrained(folder)).__name__ == "QwenVLProcessor"


def test_an_end_token_may_be_one_number_or_the_tokenizers(folder: Path) -> None:
    edit(folder / "generation_config.json", eos_token_id=7)
    assert load(folder, "cpu").end_ids == {7}
    edit(folder / "generation_config.json", eos_token_id=None)
    edit(folder / "config.json", eos_token_id=None)
    assert load(folder, "cpu").end_ids == {data.tokenizer().eos_token_id}


def test_missing_folders_and_files(tmp_path: Path, folder: Path) -> None:
    refused(tmp_path / "absent", "", "no such folder")
    (folder / "config.json").rename(folder / "config.txt")
    refused(folder, "config.json", "no such file")
    (folder / "config.txt").rename(folder / "config.json")
    (folder / WEIGHTS).unlink()
    refused(folder, WEIGHTS, "no such file")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pkl"])
def test_pickled_weights_are_not_loaded(folder: Path, name: str) -> None:
    (folder / WEIGHTS).rename(folder / name)
    refused(folder, name, "pickled weights")


def test_a_stray_pickle_beside_the_weights_is_not_touched(folder: Path) -> None:
    (folder / "training_args.bin").write_bytes(b"cposix\nsystem\n")
    load(folder, "cpu")


def test_an_index_may_point_to_safetensors_of_the_folder_alone(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "model-00001-of-00001.safetensors")
    tensors = load_file(folder / "model-00001-of-00001.safetensors")
    good = dict.fromkeys(tensors, "model-00001-of-00001.safetensors")
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": good}))
    load(folder, "cpu")
    name = next(iter(tensors))
    for target, told in (
        ("pytorch_model.bin", "not a safetensors file"),
        ("../other.safetensors", "not a file of the folder"),
        ("/etc/other.safetensors", "not a file of the folder"),
        (3, "not a file of the folder"),
    ):
        (folder / INDEX).write_text(json.dumps({"weight_map": good | {name: target}}))
        refused(folder, INDEX, told, f"weight_map.{name}")
    (folder / INDEX).write_text(json.dumps({"weight_map": good | {name: "absent.safetensors"}}))
    refused(folder, "absent.safetensors", "no such file")
    (folder / INDEX).write_text(json.dumps({}))
    refused(folder, INDEX, "no weight map", "weight_map")


@pytest.mark.parametrize(
    ("file", "change", "place"),
    [
        ("config.json", {"auto_map": {"AutoModel": "evil.Model"}}, "auto_map"),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.T", None]}}, "auto_map"),
        ("processor_config.json", {"x": [{"auto_map": {}}]}, "x.0.auto_map"),
        ("generation_config.json", {"auto_map": {}}, "auto_map"),
    ],
)
def test_code_of_the_folder_is_never_run(
    folder: Path, file: str, change: dict[str, Any], place: str
) -> None:
    edit(folder / file, **change)
    refused(folder, file, "run code", place)


@pytest.mark.parametrize("content", ["{", "[]", '{"a": ' * 100_000, "\xff"])
def test_damaged_json_is_told(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content, encoding="latin-1")
    refused(folder, "config.json", "JSON")


@pytest.mark.parametrize("kept", [0, 4, 100, -1000, -1])
def test_truncated_weights(folder: Path, kept: int) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[:kept])
    refused(folder, WEIGHTS, "cut|instead of")


@pytest.mark.parametrize("header", [b"{", b"[]", b'{"a": 1}', b'{"a": {"data_offsets": []}}'])
def test_weights_with_a_broken_header(folder: Path, header: bytes) -> None:
    (folder / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header)
    refused(folder, WEIGHTS, "no header")


def test_weights_that_do_not_fit_are_refused(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    name = "model.layers.0.mlp.up_proj.weight"
    name = name if name in tensors else next(n for n in tensors if n.endswith("up_proj.weight"))
    for change, told in (
        ({name: None}, "missing tensor"),
        ({"extra.weight": torch.zeros(2)}, "unexpected tensor"),
        ({name: torch.zeros(3, 3)}, "mismatched|cannot be loaded"),
    ):
        changed = {key: value for key, value in (tensors | change).items() if value is not None}
        save_file(changed, folder / WEIGHTS, metadata={"format": "pt"})
        with pytest.raises(CheckpointError, match=told):
            load(folder, "cpu")


def test_a_missing_chat_template_or_tokenizer(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    refused(folder, "chat_template.jinja", "no chat template")
    (folder / "tokenizer.json").unlink()
    refused(folder, "", "processor cannot be loaded")


def test_an_unknown_family(folder: Path) -> None:
    edit(folder / "config.json", model_type="no_such_family", architectures=["None"])
    with pytest.raises(CheckpointError):
        load(folder, "cpu")


def test_an_unknown_precision(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="float8"):
        load(folder, "cpu", "float8")  # type: ignore[arg-type]


def test_the_fingerprint_changes_with_what_changes_the_output(folder: Path) -> None:
    first = fingerprint(folder)
    assert load(folder, "cpu").fingerprint == f"{first}-float32"
    assert load(folder, "cpu", "bfloat16").fingerprint == f"{first}-bfloat16"
    (folder / "README.md").write_text("hello")
    assert fingerprint(folder) == first
    seen = {first}
    for name in ("config.json", "chat_template.jinja", "tokenizer.json", "processor_config.json"):
        path = folder / name
        path.write_text(path.read_text() + "\n")
        seen.add(fingerprint(folder))
    tensors = load_file(folder / WEIGHTS)
    name = next(iter(tensors))
    tensors[name][0] += 1
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    seen.add(fingerprint(folder))
    assert len(seen) == 6
    moved = folder.rename(folder.with_name("elsewhere"))
    assert fingerprint(moved) in seen
