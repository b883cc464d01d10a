"""What a training needs to go on: weights, optimizer, schedule and random streams.

Safetensors and JSON only: transformers' own trainer pickles all but the weights. A
checkpoint folder appears whole or not at all.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from vilbench.errors import CheckpointError
from vilbench.store.disk import PARTIAL, sync_folder

_WEIGHTS = "weights.safetensors"
_OPTIMIZER = "optimizer.safetensors"
_PROGRESS = "progress.json"
_FOLDER = re.compile(r"checkpoint-(\d+)")

Tensors = Mapping[str, Tensor]


def checkpoints(folder: Path) -> list[Path]:
    """Whole checkpoints, the oldest first."""
    if not folder.is_dir():
        return []
    found = [(match, path) for path in folder.iterdir() if (match := _FOLDER.fullmatch(path.name))]
    return [path for _, path in sorted(found, key=lambda pair: int(pair[0][1]))]


def step_of(path: Path) -> int:
    """The step that a checkpoint was made at."""
    match = _FOLDER.fullmatch(path.name)
    return int(match[1]) if match else 0


@contextmanager
def appearing(path: Path, first: bool, meet: Callable[[], None] = lambda: None) -> Iterator[Path]:
    """A folder to write to that takes the place of `path` when the block ends without error.

    Args:
        path: Where it shall be.
        first: Whether this process makes and moves the folder; the others write beside it.
        meet: Waits for all processes.
    """
    partial = path.with_name(path.name + PARTIAL)
    if first:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    meet()
    yield partial
    meet()
    if first:
        for file in partial.iterdir():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        shutil.rmtree(path, ignore_errors=True)
        partial.replace(path)
        sync_folder(path.parent)
    meet()


def trained(module: torch.nn.Module) -> dict[str, Tensor]:
    """Parameters that move, by name; parts of them where they are sharded."""
    return {name: one.detach() for name, one in module.named_parameters() if one.requires_grad}


def whole(tensor: Tensor) -> Tensor:
    """A tensor on the CPU, gathered from all processes where it is sharded.

    Then all processes must ask, in the same order.
    """
    gathered = tensor.detach()
    if isinstance(gathered, DTensor):
        gathered = gathered.full_tensor()
    return gathered.cpu().contiguous().clone()


def gathered(module: torch.nn.Module) -> dict[str, Tensor] | None:
    """The state of a module that is sharded, whole; None for one that is not.

    Tensors that are one in the module are one here.
    """
    state: dict[str, Tensor] = module.state_dict()
    if not any(isinstance(one, DTensor) for one in state.values()):
        return None
    known: dict[int, Tensor] = {}
    for tensor in state.values():
        if _address(tensor) not in known:
            known[_address(tensor)] = whole(tensor)
    return {name: known[_address(tensor)] for name, tensor in state.items()}


def _address(tensor: Tensor) -> int:
    """The same for tensors that share their data."""
    return (tensor.to_local() if isinstance(tensor, DTensor) else tensor).data_ptr()


def put(target: Tensor, source: Tensor) -> None:
    """Copies a whole tensor into one that may be sharded."""
    with torch.no_grad():
        if isinstance(target, DTensor):
            mesh, placements = target.device_mesh, target.placements
            source = distribute_tensor(source.to(target.device), mesh, placements)
        target.copy_(source)


def write_tensors(path: Path, tensors: Tensors, *, first: bool = True) -> None:
    """A safetensors file, written by the first process; the others help to gather."""
    copies = {name: whole(one) for name, one in tensors.items()}
    if first:
        save_file(copies, path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file.

    Raises:
        CheckpointError: It is missing or damaged.
    """
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot be read: {error}", file=path) from error
    return tensors


def write_weights(folder: Path, module: torch.nn.Module, *, first: bool = True) -> None:
    """Parameters that move."""
    write_tensors(folder / _WEIGHTS, trained(module), first=first)


