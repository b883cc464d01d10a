"""The keys of a training recipe; the paper's setting is the default.

The paper (arXiv 2503.20271): mean squared error on the values, 2 epochs, all parameters, one
linear head. It does not publish learning rate, batch size or label scale; those are ours.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from vilbench.steps import FormatName
from vilbench.training.rows import ValueRange
from vilbench.types import Number, Record, Whole


class DataConfig(Record):
    """What is learnt from.

    Attributes:
        train: A `.jsonl` or `.parquet` file, relative to the current folder.
        dev: Such a file to select by; without it, a share of the groups of `train`.
        dev_share: Share of the groups that are kept for selection where there is no `dev`.
        kind: "rows" is ours, see `training.rows`; the others are public sets.
        images: Folder of the images; that of the file by default.
        max_bad: Share of rows that may be set aside.
        limit: Most rows of each file.
    """

    train: str
    dev: str | None = None
    dev_share: Number = Field(default=0.0, ge=0, lt=1)
    kind: Literal["rows", "vilreward", "visualprm", "trl"] = "rows"
    images: str | None = None
    max_bad: Number = Field(default=0.0, ge=0, le=1)
    limit: Whole | None = Field(default=None, ge=1)


class LossConfig(Record):
    """What is minimized: a weighted sum of means.

    Attributes:
        kind: On the values at step ends and marks: squared error, or binary cross-entropy
            with the value as probability (soft labels).
        hard_at: For "bce": labels from here on count as the highest value, the others as the
            lowest; None keeps soft labels.
        dense: Weight of the same loss at marked tokens.
        rank: Weight of `softplus(worse - better)` over pairs of siblings by their last value.
        language: Weight of the language-model loss.
        surprise: Weight of the squared error of a second linear head, dropped in the end, that
            says at every token of a solution how surprising it was to the model itself:
            negative log-probability, at most 8 nats, in units of 4. A likelihood tells right
            from wrong before any label does; the head makes the model carry it along.
        language_on: Its tokens: of whole solutions whose labelled steps are all right (above the
            middle of the range), or of every solution up to its first fault. A step without
            a label is right for the first and a fault for the second: label every row whole.
    """

    kind: Literal["mse", "bce"] = "mse"
    hard_at: Number | None = None
    dense: Number = Field(default=0.0, ge=0)
    rank: Number = Field(default=0.0, ge=0)
    language: Number = Field(default=0.0, ge=0)
    surprise: Number = Field(default=0.0, ge=0)
    language_on: Literal["correct-solutions", "correct-prefix"] = "correct-solutions"

    @model_validator(mode="after")
    def _hard_is_of_bce(self) -> LossConfig:
        if self.hard_at is not None and self.kind != "bce":
            raise ValueError("'hard_at' is for the loss 'bce'")
        return self


class LoraConfig(Record):
    """Low-rank adapters by peft, merged into the backbone when it is saved."""

    rank: Whole = Field(default=16, ge=1)
    alpha: Whole = Field(default=32, ge=1)
    dropout: Number = Field(default=0.0, ge=0, lt=1)
    targets: tuple[str, ...] = (
        *("q_proj", "k_proj", "v_proj", "o_proj"),
        *("gate_proj", "up_proj", "down_proj"),
    )


class OptimizerConfig(Record):
    """How parameters move.

    Attributes:
        kind: "muon" takes matrices by Muon, the rest by AdamW, at one learning rate.
        learning_rate: Highest.
        schedule: From the end of the warm-up on.
        floor: Where the schedule ends, as a share of the learning rate.
        warmup: Steps of the rise from zero; below 1 a share of all steps.
        head_rate: The head's learning rate is this many times the others'.
    """

    kind: Literal["adamw", "muon"] = "adamw"
    learning_rate: Number = Field(default=1e-5, gt=0)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    floor: Number = Field(default=0.0, ge=0, le=1)
    warmup: Number = Field(default=0.03, ge=0)
    weight_decay: Number = Field(default=0.0, ge=0)
    betas: tuple[Number, Number] = (0.9, 0.98)
    momentum: Number = Field(default=0.95, ge=0, lt=1)
    max_grad_norm: Number = Field(default=1.0, ge=0)
    head_rate: Number = Field(default=1.0, gt=0)


class BatchConfig(Record):
    """How solutions come together.

    Attributes:
        solutions: Of one update on one device, about; groups stay whole.
        siblings: Most solutions of a group in one row.
        tokens: Most tokens of a forward, pads included, a single row excepted.
        accumulate: Forwards per update; `solutions` and `tokens` are of each.
        layout: "siblings" computes question and images once for all solutions of a group,
            "solutions" once for each.
    """

    solutions: Whole = Field(default=32, ge=1)
    siblings: Whole = Field(default=16, ge=1)
    tokens: Whole = Field(default=32_768, ge=1)
    accumulate: Whole = Field(default=1, ge=1)
    layout: Literal["siblings", "solutions"] = "siblings"


class SelectConfig(Record):
    """Which state is kept: the best by a metric of the dev rows, the last without any.

    Attributes:
        metric: "mse" of labelled steps (lower is better), "auroc" of their being right,
            "within-auroc" of right against wrong solutions within groups.
        every: Steps between evaluations; one per epoch where None.
    """

    metric: Literal["mse", "auroc", "within-auroc"] = "mse"
    every: Whole | None = Field(default=None, ge=1)


class TrainRecipe(Record):
    """One training.

    Attributes:
        model: Backbone: a folder, or one that ships (`embedded:base`); or a reward model to go
            on with, whose head is kept.
        format: How the model is asked for steps; part of the saved reward model.
        step_token: Ends a step; the tokenizer's end token where None.
        value_range: What labels may be; the highest is "right".
        parameters: Which of them move; "lora" and "head" leave the backbone's own.
        freeze_vision: The vision tower stays as it is.
        head_seed: Of a new head.
        fit_head: A new head is first fitted to the labels of so many batches by least squares,
            the backbone standing still (in its own precision, `rank` left out); for the loss "mse".
        precision: "bf16" computes so under autocast; parameters stay in float32.
        store: Precision of the saved reward model.
        checkpointing: Computes activations anew in the backward pass, to save memory.
        max_tokens: Most tokens of question and solution.
        overflow: What is done about more.
        save_every: Steps between checkpoints.
        keep: Checkpoints that are kept.
        log_every: Steps between lines of the log.
        workers: Processes that read images beside the training.
    """

    name: str = Field(min_length=1)
    seed: Whole = Field(default=0, ge=0)
    model: str
    format: FormatName = "steps"
    step_token: str | None = None
    value_range: tuple[Number, Number] = (0.0, 1.0)
    head_bias: bool = False
    head_seed: Whole = Field(default=0, ge=0)
    fit_head: Whole = Field(default=0, ge=0)
    data: DataConfig
    loss: LossConfig = LossConfig()
    parameters: Literal["all", "lora", "head"] = "all"
    freeze_vision: bool = False
    lora: LoraConfig = LoraConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    batch: BatchConfig = BatchConfig()
    select: SelectConfig = SelectConfig()
    epochs: Whole = Field(default=2, ge=1)
    steps: Whole | None = Field(default=None, ge=1)
    precision: Literal["float32", "bf16"] = "float32"
    store: Literal["float32", "bfloat16"] = "float32"
    checkpointing: bool = False
    max_tokens: Whole | None = Field(default=None, ge=1)
    overflow: Literal["error", "drop-early"] = "error"
    save_every: Whole = Field(default=500, ge=1)
    keep: Whole = Field(default=2, ge=1)
    log_every: Whole = Field(default=1, ge=1)
    workers: Whole = Field(default=0, ge=0)

    @field_validator("value_range")
    @classmethod
    def _rising(cls, span: tuple[float, float]) -> tuple[float, float]:
        if not span[0] < span[1]:
            raise ValueError("the first must be less than the second")
        return span

    @model_validator(mode="after")
    def _probabilities(self) -> TrainRecipe:
        if self.loss.kind == "bce" and self.value_range != (0.0, 1.0):
            raise ValueError("the loss 'bce' needs the value range [0, 1]")
        return self

    @model_validator(mode="after")
    def _fitted_by_squares(self) -> TrainRecipe:
        if self.fit_head and self.loss.kind != "mse":
            raise ValueError("'fit_head' is for the loss 'mse'")
        return self

    @model_validator(mode="after")
    def _whole_logs(self) -> TrainRecipe:
        if self.save_every % self.log_every:
            raise ValueError("'save_every' must be a multiple of 'log_every'")
        return self

    @property
    def span(self) -> ValueRange:
        """The value range."""
        return ValueRange(*self.value_range)

    def identity(self) -> dict[str, JsonValue]:
        """What changes the outcome, for the training's fingerprint."""
        data: dict[str, JsonValue] = self.model_dump(mode="json")
        return {key: value for key, value in data.items() if key not in _NO_EFFECT}


_NO_EFFECT = ("name", "save_every", "keep", "log_every", "workers")
"""Keys that change nothing of what is learnt: a training may go on with others."""
