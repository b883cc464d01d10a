"""Scores of all steps of all candidate solutions of one problem: four ways, one result.

The candidates of a problem share its images and its question. `per-prefix` and
`per-candidate` are the plain ways, by the model's own forward over whole sequences; they are
the reference. `shared` computes images and prompt once and all candidates on top, packed
without pads; `tree` computes steps that several candidates begin with once, too. None runs
the language-model head.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from vilbench.backbone.memory import ran_out
from vilbench.backbone.prefill import Placed
from vilbench.errors import EngineError
from vilbench.prm.agreement import check_agreement, is_proven
from vilbench.prm.folder import LoadedPrm
from vilbench.prm.forwards import Forwards, ScoringCounts, Values
from vilbench.prm.runs import pack
from vilbench.prm.tokens import EncodedSteps
from vilbench.types import Image

Way = Literal["per-prefix", "per-candidate", "shared", "tree"]


@dataclass(frozen=True)
class Scored:
    """What one call gives.

    Attributes:
        values: For every candidate one value per step; None for steps that were dropped
            because the input was too long.
        lengths: Tokens of every candidate with its prompt, as if it were scored alone.
        counts: Work done for them.
    """

    values: tuple[tuple[float | None, ...], ...]
    lengths: tuple[int, ...]
    counts: ScoringCounts


class PrmScoring:
    """Scores candidates by a reward model; not thread-safe.

    Args:
        loaded: The reward model.
        way: How; the values are the same but for rounding.
        max_batch_tokens: Most tokens of a forward of candidates (a single candidate may
            exceed it); by the device when None. Halved for good when memory runs out.

    Raises:
        CheckpointError: The model's family is not supported, or not in this way.
        ValueError: The budget is below 1.
    """

    def __init__(
        self, loaded: LoadedPrm, way: Way = "tree", max_batch_tokens: int | None = None
    ) -> None:
        self.loaded = loaded
        self.way: Way = way
        self.encoder = loaded.encoder()
        self._forwards = Forwards(loaded.model, max_batch_tokens)
        if way in ("shared", "tree") and not is_proven(loaded.model):
            check_agreement(loaded.model, self.encoder.encoder)

    @torch.inference_mode()
    def score(self, parts: Sequence[str | Image], candidates: Sequence[Sequence[str]]) -> Scored:
        """Values of all steps.

        Args:
            parts: The question.
            candidates: The steps of each candidate; there may be none.

        Raises:
            InputError: The input is too long, or an image cannot be read.
            EngineError: Memory ran out for a single candidate, a value is not a finite
                number, or a text is not valid Unicode.
        """
        encoded = [self.encoder.encode(parts, steps) for steps in candidates]
        todo = [one for one in encoded if one.ends]
        self._forwards.counts = ScoringCounts()
        found: Iterator[Values] = iter(())
        if todo:
            prompt = todo[0].prompt
            images = prompt.images
            pixels = self.encoder.encoder.pixels(images) if images else {}
            try:
                found = iter(self._values(Placed(prompt, pixels), todo))
            except Exception as error:
                if not ran_out(error):
                    raise
                raise EngineError("there is not enough memory for a single candidate") from error
        values = []
        for k, one in enumerate(encoded):
            own = next(found) if one.ends else np.empty(0)
            if not np.isfinite(own).all():
                raise EngineError(f"candidate {k} has a value that is not a finite number")
            values.append(one.spread([float(value) for value in own]))
        lengths = tuple(len(one.prompt.ids) + len(one.ids) for one in encoded)
        return Scored(tuple(values), lengths, self._forwards.counts)

    def _values(self, prompt: Placed, some: Sequence[EncodedSteps]) -> list[Values]:
        """Values at the step ends of each."""
        forwards = self._forwards
        if self.way == "per-prefix":
            return [
                np.concatenate(
                    [forwards.whole(prompt, one.ids[: end + 1])[[end]] for end in one.ends]
                )
                for one in some
            ]
        if self.way == "per-candidate":
            return [forwards.whole(prompt, one.ids)[list(one.ends)] for one in some]
        packing = pack([one.ids for one in some], share=self.way == "tree")
        values = forwards.packed(prompt, [one.ids for one in some], packing)
        return [
            values[places[list(one.ends)]] for one, places in zip(some, packing.places, strict=True)
        ]
