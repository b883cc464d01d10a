"""`vilbench problems`: which problem sets there are, their problems, and preparing them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vilbench.cli.screen import say, told

Problems = Annotated[
    str | None,
    typer.Option("--problems", help="SOURCE[:split], or a file or folder of own data."),
]
Limit = Annotated[
    str | None,
    typer.Option("--limit", help="How many problems: 100, a range 10-20, or a share 25%."),
]
Draw = Annotated[
    str | None,
    typer.Option(
        "--draw", help="Which of them: first, random, or by category, modality or source."
    ),
]
SampleIds = Annotated[
    list[str] | None,
    typer.Option("--sample-id", help="Only this problem; may be given again."),
]
Copy = Annotated[
    Path | None,
    typer.Option("--path", help="Copy of the source: a file, a folder or a zip archive."),
]
Revision = Annotated[
    str | None, typer.Option("--revision", help="Commit on the hub, 40 hexadecimal digits.")
]
Name = Annotated[str, typer.Argument(help="SOURCE[:split], or a file or folder of own data.")]

app = typer.Typer(help="Problem sets.", no_args_is_help=True, rich_markup_mode=None)

_TOLD = 20
"""Most rows that were set aside, or notes, on the terminal."""


def part(limit: str | None, draw: str | None, sample_ids: list[str] | None) -> dict[str, object]:
    """Which of the problems, as changes of a recipe."""
    options: dict[str, object] = {
        "problems.limit": limit,
        "problems.draw": draw,
        "problems.sample_ids": sample_ids or None,
    }
    return {key: value for key, value in options.items() if value is not None}


@app.command("list")
@told()
def list_problems() -> None:
    """The problem sets that are known by name, and where each comes from."""
    from vilbench.problems.adapters import SOURCES, find
    from vilbench.problems.puzzles import KINDS

    for family, twin in KINDS:
        say(f"puzzles  {family:<9} {twin}")
    say("  splits: train, dev, test; drawn here, without a download")
    for name in SOURCES:
        found = find(name)
        say(f"{name}  {found.about}")
        parts = [
            f"{part} ({one.rows:,})" if one.rows else part
            for part, one in found.parts.items()
            if not one.closed
        ]
        say(f"  splits: {', '.join(parts)}; hub: {found.repository}")
    say("Own data: a .jsonl, .csv, .tsv, .parquet, .json or .zip file, or a folder.")
    say("Steps with labels: VisualProcessBench and ProcessBench, for vilbench stepbench.")
    say("For training alone: ViLReward-73K and VisualPRM400K, by 'kind' in a recipe of 'train'.")


@app.command("show")
@told()
def show_problems(
    source: Name = "puzzles:test",
    limit: Limit = "9",
    draw: Draw = None,
    sample_id: SampleIds = None,
    path: Copy = None,
    revision: Revision = None,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    images: Annotated[Path | None, typer.Option("--images", help="Write images there.")] = None,
) -> None:
    """Print sample problems."""
    from vilbench import config
    from vilbench.cli import job
    from vilbench.errors import InputError

    copy = {"problems.path": None if path is None else str(path), "problems.revision": revision}
    given = {key: value for key, value in copy.items() if value is not None}
    recipe = config.load("embedded").changed(
        {**job.parse_problems(source), **part(limit, draw, sample_id), **given, "seed": seed}
    )
    loaded = config.load_problems(recipe)
    try:
        for problem in loaded.problems:
            job.show(problem, images)
    except OSError as error:
        raise InputError(error.strerror or "cannot be written", file=images) from error
    for line in (*loaded.rejected, *loaded.notes):
        say(str(line))


@app.command("prepare")
@told()
def prepare(
    name: Annotated[str, typer.Argument(metavar="SOURCE[:split]")],
    path: Copy = None,
    revision: Revision = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder; a place in the cache by default.")
    ] = None,
) -> None:
    """Read a public source whole, verify every row and picture, and keep it for runs.

    Without --path it is downloaded from the hub at one commit, which is kept: the one given,
    the one that is known here, or the present one.
    """
    from vilbench.problems import hub, prepared
    from vilbench.problems.adapters import find
    from vilbench.problems.public import Request, part_of, read

    key, _, split = name.partition(":")
    source = find(key)
    part, _ = part_of(source, split or None)
    commit = revision or source.revision
    if path is None and commit is None:
        commit = hub.newest(source.repository)
        say(f"{source.repository} is at {commit}")
    request = Request(key, part, path, commit if path is None else None)
    loaded = read(request)
    folder = out or prepared.default_folder(loaded.name)
    card = prepared.write(loaded, folder, source.repository, request.revision)
    for kind, lines in (("set aside", card.rejected), ("note", card.notes)):
        for line in lines[:_TOLD]:
            say(f"{kind}: {line}")
        if len(lines) > _TOLD:
            say(f"... and {len(lines) - _TOLD} more")
    say(f"{card.problems:,} problems of {card.name}, {len(card.rejected)} rows set aside")
    say(f"prepared: {folder}, sha256 {card.sha256[:16]}")
