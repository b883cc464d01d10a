from __future__ import annotations

import fnmatch
import shutil
from pathlib import Path
from typing import Any

import prm_data as prm
import pytest
import yaml
from huggingface_hub import ModelCard, constants

from vilbench.errors import CheckpointError, InputError
from vilbench.prm import card as cards
from vilbench.prm.card import Figure, card, push_to_hub

FIGURES = (
    Figure("accuracy, prm/last-2", 0.7214, "puzzles:test, 500", "vilbench run x", 0.7, 0.75),
    Figure("AUROC | <b>within</b>", 0.8, "puzzles:test, 500", "vilbench run x"),
)


class Hub:
    """Keeps what it is given; says whether the hub could have been reached."""

    def __init__(self) -> None:
        self.made: list[tuple[str, dict[str, Any]]] = []
        self.files: set[str] = set()
        self.offline: list[bool] = []

    def create_repo(self, repo_id: str, **options: Any) -> None:
        self.offline.append(constants.HF_HUB_OFFLINE)
        self.made.append((repo_id, options))

    def upload_folder(
        self, *, repo_id: str, folder_path: str, allow_patterns: list[str], **options: Any
    ) -> None:
        root = Path(folder_path)
        names = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
        # As the hub has it: a pattern reaches into subfolders.
        self.files |= {n for n in names if any(fnmatch.fnmatch(n, p) for p in allow_patterns)}
        self.made.append((repo_id, options))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(prm.folder(), tmp_path / "prm"))


def header(text: str) -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return parsed


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
    assert [one["metrics"][0]["value"] for one in head["model-index"][0]["results"]] == [
        0.7214,
        0.8,
    ]
    for told in (
        "abc123",
        "99 tokens; beyond it: an error",
        "linear, 128 to 1, without a bias",
        config.format_fingerprint,
        "| accuracy, prm/last-2 | 0.721 | 0.700 to 0.750 | puzzles:test, 500 |",
        r"| AUROC \| \<b\>within\</b\> | 0.800 |  | puzzles:test, 500 |",
    ):
        assert told in text
    assert text.count("- `vilbench run x`") == 1
    # The hub's own reader takes it.
    assert ModelCard(text).data.get("base_model") == "Qwen/Qwen2.5-VL-3B-Instruct"


def test_a_card_makes_nothing_up() -> None:
    text = card(prm.loaded().config, title="me/prm")
    assert "None was given with this model." in text
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
    assert "`<|x|>`" in told


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


def test_the_model_is_uploaded_and_nothing_else(folder: Path) -> None:
    (folder / "checkpoint-10").mkdir()
    (folder / "checkpoint-10" / "state.json").write_text("{}")
    (folder / "training_args.bin").write_bytes(b"x")
    (folder / "events.tfevents").write_bytes(b"x")
    hub = Hub()
    path = push_to_hub(folder, "me/prm", FIGURES, hub=hub)
    assert path.read_text() == card(prm.loaded().config, FIGURES, title="me/prm")
    assert hub.made[0] == (
        "me/prm",
        {"repo_type": "model", "private": True, "exist_ok": True},
    )
    assert hub.made[1] == (
        "me/prm",
        {"repo_type": "model", "commit_message": "reward model untrained"},
    )
    assert hub.files == {
        *("README.md", "prm.json", "config.json", "generation_config.json"),
        *("model.safetensors", "tokenizer.json", "tokenizer_config.json"),
        *("processor_config.json", "preprocessor_config.json", "chat_template.jinja"),
    }


@pytest.mark.parametrize("by_default", [True, False])
def test_the_hub_is_reached_unless_the_user_rules_it_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch, by_default: bool
) -> None:
    monkeypatch.setattr(cards, "OFFLINE_BY_DEFAULT", by_default)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub = Hub()
    push_to_hub(folder, "me/prm", hub=hub)
    assert hub.offline == [not by_default]
    assert constants.HF_HUB_OFFLINE


def test_what_is_no_reward_model_is_not_uploaded(folder: Path) -> None:
    hub = Hub()
    with pytest.raises(InputError, match="owner/name"):
        push_to_hub(folder, "../x", hub=hub)
    (folder / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(CheckpointError, match="safetensors"):
        push_to_hub(folder, "me/prm", hub=hub)
    (folder / "prm.json").unlink()
    with pytest.raises(CheckpointError, match="no reward model's folder"):
        push_to_hub(folder, "me/prm", hub=hub)
    assert not hub.made
    assert not (folder / "README.md").exists()
