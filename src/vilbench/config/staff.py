"""Which models of a recipe stand on workers, and how wide work runs over them.

What is loaded goes to workers; what is served elsewhere is asked from here as ever, where its
budget and its prices are counted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from vilbench.config.collecting import CollectRecipe
from vilbench.config.engine import EngineConfig, LocalEngineConfig
from vilbench.config.recipe import Recipe
from vilbench.config.scorers import PrmScorerConfig, RemoteScorerConfig, ScorerConfig
from vilbench.embedded import PREFIX
from vilbench.evaluate.stages import SAMPLE, SCORE
from vilbench.executors.bench import Facts
from vilbench.executors.models import pooled
from vilbench.executors.pool import Pool
from vilbench.types import Number, Record, Whole

ModelConfig = EngineConfig | ScorerConfig


class ExecutorConfig(Record):
    """Workers on a cluster of Ray.

    Attributes:
        address: HOST:PORT of the cluster; None begins one on this machine.
        workers: Processes that each hold all models of the command that are loaded.
        cpus: Processors of each.
        gpus: Accelerators of each; a part of one where several share it.
        jobs: Requests that a worker's model has at a time, to fill its batches. With 1 no
            result depends on what else was in a batch.
        tries: Of a request that breaks or loses its worker, before it is set aside.
        seconds: Longest time of a request, after which its worker is replaced; None for no limit.
    """

    address: str | None = None
    workers: Whole = Field(default=1, ge=1)
    cpus: Number = Field(default=1.0, ge=0)
    gpus: Number = Field(default=0.0, ge=0)
    jobs: Whole = Field(default=8, ge=1)
    tries: Whole = Field(default=3, ge=1)
    seconds: Number | None = Field(default=None, gt=0)


class Role(NamedTuple):
    """A model that workers hold.

    Attributes:
        key: Names its configuration as the recipe has it.
        config: The configuration as it travels, its folder by its whole path.
        at_once: Requests that one worker has at a time.
    """

    key: str
    config: ModelConfig
    at_once: int


class Staff:
    """Workers, and the models of a recipe that they hold.

    Args:
        pool: The workers, open.
        roles: What they hold.
        facts: What those models say of themselves.
        size: Workers.
    """

    def __init__(
        self, pool: Pool, roles: Collection[Role], facts: Collection[Facts], size: int
    ) -> None:
        self.pool = pool
        self._models: Mapping[str, Any] = {
            role.key: pooled(pool, place, fact, role.at_once)
            for place, (role, fact) in enumerate(zip(roles, facts, strict=True))
        }
        # One more for each worker: it finds its next request there when it has done one.
        self._widths = {role.key: size * (role.at_once + 1) for role in roles}

    def model(self, config: ModelConfig) -> Any:
        """The model on the workers; None where they do not hold it."""
        return self._models.get(_key(config))

    def width(self, config: ModelConfig, here: int) -> int:
        """Requests that keep the workers busy; `here` for a model that they do not hold."""
        return self._widths.get(_key(config), here)


def roles(
    recipe: Recipe | CollectRecipe, stages: Collection[str], executor: ExecutorConfig
) -> tuple[Role, ...]:
    """The models that stages of a recipe load, each once.

    A scorer gets one problem at a time: its candidates fill a batch, and its values stay the
    same to the last bit. In a search, which asks for less at a time, it gets several.
    """
    found: list[Role] = []
    if isinstance(recipe, CollectRecipe):
        found.append(_role(recipe.policy.engine, executor.jobs))
        scorer = recipe.evaluator.scorer
        found += [] if scorer is None else [_role(scorer, executor.jobs)]
    else:
        reading = recipe.sample.extraction
        if SAMPLE in stages:
            found.append(_role(recipe.sample.engine, executor.jobs))
            found += [] if reading is None else [_role(reading.engine, executor.jobs)]
        if SCORE in stages:
            found += [_role(one, 1) for one in recipe.scorers]
    return tuple({one.key: one for one in found if _is_loaded(one.config)}.values())


def _role(config: ModelConfig, at_once: int) -> Role:
    return Role(_key(config), _travelling(config), at_once)


def _key(config: ModelConfig) -> str:
    return config.model_dump_json()


def _is_loaded(config: ModelConfig) -> bool:
    if isinstance(config, LocalEngineConfig | PrmScorerConfig):
        return True
    return not isinstance(config, RemoteScorerConfig) and isinstance(
        getattr(config, "engine", None), LocalEngineConfig
    )


def _travelling(config: ModelConfig) -> ModelConfig:
    """With folders by their whole paths: a worker stands in another folder."""
    if isinstance(config, LocalEngineConfig | PrmScorerConfig):
        if config.model.startswith(PREFIX):
            return config
        return config.model_copy(update={"model": str(Path(config.model).absolute())})
    if isinstance(config, RemoteScorerConfig) or not hasattr(config, "engine"):
        return config
    return config.model_copy(update={"engine": _travelling(config.engine)})
