"""The training loop of the embedded models: one stage of it, resumable at any round."""

from __future__ import annotations

import json
import math
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from vilbench.problems.puzzles.puzzle import split_of
from vilbench.training.embedded.batch import Batch, Collator, hidden_states
from vilbench.training.embedded.examples import Example
from vilbench.training.muon import Muon, split_parameters

ROUND = 8
"""Batches that are drawn together and sorted by length."""

WARM_UP = 150

_OUTSIDE = ("embed_tokens", "lm_head", "sense", "surprise")
"""Embeddings and heads, which Muon leaves to AdamW."""

EARLY = 0.5
"""Weight of what an inner layer predicts."""

SHOWN = 0.5
"""Weight of what is right of solutions in prompts, beside replies."""

MOST_NATS, UNIT_NATS = 8.0, 4.0
"""Surprise is cut off at so many nats, and counted in such units."""

Draw = Callable[[random.Random, float], Example]
"""Draws an example; the float is the share of the stage that is done, in [0, 1)."""


class Learner(torch.nn.Module):
    """A model in training, with two linear heads that are dropped in the end.

    Both read the last hidden state of every token of a solution: `sense` says whether it is right
    so far, `surprise` how unlikely the model itself held the token. They are there for what the
    model must find out to serve them, which judging needs too (decisions 006 and 007).

    Args:
        early: So many layers must know the next token too, and the layers above them are free to
            compare; with it comes the head `surprise`.
    """

    def __init__(self, model: Any, early: int | None = None) -> None:
        super().__init__()
        self.model = model
        self.early = early
        width = model.config.text_config.hidden_size
        self.sense = torch.nn.Linear(width, 1)
        self.surprise = None if early is None else torch.nn.Linear(width, 1)

    def hidden(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
        """States `[B, T, W]` of the last layer and of the inner one, both normalized."""
        if self.early is None:
            return hidden_states(self.model, batch), None
        decoder = self.model.model.language_model
        inner: list[torch.Tensor] = []
        layer = decoder.layers[self.early - 1]
        hook = layer.register_forward_hook(lambda _module, _inputs, out: inner.append(out))
        try:
            last = hidden_states(self.model, batch)
        finally:
            hook.remove()
        return last, decoder.norm(inner[0])


class Plan(NamedTuple):
    """One stage of training.

    Attributes:
        name: Names its files and its random streams.
        steps: Optimizer steps, a multiple of `ROUND`.
        batch_size: Examples per step.
        rates: Learning rate at the beginning and at the end, a cosine between them.
        warm_up: Whether the rate rises from zero at first.
    """

    name: str
    steps: int
    batch_size: int
    rates: tuple[float, float]
    warm_up: bool


def learning_rate(plan: Plan, step: int) -> float:
    """Rate of a step."""
    first, last = plan.rates
    rate = last + (first - last) * 0.5 * (1 + math.cos(math.pi * step / plan.steps))
    return rate * min(1.0, (step + 1) / WARM_UP) if plan.warm_up else rate


def train(
    learner: Learner,
    processor: Any,
    plan: Plan,
    draw: Draw,
    folder: Path,
    say: Callable[[str], None],
    save_every: int = 25,
) -> set[str]:
    """Trains `learner` in place; returns the content keys of every example seen.

    State is kept in `folder` every `save_every` rounds and taken up again from there: the
    stream of a round depends on the plan's name and the round alone, so a resumed training
    sees what an uninterrupted one would have seen.

    Raises:
        ValueError: The plan's steps are no multiple of `ROUND`.
        AssertionError: An example is not of the train split.
    """
    if plan.steps % ROUND:
        raise ValueError(f"'{plan.name}' has {plan.steps} steps, no multiple of {ROUND}")
    folder.mkdir(parents=True, exist_ok=True)
    collator = Collator(processor)
    matrices, rest = split_parameters(learner, outside=_OUTSIDE)
    muon = Muon(matrices)
    adam = torch.optim.AdamW(rest.values(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.0)
    state = folder / f"{plan.name}.state.safetensors"
    first = _restore(state, learner, muon, adam, rest)
    record = folder / f"{plan.name}.seen"
    if first == plan.steps // ROUND and record.exists():
        return set(record.read_text(encoding="ascii").split())
    seen: set[str] = set()
    learner.train()
    losses: dict[str, list[float]] = defaultdict(list)
    began, sequences = time.perf_counter(), 0
    for number in range(plan.steps // ROUND):
        rng = random.Random(f"{plan.name}/{number}")
        share = number * ROUND / plan.steps
        examples = [draw(rng, share) for _ in range(ROUND * plan.batch_size)]
        for example in examples:
            if split_of(example.content) != "train":
                raise AssertionError(f"an example of another split: {example.prompt}")
        seen.update(example.content for example in examples)
        if number < first:
            continue
        for place, batch in enumerate(_batches(examples, plan.batch_size, collator, rng)):
            step = number * ROUND + place
            loss = _step(learner, batch, muon, adam, learning_rate(plan, step))
            sequences += plan.batch_size
            for task, value in zip(batch.tasks, loss.reply, strict=True):
                if not math.isnan(value):
                    losses[task].append(value)
            losses["sense"].append(loss.sense)
            losses["surprise"].append(loss.surprise)
        if number % 5 == 4:
            speed = sequences / (time.perf_counter() - began)
            said = {task: round(sum(v[-100:]) / len(v[-100:]), 2) for task, v in losses.items()}
            words = json.dumps(dict(sorted(said.items())))
            say(f"{plan.name} step {(number + 1) * ROUND}/{plan.steps} {speed:.0f} seq/s {words}")
        if number % save_every == save_every - 1:
            _keep(state, learner, muon, adam, rest, number + 1)
    record.write_text("\n".join(sorted(seen)), encoding="ascii")
    _keep(state, learner, muon, adam, rest, plan.steps // ROUND)
    return seen


def _batches(
    examples: Sequence[Example], size: int, collator: Collator, rng: random.Random
) -> list[Batch]:
    ordered = sorted(examples, key=lambda e: len(str(e.prompt.parts[-1])) + len(e.reply))
    groups = [ordered[start : start + size] for start in range(0, len(ordered), size)]
    rng.shuffle(groups)
    return [collator.collate(group) for group in groups]


class _Loss(NamedTuple):
    """Each row's loss in nats per reply, and the means of the heads per token.

    Attributes:
        reply: NaN where nothing of the reply is learnt.
        surprise: Squared error as a share of the variance.
    """

    reply: list[float]
    sense: float
    surprise: float


def _step(
    learner: Learner, batch: Batch, muon: Muon, adam: torch.optim.AdamW, rate: float
) -> _Loss:
    """One update."""
    hidden, early = learner.hidden(batch)
    losses = _token_losses(learner, hidden, batch, batch.learn)
    total = losses.mean()
    if batch.shown.any():
        total = total + SHOWN * _token_losses(learner, hidden, batch, batch.shown).mean()
    if early is not None:
        total = total + EARLY * _token_losses(learner, early, batch, batch.learn).mean()
    known = ~batch.values.isnan()
    sense = surprise = total.new_zeros(())
    if known.any():
        said = learner.sense(hidden[known])[:, 0]
        sense = torch.nn.functional.binary_cross_entropy_with_logits(said, batch.values[known])
        total = total + sense
    if learner.surprise is not None and batch.said.any():
        with torch.no_grad():
            nats = _token_losses(learner, hidden, batch, batch.said)
        target = nats.clamp(max=MOST_NATS) / UNIT_NATS
        surprise = (learner.surprise(hidden[batch.said])[:, 0] - target).square().mean()
        total = total + surprise
        surprise = surprise / target.var()
    total.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
    for group in adam.param_groups:
        group["lr"] = rate
    adam.step()
    muon.step(rate)
    learner.zero_grad()
    learn = batch.learn[:, 1:]
    rows = torch.arange(len(batch.tasks))[:, None].expand_as(learn)[learn]
    sums = torch.zeros(len(batch.tasks)).index_add(0, rows, losses.detach())
    sums[~learn.any(1)] = math.nan
    return _Loss(sums.tolist(), float(sense.detach()), float(surprise.detach()))


def _token_losses(
    learner: Learner, hidden: torch.Tensor, batch: Batch, where: torch.Tensor
) -> torch.Tensor:
    """Negative log-likelihoods in nats of the tokens at `where`, `[B, T]`, none in column 0."""
    logits = learner.model.lm_head(hidden[:, :-1][where[:, 1:]])
    return torch.nn.functional.cross_entropy(logits, batch.ids[where], reduction="none")


def _keep(
    path: Path,
    learner: Learner,
    muon: Muon,
    adam: torch.optim.AdamW,
    rest: dict[str, torch.nn.Parameter],
    rounds: int,
) -> None:
    tensors = {f"learner/{name}": p.detach() for name, p in learner.named_parameters()}
    tensors |= {f"muon/{name}": buffer for name, buffer in muon.buffers.items()}
    for name, parameter in rest.items():
        for key, value in adam.state[parameter].items():
            tensors[f"adam/{key}/{name}"] = value
    part = path.with_suffix(".part")
    save_file(
        {k: v.contiguous().clone() for k, v in tensors.items()}, part, {"rounds": str(rounds)}
    )
    part.replace(path)


def _restore(
    path: Path,
    learner: Learner,
    muon: Muon,
    adam: torch.optim.AdamW,
    rest: dict[str, torch.nn.Parameter],
) -> int:
    """Rounds that were done already; 0 without a kept state."""
    if not path.exists():
        return 0
    with safe_open(path, "pt") as file:
        rounds = int(file.metadata()["rounds"])
    tensors = load_file(path)
    with torch.no_grad():
        for name, parameter in learner.named_parameters():
            parameter.copy_(tensors[f"learner/{name}"])
        for name, buffer in muon.buffers.items():
            buffer.copy_(tensors[f"muon/{name}"])
    for name, parameter in rest.items():
        if f"adam/step/{name}" in tensors:  # the head has no state before the first solution
            adam.state[parameter] = {
                key: tensors[f"adam/{key}/{name}"] for key in ("step", "exp_avg", "exp_avg_sq")
            }
    return rounds
