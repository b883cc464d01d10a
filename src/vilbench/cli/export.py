"""`vilbench export`: a run as files that other tools read, and its trees as training data."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vilbench.cli.screen import say, told

if TYPE_CHECKING:
    from vilbench.collect.data import DataConfig, Summary

_RUN, _TREES = "jsonl", "trees"
_PLACES: Mapping[str, tuple[str, str]] = {
    "--values": ("", "values"),
    "--chains": ("rows", "chains"),
    "--most": ("rows", "most"),
    "--labels": ("rows", "labels"),
    "--spread": ("rows", "spread"),
    "--right": ("rows", "right"),
    "--broken": ("filters", "broken"),
    "--solved": ("filters", "solved"),
    "--min-visits": ("filters", "min_visits"),
    "--min-rollouts": ("filters", "min_rollouts"),
    "--agree-at": ("filters", "consensus"),
    "--unmatched": ("filters", "unmatched"),
    "--near-duplicates": ("filters", "near_duplicates"),
    "--balance": ("filters", "balance"),
    "--high": ("filters", "high"),
    "--seed": ("filters", "seed"),
}
"""Section and key of each option in the configuration of the data."""


@told()
def export(
    folder: Annotated[Path, typer.Argument(help="Run folder.")],
    to: Annotated[Path, typer.Option("--to", help="Folder to write to.")],
    format: Annotated[  # noqa: A002 - the option's word
        str,
        typer.Option(
            "--format",
            help="jsonl: problems, solutions, scores. Of trees: rows, parquet, vilreward, trl, "
            "hub, or trees as they are.",
        ),
    ] = _RUN,
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
    title: Annotated[str | None, typer.Option("--title", help="hub: heading of the card.")] = None,
    license: Annotated[  # noqa: A002 - the option's word
        str | None, typer.Option("--license", help="hub: such as apache-2.0.")
    ] = None,
) -> None:
    """Write a run as files that other tools read."""
    from contextlib import ExitStack

    from vilbench.cli import job
    from vilbench.collect.export import FORMATS, Labelling, export_trees
    from vilbench.collect.export import export as export_rows
    from vilbench.errors import InputError
    from vilbench.store.run import Run

    known = (_RUN, *FORMATS, _TREES)
    if format not in known:
        raise InputError(f"'{format}' is no format; there are {', '.join(known)}", field="--format")
    given: dict[str, object] = {
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
    given = {name: value for name, value in given.items() if value is not None}
    others = {"--consensus": consensus, "--title": title, "--license": license}
    _refuse_what_does_nothing(format, pool, [*given, *(k for k, v in others.items() if v)])
    if consensus is not None:
        given.setdefault("--agree-at", 0.5)
    with ExitStack() as stack:
        stored = stack.enter_context(Run.read(folder))
        if format == _RUN:
            job.export(stored, to, pool)
            say(f"problems.jsonl, solutions.jsonl, scores.jsonl, images/: {to}")
            return
        if format == _TREES:
            say(f"{export_trees(stored, to)} trees: {to}")
            return
        second = None if consensus is None else stack.enter_context(Run.read(consensus))
        labelling = Labelling(title, license, job.command_line(sys.argv[1:]))
        summary = export_rows(
            stored, to, format, _configured(given), second=second, labelling=labelling
        )
    for line in _told(summary):
        say(line)
    say(f"{format}: {to}")


def _refuse_what_does_nothing(form: str, pool: int | None, given: list[str]) -> None:
    from vilbench.errors import InputError

    if form != _RUN and pool is not None:
        raise InputError(f"is for the format {_RUN}", field="--pool")
    if form in (_RUN, _TREES) and given:
        raise InputError(f"does nothing with the format {form}", field=given[0])
    card_alone = {"--title", "--license"} & {*given}
    if form != "hub" and card_alone:
        raise InputError("is for the format hub", field=min(card_alone))


def _configured(given: Mapping[str, object]) -> DataConfig:
    """The configuration that options ask for.

    Raises:
        InputError: A value is wrong; the message names the option.
    """
    from pydantic import ValidationError

    from vilbench.collect.data import DataConfig
    from vilbench.errors import InputError

    sections: dict[str, dict[str, object]] = {"": {}, "rows": {}, "filters": {}}
    for name, value in given.items():
        section, key = _PLACES[name]
        sections[section][key] = value
    data = {**sections[""], "rows": sections["rows"], "filters": sections["filters"]}
    try:
        return DataConfig.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        options = {".".join(filter(None, at)): name for name, at in _PLACES.items()}
        raise InputError(first["msg"], field=options.get(place, place)) from error


def _told(summary: Summary) -> Iterator[str]:
    yield f"trees: {summary.trees}, {summary.nodes} steps, {summary.labels} with a value"
    for one in summary.filters:
        whole = f" and {one.trees} problems" if one.trees else ""
        yield f"left out, {one.name}: {one.labels} values{whole}"
    for reason, count in summary.set_aside.items():
        yield f"not written, {reason}: {count}"
    yield (
        f"rows: {summary.rows} of {summary.problems} problems, {summary.steps} steps, "
        f"{summary.row_labels} with a value"
    )
