"""Tokens of what a model reads that is not loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vilbench.embedded import model_folder
from vilbench.engines.lengths import by_name, of_folder
from vilbench.images import Size


@pytest.mark.parametrize(
    ("model", "size", "tokens"),
    [
        # OpenAI's guide to vision works these two out: 4 and 6 tiles of 170, and 85.
        ("gpt-4o", Size(1024, 1024), 765),
        ("gpt-4o-2024-11-20", Size(2048, 4096), 1105),
        ("gpt-4o-mini", Size(512, 512), 2833 + 5667),
        ("gpt-4.1-mini", Size(1024, 1024), 1659),
        ("o3", Size(512, 512), 225),
        ("Qwen/Qwen2.5-VL-7B-Instruct", Size(1120, 560), 40 * 20 + 2),
        ("OpenGVLab/InternVL2_5-8B", Size(448, 448), 258),
        ("OpenGVLab/InternVL2_5-8B", Size(896, 448), 3 * 256 + 2),
        ("llava-hf/llava-onevision-qwen2-7b-ov-hf", Size(384, 384), 2 * 729),
        ("allenai/Molmo-7B-D-0924", Size(224, 224), 2 * 144 + 40),
        ("nobody/knows-it", Size(28, 28), 6),
    ],
)
def test_images_by_the_rule_of_the_family(model: str, size: Size, tokens: int) -> None:
    assert by_name(model).of_image(size) == tokens


def test_an_image_is_counted_as_it_is_sent() -> None:
    whole, smaller = by_name("qwen2.5-vl"), by_name("qwen2.5-vl", max_pixels=512 * 512)
    assert whole.of_image(Size(512, 512)) == smaller.of_image(Size(512, 512))
    assert smaller.of_image(Size(2048, 2048)) == smaller.of_image(Size(512, 512))


def test_low_detail_costs_the_same_for_any_size() -> None:
    assert by_name("gpt-4o", low=True).of_image(Size(4000, 3000)) == 85
    assert by_name("qwen2.5-vl", low=True).of_image(Size(56, 56)) == 6  # knows no detail


@pytest.mark.parametrize("size", [Size(1, 5000), Size(5000, 1), Size(1, 1), Size(20000, 20000)])
def test_odd_images_have_some_tokens(size: Size) -> None:
    for model in ("gpt-4o", "gpt-4.1-mini", "qwen", "internvl", "llava-onevision", "molmo"):
        assert 1 <= by_name(model).of_image(size) < 100_000


def test_a_checkpoint_at_hand_is_asked() -> None:
    tokenizers = pytest.importorskip("tokenizers")
    folder = model_folder("embedded:base")
    texts = ["How many red circles are there?", "Which bar is the highest?"]
    lengths = of_folder(folder, texts)
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    exact = sum(len(tokenizer.encode(text).ids) for text in texts)
    assert lengths.measured
    assert sum(map(lengths.of_text, texts)) == pytest.approx(exact)
    # A patch of 16 pixels, merged by two: 64 x 64 pixels are four tokens, and two marks.
    assert lengths.of_image(Size(64, 64)) == 6


def test_damaged_settings_are_done_without(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"patch_size": "x"}))
    (tmp_path / "processor_config.json").write_text("[1]")
    lengths = of_folder(tmp_path, ["text"])
    assert not lengths.measured
    assert lengths.of_text("four") == 1.0
    assert lengths.of_image(Size(280, 280)) == 102
