"""A checkpoint in a folder as generator and likelihood model.

Requests of all tasks go into one inbox. A worker thread owns the model: it takes what is
there, groups it by shared beginnings, cuts it into batches under a budget of tokens, and
runs them. No result depends on the batch that it was computed in, up to rounding; and which
requests share a batch is a matter of who asks when in turns of the event loop, not of the
clock (see `vilbench.engines.inbox`).
"""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from vilbench.backbone import checkpoint
from vilbench.backbone.agreement import check_agreement, is_proven
from vilbench.backbone.keyvalues import CacheShape
from vilbench.backbone.memory import ran_out
from vilbench.backbone.model import Backbone, EngineCounts
from vilbench.backbone.prefill import Placed
from vilbench.backbone.recall import Recall
from vilbench.backbone.tokens import PromptEncoder
from vilbench.engines.batches import Piece, cut, parts_of
from vilbench.engines.decoding import Row, decode_rows
from vilbench.engines.demand import check_demand
from vilbench.engines.inbox import Inbox
from vilbench.engines.likelihoods import Reply, score_replies
from vilbench.engines.sampler import stream_key
from vilbench.engines.tickets import Ticket
from vilbench.errors import EngineError
from vilbench.types import Completion, Prompt, Sampling, Token

_CPU_CACHE_BYTES = 256 << 20
"""For a batch, and as much again for what earlier ones computed."""

_GPU_CACHE_SHARE = 0.25
_GPU_RECALL_SHARE = 0.1
"""Likewise, of the memory that is free when the model is loaded."""


@dataclasses.dataclass(frozen=True)
class _Request:
    """A request in the inbox; `begin` encodes it, in the worker's thread."""

    ticket: Ticket[Any]
    begin: Callable[[], list[Row] | list[Reply]]


