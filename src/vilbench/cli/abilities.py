"""`vilbench abilities`: models as solvers and as scorers, over stored runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vilbench.cli.screen import say, told

if TYPE_CHECKING:
    from vilbench.diagnostics.abilities import Abilities, RunPart
    from vilbench.diagnostics.records import Figure


@told()
def abilities(
    folders: Annotated[list[Path], typer.Argument(help="Run folders.")],
    json: Annotated[
        Path | None, typer.Option("--json", help="Write the figures to this file.")
    ] = None,
) -> None:
    """Whether better solvers make better scorers, over the models of some runs."""
    from vilbench.diagnostics.abilities import abilities as found

    result = found([_part(folder) for folder in folders])
    if json is not None:
        json.write_text(result.model_dump_json(indent=1) + "\n", encoding="utf-8")
    for line in _lines(result):
        say(line)


def _part(folder: Path) -> RunPart:
    from vilbench import config
    from vilbench.cli import job
    from vilbench.config import JudgeConfig, LikelihoodConfig
    from vilbench.diagnostics.abilities import RunPart
    from vilbench.diagnostics.diagnosis import Held
    from vilbench.evaluate.analysis import stored as read
    from vilbench.store.run import Run

    with Run.read(folder) as stored:
        recipe = job.recipe_of(stored)
        problem_set = stored.manifest.problem_set
        # What is known of steps plays no part here.
        held = Held.of(read(stored, config.plan(recipe)), problem_set, lambda *_: None)
    models, kinds = {}, {}
    for scorer in recipe.scorers:
        if isinstance(scorer, JudgeConfig):
            kinds[scorer.name] = f"judge of {scorer.granularity}s"
        elif isinstance(scorer, LikelihoodConfig):
            kinds[scorer.name] = "likelihood"
        else:
            continue
        models[scorer.name] = scorer.engine.model
    return RunPart(folder.name, held, recipe.sample.engine.model, models, kinds)


def _lines(found: Abilities) -> list[str]:
    lines = ["as solvers: single solutions that are right, %"]
    lines += [
        f"  {one.model} ({one.run}, {one.n_problems} problems of {one.problem_set} x {one.n}): "
        f"{_points(one.accuracy)}"
        for one in found.solvers
    ]
    lines.append("as scorers: Best-of-N over single solutions, points; AUROC within problems")
    lines += [
        f"  {one.model}, {one.kind} ({one.method} on {one.run}): "
        f"{_points(one.gain)}; {_area(one.within)}"
        for one in found.judging
    ]
    for pair in found.pairs:
        lines.append(
            f"{pair.solver} solves {_points(pair.ahead)} points more than {pair.other} and is, as "
            f"a {pair.kind}, {_ORDERS[pair.as_scorer]}: {_points(pair.gain)} points, "
            f"AUROC {_area(pair.within)}"
        )
    for one in found.rankings:
        lines.append(
            f"tau over {len(one.models)} models, {one.kind} on {one.run}: "
            f"{_tau(one.gain)} with the gain, {_tau(one.within)} with the AUROC"
        )
    if not found.pairs:
        lines.append(
            "no two models solved the same problems and scored the same solutions in one way: "
            "give runs where each of them samples, and one that both score"
        )
    return lines


_ORDERS = {
    "better": "the better scorer",
    "worse": "the worse scorer",
    "unclear": "not clearly better or worse",
}


def _points(one: Figure) -> str:
    if one.value is None or one.low is None or one.high is None:
        return "-"
    return f"{100 * one.value:.1f} ({100 * one.low:.1f} to {100 * one.high:.1f})"


def _area(one: Figure) -> str:
    if one.value is None or one.low is None or one.high is None:
        return "-"
    return f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})"


def _tau(one: float | None) -> str:
    return "-" if one is None else f"{one:.2f}"
