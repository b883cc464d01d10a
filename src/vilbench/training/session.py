"""One training from a recipe to a folder with a reward model."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from vilbench.backbone.model import Backbone
from vilbench.backbone.tokens import PromptEncoder
from vilbench.backbone.vision import batch_windows
from vilbench.embedded import PREFIX, model_folder
from vilbench.errors import InputError, RecipeError
from vilbench.prm import folder as prm_folder
from vilbench.prm.folder import LoadedPrm
from vilbench.steps import FORMATS
from vilbench.training import probe, state
from vilbench.training.batch import Batch, Collator
from vilbench.training.data import TrainingSet, load
from vilbench.training.encoding import Encoding
from vilbench.training.forward import check_family, sibling_attention
from vilbench.training.journal import Journal
from vilbench.training.learner import Learner
from vilbench.training.loss import Objective
from vilbench.training.manifest import RESULT, TrainManifest, begin, check, versions
from vilbench.training.order import Order
from vilbench.training.parameters import choose, merged
from vilbench.training.recipe import TrainRecipe
from vilbench.training.rows import TrainingRow
from vilbench.training.trainer import Material, RewardTrainer


class Outcome(NamedTuple):
    """A training that is done.

    Attributes:
        folder: Of the reward model.
        steps: Updates.
        best_step: The one whose weights were kept.
        rejected: Rows that were set aside.
    """

    folder: Path
    steps: int
    best_step: int
    rejected: tuple[InputError, ...]


def train(
    recipe: TrainRecipe,
    out: Path,
    *,
    fresh: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Trains, or goes on with a training, and writes the reward model.

    Args:
        recipe: What to do.
        out: Folder of the training.
        fresh: Start over instead of going on.
        say: Takes lines for the user.

    Raises:
        InputError: A row, an image or the checkpoint cannot be used; before any step.
        RunMismatchError: The folder holds the training of another recipe.
    """
    _quiet()
    if _rank():
        say = _say_nothing
    train_set, dev_set = _read(recipe)
    rows, dev_rows = _split(train_set, dev_set, recipe)
    for one in (train_set, dev_set):
        for error in one.rejected[:5] if one else ():
            say(f"set aside: {error}")
    # The tensors of a new head come from its own seed; this one is for dropout and the like.
    torch.manual_seed(recipe.seed)
    loaded = _load(recipe)
    batch_windows(loaded.model.backbone)
    with sibling_attention(loaded.model.backbone):
        return _train(recipe, out, fresh, say, loaded, (train_set, dev_set), rows, dev_rows)


def _train(
    recipe: TrainRecipe,
    out: Path,
    fresh: bool,
    say: Callable[[str], None],
    loaded: LoadedPrm,
    sets: tuple[TrainingSet, TrainingSet | None],
    rows: Sequence[TrainingRow],
    dev_rows: Sequence[TrainingRow],
) -> Outcome:
    material = _material(recipe, loaded, rows, dev_rows)
    _check_forward(loaded, material)
    manifest = _manifest(recipe, material, sets, rows, dev_rows, loaded)
    first = _rank() == 0
    if not fresh:
        check(out, manifest)
    _meet()
    if first:
        begin(out, manifest, fresh=fresh)
    _meet()
    objective = Objective(recipe.loss, recipe.span)
    learner = Learner(loaded.model, objective, frozen_vision=recipe.freeze_vision)
    choose(learner, recipe)
    found = state.checkpoints(out / "checkpoints")
    step = state.step_of(found[-1]) if found else 0
    journal = Journal(out, step, say) if first else None
    if recipe.fit_head and not found:
        count = probe.fit(learner, _first_batches(material, recipe.fit_head, loaded))
        say(f"head fitted to {count} labels")
    trainer = RewardTrainer(
        learner, recipe, material, out, journal.log if journal else lambda step, figures: None
    )
    say(
        f"{len(rows)} solutions in {len(material.train)} rows of siblings, "
        f"{len(material.order)} batches, from step {step}"
    )
    trainer.train(resume_from_checkpoint=str(found[-1]) if found else None)
    if journal:
        journal.close()
    best = trainer.best.step if trainer.best else trainer.state.global_step
    if trainer.best:
        state.read_weights(out / "best", trainer.model)
    reward = merged(learner.reward)
    tensors = state.gathered(reward)
    if first:
        config = loaded.config.model_copy(update={"training": manifest.fingerprint})
        partial = out / f"{RESULT}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        prm_folder.save(
            reward,
            loaded.processor,
            config,
            partial,
            state=tensors,
            dtype=torch.bfloat16 if recipe.store == "bfloat16" else None,
        )
        shutil.rmtree(out / RESULT, ignore_errors=True)
        partial.replace(out / RESULT)
    rejected = tuple(error for one in sets if one for error in one.rejected)
    if rejected:
        say(f"{len(rejected)} rows were set aside")
    say(f"reward model: {out / RESULT} (step {best} of {trainer.state.global_step})")
    return Outcome(out / RESULT, trainer.state.global_step, best, rejected)


def _read(recipe: TrainRecipe) -> tuple[TrainingSet, TrainingSet | None]:
    data = recipe.data

    def read(file: str) -> TrainingSet:
        return load(
            Path(file),
            recipe.span,
            kind=data.kind,
            folder=Path(data.images) if data.images else None,
            most_bad=data.max_bad,
            limit=data.limit,
        )

    return read(data.train), read(data.dev) if data.dev else None


