"""Loading a model folder: checked first, safetensors only, no code of the folder's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from transformers import AutoModelForImageTextToText
from transformers.utils import logging as transformers_logging

from vilbench.backbone.processor import load_processor
from vilbench.errors import CheckpointError

Dtype = Literal["auto", "float32", "bfloat16", "float16"]

_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_PICKLES = {".bin", ".pt", ".pth", ".pkl", ".ckpt"}
_MAX_HEADER = 100_000_000  # the limit of the safetensors format itself
_CONFIGS = (
    "config.json",
    "generation_config.json",
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "image_processor_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.json",
)
_FINGERPRINTED = (
    *_CONFIGS,
    _INDEX,
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
)


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model folder.

    Attributes:
        folder: Where it was loaded from.
        model: The transformers model, in evaluation mode.
        processor: Its processor.
        fingerprint: SHA-256 over all files that change the output, and the precision.
        end_ids: Tokens that end a reply.
        extra: Tensors of the folder that are not the model's own, as `load` was asked for.
    """

    folder: Path
    model: Any
    processor: Any
    fingerprint: str
    end_ids: frozenset[int]
    extra: Mapping[str, torch.Tensor] = field(default_factory=dict)


def load(
    folder: Path, device: str = "auto", dtype: Dtype = "auto", *, extra: Collection[str] = ()
) -> Checkpoint:
    """Loads any image-text-to-text folder.

    Args:
        folder: With configuration, safetensors, tokenizer and processor files.
        device: A torch device; "auto" takes CUDA where there is one.
        dtype: "auto" is float32 on the CPU and bfloat16 elsewhere.
        extra: Names of tensors that may stand beside the model's own, such as a score head's.

    Raises:
        CheckpointError: A file is missing, damaged, or must not be loaded (pickled weights,
            code of the folder's own), or the weights do not fit the configuration; or
            there is no such device.
    """
    folder = Path(folder)
    _check_configs(folder)
    weights = _check_weights(folder)
    place = _place(folder, device)
    precision = _precision(dtype, place)
    processor = _load_processor(folder)
    model = _load_model(folder, precision, extra).to(place).eval()
    ends = _end_ids(folder, model, processor)
    return Checkpoint(
        folder,
        model,
        processor,
        f"{_fingerprint(folder, weights)}-{str(precision)[6:]}",
        ends,
        _read_tensors(weights, extra),
    )


def fingerprint(folder: Path) -> str:
    """SHA-256 over weights, configuration, tokenizer and processor files.

    Raises:
        CheckpointError: As `load` does for what can be told without loading.
    """
    _check_configs(folder)
    return _fingerprint(folder, _check_weights(folder))


def _fingerprint(folder: Path, weights: list[Path]) -> str:
    digest = hashlib.sha256()
    files = [folder / name for name in _FINGERPRINTED if (folder / name).is_file()]
    for path in sorted([*files, *weights]):
        stat = path.stat()
        content = _file_hash(path.resolve(), stat.st_size, stat.st_mtime_ns)
        digest.update(f"{path.name}\0{content}\n".encode())
    return digest.hexdigest()


