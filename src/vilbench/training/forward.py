"""Hidden states of a batch with gradients: images in their places, then the text decoder.

The parts of the model are driven as `backbone.Backbone` does for scoring. There is no language
model head here: losses take it at the few places where they need it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from vilbench.errors import CheckpointError
from vilbench.training.attention import NAME, Layout
from vilbench.training.batch import Batch

_TOLERANCE = 1e-3
"""Largest difference of hidden states in float32 that is rounding, as a share of their spread."""

_PATCHED = {"pixel_values", "image_grid_thw"}
"""Image inputs that may be joined over sets of images."""


def check_family(model: Any, batch: Batch) -> None:
    """Compares hidden states with those of the model's own forward.

    Args:
        model: An image-text-to-text model of transformers.
        batch: One row of several solutions, with images where there are any.

    Raises:
        CheckpointError: They differ: the family does something that this training does not
            know of, and would be trained on what it never computes.
    """
    assert batch.owners is not None and len(batch.ids) == 1  # noqa: S101 - chosen so
    length = int((batch.owners[0] == 1).nonzero().max()) + 1
    ids = batch.ids[:, :length]
    inputs: dict[str, Tensor] = dict(batch.pixels[0]) if batch.pixels else {}
    if inputs and len(batch.positions) > 1:
        image = torch.zeros(batch.ids.numel(), dtype=torch.int32, device=ids.device)
        image[batch.image_places] = 1
        inputs["mm_token_type_ids"] = image[:length][None]
    with torch.no_grad():
        theirs = model.model(
            input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **inputs
        ).last_hidden_state[0]
        ours = hidden_states(model, batch)[:length]
    difference = float((ours - theirs).abs().max())
    if not difference <= _TOLERANCE * float(theirs.std()):
        raise CheckpointError(
            f"models of this family are not supported (hidden states differ by {difference:.2g})",
            file="config.json",
            field="model_type",
        )


@contextmanager
def sibling_attention(model: Any) -> Iterator[None]:
    """Within it the text decoder attends to siblings the short way, where its family can.

    Families that hand keyword arguments on to their attention can; the others keep their own
    attention and get the block mask.
    """
    config = model.get_decoder().config
    stock = config._attn_implementation
    layers = list(getattr(model.get_decoder(), "layers", ()))
    if stock == "sdpa" and layers and _hands_on(layers[0]):
        config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = stock


def _hands_on(layer: Any) -> bool:
    """Whether a decoder layer and its attention take any keyword argument."""
    attention = getattr(layer, "self_attn", None)
    return attention is not None and all(
        any(
            parameter.kind is inspect.Parameter.VAR_KEYWORD
            for parameter in inspect.signature(module.forward).parameters.values()
        )
        for module in (layer, attention)
    )


def hidden_states(model: Any, batch: Batch, *, frozen_vision: bool = False) -> Tensor:
    """Last hidden states `[B * T, W]`.

    Args:
        model: An image-text-to-text model of transformers.
        batch: On the model's device.
        frozen_vision: No gradient goes into the vision tower.
    """
    decoder = model.get_decoder()
    positions = batch.positions if len(batch.positions) > 1 else batch.positions[0]
    rest: dict[str, Any] = {"position_ids": positions, "use_cache": False}
    if batch.owners is not None and decoder.config._attn_implementation == NAME:
        rest |= {"siblings": Layout(batch.owners), "attention_mask": None}
    else:
        rest["attention_mask"] = batch.mask()
    hidden: Tensor
    if batch.pixels and _goes_deep(model):
        rest |= _row_by_row(batch)
        hidden = model.model(input_ids=batch.ids, **rest).last_hidden_state
    else:
        embedded = _embedded(model, batch, frozen_vision=frozen_vision)
        hidden = decoder(inputs_embeds=embedded, **rest).last_hidden_state
    return hidden.flatten(0, 1)


def _embedded(model: Any, batch: Batch, *, frozen_vision: bool) -> Tensor:
    """Embeddings `[B, T, W]` with image features in their places."""
    embedded: Tensor = model.get_input_embeddings()(batch.ids)
    if not batch.pixels:
        return embedded
    with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen_vision):
        features = image_features(model, batch).to(embedded.dtype)
    flat = embedded.flatten(0, 1)
    placed = flat.index_copy(0, batch.image_places, features[batch.image_features])
    return placed.view_as(embedded)


def _goes_deep(model: Any) -> bool:
    """Whether image features enter deeper layers too (DeepStack), as in Qwen3-VL."""
    vision = getattr(model.config, "vision_config", None)
    return bool(getattr(vision, "deepstack_visual_indexes", None))


def _row_by_row(batch: Batch) -> dict[str, Tensor]:
    """Image inputs of every row, as such a family's own forward takes them."""
    shown = [batch.pixels[k] for k in batch.sets if k >= 0]
    return {name: torch.cat([one[name] for one in shown]) for name in shown[0]}


def image_features(model: Any, batch: Batch) -> Tensor:
    """Features `[F, W]` of all images of a batch, each computed once."""
    inputs: list[dict[str, Tensor]] = [dict(pixels) for pixels in batch.pixels]
    if all(one.keys() == _PATCHED for one in inputs):
        inputs = [{name: torch.cat([one[name] for one in inputs]) for name in _PATCHED}]
    parts: list[Tensor] = []
    for one in inputs:
        output = model.get_image_features(**one, return_dict=True).pooler_output
        parts += [output] if isinstance(output, Tensor) else list(output)
    return torch.cat([part.reshape(-1, part.shape[-1]) for part in parts])
