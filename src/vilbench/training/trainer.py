"""transformers' Trainer with our batches, exact means, dev selection and pickle-free state."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback, TrainerCallback

from vilbench.errors import EngineError, RecipeError
from vilbench.training import state
from vilbench.training.batch import Batch, Collator
from vilbench.training.encoding import Floats, Siblings
from vilbench.training.learner import Learner
from vilbench.training.loss import Sums
from vilbench.training.measure import Measured, measure
from vilbench.training.optimizer import make_optimizer, schedule
from vilbench.training.order import Order
from vilbench.training.recipe import TrainRecipe
from vilbench.training.rows import TrainingRow

_PARTS = ("ends", "marks", "rank", "language", "surprise")


class Material(NamedTuple):
    """What is trained on, and selected by.

    Attributes:
        train: Siblings to learn from.
        order: Their batches.
        dev_rows: Rows to select by; may be none.
        dev: The same as siblings.
        dev_order: Their batches.
        collator: Lays out both.
    """

    train: tuple[Siblings, ...]
    order: Order
    dev_rows: tuple[TrainingRow, ...]
    dev: tuple[Siblings, ...]
    dev_order: Order | None
    collator: Collator


class Best(NamedTuple):
    """The state that was best by the dev rows so far."""

    step: int
    value: float


class _Items(Dataset[Siblings]):
    def __init__(self, items: Sequence[Siblings]) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, place: int) -> Siblings:
        return self._items[place]


class _Times(TrainerCallback):  # type: ignore[misc] # transformers is untyped here
    """Says when to evaluate and when to save: at the end too."""

    def __init__(self, recipe: TrainRecipe, epoch_ends: frozenset[int]) -> None:
        self._recipe = recipe
        self._epoch_ends = epoch_ends

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        step, every = state.global_step, self._recipe.select.every
        last = step == state.max_steps
        due = step in self._epoch_ends if every is None else step % every == 0
        control.should_evaluate = due or last
        control.should_save = step % self._recipe.save_every == 0 or last


class RewardTrainer(Trainer):  # type: ignore[misc] # transformers is untyped here
    """Trains a `Learner`.

    Everything that a resumed training needs is in `folder / "checkpoints"`, the weights that
    were best by the dev rows in `folder / "best"`.

    Args:
        learner: The model with its loss.
        recipe: What to do.
        material: What to do it with.
        folder: Of this training.
        log: Takes a step and its figures, on the first process.
    """

    def __init__(
        self,
        learner: Learner,
        recipe: TrainRecipe,
        material: Material,
        folder: Path,
        log: Callable[[int, dict[str, float]], None],
    ) -> None:
        self._learner = learner
        self._recipe = recipe
        self._material = material
        self._folder = folder
        self._log = log
        self._sums = torch.zeros(len(_PARTS))
        self._work = np.zeros(2)
        self.best: Best | None = None
        self.optimizer: Any
        self.lr_scheduler: Any
        super().__init__(
            model=learner,
            args=arguments(recipe, material, folder),
            train_dataset=_Items(material.train),
            data_collator=material.collator,
        )
        self.loss_is_scaled_for_ga = True
        if self.is_fsdp_enabled:
            _check_sharding(recipe, self.accelerator.state.fsdp_plugin)
        for kind in (PrinterCallback, ProgressCallback):
            self.remove_callback(kind)
        self.add_callback(_Times(recipe, self._epoch_ends()))

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches in the order that was drawn at the beginning."""
        loader = DataLoader(
            self.train_dataset,
            batch_sampler=self._material.order,
            collate_fn=self._material.collator,
            num_workers=self._recipe.workers,
        )
        prepared: DataLoader[Any] = self.accelerator.prepare(loader)
        return prepared

    def get_batch_samples(
        self, epoch_iterator: Any, num_batches: int, device: torch.device
    ) -> tuple[list[Batch], Tensor]:
        """Batches of one update, and the counts of their labels over all processes."""
        batches = [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)]
        counts = torch.stack([batch.counts() for batch in batches]).sum(0).to(device)
        if self.args.world_size > 1:
            counts = self.accelerator.reduce(counts, "sum")
        for batch in batches:
            self._work += (batch.solutions, batch.tokens)
        return batches, counts

    def _prepare_inputs(self, inputs: Batch) -> Batch:
        return inputs.to(self.args.device)

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted."""
        return 0

    def compute_loss(
        self,
        model: Any,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Any:
        """This forward's part of the update's loss."""
        sums: Sums = model(inputs)
        counts = inputs.counts() if num_items_in_batch is None else num_items_in_batch
        counts = counts.to(sums.ends.device)
        with torch.no_grad():
            parts = torch.stack([part.detach().float() for part in sums[: len(_PARTS)]])
            self._sums += (parts / counts.clamp(min=1)).cpu()
        # The wrapper averages gradients over processes; the counts are of all of them.
        return self._learner.objective.total(sums, counts) * self.args.world_size

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """By the recipe."""
        if self.optimizer is None:
            named = (self.model if model is None else model).named_parameters()
            self.optimizer = make_optimizer(named, self._recipe.optimizer)
        made: torch.optim.Optimizer = self.optimizer
        return made

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> LambdaLR:
        """By the recipe."""
        if self.lr_scheduler is None:
            share = schedule(self._recipe.optimizer, num_training_steps)
            self.lr_scheduler = LambdaLR(optimizer or self.optimizer, share)
            self._created_lr_scheduler = True
        made: LambdaLR = self.lr_scheduler
        return made

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Figures of the steps since the last line."""
        self.control.should_log = False
        if "loss" not in logs:
            return
        steps = self._recipe.log_every
        sums, work = self._sums, torch.from_numpy(self._work)
        if self.args.world_size > 1:
            sums, work = (
                self.accelerator.reduce(one.to(self.args.device), "sum").cpu()
                for one in (sums, work)
            )
        if not math.isfinite(logs["loss"]):
            raise EngineError(f"the loss is {logs['loss']} at step {self.state.global_step}")
        means = zip(_PARTS, (sums / steps).tolist(), strict=True)
        logs.update((name, value) for name, value in means if value)
        logs["epoch"] = self._epoch()
        logs["solutions"], logs["tokens"] = work.tolist()
        self._sums.zero_()
        self._work[:] = 0
        if self.is_world_process_zero():
            self._log(self.state.global_step, logs)

    def _epoch_ends(self) -> frozenset[int]:
        """Steps that end an epoch."""
        batches = self._recipe.batch.accumulate * self.args.world_size
        return frozenset(math.ceil(first / batches) for first in self._material.order.first[1:])

    def _epoch(self) -> float:
        done = self.state.global_step * self._recipe.batch.accumulate * self.args.world_size
        return round(self._material.order.epoch(done), 6)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Measures on the dev rows, and keeps the weights when they are the best so far."""
        self.control.should_evaluate = False
        if not self._material.dev:
            return {}
        measured = self.measure()
        figures = {
            f"dev_{name}": float(value)
            for name, value in measured._asdict().items()
            if value is not None
        }
        value = measured.value(self._recipe.select.metric)
        if value is not None and (self.best is None or value > self.best.value):
            self.best = Best(self.state.global_step, value)
            first = self.is_world_process_zero()
            with state.appearing(
                self._folder / "best", first, self.accelerator.wait_for_everyone
            ) as folder:
                state.write_weights(folder, self.model, first=first)
        if self.is_world_process_zero():
            self._log(self.state.global_step, {**figures, "epoch": self._epoch()})
        return figures

    def measure(self) -> Measured:
        """Metrics on the dev rows, every process taking its part of the batches."""
        material = self._material
        assert material.dev_order is not None  # noqa: S101 - there are dev rows
        model = self.model_wrapped
        was_training = model.training
        model.eval()
        batches, world = material.dev_order.batches, self.args.world_size
        found: list[tuple[list[int], list[float]]] = []
        for start in range(0, len(batches), world):
            # All processes must run as many forwards: some run one for nothing.
            number = start + self.args.process_index
            chosen = batches[min(number, len(batches) - 1)]
            batch = material.collator([material.dev[k] for k in chosen])
            with torch.no_grad(), self.compute_loss_context_manager():
                sums: Sums = model(batch.to(self.args.device))
            if number < len(batches):
                found.append((batch.rows.tolist(), sums.values.float().cpu().tolist()))
        model.train(was_training)
        if world > 1:
            parts: list[Any] = [None] * world
            torch.distributed.all_gather_object(parts, found)
            found = [one for part in parts for one in part]
        scores: list[list[float]] = [[] for _ in material.dev_rows]
        for rows, values in found:
            for row, value in zip(rows, values, strict=True):
                scores[row].append(value)
        arrays: list[Floats] = [np.array(one, np.float32) for one in scores]
        return measure(material.dev_rows, self._learner.objective.read(arrays), self._recipe.span)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        step = self.state.global_step
        path = self._folder / "checkpoints" / f"checkpoint-{step}"
        first = self.is_world_process_zero()
        with state.appearing(path, first, self.accelerator.wait_for_everyone) as folder:
            state.write_weights(folder, self.model, first=first)
            state.write_optimizer(folder, self.model, self._plain_optimizer(), first=first)
            if first:
                state.write_progress(
                    folder, {"schedule": self.lr_scheduler.state_dict(), "best": self.best}
                )
                self.state.log_history = []
                self.state.save_to_json(str(folder / "trainer_state.json"))
            state.write_random(folder, self.args.process_index)
        if first:
            state.drop_old(path.parent, self._recipe.keep)

    def _plain_optimizer(self) -> torch.optim.Optimizer:
        optimizer: torch.optim.Optimizer = getattr(self.optimizer, "optimizer", self.optimizer)
        return optimizer

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        state.read_weights(Path(resume_from_checkpoint), self.model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        folder = Path(checkpoint)
        state.read_optimizer(folder, self.model, self._plain_optimizer())
        progress = state.read_progress(folder)
        schedule_state = progress["schedule"]
        self.lr_scheduler.load_state_dict(schedule_state)
        for group, rate in zip(
            self._plain_optimizer().param_groups, schedule_state["_last_lr"], strict=True
        ):
            group["lr"] = rate
        self.best = Best(*progress["best"]) if progress["best"] else None

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            state.read_random(Path(checkpoint), self.args.process_index)

    def _load_scaler(self, checkpoint: str | None) -> None:
        """There is none: bf16 needs no loss scaling."""


def _check_sharding(recipe: TrainRecipe, plugin: Any) -> None:
    """Refuses what cannot be trained with sharded parameters.

    Raises:
        RecipeError: FSDP 1, whose parameters have no names of their own, or Muon, which needs
            whole matrices.
    """
    if getattr(plugin, "fsdp_version", 1) != 2:
        raise RecipeError("sharding needs FSDP 2: set 'fsdp_version: 2'", field="fsdp_version")
    if recipe.optimizer.kind == "muon":
        raise RecipeError("'muon' needs whole matrices: use 'adamw'", field="optimizer.kind")


def arguments(recipe: TrainRecipe, material: Material, folder: Path) -> TrainingArguments:
    """What transformers is told; when to save and to evaluate is told by `_Times`."""
    pictureless = any(not one.images for one in material.train)
    made = TrainingArguments(
        output_dir=str(folder / "checkpoints"),
        num_train_epochs=1,  # the order holds the batches of all epochs
        per_device_train_batch_size=1,
        gradient_accumulation_steps=recipe.batch.accumulate,
        max_grad_norm=recipe.optimizer.max_grad_norm,
        seed=recipe.seed,
        bf16=recipe.precision == "bf16",
        use_cpu=not torch.cuda.is_available(),
        logging_strategy="steps",
        logging_steps=recipe.log_every,
        logging_nan_inf_filter=False,
        save_strategy="no",
        eval_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        ddp_find_unused_parameters=pictureless,
    )
    # One process is one device: no threads over the devices of a machine.
    made._n_gpu = min(1, made.n_gpu)
    return made
