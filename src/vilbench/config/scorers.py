"""The keys of scorers in recipes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from vilbench.config.engine import (
    Device,
    Dtype,
    EngineConfig,
    LocalEngineConfig,
    OpenAIEngineConfig,
    PatienceConfig,
    server_address,
)
from vilbench.config.learning import LearnedConfig
from vilbench.evaluate.choice import Choice
from vilbench.evaluate.pools import Scale, ScorerPlan
from vilbench.scorers.judge import HIGHEST, LOWEST, PROMPTS
from vilbench.steps import FormatName
from vilbench.types import Granularity, Number, Record, Whole


class JudgeConfig(Record):
    """A generative judge, as ORM ("solution") or PRM ("step")."""

    kind: Literal["judge"] = "judge"
    name: str
    engine: EngineConfig
    granularity: Granularity
    prompt: str = "rubric"
    expectation: bool = True
    aggregations: tuple[str, ...] = (
        *("mean", "min", "product"),
        *("last-1", "last-2", "last-3", "last-4"),
    )
    votes: str = "mean"
    chosen: Choice | None = None
    learned: LearnedConfig = None

    @field_validator("prompt")
    @classmethod
    def _known_prompt(cls, name: str) -> str:
        if name not in PROMPTS:
            raise ValueError(f"'{name}' is none of {', '.join(PROMPTS)}")
        return name

    @model_validator(mode="after")
    def _can_be_analysed(self) -> JudgeConfig:
        self.plan()
        return self

    def plan(self) -> ScorerPlan:
        """How it enters the analysis."""
        scale = Scale(LOWEST, HIGHEST)
        return ScorerPlan(
            self.name,
            self.granularity,
            scale,
            self.aggregations,
            self.votes,
            self.chosen,
            self.learned,
        )


class LikelihoodConfig(Record):
    """Mean token log-probability of each step under a model."""

    kind: Literal["likelihood"] = "likelihood"
    name: str = "likelihood"
    engine: LocalEngineConfig
    format: FormatName = "steps"
    aggregations: tuple[str, ...] = ("mean", "last-1", "last-2", "last-3", "last-4")
    votes: str = "mean"
    chosen: Choice | None = None
    learned: LearnedConfig = None

    @model_validator(mode="after")
    def _can_be_analysed(self) -> LikelihoodConfig:
        self.plan()
        return self

    def plan(self) -> ScorerPlan:
        """How it enters the analysis."""
        given = (self.aggregations, self.votes, self.chosen, self.learned)
        return ScorerPlan(self.name, "step", None, *given)


class PrmScorerConfig(Record):
    """A trained process reward model, or a backbone with a random head beside it.

    Attributes:
        model: Its folder, or one that ships (`embedded:vilprm`); the backbone's where it is
            untrained.
        way: How candidates are scored; the values are the same but for rounding.
        recall: Whether keys and values of steps are kept for candidates that begin like earlier
            ones, in the way "tree"; searches do so unless told otherwise.
        untrained: Take `model` as a backbone and draw a head: the untrained counterpart.
        head_seed: Draws that head; 0 when not given.
        format: Step format of an untrained one, "steps" when not given; a trained one brings
            its own.
        value_range: Bounds of the labels; what lies beyond counts as the bound where a
            product is taken.
    """

    kind: Literal["prm"] = "prm"
    name: str = "prm"
    model: str
    dtype: Dtype = "auto"
    device: Device = "auto"
    max_batch_tokens: Whole | None = Field(default=None, ge=1)
    way: Literal["per-prefix", "per-candidate", "shared", "tree"] = "tree"
    recall: bool = False
    untrained: bool = False
    head_seed: Whole | None = Field(default=None, ge=0)
    format: FormatName | None = None
    value_range: tuple[Number, Number] = (0.0, 1.0)
    aggregations: tuple[str, ...] = (
        *("mean", "min", "product"),
        *("last-1", "last-2", "last-3", "last-4", "last-5", "last-6"),
    )
    votes: str = "mean"
    chosen: Choice | None = None
    learned: LearnedConfig = None

    @model_validator(mode="after")
    def _can_be_analysed(self) -> PrmScorerConfig:
        if self.value_range[0] >= self.value_range[1]:
            raise ValueError("value_range: is no range")
        given = (self.head_seed, self.format) != (None, None)
        if given and not self.untrained:
            raise ValueError("head_seed and format are for an untrained model alone")
        self.plan()
        return self

    def plan(self) -> ScorerPlan:
        """How it enters the analysis."""
        scale = Scale(*self.value_range)
        given = (self.aggregations, self.votes, self.chosen, self.learned)
        return ScorerPlan(self.name, "step", scale, *given)


class RemoteScorerConfig(Record):
    """A scorer that `vilbench serve` serves elsewhere.

    Attributes:
        base_url: The server, up to and with `/v1`; no part of a run's identity.
        model: The scorer's name there.
        api_key_env: Environment variable that holds the server's token; None sends none.
        granularity: Of its values; the server must say the same.
        value_range: Bounds of its values, None for none; the server must say the same.
        concurrency: Most requests in flight.
        patience: Time limits and attempts.
    """

    kind: Literal["remote"] = "remote"
    name: str = "remote"
    base_url: Annotated[str, AfterValidator(server_address)]
    model: str = Field(default="prm", min_length=1)
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    granularity: Granularity = "step"
    value_range: tuple[Number, Number] | None = (0.0, 1.0)
    concurrency: Whole = Field(default=16, ge=1, le=1000)
    patience: PatienceConfig = PatienceConfig()
    aggregations: tuple[str, ...] = ("mean", "min", "last-1", "last-2", "last-3", "last-4")
    votes: str = "mean"
    chosen: Choice | None = None
    learned: LearnedConfig = None

    @model_validator(mode="after")
    def _can_be_analysed(self) -> RemoteScorerConfig:
        if self.value_range is not None and self.value_range[0] >= self.value_range[1]:
            raise ValueError("value_range: is no range")
        self.plan()
        return self

    def plan(self) -> ScorerPlan:
        """How it enters the analysis."""
        scale = None if self.value_range is None else Scale(*self.value_range)
        given = (self.aggregations, self.votes, self.chosen, self.learned)
        return ScorerPlan(self.name, self.granularity, scale, *given)

    @property
    def engine(self) -> OpenAIEngineConfig:
        """The server, for whoever asks where keys, prices and time go."""
        return OpenAIEngineConfig(
            model=self.model,
            base_url=self.base_url,
            api_key_env=self.api_key_env,
            concurrency=self.concurrency,
            patience=self.patience,
        )


ScorerConfig = Annotated[
    JudgeConfig | LikelihoodConfig | PrmScorerConfig | RemoteScorerConfig,
    Field(discriminator="kind"),
]

StepScorerConfig = Annotated[
    JudgeConfig | PrmScorerConfig | RemoteScorerConfig, Field(discriminator="kind")
]
"""A scorer that can value the steps of a search."""


def told_apart(scorers: tuple[ScorerConfig, ...]) -> tuple[ScorerConfig, ...]:
    """The scorers, where each has a name of its own.

    Raises:
        ValueError: Two have the same.
    """
    names = [scorer.name for scorer in scorers]
    if len(set(names)) < len(names):
        raise ValueError(f"scorers need names of their own, these are given: {names}")
    return scorers
