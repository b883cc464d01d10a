"""Sampling a batch of rows to their ends: shared prefill, then one token of each per step.

What the rows computed is kept: who goes on from what one of them wrote reads on from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vilbench.backbone.keyvalues import KeyValues
from vilbench.backbone.model import Backbone
from vilbench.backbone.prefill import Placed, prefill
from vilbench.backbone.prefixes import Stem
from vilbench.backbone.recall import Recall
from vilbench.backbone.spelling import TextStream
from vilbench.backbone.tokens import PromptEncoder
from vilbench.engines.sampler import choose, uniforms
from vilbench.engines.tickets import Ticket
from vilbench.types import Completion, FinishReason, Sampling, Token, Usage

GROWTH = 64
"""Tokens of room added at a time: room costs memory, adding room a copy."""

_LOOK_EVERY = 4
"""Steps between looks at stop strings and cancellations; the outcome does not depend on it."""

_CROWDED = 0.85
"""A batch is rebuilt without its finished rows once fewer than this share are left."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Log-probabilities at one position, natural: of the token, and of the most probable ones."""

    logprob: float
    top_ids: tuple[int, ...]
    top_logprobs: tuple[float, ...]


@dataclass(eq=False)
class Row:
    """One completion on its way.

    Attributes:
        ticket: Takes the completion.
        place: The completion's number there.
        prompt: What it continues.
        sampling: How to sample.
        key: State of its stream of random numbers.
        limit: Most tokens, by `sampling` and by the model's context.
        ids: Tokens sampled so far, the end token included. A row that had to leave a batch
            goes on from them in another one.
        choices: One for each of `ids` where alternatives are asked for, else none.
        computed: Prompt tokens computed for it and not found in a shared prefix.
    """

    ticket: Ticket[Completion]
    place: int
    prompt: Placed
    sampling: Sampling
    key: int
    limit: int
    ids: list[int] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    computed: int = 0
    _stream: TextStream | None = None
    _text: str = ""
    _read: int = 0

    @property
    def length(self) -> int:
        """Tokens so far, the prompt's included."""
        return len(self.prompt.encoded.ids) + len(self.ids)

    @property
    def room(self) -> int:
        """Tokens to make room for when it enters a batch."""
        return min(self.limit - len(self.ids), GROWTH)

    def restart(self) -> None:
        """Forgets all tokens so far: the same ones will be sampled again."""
        self.ids, self.choices, self.computed = [], [], 0
        self._stream, self._text, self._read = None, "", 0

    def has_stopped(self, encoder: PromptEncoder) -> bool:
        """Whether the text of the tokens so far holds a stop string; reads what is new."""
        if self._stream is None:
            self._stream = encoder.stream()
        stream, before = self._stream, len(self._text)
        self._text += "".join(stream.step(token) for token in self.ids[self._read :])
        self._read = len(self.ids)
        longest = max(map(len, self.sampling.stop))
        tail = self._text[max(0, before - longest + 1) :]
        return any(stop in tail for stop in self.sampling.stop)

    def finish(self, encoder: PromptEncoder, ends: frozenset[int]) -> None:
        """Delivers the completion of the tokens so far."""
        ended = bool(self.ids) and self.ids[-1] in ends
        texts = list(encoder.decode(self.ids[:-1] if ended else self.ids).texts)
        text = "".join(texts)
        used = len(self.ids)
        reason: FinishReason = "stop" if ended else "length"
        # The stop string that is complete first, the longest of those complete together.
        found = [
            (at + len(stop), at) for stop in self.sampling.stop if (at := text.find(stop)) >= 0
        ]
        if found:
            stop_end, stop_at = min(found)
            reason, text = "stop", text[:stop_at]
            used = 1 + int(np.searchsorted(np.cumsum([len(piece) for piece in texts]), stop_end))
        prompt_tokens = len(self.prompt.encoded.ids)
        usage = Usage(
            prompt_tokens=prompt_tokens,
            completion_tokens=used,
            cached_tokens=max(0, prompt_tokens - self.computed),
        )
        tokens = self._tokens(encoder, texts, len(text)) if self.sampling.top_logprobs else ()
        self.ticket.deliver(self.place, Completion(text, reason, usage, tokens))

    def _tokens(self, encoder: PromptEncoder, texts: list[str], length: int) -> tuple[Token, ...]:
        """Tokens that spell the first `length` characters of `texts`."""
        tokens, begin = [], 0
        for piece, choice in zip(texts, self.choices, strict=False):
            if begin >= length and piece:
                break
            top: dict[str, float] = {}
            count = self.sampling.top_logprobs
            alternatives = zip(choice.top_ids[:count], choice.top_logprobs[:count], strict=True)
            for token, logprob in alternatives:
                top.setdefault(encoder.spelled(token), logprob)
            tokens.append(Token(piece[: length - begin], choice.logprob, top))
            begin += len(piece)
        return tuple(tokens)


