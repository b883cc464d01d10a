"""A run's problems, solutions, scores and results as a publication."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from vilbench.evaluate.results import Row
from vilbench.evaluate.stages import Stages, noted
from vilbench.publish import loading, tables
from vilbench.publish.evaluation import figures
from vilbench.publish.hub import Target
from vilbench.publish.markdown import fenced, header, plain, table
from vilbench.publish.model_card import recipe_text, span
from vilbench.publish.privacy import Screen
from vilbench.publish.provenance import STEPBENCH, Provenance, Shown, provenance, shown_of
from vilbench.publish.publication import (
    CARD,
    Entry,
    Publication,
    card_entry,
    left_of,
    record_entry,
)
from vilbench.store.folder import RESULTS
from vilbench.store.parquet import write_table
from vilbench.store.run import Run
from vilbench.types import StepScores

CONFIGS = {
    "solutions": "a row a solution: text, steps, final answer, verdict, tokens",
    "problems": "a row a problem, with its pictures",
    "scores": "a row for a scorer and a solution: the values after its steps, raw",
    "results": "a row for a method, a k and a slice: accuracy with interval, difference, p-value",
}
"""Tables of a published run, the default first."""

_REASONS = {
    "run.sqlite": "database: its content is in the tables",
    "manifest.json": "recipe, seed and versions stand in the card",
    "run.lock": "lock of the writer",
    "images/": "they lie in the table of problems",
    "report.html": "'vilbench report' makes it",
    "diagnostics.json": "'vilbench report' makes it",
    "chosen.yaml": "'vilbench choose' makes it",
    CARD: "a new card is written",
    "*.sqlite-wal": "database: its content is in the tables",
    "*.sqlite-shm": "database: its content is in the tables",
}


def results(
    run: Run,
    room: Path,
    screen: Screen,
    *,
    title: str | None = None,
    license: str | None = None,  # noqa: A002 - the card's word
    target: Target | None = None,
) -> Publication:
    """A run as a data set of four tables with its card.

    Args:
        run: Open for reading; `vilbench report` has been made.
        room: An empty folder, where the tables are written.
        screen: For texts.
        title: Heading of the card; the run's name where None.
        license: For the card.
        target: Where on the hub it will be, for the card.

    Raises:
        RunError: Nothing has been sampled, or there are no results yet.
        InputError: pyarrow is not installed.
        ImageError: A stored picture is missing or has changed.
    """
    shown, begun = shown_of(run), noted(run)
    origin = provenance(run, screen)
    solutions = [
        one for pool in run.solutions(begun.sample_key).values() for one in pool[: begun.n]
    ]
    scores = _scores(run, begun)
    content = {
        "problems": (tables.PROBLEMS, tables.problem_rows(run.problems(), screen)),
        "solutions": (tables.SOLUTIONS, tables.solution_rows(solutions, screen)),
        "scores": (tables.SCORES, tables.score_rows(scores, screen)),
        "results": (tables.RESULTS, tables.result_rows(shown.rows)),
    }
    counts: dict[str, int] = {}
    files: list[Entry] = []
    for name in CONFIGS:
        columns, rows = content[name]
        if name == "results" and shown.results is None:
            continue
        path = room / f"{name}.parquet"
        counts[name] = write_table(path, columns, rows)
        files.append(Entry(_place(name), path))
    for name, record in ((RESULTS, shown.results), (STEPBENCH, shown.steps)):
        if record is not None:
            files.append(record_entry(name, record, screen))
    text = screen.text(
        "\n".join(_lines(origin, shown, begun, counts, title or origin.name, license, target))
        + "\n"
    )
    remarks = [*screen.summary()]
    if license is None:
        remarks.append("the card names no license: --license; that of the problems counts, too")
    return Publication(
        "dataset",
        "results of a run",
        (card_entry(text), *files),
        left_of(run.folder, {run.folder / RESULTS, run.folder / STEPBENCH}, _REASONS),
        tuple(remarks),
        f"results {origin.fingerprint[:12]}",
    )


def _scores(run: Run, begun: Stages) -> Iterator[StepScores]:
    for key in begun.score_keys.values():
        yield from run.scores(key).values()


def _place(name: str) -> str:
    return f"data/{name}.parquet"


def configs(names: Sequence[str], split: str = "test") -> list[dict[str, object]]:
    """Configurations for a card's header, the first the default."""
    return [
        {
            "config_name": name,
            "data_files": [{"split": split, "path": _place(name)}],
            **({"default": True} if name == names[0] else {}),
        }
        for name in names
    ]


