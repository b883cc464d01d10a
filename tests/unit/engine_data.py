"""Tiny random checkpoints and plain references for the engine's tests."""

from __future__ import annotations

import atexit
import io
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow
from PIL import ImageDraw

from vilbench.backbone.tokens import PromptEncoder
from vilbench.engines.sampler import stream_key, uniforms
from vilbench.training.embedded.architecture import make_model, make_processor, make_tokenizer
from vilbench.types import BytesSource, Image, Prompt, Sampling

TEXTS = (
    "How many red circles are in the picture? Step 1: I count 3 circles.\nAnswer: 12\n",
    "The angle at the top is 40 degrees, so the third one is 60. Overall Score: 4\n",
    "left right above below bars sum triangle system user assistant\n",
)
END_TEXTS = ("e", "a", ".", " the")


@cache
def tokenizer() -> Any:
    return make_tokenizer(TEXTS * 40)


@cache
def processor() -> Any:
    return make_processor(tokenizer())


@cache
def encoder() -> PromptEncoder:
    return PromptEncoder(processor())


@cache
def checkpoint() -> Path:
    """A random small model with several end tokens, so that lengths vary."""
    folder = Path(tempfile.mkdtemp(prefix="vilbench-engine-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    model = make_model(tokenizer(), "small", seed=1)
    with torch.no_grad():
        # Sharper than a fresh model, as trained ones are.
        model.model.language_model.norm.weight.mul_(2.0)
    ends = [tokenizer().encode(text, add_special_tokens=False)[0] for text in END_TEXTS]
    model.generation_config.eos_token_id = [tokenizer().eos_token_id, *ends]
    model.save_pretrained(folder)
    processor().save_pretrained(folder)
    return folder


@cache
def picture(number: int, width: int = 64, height: int = 64) -> Image:
    image = Pillow.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    x = 4 + 5 * number % 30
    draw.ellipse((x, 8, x + 24, 32), fill=(number * 67 % 256, number * 29 % 256, 90))
    data = io.BytesIO()
    image.save(data, "PNG")
    return Image.of(BytesSource(data.getvalue()))


def prompt(number: int, more: str = "") -> Prompt:
    return Prompt((picture(number), f"How many circles are left of {number}? {more}Be brief."))


def own_logits(model: Any, ids: tuple[int, ...], pixels: Any) -> torch.Tensor:
    """Logits `[T, V]` by the model's own forward over the whole sequence, without a cache."""
    tokens = torch.tensor([ids])
    inputs = dict(pixels)
    if pixels:
        inputs["mm_token_type_ids"] = (tokens == model.config.image_token_id).int()
    with torch.no_grad():
        output = model(
            input_ids=tokens, attention_mask=torch.ones_like(tokens), use_cache=False, **inputs
        )
    logits: torch.Tensor = output.logits[0].float()
    return logits


def plain_sample(
    model: Any, ids: tuple[int, ...], pixels: Any, sampling: Sampling, seed: int, index: int
) -> list[int]:
    """Tokens sampled one at a time, everything computed anew for each of them.

    Inverse cumulative distribution in the order of token ids; no part of it is the engine's
    but the random numbers. Stops at an end token or an image token, which the model's own
    forward does not take in a reply.
    """
    made: list[int] = []
    ends = set(model.generation_config.eos_token_id)
    key = np.array([stream_key(seed, index)], dtype=np.uint64)
    while len(made) < sampling.max_tokens:
        logits = own_logits(model, (*ids, *made), pixels)[-1].double().numpy()
        if sampling.temperature == 0:
            token = int(logits.argmax())
        else:
            weights = np.exp((logits - logits.max()) / sampling.temperature)
            weights /= weights.sum()
            if sampling.top_p < 1:
                order = np.argsort(-weights, kind="stable")
                before = np.cumsum(weights[order]) - weights[order]
                weights[order[before >= sampling.top_p]] = 0
            number = uniforms(key, np.array([len(made)], dtype=np.uint64))[0]
            cumulative = np.cumsum(weights)
            token = int(np.searchsorted(cumulative, number * cumulative[-1], side="right"))
        made.append(token)
        if token in ends or token == model.config.image_token_id:
            break
    return made