@lru_cache(maxsize=1024)
def _file_hash(path: Path, size: int, modified: int) -> str:
    """SHA-256 of a file's content; its size and time are there to notice a change."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _place(folder: Path, device: str) -> torch.device:
    """The device for a model, once a tensor has been made there.

    Raises:
        CheckpointError: There is no such device at hand.
    """
    name = device
    if device == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        place = torch.device(name)
        torch.zeros(1, device=place)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        # torch answers with any of them, by how it was built and what the machine has.
        raise CheckpointError(
            f"'{name}' cannot be used here: {_told(error)}", file=folder, field="device"
        ) from error
    return place


def _precision(dtype: Dtype, device: torch.device) -> torch.dtype:
    if dtype == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    names = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype not in names:
        raise CheckpointError(f"'{dtype}' is none of auto, {', '.join(names)}", field="dtype")
    return names[dtype]


def _check_configs(folder: Path) -> None:
    if not folder.is_dir():
        raise CheckpointError("there is no such folder", file=folder)
    if not (folder / "config.json").is_file():
        raise CheckpointError("there is no such file", file=folder / "config.json")
    for name in _CONFIGS:
        path = folder / name
        if path.is_file():
            place = _find_key(_read_json(path), "auto_map")
            if place is not None:
                raise CheckpointError(
                    "the folder wants to run code of its own, which is never done",
                    file=path,
                    field=place,
                )


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise CheckpointError(f"not readable as JSON: {error}", file=path) from error
    if not isinstance(content, dict):
        raise CheckpointError("not a JSON object", file=path)
    return content


def _find_key(content: Any, key: str, place: str = "") -> str | None:
    """Dotted place of `key` in nested JSON."""
    items: Iterator[tuple[Any, Any]]
    if isinstance(content, dict):
        if key in content:
            return f"{place}{key}"
        items = iter(content.items())
    elif isinstance(content, list):
        items = iter(enumerate(content))
    else:
        return None
    found = (_find_key(value, key, f"{place}{name}.") for name, value in items)
    return next((hit for hit in found if hit is not None), None)


def _check_weights(folder: Path) -> list[Path]:
    """The weight files, each a whole safetensors file."""
    index = folder / _INDEX
    if index.is_file():
        names = _indexed(index)
    elif (folder / _SINGLE).is_file():
        names = [_SINGLE]
    else:
        pickles = sorted(p.name for p in folder.iterdir() if p.suffix in _PICKLES)
        if pickles:
            raise CheckpointError(
                "pickled weights can run code and are not loaded: convert them to safetensors",
                file=folder / pickles[0],
            )
        raise CheckpointError("there is no such file", file=folder / _SINGLE)
    paths = [folder / name for name in names]
    for path in paths:
        _check_safetensors(path)
    return paths


def _indexed(index: Path) -> list[str]:
    mapping = _read_json(index).get("weight_map")
    if not isinstance(mapping, dict) or not mapping:
        raise CheckpointError("there is no weight map", file=index, field="weight_map")
    for tensor, name in mapping.items():
        if not isinstance(name, str) or Path(name).name != name:
            raise CheckpointError(
                f"'{name}' is not a file of the folder", file=index, field=f"weight_map.{tensor}"
            )
        if not name.endswith(".safetensors"):
            raise CheckpointError(
                f"'{name}' is not a safetensors file; pickled weights are not loaded",
                file=index,
                field=f"weight_map.{tensor}",
            )
    return sorted(set(mapping.values()))


def _check_safetensors(path: Path) -> None:
    """Header and length: 8 bytes of header length, the header, then the tensors."""
    if not path.is_file():
        raise CheckpointError("there is no such file", file=path)
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _MAX_HEADER):
            raise CheckpointError("not a whole safetensors file: its header is cut", file=path)
        try:
            header = json.loads(file.read(length))
            ends = [
                entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"
            ]
            expected = 8 + length + max(ends, default=0)
        except (
            ValueError,
            TypeError,
            KeyError,
            IndexError,
            AttributeError,
            RecursionError,
        ) as error:
            raise CheckpointError("not a safetensors file: no header", file=path) from error
    if size != expected:
        raise CheckpointError(
            f"{size:,} bytes instead of the {expected:,} that its header tells of", file=path
        )


def _load_processor(folder: Path) -> Any:
    try:
        processor = load_processor(folder)
    except Exception as error:
        # transformers answers a missing or broken file with almost any exception class.
        raise CheckpointError(
            f"the processor cannot be loaded: {_told(error)}", file=folder
        ) from error
    if not isinstance(getattr(processor, "chat_template", None), str):
        raise CheckpointError("there is no chat template", file=folder / "chat_template.jinja")
    return processor


@contextmanager
def no_bars() -> Iterator[None]:
    """Within it, transformers shows no progress bars and no warnings."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def _load_model(folder: Path, precision: torch.dtype, extra: Collection[str]) -> Any:
    try:
        with no_bars():
            model, report = AutoModelForImageTextToText.from_pretrained(
                str(folder),
                dtype=precision,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
    except Exception as error:
        raise CheckpointError(f"the model cannot be loaded: {_told(error)}", file=folder) from error
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        keys = sorted(map(str, report.get(kind) or ()))
        if kind == "unexpected_keys":
            keys = [key for key in keys if key not in extra]
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise CheckpointError(
                f"the weights do not fit the configuration: {kind.split('_')[0]} tensor{more}",
                file=folder,
                field=keys[0],
            )
    return model


def _read_tensors(weights: Sequence[Path], names: Collection[str]) -> dict[str, torch.Tensor]:
    """Those tensors of the weight files that are named, as they are stored."""
    found: dict[str, torch.Tensor] = {}
    for path in weights if names else ():
        with safe_open(path, framework="pt", device="cpu") as file:
            found |= {name: file.get_tensor(name) for name in file.keys() if name in names}  # noqa: SIM118 - no mapping
    return found


def _end_ids(folder: Path, model: Any, processor: Any) -> frozenset[int]:
    configured = getattr(model.generation_config, "eos_token_id", None)
    if configured is None:
        configured = processor.tokenizer.eos_token_id
    if configured is None:
        raise CheckpointError(
            "no token ends a reply", file=folder / "generation_config.json", field="eos_token_id"
        )
    return frozenset([configured] if isinstance(configured, int) else configured)


def _told(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
