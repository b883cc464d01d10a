"""A reward model as one folder: the backbone's files, the score head beside it, `prm.json`.

The weights are the backbone's own tensors under their own names and `score.weight` (with
`score.bias` where there is one), in safetensors. The configuration is the backbone's, so that
servers that turn a model into a classifier by a top-level layer `score` take the folder as
it is.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, ValidationError, field_validator, model_validator
from torch import Tensor

from vilbench.backbone.checkpoint import Checkpoint, Dtype, no_bars
from vilbench.backbone.checkpoint import fingerprint as fingerprint_of_files
from vilbench.backbone.checkpoint import load as load_checkpoint
from vilbench.backbone.tokens import PromptEncoder
from vilbench.errors import CheckpointError
from vilbench.prm.model import HEAD_SPREAD, Activation, RewardModel, hidden_size
from vilbench.prm.tokens import Overflow, StepEncoder
from vilbench.steps import FORMATS, FormatName, StepFormat
from vilbench.types import Record
from vilbench.validation import in_words

NAME = "prm.json"
"""The file of a folder that makes it a reward model's."""

_WEIGHT, _BIAS = "score.weight", "score.bias"
_STORED_HEAD = "head of the folder"
_PRECISIONS = ("float32", "bfloat16", "float16")
_PREFIX = "backbone."
_STOCK_PROCESSORS = {
    "qwen2_vl": "Qwen2VLProcessor",
    "qwen2_5_vl": "Qwen2_5_VLProcessor",
    "qwen3_vl": "Qwen3VLProcessor",
    "qwen3_vl_moe": "Qwen3VLProcessor",
}


class BackboneId(Record):
    """Which model a reward model was made of.

    Attributes:
        name: As tables show it.
        fingerprint: Of the folder before training.
        model_type: Its family, as its configuration has it.
        hidden_size: Width of the hidden states that the head reads.
        vocabulary: SHA-256 of the tokenizer's vocabulary; other ids would be other texts.
    """

    name: str = Field(min_length=1)
    fingerprint: str = Field(min_length=1)
    model_type: str = Field(min_length=1)
    hidden_size: int = Field(ge=1)
    vocabulary: str = Field(pattern=r"^[0-9a-f]{64}$")


class PrmConfig(Record):
    """`prm.json`: how the values of a reward model are to be read.

    Attributes:
        format: Step format that the question is put in, a key of `FORMATS`.
        format_fingerprint: Of that format; other words would be another input.
        step_token: Control token that ends a step; the tokenizer's end token when None.
        value_range: Lowest and highest label of training. Values may lie beyond them.
        activation: What makes a value of the head's output.
        bias: Whether the head has a bias.
        backbone: What it was made of.
        training: Fingerprint of the training; None where there was none.
        max_tokens: Most tokens of prompt and solution; the backbone's context when None.
        overflow: What becomes of longer input.
    """

    schema_version: Literal[1] = 1
    format: FormatName
    format_fingerprint: str
    step_token: str | None = None
    value_range: tuple[float, float] = (0.0, 1.0)
    activation: Activation = "identity"
    bias: bool = False
    backbone: BackboneId
    training: str | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    overflow: Overflow = "error"

    @field_validator("value_range")
    @classmethod
    def _is_a_range(cls, bounds: tuple[float, float]) -> tuple[float, float]:
        if not all(map(math.isfinite, bounds)) or bounds[0] >= bounds[1]:
            raise ValueError("is no range of numbers")
        return bounds

    @model_validator(mode="after")
    def _same_words(self) -> PrmConfig:
        if self.format_fingerprint != FORMATS[self.format].fingerprint:
            raise ValueError(
                f"the format '{self.format}' was {self.format_fingerprint}, "
                f"now it is {FORMATS[self.format].fingerprint}"
            )
        return self


@dataclass(frozen=True)
class LoadedPrm:
    """A reward model ready to score.

    Attributes:
        model: In evaluation mode.
        processor: Of its backbone.
        config: How its values are to be read.
        fingerprint: SHA-256 that changes with whatever changes a value.
    """

    model: RewardModel
    processor: Any
    config: PrmConfig
    fingerprint: str

    @property
    def context(self) -> int:
        """Most tokens of prompt and solution together."""
        text = self.model.backbone.config.get_text_config(decoder=True)
        known = getattr(text, "max_position_embeddings", None) or 2**31
        return min(int(known), self.config.max_tokens or 2**31)

    def encoder(self, prompts: PromptEncoder | None = None) -> StepEncoder:
        """The encoder of its input, over `prompts` where the caller has one of the processor."""
        return StepEncoder(
            prompts or PromptEncoder(self.processor),
            FORMATS[self.config.format],
            self.config.step_token,
            self.context,
            self.config.overflow,
        )


