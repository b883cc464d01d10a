"""A random model of a chosen shape and a problem of chosen lengths, with the work they take."""

from __future__ import annotations

import io
import math
import random
from typing import NamedTuple

import torch
from PIL import Image as Pillow
from PIL import ImageDraw
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from vilbench.backbone.processor import IMAGE_TOKEN, VIDEO_TOKEN, QwenVLProcessor
from vilbench.prm.folder import BackboneId, LoadedPrm, configure
from vilbench.prm.model import RewardModel
from vilbench.steps import FORMATS
from vilbench.training.embedded.architecture import make_processor, make_tokenizer
from vilbench.types import BytesSource, Image

PATCH, MERGE, WINDOW = 14, 2, 112
CELL = PATCH * MERGE
"""Side of the square of pixels that becomes one token."""

FORMAT = FORMATS["steps-brief"]
WORDS = "How many red circles are left of the blue square? 0 1 2 3 4 5 6 7 8 9 \n"


class Shape(NamedTuple):
    """Sizes of one model; widths in units, depths in layers."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    feed_forward: int
    vision_hidden: int
    vision_layers: int
    vision_heads: int
    vision_feed_forward: int
    vision_full: tuple[int, ...]


SHAPES = {
    "tiny": Shape(64, 2, 4, 2, 128, 32, 2, 2, 64, (1,)),
    "65m": Shape(640, 12, 10, 2, 1728, 384, 6, 6, 1024, (2, 5)),
    "3b": Shape(2048, 36, 16, 2, 11008, 1280, 32, 16, 3420, (7, 15, 23, 31)),
}


class Work:
    """FLOPs of a model, by its shape; a multiplication and an addition are two."""

    def __init__(self, shape: Shape, rows: int, columns: int) -> None:
        size = shape.hidden // shape.heads
        attention = 2 * shape.hidden**2 + 2 * shape.hidden * shape.kv_heads * size
        self._token = 2 * shape.layers * (attention + 3 * shape.hidden * shape.feed_forward)
        self._pair = 4 * shape.layers * shape.hidden
        patches, wide = rows * columns * MERGE**2, shape.vision_hidden
        weights = shape.vision_layers * (4 * wide**2 + 3 * wide * shape.vision_feed_forward)
        merged = wide * MERGE**2
        span = WINDOW // CELL
        windows = [
            (min(span, rows - row) * min(span, columns - column) * MERGE**2) ** 2
            for row in range(0, rows, span)
            for column in range(0, columns, span)
        ]
        full = len(shape.vision_full)
        pairs = full * patches**2 + (shape.vision_layers - full) * sum(windows)
        self.image = (
            2 * patches * (weights + 3 * 2 * PATCH**2 * wide)
            + 2 * rows * columns * (merged**2 + merged * shape.hidden)
            + 4 * wide * pairs
        )

    def text(self, tokens: int, before: int = 0) -> int:
        """Of tokens that stand behind others and see them and each other, causally."""
        return tokens * self._token + self._pair * (tokens * before + tokens * (tokens + 1) // 2)

    def whole(self, tokens: int) -> int:
        """Of a sequence with its image."""
        return self.image + self.text(tokens)


class Lengths(NamedTuple):
    """What a problem is to be like.

    Attributes:
        prompt: P, tokens of the prompt with its image.
        image: At most so many of them are the image's.
        candidates: N.
        steps: S of each candidate.
        tokens: T of a step, its end token included.
        spread: Steps are so much longer or shorter, as a share of T.
        common: Candidates in groups of four begin with the same steps, so many.
    """

    prompt: int
    image: int
    candidates: int
    steps: int
    tokens: int
    spread: float
    common: int


class Problem(NamedTuple):
    """What is scored.

    Attributes:
        parts: The question.
        candidates: Steps of each.
        prompt: Tokens of the prompt.
        ids: Solution ids of each candidate.
        ends: Indices of step ends within these.
        rows: The image's height in tokens.
        columns: Its width.
    """

    parts: tuple[str | Image, ...]
    candidates: tuple[tuple[str, ...], ...]
    prompt: int
    ids: tuple[tuple[int, ...], ...]
    ends: tuple[tuple[int, ...], ...]
    rows: int
    columns: int


def make_prm(shape: Shape, device: str) -> LoadedPrm:
    """A reward model with random weights, in the default precision."""
    tokenizer = make_tokenizer([WORDS] * 100)
    tokenizer.model_max_length = 10**6
    images = Qwen2VLImageProcessorPil(
        patch_size=PATCH,
        merge_size=MERGE,
        temporal_patch_size=2,
        size={"shortest_edge": CELL**2, "longest_edge": 4096**2},
    )
    processor = QwenVLProcessor(images, tokenizer, make_processor(tokenizer).chat_template)
    token = tokenizer.convert_tokens_to_ids
    half = shape.hidden // shape.heads // 2
    side = (half - half // 3) // 2
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": shape.hidden,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads,
            "intermediate_size": shape.feed_forward,
            "max_position_embeddings": 32_768,
            "initializer_range": shape.hidden**-0.5,
            "bos_token_id": tokenizer.pad_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [half - 2 * side, side, side],
            },
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
            "window_size": WINDOW,
            "fullatt_block_indexes": list(shape.vision_full),
            "initializer_range": shape.vision_hidden**-0.5,
        },
        image_token_id=token(IMAGE_TOKEN),
        video_token_id=token(VIDEO_TOKEN),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    with torch.device(device):
        backbone = Qwen2_5_VLForConditionalGeneration(config)
    identity = BackboneId(
        name="random",
        fingerprint="random",
        model_type="qwen2_5_vl",
        hidden_size=shape.hidden,
        vocabulary="0" * 64,
    )
    model = RewardModel(backbone.eval(), seed=0).eval()
    return LoadedPrm(model, processor, configure(identity, FORMAT), "random")


def make_problem(prm: LoadedPrm, wanted: Lengths) -> Problem:
    """A problem with exactly the lengths that were asked for; digits are one token each."""
    drawn = random.Random(0)
    rows = max(1, math.isqrt(wanted.image))
    columns = max(1, wanted.image // rows)
    image = _picture(columns * CELL, rows * CELL)
    encoder = prm.encoder()

    def digits(count: int) -> str:
        return " ".join(str(drawn.randrange(10)) for _ in range(count))

    bare = len(encoder.encode((image, "\n0"), ()).prompt.ids) - 1
    if wanted.prompt <= bare:
        raise SystemExit(f"the image and the question's form alone are {bare} tokens")
    parts = (image, "\n" + digits(wanted.prompt - bare))

    def step() -> str:
        slack = int(wanted.spread * wanted.tokens)
        return digits(wanted.tokens + drawn.randint(-slack, slack) - 2)

    common = [
        [step() for _ in range(min(wanted.common, wanted.steps))]
        for _ in range(math.ceil(wanted.candidates / 4))
    ]
    candidates = tuple(
        (*common[k // 4], *(step() for _ in range(wanted.steps - len(common[0]))))
        for k in range(wanted.candidates)
    )
    encoded = encoder.encode_all(parts, candidates)
    return Problem(
        parts,
        candidates,
        len(encoded[0].prompt.ids),
        tuple(one.ids for one in encoded),
        tuple(one.ends for one in encoded),
        rows,
        columns,
    )


def _picture(width: int, height: int) -> Image:
    drawn = random.Random(1)
    image = Pillow.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    for _ in range(40):
        x, y, r = drawn.randrange(width), drawn.randrange(height), drawn.randrange(5, 60)
        colour = (drawn.randrange(256), drawn.randrange(256), drawn.randrange(256))
        draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    data = io.BytesIO()
    image.save(data, "PNG")
    return Image.of(BytesSource(data.getvalue()))
