"""A vision-language model as the engine drives it: image features, positions, one forward.

The parts are those that transformers gives every image-text-to-text model: image features
take the places of their placeholder tokens among the embeddings, and the text decoder does
the rest. Features that enter deeper layers too (DeepStack, Meng et al., 2024, as in Qwen3-VL)
are handed to it. Families that add something else to this (bidirectional attention over
images, scaled logits) would be computed wrongly: see `agreement`.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vilbench.backbone.keyvalues import CacheShape, KeyValues
from vilbench.backbone.norms import fuse_norms
from vilbench.backbone.tokens import Encoded, Pixels
from vilbench.backbone.vision import batch_windows
from vilbench.errors import CheckpointError
from vilbench.types import Image

_PATCHED = {"pixel_values", "image_grid_thw"}
"""Image inputs that may be concatenated over prompts (patches of all images in one row)."""

_MAX_PATCHES = 32_768


@dataclass
class EngineCounts:
    """Work of an engine.

    Attributes:
        prompt_tokens_asked: Tokens that one-by-one runs would compute before their first
            new token, and tokens of replies to be scored.
        prompt_tokens_computed: Tokens that were computed for them, without pads.
        decoded_tokens: Tokens sampled, end tokens included.
        forwards: Forwards of the text decoder.
        image_encodings: Images that went through the vision tower.
    """

    prompt_tokens_asked: int = 0
    prompt_tokens_computed: int = 0
    decoded_tokens: int = 0
    forwards: int = 0
    image_encodings: int = 0


class _Features(NamedTuple):
    """Of a set of images: `[n, W]` for the embeddings, and one such tensor per deeper layer."""

    shown: Tensor
    deep: tuple[Tensor, ...]


class Backbone:
    """The model of a checkpoint, driven part by part; not thread-safe.

    Args:
        model: A transformers image-text-to-text model in evaluation mode.
        remember: How many sets of images to keep features for.

    Attributes:
        axes: A, how many positions a token has: 3 for temporal, vertical and horizontal.
        shape: What its key-value caches are made of.
        context: Most tokens of a sequence.
        vocabulary: V.
        image_id: The image placeholder's token id.
        counts: Work done so far.
    """

    def __init__(self, model: Any, *, remember: int = 256) -> None:
        config = model.config
        text = config.get_text_config(decoder=True)
        if "sliding_attention" in (getattr(text, "layer_types", None) or ()):
            raise CheckpointError(
                "models with sliding-window attention are not supported",
                file="config.json",
                field="layer_types",
            )
        image_id = getattr(config, "image_token_id", getattr(config, "image_token_index", None))
        if image_id is None:
            raise CheckpointError(
                "there is no image token", file="config.json", field="image_token_id"
            )
        batch_windows(model)
        fuse_norms(model)
        self.model = model
        self.shape = CacheShape.of(model)
        self.context = int(getattr(text, "max_position_embeddings", None) or 2**31)
        self.counts = EngineCounts()
        self.vocabulary = int(text.vocab_size)
        self.image_id = int(image_id)
        self._decoder = model.get_decoder()
        self._embedding = model.get_input_embeddings()
        self._head = model.get_output_embeddings()
        self._inner = getattr(model, "model", model)
        self._rope = getattr(self._inner, "get_rope_index", None)
        self.axes = 3 if self._rope else 1
        self._features: OrderedDict[tuple[Image, ...], _Features] = OrderedDict()
        self._positions: OrderedDict[object, npt.NDArray[np.int64]] = OrderedDict()
        self._remember = remember

    def encode_images(self, pixels: Mapping[tuple[Image, ...], Pixels]) -> None:
        """Encodes sets of images, many in one call where the family allows it.

        The features of sets that were seen lately are kept and not computed again; those of
        the sets named here stay at hand until the next call.
        """
        fresh = {
            images: inputs for images, inputs in pixels.items() if images not in self._features
        }
        for batch in _batches(fresh):
            names = fresh[batch[0]].keys()
            joint = {name: torch.cat([fresh[images][name] for images in batch]) for name in names}
            output = self.model.get_image_features(
                **{name: value.to(self.shape.device) for name, value in joint.items()},
                return_dict=True,
            )
            features = output.pooler_output
            parts = [features] if isinstance(features, Tensor) else list(features)
            deep = [list(layer) for layer in getattr(output, "deepstack_features", None) or ()]
            done = 0
            for images in batch:
                end = done + len(images) if len(batch) > 1 else len(parts)
                self._features[images] = _Features(
                    self._rows(parts[done:end]),
                    tuple(self._rows(layer[done:end]) for layer in deep),
                )
                self.counts.image_encodings += len(images)
                done = end
        for images in pixels:
            self._features.move_to_end(images)
        while len(self._features) > max(self._remember, len(pixels)):
            self._features.popitem(last=False)

    def forget_images(self) -> None:
        """Lets all features go; images that come again are encoded again."""
        self._features.clear()

    def _rows(self, parts: Sequence[Tensor]) -> Tensor:
        """Features of several images as one tensor `[n, W]`."""
        rows = [part.reshape(-1, part.shape[-1]) for part in parts]
        return torch.cat(rows).to(self.shape.dtype)

    def embed(self, ids: Tensor) -> Tensor:
        """Embeddings `[..., W]` of ids `[...]`, image placeholders as they are."""
        embedded: Tensor = self._embedding(ids)
        return embedded

    def place_images(self, embedded: Tensor, prompt: Encoded) -> None:
        """Puts the image features of `prompt` into its embeddings `[S, W]`, in place."""
        ids = torch.tensor(prompt.ids[: prompt.image_end], device=embedded.device)
        places = (ids == self.image_id).nonzero()[:, 0]
        features = self._features[prompt.images].shown
        if len(places) != len(features):
            raise CheckpointError(
                f"the processor makes {len(places)} image tokens, the model {len(features)}",
                file="config.json",
            )
        embedded[places] = features

    def positions(self, prompt: Encoded, pixels: Pixels) -> npt.NDArray[np.int64]:
        """Positions `[A, image_end + 1]` of the tokens up to the first behind the images.

        A is 3 for families whose positions are temporal, vertical and horizontal. Behind the
        images every position is one more than the one before.
        """
        end = prompt.image_end
        if not end or self._rope is None:
            return np.arange(end + 1)[None]
        key = (prompt.ids[:end], prompt.images)
        if key not in self._positions:
            ids = torch.tensor([prompt.ids[:end]])
            inputs = {**pixels, "mm_token_type_ids": (ids == self.image_id).int()}
            wanted = inspect.signature(self._rope).parameters
            named = {name: value for name, value in inputs.items() if name in wanted}
            places = self._rope(input_ids=ids, **named)[0][:, 0]
            after = (places.max() + 1).expand(len(places), 1)
            self._positions[key] = torch.cat([places, after], dim=1).numpy()
            if len(self._positions) > 4 * self._remember:
                self._positions.popitem(last=False)
        return self._positions[key]

    def shift(self, prompt: Encoded, pixels: Pixels) -> int:
        """What the position of a token behind the images is more than its index."""
        return int(self.positions(prompt, pixels)[0, -1]) - prompt.image_end

    def forward(
        self,
        embedded: Tensor,
        positions: npt.NDArray[np.int64],
        start: npt.NDArray[np.int64],
        cache: KeyValues,
        shown: Sequence[Encoded | None] = (),
    ) -> Tensor:
        """Last hidden states `[R, S, W]`; the new keys and values go into the cache.

        Args:
            embedded: `[R, S, W]`, right-padded.
            positions: `[A, R, S]`, A being `axes` or 1.
            start: `[R]`, how many tokens of each row are in the cache.
            cache: With room for S more tokens in each row.
            shown: For each row the prompt whose images are placed in it, from the prompt's
                first token on; None for a row without.
        """
        tokens = embedded.shape[1]
        cache.place(start, tokens)
        last = start[:, None] + np.arange(tokens)
        seen = np.arange(int(start.max()) + tokens) <= last[:, :, None]
        device = self.shape.device
        places = torch.from_numpy(positions).to(device)
        self.counts.forwards += 1
        hidden: Tensor = self._decoder(
            inputs_embeds=embedded,
            position_ids=places.expand(self.axes, -1, -1) if self._rope else places[0],
            attention_mask=torch.from_numpy(seen[:, None]).to(device),
            past_key_values=cache,
            use_cache=True,
            **self.deeper(
                {row * tokens: one for row, one in enumerate(shown) if one is not None}, embedded
            ),
        ).last_hidden_state
        return hidden

    def deeper(self, shown: Mapping[int, Encoded], embedded: Tensor) -> dict[str, Any]:
        """Image features for deeper layers, as decoders take them; none in most families.

        Args:
            shown: Prompts whose images are placed in `embedded`, by the index of their first
                token over all rows; in the order of these.
            embedded: `[R, S, W]`.
        """
        layers = [self._features[one.images].deep for one in shown.values() if one.images]
        if not any(layers):
            return {}
        mask = torch.zeros(embedded.shape[:2], dtype=torch.bool)
        for first, one in shown.items():
            ids = torch.tensor(one.ids[: one.image_end])
            mask.view(-1)[first : first + one.image_end] = ids == self.image_id
        return {
            "visual_pos_masks": mask.to(embedded.device),
            "deepstack_visual_embeds": [torch.cat(one) for one in zip(*layers, strict=True)],
        }

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits `[..., V]` of hidden states `[..., W]`, float32."""
        logits: Tensor = self._head(hidden)
        return logits.float()


def _batches(pixels: Mapping[tuple[Image, ...], Pixels]) -> Iterator[list[tuple[Image, ...]]]:
    """Sets of images whose inputs may be concatenated, a bounded number of patches in each."""
    batch: list[tuple[Image, ...]] = []
    patches = 0
    for images, inputs in pixels.items():
        size = len(inputs["pixel_values"])
        if batch and (inputs.keys() != _PATCHED or patches + size > _MAX_PATCHES):
            yield batch
            batch, patches = [], 0
        batch.append(images)
        patches += size
    if batch:
        yield batch
