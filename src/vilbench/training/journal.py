"""The log of a training: `log.jsonl`, TensorBoard files, and lines on the screen."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_SAID_EVERY = 20.0
"""Seconds between lines on the screen."""


class Journal:
    """Figures by step, in the training's folder.

    A training that goes on from step k forgets what was logged after k, so that the log has
    every step once.

    Args:
        folder: Of the training.
        step: The step it goes on from.
        say: Takes lines for the user.
    """

    def __init__(self, folder: Path, step: int, say: Callable[[str], None]) -> None:
        self._path = folder / "log.jsonl"
        self._say = say
        self._said = 0.0
        self._began = time.perf_counter()
        self._solutions = 0.0
        _forget(self._path, step)
        self._board = _board(folder / "tensorboard", step)

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """One line."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **figures}) + "\n")
        self._solutions += figures.get("solutions", 0.0)
        if self._board is not None:
            for name, value in figures.items():
                self._board.add_scalar(name, value, step)
        now = time.perf_counter()
        dev = any(name.startswith("dev_") for name in figures)
        if dev or now - self._said >= _SAID_EVERY:
            self._said = now
            shown = " ".join(f"{name} {value:.4g}" for name, value in figures.items())
            speed = self._solutions / (now - self._began)
            self._say(f"step {step}: {shown} ({speed:.1f} solutions/s)")

    def close(self) -> None:
        """Flushes what TensorBoard holds."""
        if self._board is not None:
            self._board.close()


def _board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)


def _forget(path: Path, step: int) -> None:
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            if line and json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except ValueError:
            # A torn last line; what follows a torn line cannot be told either.
            break
    part = path.with_suffix(".part")
    part.write_text("".join(kept), encoding="utf-8")
    part.replace(path)
