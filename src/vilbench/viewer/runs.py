"""Which runs there are, and what one of them has shown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vilbench.errors import VilbenchError
from vilbench.evaluate.analysis import Plan
from vilbench.evaluate.results import Results
from vilbench.store import database, trees
from vilbench.store.excerpts import marks
from vilbench.store.manifest import Manifest
from vilbench.store.run import Run
from vilbench.viewer import live
from vilbench.viewer.index import Index
from vilbench.viewer.library import Entry
from vilbench.viewer.measure import MAJORITY
from vilbench.viewer.papers import has_report, results
from vilbench.viewer.problems import standing_methods
from vilbench.viewer.query import Query
from vilbench.viewer.shelf import stages_of
from vilbench.viewer.shell import entry, library, plan_of, render, shelf
from vilbench.viewer.standing import Paces, standing


@dataclass(frozen=True)
class Headline:
    """One method's accuracy over all problems, in shares."""

    method: str
    accuracy: float
    low: float
    high: float
    delta: float | None
    delta_low: float | None
    delta_high: float | None
    main: bool


@dataclass(frozen=True)
class Shelved:
    """A run in the list; without a manifest where it cannot be read.

    Attributes:
        kind: "best of 24", "search trees", "not begun".
        best: The main method's, or the best standing method's accuracy.
    """

    entry: Entry
    manifest: Manifest | None
    kind: str = ""
    problems: int = 0
    scorers: tuple[str, ...] = ()
    best: Headline | None = None
    running: bool = False
    written: str = ""
    report: bool = False


@dataclass(frozen=True)
class Way:
    """A way into the problems, with how many it leads to."""

    words: str
    address: str
    count: int


def _runs(request: Request) -> Response:
    shelved = [_shelved(request, one) for one in library(request).entries()]
    return render(
        request,
        "runs.html.jinja",
        shelved=shelved,
        live=any(one.running for one in shelved),
    )


def _shelved(request: Request, found: Entry) -> Shelved:
    try:
        with found.open() as run:
            stages, plan = stages_of(run), plan_of(request, run)
            grown = bool(trees.tree_keys(run))
            kind = f"best of {stages.n}" if stages else "search trees" if grown else "not begun"
            given = results(found)
            heads = [] if given is None else headlines(given, plan)
            return Shelved(
                found,
                run.manifest,
                kind,
                marks(run).problems,
                tuple(stages.score_keys) if stages else (),
                max(heads, key=lambda one: (one.main, one.accuracy), default=None)
                if any(one.method not in ("cot", "oracle", MAJORITY) for one in heads)
                else None,
                live.running(found.folder),
                _written(found),
                has_report(found),
            )
    except VilbenchError:
        return Shelved(found, None)


def _written(found: Entry) -> str:
    """When the run was written last, in UTC."""
    file = found.folder / database.FILE
    log = file.with_name(file.name + "-wal")
    try:
        at = max(one.stat().st_mtime for one in (file, log) if one.exists())
    except (OSError, ValueError):
        return ""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")


def headlines(given: Results, plan: Plan | None) -> list[Headline]:
    """References and the standing method of each scorer at N on all problems."""
    wanted = ("cot", *standing_methods(plan, given.problem_set), "oracle")
    rows = {
        row.method: row
        for row in given.rows
        if row.k == given.n_solutions and (row.source, row.modality) == ("all", "all")
    }
    return [
        Headline(
            name,
            row.accuracy,
            row.ci_low,
            row.ci_high,
            row.delta_vs_cot,
            row.delta_low,
            row.delta_high,
            main=given.main is not None and name.partition("/")[0] == given.main,
        )
        for name in wanted
        if (row := rows.get(name)) is not None
    ]


def _run(request: Request) -> Response:
    found = entry(request)
    with found.open() as run:
        shown = shelf(request).show(found, run)
        state = live.mark(run, shown.index.state())
        if (nothing_new := live.seen(request, state)) is not None:
            return nothing_new
        paces = request.app.state.paces
        assert isinstance(paces, Paces)  # noqa: S101 - narrows what Starlette keeps as Any
        given = results(found)
        index = shown.index
        answer = render(
            request,
            "run.html.jinja",
            entry=found,
            manifest=run.manifest,
            stages=shown.stages,
            standing=standing(run, shown.plan, paces),
            trees=bool(trees.tree_keys(run)),
            results=given,
            headlines=[] if given is None else headlines(given, shown.plan),
            report=has_report(found),
            totals=index.totals(),
            sources=index.by("source"),
            modalities=index.by("modality"),
            accuracy=index.accuracy(),
            ways=_ways(index, shown.plan, run) if shown.stages else [],
            progress=shown.progress,
            live=live.running(found.folder) or not shown.progress.ready,
        )
    return live.marked(answer, state)


def _ways(index: Index, plan: Plan | None, run: Run) -> list[Way]:
    """The contrasts that one looks at first, those that lead to something."""
    known = index.known().methods
    methods = [one for one in standing_methods(plan, run.manifest.problem_set) if one in known]
    scorers = [one for one in methods if one != MAJORITY]
    main = next((one for one in scorers if plan and one.partition("/")[0] == plan.main), "")
    main = main or next(iter(scorers), "")
    asked = [("no right candidate", Query(pool="none-right"))]
    if main:
        asked += [
            (f"{main} right where majority is wrong", Query(right=main, wrong=MAJORITY)),
            (f"{main} wrong where majority is right", Query(right=MAJORITY, wrong=main)),
            (f"{main} wrong though a right one is there", Query(pool="mixed", wrong=main)),
        ]
    for other in scorers:
        if other != main:
            asked += [
                (f"{other} wrong where {main} is right", Query(right=main, wrong=other)),
                (f"{main} wrong where {other} is right", Query(right=other, wrong=main)),
            ]
    if main:
        asked.append((f"a tie decides for {main}", Query(tied=main)))
    asked += [
        ("right and wrong candidates", Query(pool="mixed")),
        ("an answer that was not found", Query(pool="unparsed")),
        ("a failed candidate", Query(pool="failed")),
    ]
    return [
        Way(words, query.address(), count)
        for words, query in asked
        if (count := index.count(query))
    ]


def routes() -> list[Route]:
    """The list of runs, and one of them."""
    return [Route("/", _runs), Route("/runs/{run}", _run)]
