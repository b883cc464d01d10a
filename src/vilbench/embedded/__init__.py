"""The shipped checkpoints of the embedded world, as folders."""

from __future__ import annotations

from pathlib import Path

from vilbench.errors import CheckpointError

PREFIX = "embedded:"
"""Marks a shipped checkpoint where a model folder is expected, as in `embedded:base`."""

_ROOT = Path(__file__).parent


def names() -> tuple[str, ...]:
    """Names of the shipped checkpoints."""
    return tuple(sorted(path.parent.name for path in _ROOT.glob("*/config.json")))


def model_folder(model: str) -> Path:
    """Folder of a model: a path as it is, or a shipped checkpoint by `embedded:NAME`.

    Raises:
        CheckpointError: There is no such folder, or no such checkpoint is shipped.
    """
    if not model.startswith(PREFIX):
        folder = Path(model)
        if not model or not folder.is_dir():
            raise CheckpointError("there is no such folder", file=model or "''")
        return folder
    name = model.removeprefix(PREFIX)
    if name not in names():
        known = ", ".join(PREFIX + known for known in names()) or "none"
        raise CheckpointError(f"no checkpoint '{model}' is shipped; there are: {known}")
    return _ROOT / name
