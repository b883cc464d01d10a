"""Pages of the search trees of a run: the list, and one tree."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vilbench.collect.forest import noted_key
from vilbench.display.exhibit import COLOURS, Exhibit, display
from vilbench.errors import VilbenchError
from vilbench.search import Targets, TreeRecord
from vilbench.store import database
from vilbench.store import trees as stored
from vilbench.store.run import Run
from vilbench.viewer import live, shell, trees
from vilbench.viewer.branches import READINGS, Reading, Shape, grove, readings, step
from vilbench.viewer.minimap import WIDTH, minimap
from vilbench.viewer.papers import has_report
from vilbench.viewer.pictures import pictured
from vilbench.viewer.trees import ORDERS, OUTCOMES, TreeFilter, TreeIndex

_MOST_INDICES = 16
_AT_ONCE = 400_000
"""Bytes of trees that a page reads before it is shown."""

_MOST_TEXT = 200
"""Characters of a value in an address that are read."""

_PATH_SHOWN = 40


@dataclass
class Forests:
    """Indices of the runs that were asked for last; a run that was begun anew has a new one."""

    _known: dict[tuple[Path, int, str], TreeIndex] = field(default_factory=dict)
    _filling: list[TreeIndex] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def index(self, run: Run, key: str) -> TreeIndex:
        """The index of a run's trees under a key, brought up to date as far as that is quick.

        A thread sees to the rest: it ends when all trees are read.
        """
        inode = (run.folder / database.FILE).stat().st_ino
        name = (run.folder, inode, key)
        with self._lock:
            found = self._known.pop(name, None) or TreeIndex(key)
            self._known[name] = found
            while len(self._known) > _MOST_INDICES:
                del self._known[next(iter(self._known))]
        found.refresh(run, _AT_ONCE)
        with self._lock:
            if found in self._filling or found.known >= trees.count(run, key):
                return found
            self._filling.append(found)
        Thread(target=self._fill, args=(run.folder, found), name="trees", daemon=True).start()
        return found

    def _fill(self, folder: Path, index: TreeIndex) -> None:
        try:
            with suppress(VilbenchError, OSError), Run.read(folder) as run:
                while index.refresh(run):
                    pass
        finally:
            with self._lock:
                self._filling.remove(index)


def current_key(run: Run, wanted: str = "") -> str | None:
    """Key of the trees to show: the one that begins as wanted, or that was collected last."""
    keys = stored.tree_keys(run)
    for key in keys:
        if wanted and key.startswith(wanted):
            return key
    noted = noted_key(run)
    return noted if noted in keys else keys[-1] if keys else None


def _list(request: Request) -> Response:
    found = shell.entry(request)
    query = request.query_params
    with found.open() as run:
        keys = stored.tree_keys(run)
        key = current_key(run, _text(query, "key"))
        if key is None:
            raise HTTPException(404, "This run has no search trees yet.")
        index = _index(request, run, key)
        wanted = _filter(query)
        page = index.page(run, wanted, _number(query, "page") or 1)
        state = live.mark(run, page.known)
        if (nothing_new := live.seen(request, state)) is not None:
            return nothing_new
        answer = shell.render(
            request,
            "trees.html.jinja",
            live=live.running(run.folder) or page.known < page.stored,
            entry=found,
            manifest=run.manifest,
            keys=keys,
            key=key,
            solved=bool(run.solution_keys()),
            report=has_report(found),
            page=page,
            wanted=wanted,
            choices=index.choices(),
            outcomes=OUTCOMES,
            orders=ORDERS,
            asked=_asked(wanted, key if len(keys) > 1 else ""),
        )
        return live.marked(answer, state)


def _tree(request: Request) -> Response:
    found = shell.entry(request)
    query = request.query_params
    position = _whole(request.path_params["position"])
    if position is None:
        raise HTTPException(404)
    with found.open() as run:
        keys = stored.tree_keys(run)
        key = current_key(run, _text(query, "key"))
        problem = trees.problem_at(run, position)
        tree = None if key is None or problem is None else stored.one(run, key, problem.id)
        if tree is None or key is None or problem is None:
            raise HTTPException(404, "There is no tree of this problem.")
        index = _index(request, run, key)
        wanted = _filter(query)
        before, after = index.neighbours(position, wanted)
        solved = bool(run.solution_keys())
    given = readings(tree)
    reading, values = _reading(tree, given, _text(query, "value"))
    try:
        shape = Shape.of(tree, values)
    except ValueError:
        raise HTTPException(503, "This tree is damaged.") from None
    node = _number(query, "node") or 0
    if node >= len(tree.nodes):
        raise HTTPException(404, "There is no such step in this tree.")
    first = _number(query, "from") or 0
    path = shape.path(node)
    return shell.render(
        request,
        "tree.html.jinja",
        entry=found,
        position=position,
        problem=display(Exhibit(problem, (), (), {}), (), {}, lambda image: pictured(found, image)),
        solved=solved,
        tree=tree,
        shape=shape,
        node=node,
        first=first,
        path=[step(shape, place) for place in path[-_PATH_SHOWN:]],
        path_left_out=max(0, len(path) - _PATH_SHOWN),
        grove=grove(shape, node, first),
        map=minimap(shape),
        map_width=WIDTH,
        reading=reading,
        chosen=_text(query, "value") if _text(query, "value") in given else "",
        readings={one: READINGS[one] for one in given} or {reading: READINGS[reading]},
        before=before,
        after=after,
        asked=_asked(wanted, key if len(keys) > 1 else ""),
        colours=range(COLOURS),
    )


def _index(request: Request, run: Run, key: str) -> TreeIndex:
    forests = request.app.state.forests
    assert isinstance(forests, Forests)  # noqa: S101 - narrows what Starlette keeps as Any
    return forests.index(run, key)


def _reading(
    tree: TreeRecord, given: dict[Reading, Targets], wanted: str
) -> tuple[Reading, Targets]:
    """The reading that was asked for, or the search's usual one."""
    for chosen, values in given.items():
        if wanted == chosen or wanted not in given:
            return chosen, values
    return "search", {node.node: None for node in tree.nodes}


