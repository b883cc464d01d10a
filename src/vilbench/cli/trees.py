"""What `vilbench collect` and `vilbench search` do: grow trees, and tell what came of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from rich.console import Console

from vilbench import config
from vilbench.cli.job import rejected_rows, serving
from vilbench.cli.screen import say
from vilbench.collect.budget import Ledger
from vilbench.collect.forest import COLLECT, Harvest, collect
from vilbench.config import CollectRecipe, ExecutorConfig, SearchRecipe
from vilbench.evaluate.pools import Scale
from vilbench.guided.solutions import Answering, answer
from vilbench.store import trees
from vilbench.store.records import Failure
from vilbench.store.run import Run

_TOLD = 20
"""Most failures on the terminal."""


def grow(
    run: Run,
    recipe: CollectRecipe,
    console: Console,
    *,
    plain: bool,
    executor: ExecutorConfig | None = None,
) -> Harvest:
    """Grows the trees of a run that are not there; engines are closed at the end."""
    return asyncio.run(_grow(run, recipe, console, plain=plain, executor=executor))


async def _grow(
    run: Run,
    recipe: CollectRecipe,
    console: Console,
    *,
    plain: bool,
    executor: ExecutorConfig | None,
) -> Harvest:
    async with config.staffed(executor, recipe, say=say) as staff:
        return await _grown(run, config.build_method(recipe, staff), console, plain=plain)


def search(
    run: Run,
    recipe: SearchRecipe,
    console: Console,
    *,
    plain: bool,
    executor: ExecutorConfig | None = None,
) -> Harvest:
    """Searches the problems of a run that have no tree, and makes their solutions its pools."""
    return asyncio.run(_search(run, recipe, console, plain=plain, executor=executor))


async def _search(
    run: Run,
    recipe: SearchRecipe,
    console: Console,
    *,
    plain: bool,
    executor: ExecutorConfig | None,
) -> Harvest:
    growing = recipe.trees()
    async with config.staffed(executor, growing, say=say) as staff:
        built = config.build_method(growing, staff)
        harvest = await _grown(run, built, console, plain=plain, called="search")
    scale = recipe.scorer.plan().scale or Scale(0.0, 1.0)
    answer(run, Answering(built.method, scale, recipe.keep))
    return harvest


async def _grown(
    run: Run,
    built: config.BuiltMethod,
    console: Console,
    *,
    plain: bool,
    called: str = COLLECT,
) -> Harvest:
    engines = config.Built(None, (), (), built.engines)
    async with serving(run, engines, console, plain=plain) as (progress, halt):
        return await collect(
            run,
            built.method,
            width=built.width,
            total=built.total,
            progress=progress,
            halt=halt,
            called=called,
        )


def told(run: Run, harvest: Harvest) -> Iterator[str]:
    """Lines about a run's trees: how many there are, how they ended, what they cost."""
    spent = trees.finished(run, harvest.key)
    ledger = Ledger()
    for one in spent.values():
        ledger.add(one)
    yield f"trees: {len(spent)} of {len(run.problems())} problems, {ledger.nodes} nodes"
    if harvest.ended:
        ended = ", ".join(f"{count} {reason}" for reason, count in harvest.ended.most_common())
        yield f"ended: {ended}"
    yield (
        f"policy: {ledger.policy_completion} tokens in {ledger.continuations} continuations, "
        f"{ledger.policy_calls} requests"
    )
    read = ledger.evaluator_prompt - ledger.evaluator_cached + ledger.evaluator_completion
    yield f"evaluator: {ledger.evaluator_calls} prefixes, {read} tokens read and written"
    if harvest.request_errors:
        yield f"requests that failed within finished trees: {harvest.request_errors}"
    failures = _failures(run, harvest)
    for failure in failures[:_TOLD]:
        yield f"failed: {failure.problem_id}: {failure.error}"
    if len(failures) > _TOLD:
        yield f"... and {len(failures) - _TOLD} more failures"
    if harvest.stopped:
        yield f"stopped by the run's {harvest.stopped}; raise it in the recipe to go on from there"


def failed_share(run: Run, harvest: Harvest) -> float:
    """Share of problems without a tree because requests failed, and of rows set aside."""
    rejected = len(rejected_rows(run))
    lost = len(_failures(run, harvest)) + rejected
    return lost / max(1, len(run.problems()) + rejected)


def _failures(run: Run, harvest: Harvest) -> list[Failure]:
    return [one for one in run.failures() if one.stage == COLLECT and one.key == harvest.key]
