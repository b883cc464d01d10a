"""One problem: its images, all candidates with their scores, and whom each method picks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vilbench.display.exhibit import (
    COLOURS,
    Card,
    Chip,
    Exhibit,
    chip,
    display,
    grouped,
)
from vilbench.display.text import visible
from vilbench.evaluate.analysis import Plan
from vilbench.evaluate.results import Histogram
from vilbench.search import TreeRecord
from vilbench.store import trees
from vilbench.store.excerpts import problems_at
from vilbench.store.run import Run
from vilbench.viewer import live
from vilbench.viewer.measure import Measured, Outcome, measure
from vilbench.viewer.pictures import pictured
from vilbench.viewer.problems import PAGE, query_of, standing_methods
from vilbench.viewer.shell import entry, render, shelf

VIEWS: Final[Mapping[str, str]] = {"": "one below the other", "side": "side by side"}
_UNCOLOURED = ("product", "geometric-mean")
"""Their results are not on the scale of the values, so that their rank among these says nothing."""


@dataclass(frozen=True)
class Candidate:
    """A solution with what singles it out.

    Attributes:
        cells: A score per standing method.
        chosen: Methods that choose it for certain, those of a scorer together.
        tied: Methods that choose it or another of equal score.
    """

    card: Card
    cells: tuple[Chip | None, ...]
    chosen: tuple[str, ...]
    tied: tuple[str, ...]


@dataclass(frozen=True)
class Vote:
    """What a vote over answers comes to; `share` is the chance that its answer is right."""

    method: str
    answers: tuple[str, ...]
    votes: float
    share: float


def _page(request: Request) -> Response:
    found, position = entry(request), request.path_params["position"]
    if not position.isascii() or not position.isdigit() or len(position) > 9:
        raise HTTPException(404)
    place = int(position)
    with found.open() as run:
        placed = problems_at(run, [place])
        if not placed:
            raise HTTPException(404, "There is no such problem in this run.")
        shown = shelf(request).show(found, run)
        state = live.mark(run, place, shown.index.state())
        if (nothing_new := live.seen(request, state)) is not None:
            return nothing_new
        measured = measure(run, shown.plan, shown.stages, placed[0])
        tree = _tree(run, placed[0].problem.id)
        manifest = run.manifest
    query = query_of(request, shown)
    scorers = shown.plan.scorers if shown.plan else ()
    histograms = shown.index.histograms(scorers)
    names = [*dict.fromkeys([*(one.name for one in scorers), *measured.given])]
    standing = [
        one for one in standing_methods(shown.plan, manifest.problem_set) if one in measured.scores
    ]
    ranked = request.query_params.get("rank", "")
    ranked = ranked if ranked in measured.scores else ""
    exhibit = Exhibit(
        measured.pools.problems[0],
        measured.pool if measured.stored else (),
        tuple(one for known in measured.given.values() for one in known.values()),
        {},
    )
    shown_exhibit = display(exhibit, names, histograms, lambda image: pictured(found, image))
    places = shown.index.find(query)
    at = places.index(place) if place in places else None
    candidates = _candidates(
        measured, shown_exhibit.cards, standing, ranked, histograms, shown.plan, names
    )
    only = {one for one in request.query_params.getlist("only")[:64] if one.isdigit()}
    answer = render(
        request,
        "problem.html.jinja",
        entry=found,
        manifest=manifest,
        position=place,
        problem=shown_exhibit,
        columns=standing,
        candidates=candidates,
        shown=[one for one in candidates if not only or str(one.card.index) in only],
        only=only,
        votes=_votes(measured),
        view=request.query_params.get("view", "")
        if "side" in request.query_params.get("view", "")
        else "",
        views=VIEWS,
        ranked=ranked,
        methods=list(measured.scores),
        query=query,
        number=None if at is None else at + 1,
        found=len(places),
        list_page=None if at is None else at // PAGE + 1,
        before=None if not at else places[at - 1],
        after=None if at is None or at + 1 >= len(places) else places[at + 1],
        right=sum(one.verdict == "correct" for one in measured.pool),
        size=len(measured.pool),
        stored=measured.stored,
        tree=tree is not None,
        colours=range(COLOURS),
        live=live.running(found.folder),
    )
    return live.marked(answer, state)


def _candidates(
    measured: Measured,
    cards: Sequence[Card],
    standing: Sequence[str],
    ranked: str,
    histograms: Mapping[str, Histogram],
    plan: Plan | None,
    names: Sequence[str],
) -> list[Candidate]:
    """The solutions as stored, or from the best down by a method's score."""
    order = list(range(len(cards)))
    if ranked:
        scores = measured.scores[ranked]
        order.sort(key=lambda i: (scores[i] is None, -(scores[i] or 0.0)))
    chosen, tied = _picks(measured.outcomes, len(cards), set(measured.scores))
    return [
        Candidate(
            cards[i],
            tuple(_cell(one, measured.scores[one][i], histograms, plan) for one in standing),
            grouped(chosen[i], names),
            grouped(tied[i], names),
        )
        for i in order
    ]


def _picks(
    outcomes: Mapping[str, Outcome], size: int, methods: set[str]
) -> tuple[list[list[str]], list[list[str]]]:
    """Methods by the solution that they choose, for certain and by chance."""
    chosen: list[list[str]] = [[] for _ in range(size)]
    tied: list[list[str]] = [[] for _ in range(size)]
    for method, outcome in outcomes.items():
        if method in methods and outcome.best is not None:
            for index in outcome.chosen:
                (tied if outcome.tied else chosen)[index].append(method)
    return chosen, tied


def _cell(
    method: str, score: float | None, histograms: Mapping[str, Histogram], plan: Plan | None
) -> Chip:
    scorer, _, aggregation = method.partition("/")
    coloured = plan is not None and aggregation not in _UNCOLOURED
    return chip(method, score, histograms.get(scorer) if coloured else None)


def _votes(measured: Measured) -> list[Vote]:
    found = []
    for method, outcome in measured.outcomes.items():
        if method not in measured.scores and outcome.best is not None:
            answers = dict.fromkeys(measured.pool[i].answer or "" for i in outcome.chosen)
            shown = tuple(visible(one, 60) for one in answers)
            found.append(Vote(method, shown, outcome.best, outcome.share))
    return found


def _tree(run: Run, problem_id: str) -> TreeRecord | None:
    """The problem's search tree of the latest collection, if there is one."""
    keys = trees.tree_keys(run)
    return trees.one(run, keys[-1], problem_id) if keys else None


def routes() -> list[Route]:
    """The page of a problem."""
    return [Route("/runs/{run}/problems/{position}", _page)]