def _filter(query: QueryParams) -> TreeFilter:
    order = _text(query, "order")
    return TreeFilter(
        outcome=_text(query, "outcome"),
        source=_text(query, "source"),
        modality=_text(query, "modality"),
        rule=_text(query, "rule"),
        stopped=_text(query, "stopped"),
        smallest=_number(query, "smallest"),
        largest=_number(query, "largest"),
        text=_text(query, "text").strip(),
        order=order if order in ORDERS else "problem",
    )


def _asked(wanted: TreeFilter, key: str) -> dict[str, object]:
    """A filter as the query of an address, what it leaves open left out."""
    given: dict[str, Any] = {
        "key": key[:16],
        "outcome": wanted.outcome,
        "source": wanted.source,
        "modality": wanted.modality,
        "rule": wanted.rule,
        "stopped": wanted.stopped,
        "smallest": wanted.smallest,
        "largest": wanted.largest,
        "text": wanted.text,
        "order": "" if wanted.order == "problem" else wanted.order,
    }
    return {name: value for name, value in given.items() if value not in ("", None)}


def _text(query: QueryParams, name: str) -> str:
    return query.get(name, "")[:_MOST_TEXT]


def _number(query: QueryParams, name: str) -> int | None:
    return _whole(query.get(name, "").strip())


def _whole(given: str) -> int | None:
    """A whole number of an address; None for anything else."""
    return int(given) if given.isascii() and given.isdigit() and len(given) < 10 else None


def routes() -> Sequence[Route]:
    """The list of trees, and one of them."""
    return [
        Route("/runs/{run}/trees", _list),
        Route("/runs/{run}/trees/{position}", _tree),
    ]
