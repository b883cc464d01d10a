"""Tiny models of the Qwen2.5-VL architecture, with their tokenizer and processor.

The classes are those of transformers, only the configuration is small, so that a folder
saved from here loads as `Qwen/Qwen2.5-VL-3B-Instruct` does. One picture of a puzzle
(128 x 128, patches of 16, merged 2 x 2) makes 16 vision tokens, one per lattice cell.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from vilbench.backbone.processor import IMAGE_TOKEN, VIDEO_TOKEN, QwenVLProcessor

Size = Literal["small", "base"]

PATCH = 16
MERGE = 2
VOCABULARY = 768

END = "<|im_end|>"
PAD = "<|endoftext|>"
_CONTROL = (
    PAD,
    "<|im_start|>",
    END,
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    IMAGE_TOKEN,
    VIDEO_TOKEN,
)

# One digit per token as in Qwen2.5: numbers of any length share ten embeddings.
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class Shape(NamedTuple):
    """Sizes of one model; widths in units, depths in layers.

    Attributes:
        sections: How many rotary frequencies, highest first, turn with time, row and column of
            an image token. Text turns with all of them at the same rate.
    """

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    feed_forward: int
    vision_hidden: int
    vision_layers: int
    vision_heads: int
    vision_feed_forward: int
    sections: tuple[int, int, int]


SHAPES: dict[Size, Shape] = {
    "small": Shape(128, 4, 4, 2, 352, 64, 2, 4, 176, (6, 5, 5)),
    "base": Shape(128, 7, 4, 2, 352, 64, 2, 4, 176, (1, 5, 10)),
}
"""`base` is `small` with three more layers on top, so that it can grow out of it: comparing a
claim with what the model would have said takes layers above those that say it. Its rows and
columns turn faster: `small` cannot tell the inner ones apart (decision 007)."""

BACKGROUND = 0.96
"""Mean brightness of a puzzle's paper: blank patches are then near zero, and the first
layer learns from ink alone."""

INITIAL_SPREAD = 0.06
ROPE_THETA = 30.0
"""Sequences are short: positions far apart must still look unlike each other."""


def make_tokenizer(texts: Iterable[str]) -> Any:
    """A byte-level BPE tokenizer of `VOCABULARY` entries learnt from `texts`."""
    tokenizer = Tokenizer(models.BPE(fuse_unk=False, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(_CONTROL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens=[token for token in _CONTROL if token not in (END, PAD)],
        padding_side="left",
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
    )


def make_processor(tokenizer: Any) -> QwenVLProcessor:
    """The processor that goes with `tokenizer`."""
    images = Qwen2VLImageProcessorPil(
        patch_size=PATCH,
        merge_size=MERGE,
        temporal_patch_size=2,
        size={"shortest_edge": 64 * 64, "longest_edge": 512 * 512},
        image_mean=[BACKGROUND] * 3,
        image_std=[0.25] * 3,
    )
    return QwenVLProcessor(image_processor=images, tokenizer=tokenizer, chat_template=_TEMPLATE)


def make_model(tokenizer: Any, size: Size, seed: int = 0) -> Any:
    """A model with random weights drawn from `seed`."""
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(_config(tokenizer, SHAPES[size]))
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(END)
    model.generation_config.pad_token_id = tokenizer.convert_tokens_to_ids(PAD)
    return model


def grow(model: Any, tokenizer: Any, size: Size, seed: int = 0) -> Any:
    """A model of a deeper size that computes what `model` does.

    The layers it has more stand on top and add nothing at first: the matrices by which they
    write are zero (after Wu et al., 2024, "LLaMA Pro").
    """
    grown = make_model(tokenizer, size, seed)
    grown.load_state_dict(model.state_dict(), strict=False)
    for layer in grown.model.language_model.layers[model.config.text_config.num_hidden_layers :]:
        torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
        torch.nn.init.zeros_(layer.mlp.down_proj.weight)
    return grown


def _config(tokenizer: Any, shape: Shape) -> Any:
    token = tokenizer.convert_tokens_to_ids
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": shape.hidden,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads,
            "intermediate_size": shape.feed_forward,
            "max_position_embeddings": 2048,
            "initializer_range": INITIAL_SPREAD,
            "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": ROPE_THETA,
                "mrope_section": list(shape.sections),
            },
            "bos_token_id": token(PAD),
            "eos_token_id": token(END),
            "pad_token_id": token(PAD),
        },
        vision_config={
            "depth": shape.vision_layers,
            "hidden_size": shape.vision_hidden,
            "out_hidden_size": shape.hidden,
            "intermediate_size": shape.vision_feed_forward,
            "num_heads": shape.vision_heads,
            "patch_size": PATCH,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": 2,
            "window_size": 4 * PATCH * MERGE,
            "fullatt_block_indexes": [shape.vision_layers - 1],
            "tokens_per_second": 2,
            "initializer_range": INITIAL_SPREAD,
        },
        image_token_id=token(IMAGE_TOKEN),
        video_token_id=token(VIDEO_TOKEN),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
    )
