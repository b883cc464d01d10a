"""Scores of all steps of all candidate solutions of one problem: four ways, one result.

The candidates of a problem share its images and its question. `per-prefix` and
`per-candidate` are the plain ways, by the model's own forward over whole sequences; they are
the reference. `shared` computes images and prompt once and all candidates on top, packed
without pads; `tree` computes steps that several candidates begin with once, too. None runs
the language-model head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from vilbench.backbone.memory import ran_out
from vilbench.backbone.model import Backbone
from vilbench.backbone.tokens import Encoded
from vilbench.errors import EngineError
from vilbench.prm.folder import LoadedPrm
from vilbench.prm.runs import Packing, pack
from vilbench.prm.tokens import EncodedSteps
from vilbench.prm.trunk import KeyValue, Trunk, run_packed
from vilbench.types import Image

Way = Literal["per-prefix", "per-candidate", "shared", "tree"]

_BATCH_TOKENS = {"cpu": 2048, "cuda": 16_384}
"""Most tokens of a forward by kind of device. More than fills the device gains nothing."""


@dataclass(frozen=True)
class ScoringCounts:
    """Work of one call.

    Attributes:
        tokens: Tokens that went through the text decoder; there are no pads.
        forwards: Forwards of the text decoder.
        image_encodings: Images that went through the vision tower.
        peak_kv_bytes: Most bytes of keys and values at a time: those kept for later, and
            one layer of the tokens in work.
    """

    tokens: int
    forwards: int
    image_encodings: int
    peak_kv_bytes: int


@dataclass(frozen=True)
class Scored:
    """What one call gives.

    Attributes:
        values: For every candidate one value per step; None for steps that were dropped
            because the input was too long.
        counts: Work done for them.
    """

    values: tuple[tuple[float | None, ...], ...]
    counts: ScoringCounts


class PrmScoring:
    """Scores candidates by a reward model; not thread-safe.

    Args:
        loaded: The reward model.
        way: How; the values are the same but for rounding.
        max_batch_tokens: Most tokens of a forward of candidates (a single candidate may
            exceed it); by the device when None. Halved for good when memory runs out.

    Raises:
        CheckpointError: The model's family is not supported.
        ValueError: The budget is below 1.
    """

    def __init__(
        self, loaded: LoadedPrm, way: Way = "tree", max_batch_tokens: int | None = None
    ) -> None:
        if max_batch_tokens is not None and max_batch_tokens < 1:
            raise ValueError(f"a batch of {max_batch_tokens} tokens")
        self.loaded = loaded
        self.way: Way = way
        self.encoder = loaded.encoder()
        self._backbone = Backbone(loaded.model.backbone)
        self._inner: Any = loaded.model.backbone.model
        self._decoder: Any = loaded.model.backbone.get_decoder()
        self._budget = max_batch_tokens or _BATCH_TOKENS.get(self._backbone.shape.device.type, 4096)
        self._tally = _Tally()

    @torch.inference_mode()
    def score(
        self, parts: Sequence[str | Image], candidates: Sequence[Sequence[str]]
    ) -> Scored:
        """Values of all steps.

        Args:
            parts: The question.
            candidates: The steps of each candidate; there may be none.

        Raises:
            InputError: The input is too long, or an image cannot be read.
            EngineError: Memory ran out for a single candidate, a value is not finite, or a
                text is not valid Unicode.
        """
        self._tally = _Tally()
        encoded = [self.encoder.encode(parts, steps) for steps in candidates]
        todo = [k for k, one in enumerate(encoded) if one.ends]
        values: list[tuple[float | None, ...]] = [one.spread([0.0] * len(one.ends)) for one in encoded]
        if todo:
            prompt = encoded[todo[0]].prompt
            some = [encoded[k] for k in todo]
            pixels = self.encoder.encoder.pixels(prompt.images) if prompt.images else {}
            try:
                found = self._found(prompt, pixels, some)
            except Exception as error:
                if not ran_out(error):
                    raise
                raise EngineError("there is not enough memory for a single candidate") from error
            for k, one, read in zip(todo, some, found, strict=True):
                if not np.isfinite(read).all():
                    raise EngineError(f"candidate {k} has a value that is not a finite number")
                values[k] = one.spread([float(value) for value in read])
        return Scored(tuple(values), self._tally.counts())

    def _found(
        self, prompt: Encoded, pixels: Mapping[str, Tensor], some: Sequence[EncodedSteps]
    ) -> list[Any]:
        if self.way == "per-prefix":
            return [
                np.concatenate(
                    [self._alone(prompt, pixels, one.ids[: end + 1], [end]) for end in one.ends]
                )
                for one in some
            ]
        if self.way == "per-candidate":
            return [self._alone(prompt, pixels, one.ids[: one.ends[-1] + 1], one.ends) for one in some]
        packing = pack([one.ids for one in some], share=self.way == "tree")
        values = self._packed(prompt, pixels, some, packing)
        return [values[packing.places[k][list(one.ends)]] for k, one in enumerate(some)]