class LocalEngine:
    """A `Generator` and `LikelihoodModel` of a model folder.

    Args:
        folder: Any image-text-to-text checkpoint, safetensors only.
        name: For tables; the folder's name by default.
        device: A torch device; "auto" takes CUDA where there is one.
        dtype: "auto" is float32 on the CPU and bfloat16 elsewhere.
        max_batch_tokens: Budget of a batch, rows times the longest row's tokens; by default
            what fits 256 MB on the CPU and a quarter of the free memory elsewhere.
        recall: Whether keys and values are kept for requests that begin like earlier ones: up
            to 256 MB on the CPU and a tenth of the free memory elsewhere. Without it no result
            depends on what was asked before, even by rounding.

    Raises:
        CheckpointError: The folder cannot or must not be loaded.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        name: str | None = None,
        device: str = "auto",
        dtype: checkpoint.Dtype = "auto",
        max_batch_tokens: int | None = None,
        recall: bool = False,
    ) -> None:
        loaded = checkpoint.load(Path(folder), device, dtype)
        self._name = name or loaded.folder.resolve().name
        self._fingerprint = loaded.fingerprint
        self._ends = loaded.end_ids
        self._encoder = PromptEncoder(loaded.processor)
        self._backbone = Backbone(loaded.model)
        if not is_proven(loaded.model):
            with torch.inference_mode():
                check_agreement(self._backbone, self._encoder)
            self._backbone.counts = EngineCounts()
        shape = self._backbone.shape
        room = _bytes(shape, _GPU_CACHE_SHARE)
        self._budget = max_batch_tokens or max(1024, room // shape.token_bytes)
        self._recall = Recall(shape, _bytes(shape, _GPU_RECALL_SHARE) if recall else 0)
        self._inbox: Inbox[_Request] = Inbox()
        self._starting = threading.Lock()
        self._worker: threading.Thread | None = None

    @property
    def name(self) -> str:
        """Short name for tables."""
        return self._name

    @property
    def fingerprint(self) -> str:
        """Changes with weights, tokenizer, processor, configuration and precision."""
        return self._fingerprint

    @property
    def counts(self) -> EngineCounts:
        """Work so far, as of now."""
        return dataclasses.replace(self._backbone.counts)

    @property
    def encoder(self) -> PromptEncoder:
        """From prompts and texts to token ids, as this engine sees them."""
        return self._encoder

    async def generate(
        self, prompt: Prompt, n: int, sampling: Sampling, seed: int, *, first: int = 0
    ) -> list[Completion]:
        """Completions number `first` to `first + n - 1`; see `Generator.generate`.

        `Completion.tokens` is filled where `sampling.top_logprobs` is above 0. Cached tokens
        of the usage are those that another completion or request had already computed.

        Raises:
            EngineError: The sampling's values are out of range, an image cannot be read, the
                prompt exceeds the model's context, or the engine is closed.
        """
        check_demand(n, first, sampling)
        if n == 0:
            return []
        ticket: Ticket[Completion] = Ticket(n)

        def begin() -> list[Row]:
            placed = self._placed(prompt)
            tokens = len(placed.encoded.ids)
            limit = min(sampling.max_tokens, self._backbone.context - tokens)
            if limit < 1:
                raise EngineError(
                    f"a prompt of {tokens} tokens leaves no room in the model's context of "
                    f"{self._backbone.context}"
                )
            self._backbone.counts.prompt_tokens_asked += n * tokens
            keys = [stream_key(seed, first + k) for k in range(n)]
            return [Row(ticket, k, placed, sampling, key, limit) for k, key in enumerate(keys)]

        return await self._submit(_Request(ticket, begin))

    async def score_tokens(self, prompt: Prompt, replies: Sequence[str]) -> list[tuple[Token, ...]]:
        """Log-probabilities of replies, without an end token; see `LikelihoodModel`.

        Raises:
            EngineError: A text is not valid Unicode, an image cannot be read, a reply exceeds
                the model's context, or the engine is closed.
        """
        texts = tuple(replies)
        if not texts:
            return []
        ticket: Ticket[tuple[Token, ...]] = Ticket(len(texts))

        def begin() -> list[Reply]:
            placed = self._placed(prompt)
            made = []
            for place, text in enumerate(texts):
                reply = Reply(ticket, place, placed, self._encoder.encode_text(text))
                if not reply.pieces.ids:
                    ticket.deliver(place, ())
                    continue
                if reply.length > self._backbone.context:
                    raise EngineError(
                        f"prompt and reply {place} have {reply.length + 1} tokens, the model's "
                        f"context {self._backbone.context}"
                    )
                self._backbone.counts.prompt_tokens_asked += reply.length
                made.append(reply)
            return made

        return await self._submit(_Request(ticket, begin))

    def close(self) -> None:
        """Ends the worker; requests that are not done fail with `EngineError`."""
        for request in self._inbox.close():
            request.ticket.fail(EngineError("the engine was closed"))
        if self._worker is not None and self._worker is not threading.current_thread():
            self._worker.join()

    async def aclose(self) -> None:
        """The same from a coroutine."""
        await asyncio.to_thread(self.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _submit(self, request: _Request) -> list[Any]:
        if not self._inbox.put(request):
            raise EngineError("the engine is closed")
        with self._starting:
            if self._worker is None:
                self._worker = threading.Thread(
                    target=self._work, name=f"engine-{self._name}", daemon=True
                )
                self._worker.start()
        return await asyncio.wrap_future(request.ticket.future)

    def _placed(self, prompt: Prompt) -> Placed:
        encoded = self._encoder.encode(prompt)
        return Placed(encoded, self._encoder.pixels(encoded.images) if encoded.images else {})

    def _work(self) -> None:
        # Denormals slow a CPU down by an order of magnitude; the setting is the thread's own.
        torch.set_flush_denormal(True)
        with torch.inference_mode():
            while requests := self._inbox.take():
                self._drain(requests)

    def _drain(self, requests: Sequence[_Request]) -> None:
        rows: list[Row] = []
        replies: list[Reply] = []
        for request in requests:
            if not request.ticket.wanted:
                continue
            try:
                for piece in request.begin():
                    if isinstance(piece, Row):
                        rows.append(piece)
                    else:
                        replies.append(piece)
            except Exception as error:
                request.ticket.fail(error)
        for batch in cut(replies, self._budget):
            self._run(batch, self._score)
        while rows:
            left: list[Row] = []
            for row_batch in cut(rows, self._budget):
                left += self._run(row_batch, self._decode)
            rows = left

    def _score(self, replies: Sequence[Reply]) -> list[Reply]:
        score_replies(self._backbone, replies, self._recall)
        return []

    def _decode(self, rows: Sequence[Row]) -> list[Row]:
        return decode_rows(
            self._backbone, self._encoder, rows, self._ends, self._budget, self._recall
        )

    def _run(
        self, batch: Sequence[Piece], run: Callable[[Sequence[Piece]], list[Piece]]
    ) -> list[Piece]:
        """Runs a batch; what must be run again. An error stays with the request it is of."""
        todo = [w for w in batch if w.ticket.wanted and not w.ticket.is_delivered(w.place)]
        if not todo:
            return []
        # What the batch keeps itself is no room to be gained: it would keep it again.
        held = self._recall.bytes > 0
        try:
            prompts = [work.prompt for work in todo]
            self._backbone.encode_images({p.encoded.images: p.pixels for p in prompts if p.pixels})
            return run(todo)
        except Exception as error:
            roomy = ran_out(error) and self._recall.clear() and held
            parts = [todo] if roomy else parts_of(todo, error)
            if len(parts) == 1 and not roomy:
                todo[0].ticket.fail(error)
                return []
        # Outside the handler: the traceback holds the tensors that memory is needed for.
        for work in todo:
            work.restart()
        return [work for part in parts for work in self._run(part, run)]


def _bytes(shape: CacheShape, share: float) -> int:
    if shape.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(shape.device)
        return int(free * share)
    return _CPU_CACHE_BYTES
