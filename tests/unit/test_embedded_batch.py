from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
import torch
from embedded_data import examples, processor, tiny_model
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as qwen

from vilbench.backbone.tokens import PromptEncoder
from vilbench.problems.puzzles import draw
from vilbench.training.embedded.architecture import make_model
from vilbench.training.embedded.batch import IMAGE_TOKENS, Collator, hidden_states, positions
from vilbench.training.embedded.examples import Attempt, Example, judge


def mixed(count: int) -> tuple[Example, ...]:
    """Examples of unlike lengths, tasks and families."""
    return examples()[:: len(examples()) // count][:count]


def stock_hidden_states(model: Any, example: Example) -> torch.Tensor:
    """The last hidden states `[T, hidden]` of one example by the ordinary forward."""
    encoder = PromptEncoder(processor())
    prompt = encoder.encode(example.prompt)
    ids = torch.tensor([[*prompt.ids, *encoder.encode_text(example.reply).ids]])
    ids = torch.cat([ids, torch.tensor([[processor().tokenizer.eos_token_id]])], dim=1)
    kinds = (ids == processor().image_token_id).long()
    with torch.no_grad():
        outputs = model.model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            mm_token_type_ids=kinds,
            **encoder.pixels(example.prompt.images),
        )
    hidden: torch.Tensor = outputs.last_hidden_state[0]
    return hidden


@pytest.mark.parametrize("size", ["tiny", "base"])
def test_hidden_states_are_those_of_the_stock_forward(size: str) -> None:
    model = tiny_model(2) if size == "tiny" else make_model(processor().tokenizer, "base", 2)
    model.eval()
    chosen = mixed(6)
    batch = Collator(processor()).collate(chosen)
    with torch.no_grad():
        found = hidden_states(model, batch)
    assert found.shape == (*batch.ids.shape, model.config.text_config.hidden_size)
    lengths = set()
    for row, example in enumerate(chosen):
        expected = stock_hidden_states(model, example)
        lengths.add(len(expected))
        torch.testing.assert_close(found[row, : len(expected)], expected, rtol=1e-5, atol=1e-5)
    assert len(lengths) > 3


def test_the_picture_changes_what_the_model_sees() -> None:
    # The comparison above would mean little for a model that is blind.
    model = tiny_model(2).eval()
    batch = Collator(processor()).collate(mixed(2))
    with torch.no_grad():
        one = hidden_states(model, batch)
        two = hidden_states(model, batch._replace(pixels=torch.zeros_like(batch.pixels)))
    end = batch.begin + IMAGE_TOKENS
    assert torch.equal(one[:, : batch.begin], two[:, : batch.begin])
    assert (one[:, end:] - two[:, end:]).abs().max() > 1e-3


def test_rows_do_not_see_each_other_nor_the_padding() -> None:
    model = tiny_model(2).eval()
    collator = Collator(processor())
    chosen = mixed(5)
    with torch.no_grad():
        together = hidden_states(model, collator.collate(chosen))
        for row, example in enumerate(chosen):
            alone = hidden_states(model, collator.collate([example]))[0]
            torch.testing.assert_close(together[row, : len(alone)], alone, rtol=1e-5, atol=1e-5)


def test_the_stock_attention_comes_back() -> None:
    stock = qwen.Qwen2_5_VLVisionAttention.forward
    embedding = qwen.Qwen2_5_VisionPatchEmbed.forward
    model = tiny_model()
    batch = Collator(processor()).collate(mixed(2))
    hidden_states(model, batch)
    assert qwen.Qwen2_5_VLVisionAttention.forward is stock
    assert qwen.Qwen2_5_VisionPatchEmbed.forward is embedding
    with pytest.raises(RuntimeError):
        hidden_states(model, batch._replace(pixels=batch.pixels[:, :5]))
    assert qwen.Qwen2_5_VLVisionAttention.forward is stock
    assert qwen.Qwen2_5_VisionPatchEmbed.forward is embedding


