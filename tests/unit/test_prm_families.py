"""Reward models over families other than Qwen2.5-VL, through the same code."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, get_args

import engine_data as data
import family_data as families
import pytest
import torch
from safetensors.torch import load_file

from vilbench.prm.folder import LoadedPrm, load, save, untrained
from vilbench.prm.scoring import Asked, PrmScoring, Way
from vilbench.steps import FORMATS

BRIEF = FORMATS["steps-brief"]
PARTS = (data.picture(1), data.picture(4, 96, 64), "How many circles?")
CANDIDATES = [
    ["one two", "three"],
    ["one two", "four", "<image><|image_pad|><|im_end|>"],
    ["seven"],
]


@pytest.fixture(scope="module", params=list(families.FAMILIES))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def loaded(family: str) -> LoadedPrm:
    return untrained(families.checkpoint(family), format=BRIEF, device="cpu")


def reference(loaded: LoadedPrm, parts: Any, steps: list[str]) -> list[float]:
    """Values at step ends by the whole stock model, with what its processor gives it."""
    encoder = loaded.encoder()
    encoded = encoder.encode(parts, steps)
    ids = torch.tensor([[*encoded.prompt.ids, *encoded.ids]])
    model = loaded.model.backbone
    inputs = dict(encoder.encoder.pixels(encoded.prompt.images))
    if "image_grid_thw" in inputs:
        inputs["mm_token_type_ids"] = (ids == model.config.image_token_id).int()
    with torch.no_grad():
        hidden = model(
            input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=True, **inputs
        ).hidden_states[-1][0]
        values: list[float] = (hidden @ loaded.model.score.weight[0]).tolist()
    return [values[len(encoded.prompt.ids) + end] for end in encoded.ends]


@pytest.mark.parametrize("way", get_args(Way))
def test_every_way_gives_the_values_of_the_stock_model(loaded: LoadedPrm, way: Way) -> None:
    scored = PrmScoring(loaded, way).score(PARTS, CANDIDATES)
    for values, steps in zip(scored.values, CANDIDATES, strict=True):
        assert list(values) == pytest.approx(reference(loaded, PARTS, steps), abs=1e-5)
    if way in ("shared", "tree"):
        assert scored.counts.image_encodings == 2
        assert scored.counts.forwards == 2


@pytest.mark.parametrize("budget", [1, 60, None])
def test_questions_with_pictures_of_their_own_are_scored_together(
    loaded: LoadedPrm, budget: int | None
) -> None:
    asked = [
        Asked((data.picture(k, 64 + 32 * k), f"Which {k}?"), CANDIDATES[: 2 + k % 2])
        for k in range(3)
    ]
    scoring = PrmScoring(loaded, "tree", budget)
    plain = PrmScoring(loaded, "per-candidate")
    for some in (asked[1:], asked, asked[::-1]):  # with unknown prompts, one of three, none
        for one, scored in zip(some, scoring.score_many(some), strict=True):
            alone = plain.score(one.parts, one.candidates)
            for row, expected in zip(scored.values, alone.values, strict=True):
                assert row == pytest.approx(expected, abs=1e-5)


def test_no_image_and_another_image(loaded: LoadedPrm) -> None:
    scoring = PrmScoring(loaded)
    (first, *_) = scoring.score(PARTS, CANDIDATES).values
    (other, *_) = scoring.score((data.picture(9), *PARTS[1:]), CANDIDATES).values
    assert abs(first[0] - other[0]) > 1e-4  # type: ignore[operator]
    (blind, *_) = scoring.score(PARTS[2:], CANDIDATES).values
    assert list(blind) == pytest.approx(reference(loaded, PARTS[2:], CANDIDATES[0]), abs=1e-5)


def test_it_is_saved_with_its_own_tensor_names(
    family: str, loaded: LoadedPrm, tmp_path: Path
) -> None:
    save(loaded.model, loaded.processor, loaded.config, tmp_path)
    stock = load_file(families.checkpoint(family) / "model.safetensors")
    ours = load_file(tmp_path / "model.safetensors")
    assert ours.keys() == stock.keys() | {"score.weight"}
    assert ours["score.weight"].shape == (1, 64)
    again = load(tmp_path, "cpu")
    assert again.config.backbone.model_type == family
    expected = PrmScoring(loaded).score(PARTS, CANDIDATES).values
    assert PrmScoring(again).score(PARTS, CANDIDATES).values == expected


def test_features_enter_deeper_layers_of_qwen3_vl() -> None:
    """What these tests would miss if the tiny model did not have it."""
    model = families.FAMILIES["qwen3_vl"]()[0].model
    assert len(model.visual.deepstack_merger_list) == 2
    assert "deepstack_visual_embeds" in inspect.signature(model.language_model.forward).parameters