def _lines(
    origin: Provenance,
    shown: Shown,
    begun: Stages,
    counts: dict[str, int],
    title: str,
    given: str | None,
    target: Target | None,
) -> Iterator[str]:
    tags = ["process-reward-model", "best-of-n", "evaluation-results", "vilbench"]
    yield from header(
        {
            "pretty_name": title,
            "license": given,
            "task_categories": ["image-text-to-text"],
            "tags": tags,
            "configs": configs(list(counts)),
        }
    )
    yield f"# {plain(title)}"
    yield ""
    yield "Solutions that a model sampled, the values that scorers gave their steps, and what"
    yield "selection by them makes of it: the stored run behind a report of vilbench."
    yield ""
    yield from table(("", ""), _facts(origin, shown, begun, counts))
    notices = [*(shown.results.notices if shown.results else ())]
    notices += [*(shown.steps.notes if shown.steps else ())]
    rejected = max(len(one.rejected) for one in shown if one is not None)
    if notices or rejected:
        yield "## To know before the figures"
        yield ""
        yield from (f"- {plain(one)}" for one in notices)
        if rejected:
            yield f"- {rejected} rows of the input could not be used."
        yield ""
    yield "## Results"
    yield ""
    yield from _results(origin, shown)
    yield "## Tables"
    yield ""
    yield from table(
        ("table", "rows", "holds"),
        ((name, f"{count:,}", CONFIGS[name]) for name, count in counts.items()),
        numbers=(1,),
    )
    named = [name for name, one in zip((RESULTS, STEPBENCH), shown, strict=True) if one is not None]
    yield "A `null` among values is no verdict, and never 0. All figures are in"
    yield f"{' and '.join(f'`{name}`' for name in named)}."
    yield ""
    solutions, scores = loading.dataset(target), loading.dataset(target, "scores")
    yield from fenced("python", _USE.format(solutions=solutions, scores=scores))
    yield "## Made with"
    yield ""
    if origin.commands:
        yield from fenced("bash", "\n".join(origin.commands))
    yield from fenced("yaml", recipe_text(origin.recipe))
    yield f"Versions: {plain(', '.join(' '.join(pair) for pair in origin.versions.items()))}."


_USE = """\
from datasets import load_dataset

solutions = {solutions}
scores = {scores}
print(solutions[0]["text"], scores[0]["values"])"""


def _facts(
    origin: Provenance, shown: Shown, begun: Stages, counts: dict[str, int]
) -> Iterator[tuple[str, str]]:
    yield "problems", f"{counts['problems']:,} of {origin.dataset.name}"
    for one in origin.origins:
        yield "read from", one
    yield "policy", f"{begun.policy}, {begun.n} solutions a problem, seed {origin.seed}"
    yield "scorers", ", ".join(shown.scorers) or "none"
    yield "run", f"{origin.name}, {origin.created}"
    yield "fingerprint", origin.fingerprint


def _results(origin: Provenance, shown: Shown) -> Iterator[str]:
    if shown.best:
        yield f"Accuracy with the best of {shown.best[0].k}, with 95 % intervals by problem;"
        yield "differences from `cot`, the mean of the samples, are paired."
        yield ""
        heads = ("method", "accuracy", "95 % interval", "over cot", "95 % interval", "p")
        yield from table(heads, map(_row, shown.best), numbers=(1, 3, 5))
    least = None if shown.results is None else shown.results.minimal_detectable_delta
    if least is not None:
        yield f"So many problems show a difference of {least:.3f} with 80 % power."
        yield ""
    if shown.steps is not None:
        only = shown._replace(results=None)
        found = [one for scorer in only.scorers for one in figures(only, origin, scorer)]
        rows = (
            (one.name, f"{one.value:.3f}", span(one.low, one.high), one.detail) for one in found
        )
        yield f"Marked steps of {plain(shown.steps.benchmark)}:"
        yield ""
        yield from table(("", "", "95 % interval", ""), rows, numbers=(1,))


def _row(row: Row) -> tuple[str, ...]:
    delta = "" if row.delta_vs_cot is None else f"{row.delta_vs_cot:+.3f}"
    p_value = "" if row.p_value is None else f"{row.p_value:.3g}"
    return (
        row.method,
        f"{row.accuracy:.3f}",
        span(row.ci_low, row.ci_high),
        delta,
        span(row.delta_low, row.delta_high),
        p_value,
    )
