"""`vilbench export`: what a folder holds, as others read it: published, or in one format."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from vilbench.cli.rows import PLACES
from vilbench.cli.screen import say, told

_HUB, _RUN, _INSPECT, _INDEX, _TREES = "hub", "jsonl", "inspect", "model-index", "trees"
_OF_ROWS = ("rows", "parquet", "vilreward", "trl")
_FORMATS: Final = (_HUB, _RUN, _INSPECT, _INDEX, *_OF_ROWS, _TREES)

_OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "--to-hub": (_HUB,),
    "--revision": (_HUB,),
    "--public": (_HUB,),
    "--dry-run": (_HUB,),
    "--as": (_HUB,),
    "--results": (_HUB,),
    "--license": (_HUB,),
    "--title": (_HUB, _INDEX),
    "--benchmark": (_HUB, _INDEX),
    "--of": (_INDEX,),
    "--pool": (_RUN,),
    "--consensus": (_HUB, *_OF_ROWS),
    **dict.fromkeys(PLACES, (_HUB, *_OF_ROWS)),
}
"""Formats that an option is for."""


@told()
def export(
    folder: Annotated[
        Path,
        typer.Argument(
            help="A run, a reward model (a folder, or embedded:NAME) or its training, or a "
            "problem set."
        ),
    ],
    to: Annotated[Path | None, typer.Option("--to", help="Folder to write to.")] = None,
    to_hub: Annotated[
        str | None, typer.Option("--to-hub", help="Repository to upload to: OWNER/NAME.")
    ] = None,
    format: Annotated[  # noqa: A002 - the option's word
        str,
        typer.Option(
            "--format",
            help="hub: a folder to publish, with its card, of whatever it is. Of a run: jsonl, "
            "inspect (a log of Inspect AI), model-index (figures for a model card). Of trees: "
            "rows, parquet, vilreward, trl, or trees as they are.",
        ),
    ] = _HUB,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="hub: show files and card, write nothing.")
    ] = False,
    private: Annotated[
        bool, typer.Option("--private/--public", help="hub: of a repository that is new.")
    ] = True,
    revision: Annotated[str | None, typer.Option("--revision", help="hub: branch.")] = None,
    kind: Annotated[
        str | None,
        typer.Option("--as", help="hub: results or data, where a run has solutions and trees."),
    ] = None,
    results: Annotated[
        list[Path] | None,
        typer.Option("--results", help="hub: run whose figures stand in the model's card."),
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option("--benchmark", help="What the problems are on the hub: OWNER/NAME:TASK."),
    ] = None,
    of: Annotated[
        str | None, typer.Option("--of", help="model-index: a scorer, or policy; the main scorer.")
    ] = None,
    pool: Annotated[
        int | None, typer.Option("--pool", min=1, help="jsonl: which sampling, from 1; the last.")
    ] = None,
    values: Annotated[
        str | None,
        typer.Option(
            "--values", help="rest, rollouts, omega, omega-filled, judge, faults; as searched."
        ),
    ] = None,
    chains: Annotated[str | None, typer.Option("--chains", help="all, or finished alone.")] = None,
    most: Annotated[int | None, typer.Option("--most", help="Most rows of a problem.")] = None,
    labels: Annotated[
        str | None,
        typer.Option("--labels", help="Shared steps are labelled once, or in every row."),
    ] = None,
    spread: Annotated[
        float | None,
        typer.Option("--spread", help="Also label a step's text if it changes the value by less."),
    ] = None,
    right: Annotated[
        float | None, typer.Option("--right", help="trl: values from here on are true; 0.5.")
    ] = None,
    broken: Annotated[
        str | None, typer.Option("--broken", help="Steps at which a branch broke off: drop, keep.")
    ] = None,
    solved: Annotated[
        str | None,
        typer.Option(
            "--solved",
            help="Problems always or never solved: keep, drop, drop-always, drop-never.",
        ),
    ] = None,
    min_visits: Annotated[
        int | None, typer.Option("--min-visits", help="Fewest visits of a label.")
    ] = None,
    min_rollouts: Annotated[
        int | None, typer.Option("--min-rollouts", help="Fewest continuations of a label.")
    ] = None,
    consensus: Annotated[
        Path | None,
        typer.Option("--consensus", help="Run of another policy that must agree on a label."),
    ] = None,
    agree_at: Annotated[
        float | None, typer.Option("--agree-at", help="It agrees at this value; 0.5.")
    ] = None,
    unmatched: Annotated[
        str | None, typer.Option("--unmatched", help="Labels that it lacks: drop, keep.")
    ] = None,
    near_duplicates: Annotated[
        float | None,
        typer.Option("--near-duplicates", help="Share of words from which siblings are one."),
    ] = None,
    balance: Annotated[
        float | None, typer.Option("--balance", help="Most high labels for a low one, or low ones.")
    ] = None,
    high: Annotated[
        float | None, typer.Option("--high", help="Labels from here on are high; 0.5.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of the balance.")] = None,
    title: Annotated[str | None, typer.Option("--title", help="Heading of the card.")] = None,
    license: Annotated[  # noqa: A002 - the option's word
        str | None, typer.Option("--license", help="hub: such as apache-2.0.")
    ] = None,
) -> None:
    """Publish what a folder holds, or write it as files that other tools read."""
    from vilbench.errors import InputError

    if format not in _FORMATS:
        raise InputError(
            f"'{format}' is no format; there are {', '.join(_FORMATS)}", field="--format"
        )
    trees: dict[str, object] = {
        "--values": values,
        "--chains": chains,
        "--most": most,
        "--labels": labels,
        "--spread": spread,
        "--right": right,
        "--broken": broken,
        "--solved": solved,
        "--min-visits": min_visits,
        "--min-rollouts": min_rollouts,
        "--agree-at": agree_at,
        "--unmatched": unmatched,
        "--near-duplicates": near_duplicates,
        "--balance": balance,
        "--high": high,
        "--seed": seed,
    }
    trees = {name: value for name, value in trees.items() if value is not None}
    others = {
        "--to-hub": to_hub,
        "--revision": revision,
        "--public": not private,
        "--dry-run": dry_run,
        "--as": kind,
        "--results": results,
        "--license": license,
        "--title": title,
        "--benchmark": benchmark,
        "--of": of,
        "--pool": pool,
        "--consensus": consensus,
    }
    _refuse_what_does_nothing(format, [*trees, *(name for name in others if others[name])])
    if consensus is not None:
        trees.setdefault("--agree-at", 0.5)
    if format == _HUB:
        from vilbench.cli import publishing
        from vilbench.publish.hub import Target

        if revision is not None and to_hub is None:
            raise InputError("is a branch of --to-hub", field="--revision")
        target = None if to_hub is None else Target(to_hub, private, revision)
        asked = publishing.Asked(
            *(to, target, dry_run, kind, trees, consensus, results or ()),
            *(benchmark, title, license),
        )
        publishing.publish(folder, asked)
        return
    if to is None:
        raise InputError(f"the format {format} needs a folder to write to", field="--to")
    if format == _INSPECT:
        from vilbench.cli import publishing

        publishing.inspect(folder, to)
    elif format == _INDEX:
        from vilbench.cli import publishing

        publishing.index(folder, to, of, title, benchmark)
    else:
        _written(folder, to, format, pool, trees, consensus)


def _written(
    folder: Path,
    to: Path,
    form: str,
    pool: int | None,
    trees: Mapping[str, object],
    consensus: Path | None,
) -> None:
    """Writes a run as JSON lines, or its trees in one of their formats."""
    from contextlib import ExitStack

    from vilbench.cli import job, rows
    from vilbench.collect.export import FILES, SUMMARY, TREES, Labelling, export_trees
    from vilbench.collect.export import export as export_rows
    from vilbench.errors import InputError
    from vilbench.store import export as plain
    from vilbench.store.run import Run

    with ExitStack() as stack:
        stored = stack.enter_context(Run.read(folder))
        if to.resolve() == folder.resolve():
            raise InputError("is the run itself; export to another folder", field="--to")
        if form == _RUN:
            plain.refuse_foreign(to, plain.FILES, (plain.SOLUTIONS, plain.SCORES))
        else:
            plain.refuse_foreign(to, FILES, (SUMMARY, TREES))
        if form == _RUN:
            job.export(stored, to, pool)
            say(f"problems.jsonl, solutions.jsonl, scores.jsonl, images/: {to}")
            return
        if form == _TREES:
            say(f"{export_trees(stored, to)} trees: {to}")
            return
        second = None if consensus is None else stack.enter_context(Run.read(consensus))
        labelling = Labelling(command=job.command_line(sys.argv[1:]))
        config = rows.configured(trees)
        summary = export_rows(stored, to, form, config, second=second, labelling=labelling)
    for line in rows.told(summary):
        say(line)
    say(f"{form}: {to}")


def _refuse_what_does_nothing(form: str, given: Collection[str]) -> None:
    from vilbench.errors import InputError

    for name in given:
        if form not in _OPTIONS[name]:
            forms = " or ".join(_OPTIONS[name])
            raise InputError(f"is for the format {forms}, not for {form}", field=name)
