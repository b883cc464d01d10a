from __future__ import annotations

import engine_data as data
import prm_data as prm
import pytest
import torch

from vilbench.backbone.checkpoint import load as load_checkpoint
from vilbench.prm.folder import untrained
from vilbench.prm.model import RewardModel, hidden_size


@pytest.fixture(scope="module")
def backbone() -> object:
    return load_checkpoint(data.checkpoint(), "cpu").model


def test_parts_are_named_as_a_server_expects_them(backbone: object) -> None:
    model = RewardModel(backbone)
    own = {name for name, _ in model.named_parameters() if not name.startswith("backbone.")}
    assert own == {"score.weight"}
    assert model.score.weight.shape == (1, 128)
    with_bias = RewardModel(backbone, bias=True)
    assert with_bias.score.bias.tolist() == [0.0]
    assert hidden_size(with_bias.backbone.config) == 128


def test_the_head_is_drawn_by_its_seed(backbone: object) -> None:
    torch.manual_seed(1)
    first = RewardModel(backbone, seed=4).score.weight
    torch.manual_seed(2)
    before = torch.rand(1)
    torch.manual_seed(2)
    again = RewardModel(backbone, seed=4).score.weight
    assert torch.equal(torch.rand(1), before)  # no other stream is touched
    assert torch.equal(first, again)
    assert not torch.equal(first, RewardModel(backbone, seed=5).score.weight)
    wide = RewardModel(backbone, seed=4, spread=0.2).score.weight
    assert torch.allclose(wide, 10 * first)
    assert 0.012 < float(first.std()) < 0.028


@pytest.mark.parametrize("activation", ["identity", "sigmoid"])
def test_values_are_read_in_float32(backbone: object, activation: str) -> None:
    model = RewardModel(backbone, bias=True, seed=3, activation=activation)  # type: ignore[arg-type]
    with torch.no_grad():
        model.score.bias.fill_(0.25)
    hidden = torch.randn(2, 5, 128).bfloat16()
    expected = hidden.float() @ model.score.weight[0] + 0.25
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        logits, values = model.logits(hidden), model.head(hidden)
    assert logits.dtype == values.dtype == torch.float32
    assert logits.shape == (2, 5)
    assert torch.allclose(logits, expected, atol=1e-6)
    assert torch.allclose(values, expected.sigmoid() if activation == "sigmoid" else expected)


def test_a_forward_reads_the_last_hidden_states_without_the_language_head() -> None:
    loaded = prm.loaded()
    encoded = loaded.encoder().encode((data.picture(2), "How many?"), ["one", "two"])
    ids = (*encoded.prompt.ids, *encoded.ids)
    pixels = dict(data.encoder().pixels(encoded.prompt.images))
    model = loaded.model.backbone
    tokens = torch.tensor([ids])

    def refuse(*args: object) -> None:
        raise AssertionError("the language-model head was run")

    handle = model.lm_head.register_forward_hook(refuse)
    try:
        values = prm.values(loaded, ids, pixels)
    finally:
        handle.remove()
    with torch.no_grad():
        hidden = model(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            mm_token_type_ids=(tokens == model.config.image_token_id).int(),
            output_hidden_states=True,
            **pixels,
        ).hidden_states[-1]
    assert torch.allclose(values, loaded.model.head(hidden)[0], atol=1e-6)
    # A prefix scored at its last token has the value that the whole has there.
    for end in encoded.ends:
        stop = len(encoded.prompt.ids) + end + 1
        alone = prm.values(loaded, ids[:stop], pixels)[-1]
        assert float(alone) == pytest.approx(float(values[stop - 1]), abs=1e-5)


def test_the_untrained_counterpart_is_the_backbone_with_a_random_head() -> None:
    one, other = (
        untrained(data.checkpoint(), seed, format=prm.BRIEF, device="cpu", name="tiny")
        for seed in (7, 8)
    )
    assert one.fingerprint == prm.loaded().fingerprint != other.fingerprint
    assert torch.equal(one.model.score.weight, prm.loaded().model.score.weight)
    assert not one.model.training
    stock = load_checkpoint(data.checkpoint(), "cpu").model.state_dict()
    for name, tensor in one.model.backbone.state_dict().items():
        assert torch.equal(tensor, stock[name])
    assert (one.config.training, one.config.backbone.name) == (None, "tiny")
    assert one.context == 2048
    short = untrained(data.checkpoint(), format=prm.BRIEF, device="cpu", max_tokens=100)
    assert short.context == 100
    assert short.encoder().max_tokens == 100
    assert short.encoder(data.encoder()).encoder is data.encoder()
