"""The model card of a reward model, and the way to the hub."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml
from huggingface_hub import HfApi, constants

from vilbench.backbone import OFFLINE_BY_DEFAULT
from vilbench.backbone.checkpoint import fingerprint
from vilbench.errors import InputError
from vilbench.prm.folder import NAME, PrmConfig, read_config

CARD = "README.md"

_FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt", "tokenizer.model", CARD)
"""What belongs to the model; checkpoints and logs of a training stay where they are."""

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class Figure:
    """One result of an evaluation.

    Attributes:
        name: What was measured, such as "accuracy, prm/last-2".
        value: The figure.
        low: Lower end of its 95 % interval; None without one.
        high: Upper end.
        dataset: On what, such as "puzzles:test, 500 problems, best of 24".
        command: What gives the figure again.
    """

    name: str
    value: float
    dataset: str
    command: str
    low: float | None = None
    high: float | None = None


class Hub(Protocol):
    """The part of `huggingface_hub.HfApi` that is used."""

    def create_repo(self, repo_id: str, *, repo_type: str, private: bool, exist_ok: bool) -> Any:
        """Makes a repository."""
        ...

    def upload_folder(
        self,
        *,
        repo_id: str,
        folder_path: str,
        repo_type: str,
        commit_message: str,
        allow_patterns: list[str],
    ) -> Any:
        """Uploads files as one commit."""
        ...


def card(
    config: PrmConfig,
    figures: Sequence[Figure] = (),
    *,
    title: str,
    license: str | None = None,  # noqa: A002 - the card's word
) -> str:
    """The card as Markdown with its YAML header.

    Args:
        config: Of the reward model.
        figures: Its evaluation; the card says so where there is none.
        title: Heading.
        license: Identifier of a license, such as "apache-2.0".
    """
    header: dict[str, Any] = {
        "library_name": "vilbench",
        "pipeline_tag": "image-text-to-text",
        "tags": ["process-reward-model", "reward-model", config.backbone.model_type],
    }
    if _HUB_NAME.fullmatch(config.backbone.name):
        header["base_model"] = config.backbone.name
    if license is not None:
        header["license"] = license
    if figures:
        header["model-index"] = [{"name": title, "results": [_result(one) for one in figures]}]
    lines = [
        "---",
        yaml.safe_dump(header, sort_keys=False, allow_unicode=True).rstrip(),
        "---",
        "",
        f"# {_plain(title)}",
        "",
        "A process reward model for visual reasoning: a vision-language backbone with one linear "
        "head that gives a value after every step of a solution.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {_plain(value)} |" for name, value in _rows(config)),
        "",
        "## Evaluation",
        "",
        *_evaluation(figures),
        "",
        "## Use",
        "",
        "```python",
        "from pathlib import Path",
        "",
        "from vilbench.prm.folder import load",
        "from vilbench.prm.scoring import PrmScoring",
        "from vilbench.types import FileSource, Image",
        "",
        'scoring = PrmScoring(load(Path("folder")))',
        'picture = Image.of(FileSource(Path("picture.png")))',
        'question = (picture, "How many circles are there?")',
        'print(scoring.score(question, [["I see 2.", "Answer: 2"], ["Answer: 3"]]).values)',
        "```",
        "",
        "In a recipe of vilbench: `- {kind: prm, model: folder}`.",
        "",
        "## Input and layout",
        "",
        *_layout(config),
        "",
    ]
    return "\n".join(lines)


def push_to_hub(
    folder: Path,
    repo_id: str,
    figures: Sequence[Figure] = (),
    *,
    private: bool = True,
    license: str | None = None,  # noqa: A002 - the card's word
    hub: Hub | None = None,
) -> Path:
    """Writes the card into a reward model's folder and uploads the folder's model files.

    Args:
        folder: As `save` leaves it.
        repo_id: "owner/name" on the hub.
        figures: For the card.
        private: Whether a new repository is private.
        license: For the card.
        hub: Where to; the user's own account when None.

    Returns:
        The card's path.

    Raises:
        InputError: The name is none, or the folder is no reward model's, or it holds what
            must not be shared as a model (code, pickled weights alone, damaged files).
    """
    if not _HUB_NAME.fullmatch(repo_id):
        raise InputError(f"'{repo_id}' is no name such as owner/name", field="repo_id")
    config = read_config(folder)
    fingerprint(folder)  # for its checks
    path = Path(folder) / CARD
    path.write_text(card(config, figures, title=repo_id, license=license), encoding="utf-8")
    # By name: the hub's patterns would reach into subfolders.
    names = sorted({file.name for pattern in _FILES for file in Path(folder).glob(pattern)})
    with _online():
        hub = HfApi() if hub is None else hub
        hub.create_repo(repo_id, repo_type="model", private=private, exist_ok=True)
        hub.upload_folder(
            repo_id=repo_id,
            folder_path=str(folder),
            repo_type="model",
            commit_message=f"reward model {(config.training or 'untrained')[:12]}",
            allow_patterns=names,
        )
    return path


@contextmanager
def _online() -> Iterator[None]:
    """Within it the hub can be reached, unless the user has ruled it out."""
    before = constants.HF_HUB_OFFLINE
    if OFFLINE_BY_DEFAULT:
        constants.HF_HUB_OFFLINE = False
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _rows(config: PrmConfig) -> Iterator[tuple[str, str]]:
    low, high = config.value_range
    yield "backbone", f"{config.backbone.name} ({config.backbone.model_type})"
    yield "fingerprint of the backbone", config.backbone.fingerprint
    yield "training", config.training or "none: the head is random"
    bias = "with a bias" if config.bias else "without a bias"
    after = ", then a sigmoid" if config.activation == "sigmoid" else ""
    yield "head", f"linear, {config.backbone.hidden_size} to 1, {bias}{after}"
    yield "labels", f"{low:g} to {high:g}"
    yield "question", f"format `{config.format}` ({config.format_fingerprint})"
    yield "step end", f"`{config.step_token}`" if config.step_token else "the tokenizer's end token"
    limit = "the backbone's context" if config.max_tokens is None else f"{config.max_tokens} tokens"
    rule = "an error" if config.overflow == "error" else "the first steps are left out"
    yield "longest input", f"{limit}; beyond it: {rule}"


def _evaluation(figures: Sequence[Figure]) -> Iterator[str]:
    if not figures:
        yield "None was given with this model."
        return
    yield "| | | 95 % interval | on |"
    yield "|---|--:|---|---|"
    for one in figures:
        span = "" if one.low is None or one.high is None else f"{one.low:.3f} to {one.high:.3f}"
        yield f"| {_plain(one.name)} | {one.value:.3f} | {span} | {_plain(one.dataset)} |"
    yield ""
    yield "Commands that give these figures again:"
    yield ""
    for command in dict.fromkeys(one.command for one in figures):
        yield f"- `{command.replace('`', '')}`"


def _layout(config: PrmConfig) -> Iterator[str]:
    end = f"`{config.step_token}`" if config.step_token else "the end token"
    yield (
        "The question stands in the chat template of the backbone, the steps behind it as the "
        f"reply: of each step its text and a line break, then {end}. Texts are encoded without "
        "control tokens. The value of a step is read at its end token, so a solution that is "
        "cut after a step has the same value there."
    )
    yield ""
    yield (
        "The folder holds the backbone's own tensors and `score.weight`, one row. A server that "
        "turns a generative model into a classifier by a layer `score` can serve it: score a "
        f"prefix at its last token, without an activation. `{NAME}` tells the rest."
    )


def _result(one: Figure) -> dict[str, Any]:
    return {
        "task": {"type": "image-text-to-text"},
        "dataset": {"name": one.dataset, "type": "custom"},
        "metrics": [{"type": one.name, "value": one.value, "name": one.name}],
    }


def _plain(text: str) -> str:
    """One line that cannot leave its cell of a table or become markup."""
    flat = " ".join(text.split())
    return re.sub(r"([|<>\[\]])", r"\\\1", flat)