def test_pixels_are_the_processors() -> None:
    encoder = PromptEncoder(processor())
    chosen = mixed(8)
    pictures = [example.prompt.images[0] for example in chosen]
    found = Collator(processor()).pixels(pictures)
    patches = torch.cat([encoder.pixels((picture,))["pixel_values"] for picture in pictures])
    frames = patches.view(len(patches), 3, 2, -1)
    expected = frames[:, :, 0].flatten(1)
    assert torch.equal(expected, frames[:, :, 1].flatten(1))
    assert found.shape == expected.shape
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_ids_are_those_of_the_real_prompt() -> None:
    encoder = PromptEncoder(processor())
    collator = Collator(processor())
    for example in examples():
        ids = collator.encode(example).ids
        prompt = encoder.encode(example.prompt).ids
        assert tuple(ids[: len(prompt)]) == prompt
        assert tuple(ids[len(prompt) : -1]) == encoder.encode_text(example.reply).ids
        assert ids[-1] == processor().tokenizer.eos_token_id


def test_what_is_learnt_is_the_reply_as_far_as_it_is_right() -> None:
    encoder = PromptEncoder(processor())
    chosen = mixed(20)
    collator = Collator(processor())
    batch = collator.collate(chosen)
    assert batch.ids.shape == batch.learn.shape == batch.values.shape
    right_until = [
        one.solution.right_until if one.solution and one.task == "solve" else len(one.reply)
        for one in chosen
    ]
    for row, example in enumerate(chosen):
        learnt = batch.ids[row][batch.learn[row]].tolist()
        whole = right_until[row] == len(example.reply)
        assert not whole or learnt.pop() == processor().tokenizer.eos_token_id
        said = "".join(encoder.decode(learnt).texts)
        assert said == example.reply[: len(said)]
        assert len(said) <= right_until[row] < len(said) + 4
        length = len(collator.encode(example).ids)
        assert (batch.ids[row, length:] == processor().tokenizer.pad_token_id).all()
        assert batch.values[row, length - 1 :].isnan().all()
    wholes = zip(right_until, (len(example.reply) for example in chosen), strict=True)
    assert {until < length for until, length in wholes} == {True, False}
    assert batch.tasks == tuple(f"{example.task}/{example.family}" for example in chosen)
    image = batch.ids[:, batch.begin : batch.begin + IMAGE_TOKENS]
    assert (image == processor().image_token_id).all()
    assert (batch.ids == processor().image_token_id).sum() == image.numel()


def test_values_stand_at_the_tokens_that_they_are_of() -> None:
    encoder = PromptEncoder(processor())
    collator = Collator(processor())
    places = set()
    for example in examples():
        row = collator.encode(example)
        assert len({len(column) for column in row}) == 1
        solution = example.solution
        if solution is None:
            assert not any(row.said) and all(math.isnan(value) for value in row.values)
            continue
        begin, length = row.said.index(True), sum(row.said)
        assert all(row.said[begin : begin + length])
        spelled = [encoder.spelled(token) for token in row.ids[begin : begin + length]]
        # A line break may stand in one token with the last character.
        assert "".join(spelled).removesuffix("\n") == solution.text
        in_reply = example.task == "solve"
        assert in_reply == (begin == len(row.ids) - 1 - length)
        learnt, other = (row.learn, row.shown) if in_reply else (row.shown, row.learn)
        assert not any(other[begin : begin + length])
        place = 0
        for text, value, right in zip(
            spelled, row.values[begin:], learnt[begin : begin + length], strict=False
        ):
            place = min(place + len(text), len(solution.text))
            assert value == pytest.approx(solution.value_at(place - 1), nan_ok=True)
            assert right == (place <= solution.right_until)
        rest = row.values[:begin] + row.values[begin + length :]
        assert all(math.isnan(value) for value in rest)
        places.add(in_reply)
    assert places == {True, False}


def test_a_solution_without_text_is_nowhere() -> None:
    puzzle = draw("angles", "text", "train", 0)
    example = judge(Attempt(puzzle, ""), "judge-step", random.Random(0))
    row = Collator(processor()).encode(example)
    assert not any(row.said) and not any(row.shown) and any(row.learn)


def test_positions_of_a_picture_between_texts() -> None:
    # Two tokens, a picture of 4 x 4 at time 2, then text from 2 + 4 on.
    place = positions(21, 2)
    assert place.shape == (3, 21)
    assert place[:, :2].tolist() == [[0, 1]] * 3
    assert place[0, 2:18].tolist() == [2] * 16
    assert place[1, 2:18].tolist() == list(np.repeat([2, 3, 4, 5], 4))
    assert place[2, 2:18].tolist() == [2, 3, 4, 5] * 4
    assert place[:, 18:].tolist() == [[6, 7, 8]] * 3
