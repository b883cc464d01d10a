"""Log-probabilities of given replies, teacher-forced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from vilbench.backbone.model import Backbone
from vilbench.backbone.prefill import Chunk, Placed, prefill
from vilbench.backbone.prefixes import Stem
from vilbench.backbone.recall import Recall
from vilbench.backbone.tokens import Pieces
from vilbench.engines.tickets import Ticket
from vilbench.types import Token

_LOGITS = 1 << 24
"""Most logits held at a time."""


@dataclass(frozen=True, eq=False)
class Reply:
    """A reply to be scored; not an empty one.

    Attributes:
        ticket: Takes its tokens with their log-probabilities.
        place: Its number there.
        prompt: What it replies to.
        pieces: Its tokens.
    """

    ticket: Ticket[tuple[Token, ...]]
    place: int
    prompt: Placed
    pieces: Pieces

    @property
    def length(self) -> int:
        """Tokens to compute, the prompt's included."""
        return len(self.prompt.encoded.ids) + len(self.pieces.ids) - 1

    @property
    def room(self) -> int:
        """Tokens to make room for beyond them."""
        return 0

    def restart(self) -> None:
        """Nothing to forget."""


def score_replies(backbone: Backbone, replies: Sequence[Reply], recall: Recall) -> None:
    """Scores replies in one batch; those to one prompt share its computation.

    What `recall` knows of them is not computed again.
    """
    of_stem: dict[Stem, list[Reply]] = {}
    for reply in replies:
        # The first token of the reply is told by the last one of the prompt.
        own = len(reply.prompt.encoded.ids) - 1
        of_stem.setdefault(reply.prompt.stem(reply.pieces.ids[:-1], own), []).append(reply)
    groups = list(of_stem.values())
    # Replies that differ in their last token alone are one stem.
    for chunk in prefill(backbone, [group[0].prompt for group in groups], list(of_stem), recall):
        pairs = [(reply, k) for k, leaf in enumerate(chunk.leaves) for reply in groups[leaf.stem]]
        for (reply, _), logprobs in zip(pairs, _logprobs(backbone, chunk, pairs), strict=True):
            tokens = map(Token, reply.pieces.texts, logprobs)
            reply.ticket.deliver(reply.place, tuple(tokens))


def _logprobs(
    backbone: Backbone, chunk: Chunk, pairs: Sequence[tuple[Reply, int]]
) -> list[list[float]]:
    """Natural-log probabilities of each reply's tokens; `pairs` hold the leaf's number too."""
    states: list[Tensor] = []
    targets: list[int] = []
    counts: list[int] = []
    for reply, k in pairs:
        leaf = chunk.leaves[k]
        begin = len(reply.prompt.encoded.ids) - 1 - leaf.start
        states.append(chunk.hidden[leaf.row, begin : leaf.end - leaf.start])
        targets += reply.pieces.ids
        counts.append(len(reply.pieces.ids))
    if not states:
        return []
    flat: list[float] = _gather(backbone, torch.cat(states), targets).tolist()
    ends = list(accumulate(counts))
    return [flat[end - count : end] for end, count in zip(ends, counts, strict=True)]


def _gather(backbone: Backbone, hidden: Tensor, targets: Sequence[int]) -> Tensor:
    """Log-probability `[T]` of each target token after its state in `hidden` `[T, W]`."""
    wanted = torch.tensor(targets, device=hidden.device)
    rows = max(1, _LOGITS // backbone.vocabulary)
    parts = []
    for begin in range(0, len(targets), rows):
        logits = backbone.logits(hidden[begin : begin + rows])
        own = logits.gather(1, wanted[begin : begin + rows, None])[:, 0]
        parts.append(own - logits.logsumexp(-1))
    return torch.cat(parts).double().cpu()
