"""Families whose image features enter deeper layers too, by way of a tiny random Qwen3-VL."""

from __future__ import annotations

import asyncio
from typing import Any

import engine_data as data
import family_data as families
import pytest
import torch

from vilbench.backbone.model import Backbone
from vilbench.engines.local import LocalEngine
from vilbench.errors import CheckpointError
from vilbench.types import Prompt, Sampling


async def test_the_engine_computes_what_the_model_does() -> None:
    prompts = [
        data.prompt(1),
        data.prompt(1, "Now. "),
        Prompt((data.picture(2), "and", data.picture(3, 96, 64), "alike?")),
        Prompt(("no picture",)),
    ]
    texts = ["Answer: 12", "The angle"]
    async with LocalEngine(families.checkpoint("qwen3_vl"), device="cpu") as engine:
        model: Any = engine._backbone.model
        # Prompts with the same picture share it, and all run in one batch.
        scored = await asyncio.gather(*(engine.score_tokens(one, texts) for one in prompts))
        sampling = Sampling(max_tokens=5, temperature=0)
        said = await asyncio.gather(*(engine.generate(one, 1, sampling, 0) for one in prompts))
        for prompt, replies, (completion,) in zip(prompts, scored, said, strict=True):
            encoded = engine.encoder.encode(prompt)
            pixels = engine.encoder.pixels(encoded.images)
            for text, tokens in zip(texts, replies, strict=True):
                ids = engine.encoder.encode_text(text).ids
                logits = data.own_logits(model, (*encoded.ids, *ids), pixels)
                expected = logits[len(encoded.ids) - 1 : -1].log_softmax(-1)
                assert [token.logprob for token in tokens] == pytest.approx(
                    expected[torch.arange(len(ids)), list(ids)].tolist(), abs=1e-5
                )
            model.generation_config.eos_token_id = [data.tokenizer().eos_token_id]
            plain = data.plain_sample(model, encoded.ids, pixels, sampling, 0, 0)
            assert completion.text == data.tokenizer().decode(plain, skip_special_tokens=True)


def test_without_them_the_family_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Backbone.forward

    def shallow(self: Backbone, *args: Any, **kwargs: Any) -> torch.Tensor:
        kwargs.pop("shown", None)
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(Backbone, "forward", shallow)
    with pytest.raises(CheckpointError, match="not supported"):
        LocalEngine(families.checkpoint("qwen3_vl"), device="cpu")
