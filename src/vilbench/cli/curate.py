"""`vilbench curate`: the problems of stored runs that prefer process rewards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vilbench.cli.screen import say, told

if TYPE_CHECKING:
    from vilbench.config.curating import CurateRecipe
    from vilbench.curate.material import Take
    from vilbench.curate.pairs import Pair


@told()
def curate(
    runs: Annotated[
        list[Path] | None, typer.Argument(help="Run folders; those of the recipe by default.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the set.")] = None,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", help="A .yaml file, or the name of a shipped one."),
    ] = None,
    pair: Annotated[
        list[str] | None,
        typer.Option(
            "--pair",
            help="NAME=PRM,ORM, such as base=judge-prm/mean,judge-orm; may be given again.",
        ),
    ] = None,
    rule: Annotated[
        str | None, typer.Option("--rule", help="difference, mean-k, share or margin.")
    ] = None,
    shrinkage: Annotated[
        bool, typer.Option("--shrinkage", help="Draw noisy indicators towards their source.")
    ] = False,
    threshold: Annotated[
        str | None, typer.Option("--threshold", help="Only indicators above; 'none' for any.")
    ] = None,
    size: Annotated[int | None, typer.Option("--size", min=1, help="Most problems in all.")] = None,
    balance: Annotated[
        str | None, typer.Option("--balance", help="Even shares of the sources (equal), or free.")
    ] = None,
    quota: Annotated[
        list[str] | None,
        typer.Option("--quota", help="SOURCE=COUNT in place of --size; may be given again."),
    ] = None,
    pass_rate: Annotated[
        str | None, typer.Option("--pass-rate", help="LOW-HIGH: shares of right solutions.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Breaks ties, splits, resamples.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Of the set; the folder's by default.")
    ] = None,
) -> None:
    """Choose problems on which steps choose better than wholes, and measure what is left of it.

    Runs are read and not changed. The set is a folder for --problems of every command.
    """
    from vilbench.config.curating import CurateRecipe, load_curating
    from vilbench.curate import folder
    from vilbench.curate.curation import curate as made
    from vilbench.curate.summary import told as summary
    from vilbench.errors import InputError

    if out is None:
        raise InputError("is missing: name the folder of the set", field="--out")
    title = name or (None if recipe else out.name)
    options: dict[str, object] = {
        "name": title,
        "runs": None if not runs else [str(one) for one in runs],
        "pairs": None if not pair else [_pair(text) for text in pair],
        "rule": rule,
        "shrinkage": shrinkage or None,
        "size": size,
        "balance": balance,
        "quotas": None if not quota else dict(_quota(text) for text in quota),
        "pass_rate": None if pass_rate is None else _shares(pass_rate),
        "seed": seed,
    }
    changes = {key: value for key, value in options.items() if value is not None}
    if threshold is not None:
        changes["threshold"] = None if threshold == "none" else _number(threshold, "--threshold")
    if size is not None and not quota:
        changes["quotas"] = {}
    asked = load_curating(recipe) if recipe else CurateRecipe(name=title or out.name)
    asked = asked.changed(changes)
    if not asked.runs:
        raise InputError("name at least one run folder", field="runs")
    takes = [_take(Path(one)) for one in asked.runs]
    pairs = _pairs(asked, takes)
    curation = made(takes, pairs, asked.card(), asked.name)
    card = folder.write(curation, out)
    for line in (*curation.card.notes, *summary(curation.card)):
        say(line)
    say(f"{card.problems:,} problems: {out}, sha256 {card.sha256[:16]}")
    say(f"next: vilbench run RECIPE --problems {out} --out FOLDER")


def _take(path: Path) -> Take:
    from vilbench import config
    from vilbench.cli import job
    from vilbench.config.curating import scorer_fingerprints
    from vilbench.curate.material import Take
    from vilbench.curate.records import RunCard
    from vilbench.evaluate.analysis import stored
    from vilbench.evaluate.origins import known_as
    from vilbench.store.run import Run

    with Run.read(path) as run:
        recipe = job.recipe_of(run)
        plan = config.plan(recipe)
        held = stored(run, plan)
        manifest, problem_set = run.manifest, known_as(run)
    card = RunCard(
        fingerprint=manifest.fingerprint,
        name=manifest.name,
        problem_set=problem_set,
        policy=held.policy,
        seed=manifest.seed,
        n=plan.n,
        created=manifest.created,
    )
    return Take(card, held, scorer_fingerprints(recipe))


def _pairs(recipe: CurateRecipe, takes: list[Take]) -> list[Pair]:
    from vilbench.curate.pairs import find

    if recipe.pairs:
        return [one.pair() for one in recipe.pairs]
    scorers = {one.name: one for take in takes for one in take.stored.scorers}
    found = find(list(scorers.values()))
    for one in found:
        say(f"pair {one.pair.name}: {one.pair.prm} against {one.pair.orm} ({one.why})")
    return [one.pair for one in found]


def _pair(text: str) -> dict[str, str]:
    from vilbench.errors import InputError

    name, equals, forms = text.partition("=")
    prm, comma, orm = forms.partition(",")
    if not (equals and comma and name.strip() and prm.strip() and orm.strip()):
        raise InputError(f"'{text[:80]}' is not NAME=PRM,ORM", field="--pair")
    return {"name": name.strip(), "prm": prm.strip(), "orm": orm.strip()}


def _quota(text: str) -> tuple[str, int]:
    from vilbench.errors import InputError

    source, equals, count = text.rpartition("=")
    if not equals or not source or not count.isdecimal():
        raise InputError(f"'{text[:80]}' is not SOURCE=COUNT", field="--quota")
    return source, int(count)


def _shares(text: str) -> list[float]:
    low, _, high = text.partition("-")
    return [_number(low, "--pass-rate"), _number(high, "--pass-rate")]


def _number(text: str, option: str) -> float:
    from vilbench.errors import InputError

    try:
        return float(text)
    except ValueError:
        raise InputError(f"'{text[:80]}' is no number", field=option) from None
