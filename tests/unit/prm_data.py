"""Tiny random reward models for tests."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import engine_data as data
import torch

from vilbench.prm.folder import LoadedPrm, save, untrained
from vilbench.steps import FORMATS

BRIEF = FORMATS["steps-brief"]


@cache
def loaded() -> LoadedPrm:
    """An untrained reward model over `engine_data.checkpoint`, in float32 on the CPU."""
    return untrained(data.checkpoint(), 7, format=BRIEF, device="cpu", name="tiny")


@cache
def folder() -> Path:
    """Its folder."""
    made = Path(tempfile.mkdtemp(prefix="vilbench-prm-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    prm = loaded()
    save(prm.model, prm.processor, prm.config, made)
    return made


def values(prm: LoadedPrm, ids: tuple[int, ...], pixels: dict[str, torch.Tensor]) -> torch.Tensor:
    """Values `[L]` after every token, by the backbone's own forward."""
    tokens = torch.tensor([ids])
    inputs = dict(pixels)
    image = prm.model.backbone.config.image_token_id
    if pixels and prm.model.backbone.config.model_type.startswith("qwen"):
        inputs["mm_token_type_ids"] = (tokens == image).int()
    with torch.no_grad():
        given: torch.Tensor = prm.model(
            input_ids=tokens, attention_mask=torch.ones_like(tokens), **inputs
        )
    return given[0]