def identify(checkpoint: Checkpoint, name: str | None = None) -> BackboneId:
    """Which model a loaded checkpoint is; its folder's name when None."""
    return BackboneId(
        name=name or checkpoint.folder.resolve().name,
        fingerprint=checkpoint.fingerprint,
        model_type=checkpoint.model.config.model_type,
        hidden_size=hidden_size(checkpoint.model.config),
        vocabulary=_vocabulary(checkpoint.processor),
    )


def configure(
    backbone: BackboneId,
    format: StepFormat,  # noqa: A002 - the recipe's word
    **options: Any,
) -> PrmConfig:
    """The configuration of a reward model that reads `format`; `options` as in `PrmConfig`."""
    return PrmConfig(
        format=format.name, format_fingerprint=format.fingerprint, backbone=backbone, **options
    )


def untrained(
    folder: Path,
    seed: int = 0,
    *,
    format: StepFormat = FORMATS["steps"],  # noqa: A002 - the recipe's word
    device: str = "auto",
    dtype: Dtype = "auto",
    name: str | None = None,
    **options: Any,
) -> LoadedPrm:
    """The untrained counterpart: a backbone as it is, with a random head.

    Args:
        folder: The backbone's.
        seed: Draws the head.
        format: How questions are put.
        device: As for a checkpoint.
        dtype: As for a checkpoint.
        name: The backbone's, for tables.
        options: As in `PrmConfig`.

    Raises:
        CheckpointError: The folder cannot or must not be loaded.
    """
    checkpoint = load_checkpoint(Path(folder), device, dtype)
    config = configure(identify(checkpoint, name), format, **options)
    model = RewardModel(
        checkpoint.model, bias=config.bias, seed=seed, activation=config.activation
    ).eval()
    head = f"untrained-{seed}-{HEAD_SPREAD}"
    fingerprint = _fingerprint(checkpoint.fingerprint, config, head)
    return LoadedPrm(model, checkpoint.processor, config, fingerprint)


def load(folder: Path, device: str = "auto", dtype: Dtype = "auto") -> LoadedPrm:
    """Loads a reward model's folder.

    Args:
        folder: As `save` leaves it.
        device: A torch device; "auto" takes CUDA where there is one.
        dtype: Of the backbone; "auto" is float32 on the CPU and bfloat16 elsewhere.

    Raises:
        CheckpointError: A file is missing, damaged, or must not be loaded, or the parts do
            not belong together; names file and field.
    """
    folder = Path(folder)
    config = read_config(folder)
    wanted = {_WEIGHT, _BIAS} if config.bias else {_WEIGHT}
    checkpoint = load_checkpoint(folder, device, dtype, extra=wanted)
    _check_backbone(checkpoint, config)
    model = RewardModel(checkpoint.model, bias=config.bias, activation=config.activation)
    shapes = {_WEIGHT: tuple(model.score.weight.shape)}
    if config.bias:
        shapes[_BIAS] = tuple(model.score.bias.shape)
    _check_head(folder, checkpoint.extra, shapes)
    with torch.no_grad():
        model.score.weight.copy_(checkpoint.extra[_WEIGHT])
        if config.bias:
            model.score.bias.copy_(checkpoint.extra[_BIAS])
    fingerprint = _fingerprint(checkpoint.fingerprint, config, _STORED_HEAD)
    return LoadedPrm(model.eval(), checkpoint.processor, config, fingerprint)


def save(
    model: RewardModel,
    processor: Any,
    config: PrmConfig,
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    state: Mapping[str, Tensor] | None = None,
    shard_size: str = "5GB",
) -> None:
    """Writes a reward model as one folder.

    Args:
        model: The model; what `state` holds instead where that is given.
        processor: Of its backbone.
        config: Becomes `prm.json`.
        folder: Made where it is missing.
        dtype: Precision of the stored backbone; its own when None. The head is float32.
        state: The model's state, where it has to be gathered from several processes.
        shard_size: Most bytes of a weight file.

    Raises:
        ValueError: The configuration tells of another head than the model has.
    """
    if config.bias != (model.score.bias is not None) or config.activation != model.activation:
        raise ValueError("the configuration tells of another head than the model has")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = _stored(model.state_dict() if state is None else state, dtype)
    for stale in (*folder.glob("model*.safetensors"), *folder.glob("model*.index.json")):
        stale.unlink()
    with no_bars():
        model.backbone.save_pretrained(folder, state_dict=tensors, max_shard_size=shard_size)
    _amend_config(folder / "config.json", dtype)
    processor.save_pretrained(folder)
    _name_stock_classes(folder, model.backbone.config.model_type)
    (folder / NAME).write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_config(folder: Path) -> PrmConfig:
    """The folder's `prm.json`.

    Raises:
        CheckpointError: It is missing or damaged.
    """
    path = Path(folder) / NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise CheckpointError(
            "there is no such file: no reward model's folder", file=path
        ) from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"not readable: {error}", file=path) from error
    try:
        return PrmConfig.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or None
        raise CheckpointError(in_words(first), file=path, field=place) from error