def decode_rows(
    backbone: Backbone,
    encoder: PromptEncoder,
    rows: Sequence[Row],
    ends: frozenset[int],
    budget: int,
    recall: Recall,
) -> list[Row]:
    """Samples `rows` to their ends and delivers them.

    Args:
        backbone: The model.
        encoder: Tells the text of tokens.
        rows: Rows of one batch; rows of one prompt share its computation.
        ends: Tokens that end a completion.
        budget: Most tokens of the cache, rows times capacity.
        recall: What was computed before; takes what is computed now.

    Returns:
        Rows that had to leave because the others had grown over the budget.
    """
    batch = _Batch(backbone, rows, recall)
    left: list[Row] = []
    end_ids = np.array(sorted(ends), dtype=np.int64)
    step = 0
    while True:
        batch.sample()
        step += 1
        ended = batch.alive & (np.isin(batch.tokens, end_ids) | (batch.made >= batch.limits))
        if step % _LOOK_EVERY == 0:
            ended |= batch.look(encoder, ended)
        for row in batch.retire(ended):
            if row.ticket.wanted:
                row.finish(encoder, ends)
        if not batch.alive.any():
            return left
        left += batch.make_room(budget)
        batch.advance()


class _Batch:
    """Rows in step, with their cache; finished rows stay in it until the next rebuild.

    Attributes:
        rows: R rows.
        alive: `[R]`, which of them go on.
        tokens: `[R]`, the tokens sampled last.
        made: `[R]`, how many tokens each has sampled.
        limits: `[R]`, how many each may sample.
    """

    def __init__(self, backbone: Backbone, rows: Sequence[Row], recall: Recall) -> None:
        of_stem: dict[Stem, list[Row]] = {}
        for row in rows:
            of_stem.setdefault(row.prompt.stem(row.ids, row.length - 1), []).append(row)
        self.rows = [row for group in of_stem.values() for row in group]
        self.alive = np.ones(len(rows), dtype=bool)
        self.tokens = np.zeros(len(rows), dtype=np.int64)
        self.made = np.array([len(row.ids) for row in self.rows], dtype=np.int64)
        self.limits = np.array([row.limit for row in self.rows], dtype=np.int64)
        self._backbone = backbone
        self._recall = recall
        self._lengths = np.array([row.length for row in self.rows], dtype=np.int64)
        self._shifts = np.array(
            [backbone.shift(row.prompt.encoded, row.prompt.pixels) for row in self.rows],
            dtype=np.int64,
        )
        self._keys = np.array([row.key for row in self.rows], dtype=np.uint64)
        samplings = [row.sampling for row in self.rows]
        self._top = np.array([sampling.top_logprobs for sampling in samplings], dtype=np.int64)
        device = backbone.shape.device
        self._temperature = torch.tensor([s.temperature for s in samplings], device=device)
        self._top_p = torch.tensor([s.top_p for s in samplings], device=device)
        # Tokens sampled here [R, T], those before `_taken` being in the rows' own lists too.
        self._sampled = np.zeros((len(rows), GROWTH), dtype=np.int64)
        self._steps = 0
        self._taken = np.zeros(len(rows), dtype=np.int64)
        capacity = max(row.length + row.room for row in rows)
        self._cache = KeyValues(backbone.shape, len(rows), capacity)
        self._hidden = self._prefill(list(of_stem), list(of_stem.values()))

    def _prefill(self, stems: list[Stem], groups: list[list[Row]]) -> Tensor:
        """Computes each prompt once, copies it to its rows; hidden states `[R, W]` at the end."""
        first = np.cumsum([0, *map(len, groups)])
        device = self._backbone.shape.device
        hidden: Tensor | None = None
        prompts = [group[0].prompt for group in groups]
        for chunk in prefill(self._backbone, prompts, stems, self._recall):
            for segment in chunk.segments:
                groups[segment.stem][0].computed += segment.end - segment.start
            if not chunk.leaves:
                continue
            counts = [len(groups[leaf.stem]) for leaf in chunk.leaves]
            own = [
                first[leaf.stem] + k
                for leaf, n in zip(chunk.leaves, counts, strict=True)
                for k in range(n)
            ]
            source = np.repeat([leaf.row for leaf in chunk.leaves], counts)
            last = np.repeat([leaf.end - leaf.start - 1 for leaf in chunk.leaves], counts)
            places = torch.tensor(own, device=device)
            index = torch.from_numpy(source).to(device)
            self._cache.copy_rows(
                chunk.cache, index, max(leaf.end for leaf in chunk.leaves), places
            )
            if hidden is None:
                hidden = chunk.hidden.new_empty((len(self.rows), chunk.hidden.shape[-1]))
            hidden[places] = chunk.hidden[index, torch.from_numpy(last).to(device)]
        assert hidden is not None  # noqa: S101 - every stem is a leaf of some chunk
        return hidden

    def sample(self) -> None:
        """Samples the next token of every row."""
        logits = self._backbone.logits(self._hidden)
        numbers = torch.from_numpy(uniforms(self._keys, self.made.astype(np.uint64)))
        chosen = choose(logits, numbers.to(logits.device), self._temperature, self._top_p)
        self.tokens = chosen.cpu().numpy()
        self.made = self.made + 1
        self._backbone.counts.decoded_tokens += int(self.alive.sum())
        if self._steps == self._sampled.shape[1]:
            self._sampled = np.pad(self._sampled, ((0, 0), (0, self._steps)))
        self._sampled[:, self._steps] = self.tokens
        self._steps += 1
        if self._top.any():
            self._note(logits, chosen)

    def look(self, encoder: PromptEncoder, ended: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which rows, of those that go on, hold a stop string or are no longer wanted."""
        done = np.zeros(len(self.rows), dtype=bool)
        for k in np.flatnonzero(self.alive & ~ended):
            row = self.rows[k]
            if not row.ticket.wanted:
                done[k] = True
            elif row.sampling.stop:
                self._take(k)
                done[k] = row.has_stopped(encoder)
        return done

    def retire(self, ended: npt.NDArray[np.bool_]) -> list[Row]:
        """Rows that have ended, with all their tokens; they no longer go on."""
        self.alive = self.alive & ~ended
        for k in np.flatnonzero(ended):
            self._leave(k)
        return [self.rows[k] for k in np.flatnonzero(ended)]

    def make_room(self, budget: int) -> list[Row]:
        """Drops finished rows and grows the cache; gives the rows that must leave for that."""
        full = int(self._lengths[self.alive].max()) >= self._cache.capacity
        blocked = int(self._lengths.max()) >= self._cache.capacity
        if not blocked and self.alive.sum() >= _CROWDED * len(self.rows):
            return []
        keep = np.flatnonzero(self.alive)
        leaving: list[Row] = []
        capacity = self._cache.capacity + (GROWTH if full else 0)
        if full and len(keep) > 1 and len(keep) * capacity > budget:
            keep, evicted = np.array_split(keep, 2)
            for k in evicted:
                self._leave(k)
                leaving.append(self.rows[k])
        self._rebuild(keep, capacity)
        return leaving

    def advance(self) -> None:
        """Runs the sampled tokens through the model."""
        ids = torch.from_numpy(self.tokens[:, None]).to(self._backbone.shape.device)
        positions = (self._lengths + self._shifts)[None, :, None]
        embedded = self._backbone.embed(ids)
        hidden = self._backbone.forward(embedded, positions, self._lengths, self._cache)
        self._hidden = hidden[:, -1]
        # A finished row writes over its last place, for which there is room.
        self._lengths = self._lengths + self.alive

    def _rebuild(self, keep: npt.NDArray[np.int64], capacity: int) -> None:
        index = torch.from_numpy(keep).to(self._backbone.shape.device)
        reach = int(self._lengths[keep].max())
        self._cache = self._cache.resized(index, reach, capacity)
        self.rows = [self.rows[k] for k in keep]
        for name in ("alive", "tokens", "made", "limits", "_lengths", "_shifts", "_keys", "_top"):
            setattr(self, name, getattr(self, name)[keep])
        self._sampled, self._taken = self._sampled[keep], self._taken[keep]
        self._temperature, self._top_p = self._temperature[index], self._top_p[index]

    def _take(self, k: np.signedinteger[Any]) -> None:
        """Moves row `k`'s tokens to its own list."""
        self.rows[k].ids += self._sampled[k, self._taken[k] : self._steps].tolist()
        self._taken[k] = self._steps

    def _leave(self, k: np.signedinteger[Any]) -> None:
        """Moves what row `k` leaves behind to where it outlives the batch."""
        self._take(k)
        row = self.rows[k]
        # The token sampled last has not been through the model.
        stem = row.prompt.stem(row.ids, row.length)
        self._recall.keep(stem, int(self._lengths[k]), self._cache.teller(int(k)))

    def _note(self, logits: Tensor, chosen: Tensor) -> None:
        """Keeps log-probabilities of rows that ask for alternatives."""
        asking = np.flatnonzero(self._top * self.alive)
        if not len(asking):
            return
        index = torch.from_numpy(asking).to(logits.device)
        logprobs = torch.log_softmax(logits[index], dim=-1)
        width = min(int(self._top[asking].max()), logprobs.shape[-1])
        values, ids = (found.tolist() for found in logprobs.topk(width, dim=-1))
        own = logprobs.gather(1, chosen[index, None])[:, 0].tolist()
        for k, logprob, top, tops in zip(asking, own, ids, values, strict=True):
            self.rows[k].choices.append(Choice(logprob, tuple(top), tuple(tops)))
