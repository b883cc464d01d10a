"""Families other than Qwen2.5-VL, by way of a tiny random LLaVA."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import engine_data as data
import pytest
import torch
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from vilbench.backbone.model import Backbone
from vilbench.backbone.processor import IMAGE_TOKEN
from vilbench.engines.local import LocalEngine
from vilbench.errors import CheckpointError
from vilbench.types import Prompt, Sampling

TEMPLATE = (
    "{% for m in messages %}{{ m['role'] | upper }}: "
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}<|image_pad|>\n"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %} {% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = data.tokenizer()
    torch.manual_seed(3)
    config = LlavaConfig(
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            initializer_range=0.2,
        ),
        vision_config=CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=3,
            num_attention_heads=2,
            image_size=32,
            patch_size=8,
        ),
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
    )
    model = LlavaForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    images = CLIPImageProcessorPil(size={"height": 32, "width": 32}, do_center_crop=False)
    processor = LlavaProcessor(
        images,
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token=IMAGE_TOKEN,
        chat_template=TEMPLATE,
    )
    folder = tmp_path_factory.mktemp("llava")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


async def test_another_family_samples_as_its_own_forward_does(folder: Path) -> None:
    sampling = Sampling(max_tokens=6)
    two = Prompt((data.picture(1), data.picture(2), "alike?"))
    prompts = [data.prompt(1), data.prompt(2), two, Prompt(("no picture",))]
    async with LocalEngine(folder) as engine:
        assert engine.counts.forwards == 0
        together = await asyncio.gather(*(engine.generate(p, 5, sampling, 9) for p in prompts))
        model: Any = engine._backbone.model
        model.generation_config.eos_token_id = [data.tokenizer().eos_token_id]
        for prompt, completions in zip(prompts, together, strict=True):
            encoded = engine.encoder.encode(prompt)
            assert encoded.ids.count(model.config.image_token_id) == 16 * len(prompt.images)
            pixels = engine.encoder.pixels(encoded.images) if encoded.images else {}
            for index in (0, 4):
                plain = data.plain_sample(model, encoded.ids, pixels, sampling, 9, index)
                if plain[-1] == model.config.image_token_id:
                    continue
                said = data.tokenizer().decode(plain, skip_special_tokens=True)
                assert completions[index].text == said
        scored = await engine.score_tokens(prompts[0], ["Answer: 12", "The angle"])
        encoded = engine.encoder.encode(prompts[0])
        ids = engine.encoder.encode_text("Answer: 12").ids
        logits = data.own_logits(model, (*encoded.ids, *ids), engine.encoder.pixels(encoded.images))
        expected = logits[len(encoded.ids) - 1 : -1].log_softmax(-1)
        assert [token.logprob for token in scored[0]] == pytest.approx(
            expected[torch.arange(len(ids)), list(ids)].tolist(), abs=1e-5
        )


def test_a_family_that_computes_otherwise_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Backbone.logits

    def capped(self: Backbone, hidden: torch.Tensor) -> torch.Tensor:
        return 5 * torch.tanh(whole(self, hidden) / 5)

    monkeypatch.setattr(Backbone, "logits", capped)
    with pytest.raises(CheckpointError, match="not supported"):
        LocalEngine(folder)
