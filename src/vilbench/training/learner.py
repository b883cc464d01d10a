"""The module that is trained: a reward model with its loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vilbench.training.batch import Batch
from vilbench.training.forward import hidden_states
from vilbench.training.loss import Objective, Sums

_MOST_NATS = 8.0
_UNIT_NATS = 4.0


class Learner(torch.nn.Module):
    """From a batch to its summed losses; what is wrapped for several processes.

    Args:
        reward: A `prm.model.RewardModel`.
        objective: The loss.
        frozen_vision: No gradient goes into the vision tower.
    """

    def __init__(self, reward: Any, objective: Objective, *, frozen_vision: bool = False) -> None:
        super().__init__()
        self.reward = reward
        self.objective = objective
        self.frozen_vision = frozen_vision
        if objective.wants_surprise:
            self.surprise = torch.nn.Linear(reward.score.in_features, 1)

    def forward(self, batch: Batch) -> Sums:
        """Summed losses of a batch."""
        model = self.reward.backbone
        hidden = hidden_states(model, batch, frozen_vision=self.frozen_vision)
        marks = batch.marks.places if self.objective.wants_marks else batch.marks.places[:0]
        count = len(batch.ends.places)
        places = torch.cat([batch.ends.places, marks])
        scores: Tensor = self.reward.logits(hidden[places])
        logits = None
        if self.objective.wants_language:
            logits = model.get_output_embeddings()(hidden[batch.language.places]).float()
        surprise = self._surprise(hidden, batch) if self.objective.wants_surprise else None
        return self.objective.sums(scores[:count], scores[count:], logits, batch, surprise)

    def surprising(self, hidden: Tensor, batch: Batch) -> Tensor:
        """`[S]` how surprising the tokens that were said are to the model itself, in units."""
        places, tokens = batch.said
        with torch.no_grad():
            head = self.reward.backbone.get_output_embeddings()
            told = head(hidden[places - 1]).float().log_softmax(-1)
            nats: Tensor = -told.gather(1, tokens[:, None])[:, 0]
        return nats.clamp(0, _MOST_NATS) / _UNIT_NATS

    def _surprise(self, hidden: Tensor, batch: Batch) -> Tensor:
        """`[S, 2]` what the second head says of tokens, and how surprising they are."""
        said: Tensor = self.surprise(hidden[batch.said[0]].float())
        return torch.cat([said, self.surprising(hidden, batch)[:, None]], dim=1)
