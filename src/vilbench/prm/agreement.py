"""Whether packed candidates have the values that a model's own forward gives them."""

from __future__ import annotations

import numpy as np
import torch

from vilbench.backbone.agreement import TOLERANCE, picture
from vilbench.backbone.tokens import PromptEncoder
from vilbench.errors import CheckpointError
from vilbench.prm.forwards import Forwards
from vilbench.prm.layout import Bundle
from vilbench.prm.model import RewardModel
from vilbench.types import Prompt

_TEXTS = (
    "I count 3 discs. One is red, so 2 are left.",
    "I count 3 discs. One is blue.",
    "There is no disc at all to be seen.",
)


@torch.inference_mode()
def check_agreement(model: RewardModel, encoder: PromptEncoder) -> None:
    """Compares the packed forward with the model's own, on a picture and some texts.

    Raises:
        CheckpointError: They differ by more than rounding: the family does something that
            the packed forward does not know of, and its values would be silently wrong.
    """
    # A head of its own, as values of the given one may be too alike to show a difference.
    forwards = Forwards(RewardModel(model.backbone, spread=1.0), encoder.pixels, None)
    prompt = encoder.encode(Prompt((picture(), "What is to be seen?")))
    sequences = [encoder.encode_text(text).ids for text in _TEXTS]
    own = np.concatenate([forwards.whole(prompt, ids).values for ids in sequences])
    bundles = [Bundle(prompt, sequences), Bundle(prompt, sequences[:1])]
    # The second time, the prompt is known.
    found = forwards.packed(bundles, share=True) + forwards.packed(bundles, share=True)
    ours = np.concatenate([one.values for some in found for one in some])
    difference = ours - np.concatenate([own, own[: len(sequences[0])]] * 2)
    rms = float(np.sqrt(np.square(difference).mean()))
    if not rms <= TOLERANCE[model.backbone.dtype] * float(own.std()):
        raise CheckpointError(
            "models of this family cannot be scored together (values differ by "
            f"{rms:.2g}): choose the way 'per-candidate'",
            file="config.json",
            field="model_type",
        )
