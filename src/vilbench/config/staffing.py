"""From a recipe and its executor to workers that hold its models."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

from vilbench.config.building import build_all
from vilbench.config.collecting import CollectRecipe
from vilbench.config.recipe import Recipe
from vilbench.config.staff import ExecutorConfig, Staff, roles
from vilbench.errors import RecipeError
from vilbench.evaluate.stages import SAMPLE, SCORE
from vilbench.executors import cluster
from vilbench.executors.pool import Pool


@asynccontextmanager
async def staffed(
    executor: ExecutorConfig | None,
    recipe: Recipe | CollectRecipe,
    stages: Collection[str] = (SAMPLE, SCORE),
    say: Callable[[str], None] = print,
) -> AsyncIterator[Staff | None]:
    """Workers for stages of a recipe, ended at the end; None where nothing is for them.

    Args:
        executor: Which workers; None for none.
        recipe: Whose models they hold.
        stages: Which of its stages.
        say: Told what there is.

    Raises:
        InputError: There is no such cluster, or a model cannot be loaded there.
        ExecutorError: No worker can be had.
    """
    if executor is None:
        yield None
        return
    held = roles(recipe, stages, executor)
    if not held:
        say("ray: every model here is behind a server, which is asked directly; no worker is begun")
        yield None
        return
    needs = cluster.Needs(executor.cpus, executor.gpus)
    try:
        connection = cluster.connected(executor.address, executor.workers, needs)
        with connection as room:
            say(f"ray: {room.told()}; workers wanted: {executor.workers}")
            if room.gpus and not executor.gpus:
                say("ray: workers use no GPU; --per-worker gpus=1 gives each one")
            hire = cluster.hiring(build_all, [one.config for one in held], needs)
            pool = Pool(
                hire, executor.workers, tries=executor.tries, seconds=executor.seconds, name="ray"
            )
            try:
                yield Staff(pool, held, await pool.open(), executor.workers)
            finally:
                await pool.aclose()
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise RecipeError("needs ray: pip install 'vilbench[ray]'", field="--executor") from error