def _split(
    train_set: TrainingSet, dev_set: TrainingSet | None, recipe: TrainRecipe
) -> tuple[tuple[TrainingRow, ...], tuple[TrainingRow, ...]]:
    """Rows to learn from and to select by; groups stay whole."""
    rows = train_set.rows
    if dev_set is not None:
        return rows, dev_set.rows
    if not recipe.data.dev_share:
        return rows, ()
    groups = list(dict.fromkeys(row.group for row in rows))
    rng = np.random.default_rng([recipe.seed, 1])
    count = max(1, round(recipe.data.dev_share * len(groups)))
    held = {groups[k] for k in rng.permutation(len(groups))[:count].tolist()}
    if len(held) == len(groups):
        raise InputError("nothing is left to learn from", field="data.dev_share")
    return (
        tuple(row for row in rows if row.group not in held),
        tuple(row for row in rows if row.group in held),
    )


def _load(recipe: TrainRecipe) -> LoadedPrm:
    """The reward model to begin with, in float32."""
    folder = model_folder(recipe.model)
    if (folder / prm_folder.NAME).is_file():
        if recipe.fit_head:
            raise RecipeError(
                f"{recipe.model} is a reward model, whose head is kept", field="fit_head"
            )
        return prm_folder.load(folder, dtype="float32")
    return prm_folder.untrained(
        folder,
        recipe.head_seed,
        format=FORMATS[recipe.format],
        dtype="float32",
        name=recipe.model if recipe.model.startswith(PREFIX) else None,
        step_token=recipe.step_token,
        value_range=recipe.value_range,
        activation="sigmoid" if recipe.loss.kind == "bce" else "identity",
        bias=recipe.head_bias,
        max_tokens=recipe.max_tokens,
        overflow=recipe.overflow,
    )


def _material(
    recipe: TrainRecipe,
    loaded: LoadedPrm,
    rows: Sequence[TrainingRow],
    dev_rows: Sequence[TrainingRow],
) -> Material:
    encoder = PromptEncoder(loaded.processor)
    backbone = Backbone(loaded.model.backbone)
    encoding = Encoding(
        encoder, loaded.encoder(encoder), backbone, recipe.loss, recipe.span, recipe.batch.siblings
    )
    train = encoding.encode(rows)
    dev = encoding.encode(dev_rows)
    order = Order(
        train,
        recipe.batch,
        epochs=recipe.epochs,
        seed=recipe.seed,
        processes=_world(),
        steps=recipe.steps,
    )
    collator = Collator(
        encoder,
        backbone.image_id,
        loaded.processor.tokenizer.pad_token_id or 0,
        together=recipe.batch.layout == "siblings",
    )
    dev_order = Order(dev, recipe.batch, epochs=1, seed=0) if dev else None
    return Material(train, order, tuple(dev_rows), dev, dev_order, collator)


def _first_batches(material: Material, count: int, loaded: LoadedPrm) -> Iterator[Batch]:
    """The batches that training begins with, on the model's device."""
    for places in itertools.islice(material.order, count):
        batch: Batch = material.collator([material.train[place] for place in places])
        yield batch.to(loaded.model.backbone.device)


def _check_forward(loaded: LoadedPrm, material: Material) -> None:
    """Holds a row of two short solutions, with a picture if there is any, against the model's."""
    some = sorted(material.train, key=lambda one: (not one.images, one.longest))[0]
    twice = dataclasses.replace(some, solutions=(some.solutions[0],) * 2)
    collator = material.collator.grouping()
    check_family(loaded.model.backbone, collator([twice]).to(loaded.model.backbone.device))


def _manifest(
    recipe: TrainRecipe,
    material: Material,
    sets: tuple[TrainingSet, TrainingSet | None],
    rows: Sequence[TrainingRow],
    dev_rows: Sequence[TrainingRow],
    loaded: LoadedPrm,
) -> TrainManifest:
    named = zip(("train", "dev"), sets, strict=True)
    data = {name: one.digest for name, one in named if one is not None}
    order = material.order.digest()
    backbone = loaded.fingerprint
    parts: Mapping[str, Any] = {
        "recipe": recipe.identity(),
        "data": data,
        "order": order,
        "backbone": backbone,
    }
    fingerprint = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return TrainManifest(
        recipe=recipe.model_dump(mode="json"),
        fingerprint=fingerprint,
        data=data,
        order=order,
        backbone=backbone,
        rows=len(rows),
        dev_rows=len(dev_rows),
        groups=len(material.train),
        rejected=tuple(str(error) for one in sets if one for error in one.rejected),
        processes=_world(),
        versions=versions(),
    )


def _quiet() -> None:
    logging.getLogger("transformers").setLevel(logging.ERROR)
    if not torch.cuda.is_available():
        # Numbers near zero are slow on processors, and zero is as good.
        torch.set_flush_denormal(True)


def _say_nothing(line: str) -> None:
    """The first process speaks for all."""


def _processes() -> Any:
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available())


def _rank() -> int:
    return int(_processes().process_index)


def _world() -> int:
    return int(_processes().num_processes)


def _meet() -> None:
    """Waits for all processes."""
    _processes().wait_for_everyone()


def part() -> None:
    """Takes leave of the other processes, before this one ends.

    One that ended while another still held connections to it was now and then aborted.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        _meet()
        _processes().destroy_process_group()
