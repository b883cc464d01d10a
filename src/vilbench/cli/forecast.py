"""`--dry-run`: what a command would ask of models, printed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vilbench.cli.screen import say

if TYPE_CHECKING:
    from vilbench.config import CollectRecipe, Recipe
    from vilbench.config.forecast import Forecast, Line

_HEADINGS = (
    *("stage", "model", "requests", "answers", "images"),
    *("prompt tokens", "not cached", "written tokens", "USD", "USD at most", "time"),
)
_FREE = "-"
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def tell(recipe: Recipe | CollectRecipe, folder: Path | None = None) -> None:
    """Prints the forecast of a recipe; nothing is asked, downloaded or written.

    Args:
        recipe: Of what.
        folder: A run that tells how long solutions and replies are, where there is one.
    """
    from vilbench.config import Recipe
    from vilbench.config.forecasting import forecast
    from vilbench.config.measuring import as_in

    if folder is not None and isinstance(recipe, Recipe):
        recipe = as_in(recipe, folder)
    for line in lines(recipe.name, forecast(recipe)):
        say(line)


def no_folder() -> typer.BadParameter:
    """What a command says that is given no folder."""
    return typer.BadParameter("name a run folder, or --dry-run", param_hint="--out")


def lines(name: str, found: Forecast) -> Iterator[str]:
    """A forecast as lines of text."""
    yield f"dry run of {name}: no model is asked"
    count = sum(one.count for one in found.sets)
    told = ", ".join(f"{one.name} {one.count:,}" for one in found.sets)
    yield f"problems: {count:,} ({told})"
    rows = [_HEADINGS, *(_row(line) for line in found.lines), _total(found)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_HEADINGS))]
    for row in rows:
        yield "  ".join(_aligned(row, widths)).rstrip()
    speeds: dict[str, dict[str, None]] = {}
    for line in found.lines:
        speeds.setdefault(_speed(line), {})[line.model] = None
    for speed, models in speeds.items():
        yield f"speed of {', '.join(models)}: {speed}"
    yield from found.notes


def _row(line: Line) -> tuple[str, ...]:
    work = line.work
    figures = (work.requests, work.completions, work.images)
    tokens = (
        *(work.prompt_tokens, work.prompt_tokens - work.cached_tokens),
        work.completion_tokens,
    )
    return (
        *(line.stage, line.model),
        *(f"{figure:,.0f}" for figure in (*figures, *tokens)),
        *(_money(line.usd), _money(line.most_usd), _duration(line.seconds)),
    )


def _total(found: Forecast) -> tuple[str, ...]:
    work = found.work
    figures = (work.requests, work.completions, work.images)
    tokens = (
        *(work.prompt_tokens, work.prompt_tokens - work.cached_tokens),
        work.completion_tokens,
    )
    priced = any(line.usd is not None for line in found.lines)
    return (
        *("total", ""),
        *(f"{figure:,.0f}" for figure in (*figures, *tokens)),
        *(_money(found.usd if priced else None), _money(found.most_usd if priced else None)),
        _duration(found.seconds),
    )


def _aligned(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    for place, (cell, width) in enumerate(zip(row, widths, strict=True)):
        yield cell.ljust(width) if place < 2 else cell.rjust(width)


def _money(usd: float | None) -> str:
    if usd is None:
        return "unknown"
    return _FREE if usd == 0 else f"{usd:,.2f}"


def _duration(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    if seconds < _DAY:
        return f"{seconds / _HOUR:.1f} h"
    return f"{seconds / _DAY:.1f} days"


def _speed(line: Line) -> str:
    speed = line.speed
    parts = [f"first token after {speed.wait_s:g} s"]
    if speed.stream_tokens_per_s is not None:
        parts.append(f"{speed.stream_tokens_per_s:,g} tokens/s an answer")
    if speed.prompt_tokens_per_s is not None:
        parts.append(f"{speed.prompt_tokens_per_s:,g} read/s in all")
    if speed.completion_tokens_per_s is not None:
        parts.append(f"{speed.completion_tokens_per_s:,g} written/s in all")
    return f"{', '.join(parts)} ({'from the recipe' if line.told else 'assumed'})"
