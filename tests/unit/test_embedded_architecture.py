from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from embedded_data import examples, processor, tiny_model

from vilbench.backbone.checkpoint import load
from vilbench.backbone.tokens import PromptEncoder
from vilbench.problems.puzzles import KINDS, draw
from vilbench.problems.puzzles.puzzle import gold_solution
from vilbench.training.embedded.architecture import (
    END,
    PAD,
    SHAPES,
    VOCABULARY,
    Size,
    grow,
    make_model,
    make_tokenizer,
)
from vilbench.training.embedded.examples import FORMAT, JUDGE, corrupt, judge
from vilbench.types import Prompt

LONGEST_REPLY = 160
"""Tokens that an attempt at a puzzle may take."""


def test_the_tokenizer_spells_every_text_of_the_stream() -> None:
    encoder = PromptEncoder(processor())
    size = len(processor().tokenizer)
    assert 256 < size <= VOCABULARY
    for example in examples():
        for text in [*(p for p in example.prompt.parts if isinstance(p, str)), example.reply]:
            pieces = encoder.encode_text(text)
            assert "".join(pieces.texts) == text
            assert max(pieces.ids) < size
            assert "".join(encoder.decode(pieces.ids).texts) == text


def test_other_texts_are_spelt_in_bytes() -> None:
    encoder = PromptEncoder(processor())
    for text in ("Zwölf × ４ 🟥 <|im_end|>", "\x00\u202e", "  \n\n\t", "naïve"):
        assert "".join(encoder.decode(encoder.encode_text(text).ids).texts) == text


def test_a_token_per_digit() -> None:
    encoder = PromptEncoder(processor())
    assert encoder.encode_text("7301").texts == ("7", "3", "0", "1")
    assert encoder.encode_text(" 73 = 12").texts[:2] == (" 7", "3")


def test_replies_fit_their_budgets() -> None:
    encoder = PromptEncoder(processor())
    rng = random.Random(3)
    for index in range(2, 32, 3):  # the hardest level
        for family, twin in KINDS:
            puzzle = draw(family, twin, "dev", index)
            solution = encoder.encode_text(gold_solution(puzzle, rng)).ids
            assert len(solution) < LONGEST_REPLY
            for task in ("judge-step", "judge-whole"):
                example = judge(corrupt(puzzle, rng), task, rng)
                assert len(encoder.encode_text(example.reply).ids) < JUDGE.max_tokens


def test_a_picture_is_sixteen_tokens_and_comes_first() -> None:
    encoder = PromptEncoder(processor())
    problem = draw("charts", "visual", "dev", 0).problem
    encoded = encoder.encode(FORMAT.ask(problem))
    assert encoded.ids.count(processor().image_token_id) == 16
    without = encoder.encode(Prompt(FORMAT.ask(problem).parts[1:]))
    assert processor().image_token_id not in without.ids
    assert encoded.images == problem.images


def test_control_tokens_are_single_and_differ() -> None:
    tokenizer = processor().tokenizer
    ids = [
        tokenizer.convert_tokens_to_ids(token)
        for token in (PAD, END, "<|im_start|>", "<|vision_start|>", "<|image_pad|>")
    ]
    assert len(set(ids)) == len(ids)
    assert tokenizer.eos_token == END and tokenizer.pad_token == PAD
    assert tokenizer.padding_side == "left"


def test_the_tokenizer_depends_on_its_texts_alone() -> None:
    texts = ["the red bar is 7.", "so 7 + 5 = 12."] * 20
    one, two = make_tokenizer(texts), make_tokenizer(texts)
    assert one.get_vocab() == two.get_vocab()


@pytest.mark.parametrize("size", SHAPES)
def test_the_models_of_both_sizes_are_small_and_sound(size: Size) -> None:
    shape = SHAPES[size]
    model = make_model(processor().tokenizer, size, seed=1)
    config = model.config
    half = shape.hidden // shape.heads // 2
    assert sum(config.text_config.rope_parameters["mrope_section"]) == half
    assert config.text_config.tie_word_embeddings
    assert model.lm_head.weight is model.get_input_embeddings().weight
    parameters = sum(parameter.numel() for parameter in model.parameters())
    # Both together under 10 MB at two bytes a weight, with room for tokenizer files.
    assert parameters * 2 < {"small": 2.5e6, "base": 6e6}[size]


def test_a_grown_model_computes_what_it_grew_out_of() -> None:
    tokenizer = processor().tokenizer
    small = make_model(tokenizer, "small", 1).eval()
    base = grow(small, tokenizer, "base", 2).eval()
    layers = [len(model.model.language_model.layers) for model in (small, base)]
    assert layers == [SHAPES["small"].layers, SHAPES["base"].layers]
    ids = torch.arange(12)[None]
    with torch.no_grad():
        assert torch.equal(small(input_ids=ids).logits, base(input_ids=ids).logits)
    # And can learn to compute something else.
    base(input_ids=ids).logits.sum().backward()
    top = base.model.language_model.layers[-1]
    assert top.mlp.down_proj.weight.grad.abs().max() > 0


def test_a_seed_names_the_first_weights() -> None:
    def weights(seed: int) -> torch.Tensor:
        return torch.cat([p.detach().flatten() for p in tiny_model(seed).parameters()])

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


def test_a_saved_folder_is_loaded_as_any_other(tmp_path: Path) -> None:
    model = tiny_model(5)
    model.save_pretrained(tmp_path)
    processor().save_pretrained(tmp_path)
    loaded = load(tmp_path, device="cpu")
    tokenizer = processor().tokenizer
    assert loaded.end_ids == {tokenizer.convert_tokens_to_ids(END)}
    for name, parameter in model.named_parameters():
        assert torch.equal(dict(loaded.model.named_parameters())[name], parameter), name
    prompt = examples()[0].prompt
    one, two = (PromptEncoder(p) for p in (processor(), loaded.processor))
    assert one.encode(prompt).ids == two.encode(prompt).ids
    assert torch.equal(
        one.pixels(prompt.images)["pixel_values"], two.pixels(prompt.images)["pixel_values"]
    )