def _stored(state: Mapping[str, Tensor], dtype: torch.dtype | None) -> dict[str, Tensor]:
    """The tensors under the names that the folder has for them."""
    tensors: dict[str, Tensor] = {}
    cast: dict[tuple[int, torch.Size], Tensor] = {}
    for name, tensor in state.items():
        if not name.startswith(_PREFIX):
            tensors[name] = tensor.detach().float()
        elif dtype is None or not tensor.is_floating_point():
            tensors[name.removeprefix(_PREFIX)] = tensor.detach()
        else:
            key = (tensor.data_ptr(), tensor.shape)  # tied tensors stay one
            if key not in cast:
                cast[key] = tensor.detach().to(dtype)
            tensors[name.removeprefix(_PREFIX)] = cast[key]
    return tensors


def _amend_config(path: Path, dtype: torch.dtype | None) -> None:
    """One label, for servers that make a classifier; the precision that is stored."""
    content = json.loads(path.read_text(encoding="utf-8"))
    label = {"id2label": {"0": "value"}, "label2id": {"value": 0}}
    content |= label
    if isinstance(content.get("text_config"), dict):
        content["text_config"] |= label
    if dtype is not None:
        content["dtype"] = str(dtype)[6:]
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _name_stock_classes(folder: Path, model_type: str) -> None:
    """Names the classes that other programs have for the processor of a Qwen-VL model.

    They want the image part in a file of its own as well, where it serves videos too.
    """
    path = folder / "processor_config.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    if model_type not in _STOCK_PROCESSORS or "image_processor" not in content:
        return
    stock = {"processor_class": _STOCK_PROCESSORS[model_type]}
    kind = {"image_processor_type": "Qwen2VLImageProcessor"}
    content |= stock | {"image_processor": content["image_processor"] | kind}
    alone = content["image_processor"] | stock
    for name, data in (("processor_config.json", content), ("preprocessor_config.json", alone)):
        text = json.dumps(data, indent=2, sort_keys=True) + "\n"
        (folder / name).write_text(text, encoding="utf-8")
    path = folder / "tokenizer_config.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    text = json.dumps(tokenizer | stock, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")


def _check_backbone(checkpoint: Checkpoint, config: PrmConfig) -> None:
    """Refuses a `prm.json` that was written for another model than the folder holds."""
    found = identify(checkpoint)
    for field, file in (
        ("model_type", "config.json"),
        ("hidden_size", "config.json"),
        ("vocabulary", "tokenizer.json"),
    ):
        wanted, given = getattr(config.backbone, field), getattr(found, field)
        if wanted != given:
            raise CheckpointError(
                f"another backbone than {NAME} tells of: {given} instead of {wanted}",
                file=checkpoint.folder / file,
                field=field,
            )


def _check_head(
    folder: Path, tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    for name, shape in shapes.items():
        tensor = tensors.get(name)
        if tensor is None:
            raise CheckpointError("there is no such tensor", file=folder, field=name)
        if tuple(tensor.shape) != shape:
            raise CheckpointError(
                f"shape {list(tensor.shape)} instead of {list(shape)}", file=folder, field=name
            )
        if not tensor.is_floating_point() or not bool(tensor.isfinite().all()):
            raise CheckpointError("holds what is no finite number", file=folder, field=name)


def _vocabulary(processor: Any) -> str:
    entries = sorted(processor.tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()


def fingerprints(folder: Path) -> tuple[str, ...]:
    """Fingerprints that `load` can give the model of a folder, one for each precision.

    Raises:
        CheckpointError: As `load` does for what can be told without loading.
    """
    config, files = read_config(folder), fingerprint_of_files(folder)
    return tuple(_fingerprint(f"{files}-{one}", config, _STORED_HEAD) for one in _PRECISIONS)


def _fingerprint(checkpoint: str, config: PrmConfig, head: str) -> str:
    parts = (checkpoint, config.model_dump_json(), head)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