def read_weights(folder: Path, module: torch.nn.Module) -> None:
    """Takes them up again, in place.

    Raises:
        CheckpointError: They are those of another model or setting.
    """
    tensors = read_tensors(folder / _WEIGHTS)
    own = trained(module)
    if tensors.keys() != own.keys():
        odd = sorted(tensors.keys() ^ own.keys())
        raise CheckpointError(
            "holds other parameters than this training moves",
            file=folder / _WEIGHTS,
            field=odd[0],
        )
    for name, parameter in own.items():
        if tensors[name].shape != parameter.shape:
            raise CheckpointError("has another shape", file=folder / _WEIGHTS, field=name)
        put(parameter, tensors[name])


def write_optimizer(
    folder: Path, module: torch.nn.Module, optimizer: torch.optim.Optimizer, *, first: bool = True
) -> None:
    """State of every parameter, by its name."""
    tensors = {}
    for name, parameter in module.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{key}/{name}"] = torch.as_tensor(value)
    write_tensors(folder / _OPTIMIZER, tensors, first=first)


def read_optimizer(folder: Path, module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Takes it up again.

    Raises:
        CheckpointError: It is missing, damaged, or of other parameters.
    """
    named = dict(module.named_parameters())
    for full, tensor in read_tensors(folder / _OPTIMIZER).items():
        key, _, name = full.partition("/")
        if name not in named:
            raise CheckpointError("is no parameter", file=folder / _OPTIMIZER, field=name)
        parameter = named[name]
        if tensor.ndim:
            optimizer.state[parameter][key] = torch.zeros_like(parameter, requires_grad=False)
            put(optimizer.state[parameter][key], tensor)
        else:
            # Counts of steps stay on the CPU, as the optimizers make them.
            optimizer.state[parameter][key] = tensor


def write_progress(folder: Path, progress: Mapping[str, Any]) -> None:
    """Schedule and the like, as JSON."""
    (folder / _PROGRESS).write_text(json.dumps(progress), encoding="utf-8")


def read_progress(folder: Path) -> dict[str, Any]:
    """What `write_progress` wrote.

    Raises:
        CheckpointError: It is missing or damaged.
    """
    return _read_json(folder / _PROGRESS)


def write_random(folder: Path, process: int) -> None:
    """The random streams of one process."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    streams = {
        "python": random.getstate(),
        "numpy": [kind, np.asarray(keys).tolist(), *rest],
        "torch": _hex(torch.get_rng_state()),
        "cuda": [_hex(one) for one in torch.cuda.get_rng_state_all()]
        if torch.cuda.is_available()
        else [],
    }
    (folder / f"random-{process}.json").write_text(json.dumps(streams), encoding="utf-8")


def read_random(folder: Path, process: int) -> None:
    """Sets the random streams of one process; a process that was not there keeps its own.

    Raises:
        CheckpointError: The file is damaged.
    """
    path = folder / f"random-{process}.json"
    if not path.exists():
        return
    streams = _read_json(path)
    try:
        version, keys, gauss = streams["python"]
        random.setstate((version, tuple(keys), gauss))
        kind, numbers, *rest = streams["numpy"]
        np.random.set_state((kind, np.array(numbers, np.uint32), *rest))
        torch.set_rng_state(_bytes(streams["torch"]))
        if torch.cuda.is_available() and len(streams["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([_bytes(one) for one in streams["cuda"]])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"damaged: {error}", file=path) from error


def drop_old(folder: Path, keep: int) -> None:
    """Removes all but the last `keep` checkpoints, and what a crash left half-written."""
    for path in checkpoints(folder)[:-keep]:
        shutil.rmtree(path, ignore_errors=True)


def _hex(state: Tensor) -> str:
    return bytes(state.tolist()).hex()


def _bytes(text: str) -> Tensor:
    return torch.tensor(list(bytes.fromhex(text)), dtype=torch.uint8)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot be read: {error}", file=path) from error
    if not isinstance(content, dict):
        raise CheckpointError("is no JSON object", file=path)
    return content
