"""What the viewer shows, and the same figures as the analysis."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from viewer_data import (
    HOSTILE,
    PLAN,
    POOLS,
    SCORERS,
    N,
    ask,
    grow,
    made,
    manifest,
    planner,
    png,
    run_address,
    viewer,
)

from vilbench.evaluate.analysis import analyse, stored
from vilbench.evaluate.stages import note_sampling, note_scoring
from vilbench.selection import best_of, majority, weighted_majority
from vilbench.store.records import Event
from vilbench.store.run import Run
from vilbench.types import BytesSource, Image, StepScores
from vilbench.viewer.guard import Guard
from vilbench.viewer.index import Index
from vilbench.viewer.measure import choice, vote
from vilbench.viewer.query import Known, Query, matching
from vilbench.viewer.shelf import stages_of


def wait(app: Guard, address: str) -> str:
    """The page of an address when the index is whole."""
    for _ in range(100):
        page = ask(app, address).text
        if "index of this run is being made" not in page:
            return page
        time.sleep(0.05)
    raise AssertionError("the index is never whole")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = made(tmp_path_factory.mktemp("pages") / "run")
    with Run.open(folder, manifest()) as run:
        run.write_results(analyse(run, PLAN).model_dump_json())
        run.write_derived("report.html", b"<!doctype html><script>alert(1)</script>")
    return folder


@pytest.fixture(scope="module")
def app(folder: Path) -> Guard:
    app = viewer(folder)
    wait(app, run_address(app) + "/problems")
    return app


def positions(page: str) -> list[int]:
    return [int(one) for one in re.findall(r'/problems/(\d+)[?"]', page.split("live-problems")[1])]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [1, 2, 3, 4]),
        ("right=prm/last-1&wrong=majority", [1]),
        ("right=majority&wrong=prm/mean", [2]),
        ("tied=judge", [1]),
        ("right=judge", [2, 4]),
        ("wrong=judge", [3]),
        ("pool=none-right", [3]),
        ("pool=all-right", [4]),
        ("pool=mixed", [1, 2]),
        ("pool=unparsed", [3]),
        ("pool=failed", []),
        ("source=charts", [2, 4]),
        ("modality=visual-dominant", [4]),
        ("by=judge&low=4.5", [2, 4]),
        ("by=judge&high=3.5", [3]),
        ("by=prm/mean&sort=high", [4, 2, 1, 3]),
        ("by=prm/mean&sort=low", [3, 1, 2, 4]),
        ("sort=hard", [3, 1, 2, 4]),
        ("sort=easy", [4, 2, 1, 3]),
        ("text=zebra2", [3]),
        ("text=zeb", [1, 2, 3, 4]),
        ("text=zebra1+giraffe2", [2]),
        ('text="what+is"', [1, 2, 3, 4]),
        ('text="is+what"', []),
        ("text=%22%22", [1, 2, 3, 4]),
        ("text=***", []),
        ("text=zebra1)+OR+(zebra2", []),
        ("source=charts&right=majority&text=number", [2, 4]),
    ],
)
def test_filters_keep_what_they_say(app: Guard, query: str, expected: list[int]) -> None:
    answer = ask(app, f"{run_address(app)}/problems?{query}")
    assert answer.status == 200
    if query.endswith("%22%22"):
        assert positions(answer.text) == []
    else:
        assert positions(answer.text) == expected


@pytest.mark.parametrize(
    "query",
    [
        "right=nobody",
        "source=x",
        "pool=1;drop",
        "sort=x",
        "low=nan",
        "by=judge&low=1e999",
        "page=x",
    ],
)
def test_filters_that_a_run_cannot_have_are_refused(app: Guard, query: str) -> None:
    assert ask(app, f"{run_address(app)}/problems?{query}").status == 400


def test_choices_are_those_of_the_analysis(folder: Path) -> None:
    with Run.read(folder) as run:
        found = stored(run, PLAN)
    correct, answers = found.pools.correct(), found.pools.answers()
    for scorer in SCORERS:
        for pool in found.pools.scores(scorer, found.values[scorer.name]).values():
            curve = best_of(pool, correct).accuracy[:, -1]
            ours = [choice(one, right).share for one, right in zip(pool, correct, strict=True)]
            assert ours == pytest.approx(list(curve), abs=1e-12)
        weights = found.pools.weights(scorer, found.values[scorer.name])
        curve = weighted_majority(answers, correct, weights).accuracy[:, -1]
        votes = [vote(*one).share for one in zip(answers, correct, weights, strict=True)]
        assert votes == pytest.approx(list(curve), abs=1e-12)
    curve = majority(answers, correct).accuracy[:, -1]
    votes = [vote(a, c, [1.0] * N).share for a, c in zip(answers, correct, strict=True)]
    assert votes == pytest.approx(list(curve), abs=1e-12)


def test_accuracies_and_histograms_are_those_of_the_results(folder: Path, tmp_path: Path) -> None:
    index = Index(tmp_path / "index.sqlite")
    with Run.read(folder) as run:
        stages = stages_of(run)
        index.look(run, PLAN, stages)
        while not index.work(run, PLAN, stages).ready:
            pass
        results = analyse(run, PLAN)
    rows = {
        row.method: row.accuracy
        for row in results.rows
        if row.k == N and (row.source, row.modality) == ("all", "all")
    }
    for method, share in index.accuracy().items():
        assert share == pytest.approx(rows[method]), method
    assert {one.scorer: one for one in results.histograms} == index.histograms(SCORERS)


class _Code(HTMLParser):
    """Elements and attributes that could run something."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "script" and not (given.get("src") or "").startswith("/static/"):
            self.found.append(tag)
        if tag in ("style", "iframe", "object", "embed", "base", "textarea"):
            self.found.append(tag)
        self.found += [key for key in given if key.startswith("on") or key == "style"]
        for key in ("href", "src", "action"):
            value = given.get(key)
            if value and not value.startswith(("/", "#")):
                self.found.append(value)


def test_hostile_text_is_text_on_every_page(app: Guard) -> None:
    run = run_address(app)
    pages = ("/", run, f"{run}/problems", *(f"{run}/problems/{i}" for i in (1, 2, 3, 4)))
    asked = f"{run}/problems?text=%3Cscript%3Ealert(9)%22%3E"
    for address in (*pages, asked, f"{run}/problems/1?view=side&rank=prm/mean"):
        answer = ask(app, address)
        assert answer.status == 200
        code = _Code()
        code.feed(answer.text)
        assert code.found == [], address
        assert "\u202e" not in answer.text and "\x1b" not in answer.text
        assert "onerror=alert(2)>" not in answer.text and ">49<" not in answer.text
    assert "&lt;script&gt;alert(1)" in ask(app, f"{run}/problems/1").text


def test_a_problem_shows_all_that_is_known_of_it(app: Guard) -> None:
    page = ask(app, f"{run_address(app)}/problems/1?right=prm%2Flast-1").text
    assert page.count('class="card ') == N
    assert "prm: mean, last-1" in page
    assert "judge tied" in page
    assert "because &lt;script" in page
    assert page.count('class="chip') > 2 * N
    assert "1 of 2" in page or "1 of 3" in page


def test_the_neighbours_are_those_of_the_filter(app: Guard) -> None:
    run = run_address(app)
    page = ask(app, f"{run}/problems/4?sort=hard").text
    before = re.search(r'<link rel="prev" href="([^"]+)"', page)
    assert before and before[1] == f"{run}/problems/2?sort=hard"
    assert 'rel="next"' not in page
    assert "not in the filter" in ask(app, f"{run}/problems/4?pool=none-right").text


def test_a_few_candidates_alone(app: Guard) -> None:
    run = run_address(app)
    page = ask(app, f"{run}/problems/1?only=0&only=2&view=side").text
    assert page.count('class="card ') == 2
    assert 'class="cards side"' in page


@pytest.mark.parametrize("position", ["0", "5", "-1", "1.0", "abc", "9" * 30, "١"])
def test_problems_that_are_not_there(app: Guard, position: str) -> None:
    assert ask(app, "/", path=f"{run_address(app)}/problems/{position}").status == 404


def test_the_summary_has_the_headline_and_ways_into_the_problems(app: Guard) -> None:
    run = run_address(app)
    page = ask(app, run).text
    assert "Best of 3" in page
    ways = dict(re.findall(r'<li><a href="[^"]*(\?[^"]+)">([^<]+)', page))
    assert "prm/mean wrong where majority is right" in ways.values()
    for address, words in ways.items():
        shown = re.search(re.escape(words) + r"</a> <span[^>]*>(\d+)", page)
        listed = ask(app, f"{run}/problems{address.replace('&amp;', '&')}").text
        assert shown and len(positions(listed)) == int(shown[1])


def test_the_report_is_boxed_in(app: Guard) -> None:
    answer = ask(app, f"{run_address(app)}/report")
    assert answer.status == 200
    policy = answer.headers["content-security-policy"]
    assert "sandbox" in policy and "allow-scripts" not in policy and "script-src" not in policy


def test_images_have_the_type_that_they_are(app: Guard, folder: Path) -> None:
    run = run_address(app)
    digest = next(folder.glob("images/??/*")).name
    answer = ask(app, f"{run}/images/{digest}")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    assert answer.body.startswith(b"\x89PNG")
    assert "immutable" in answer.headers["cache-control"]
    again = ask(app, f"{run}/images/{digest}", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize(
    "data",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<html><script>alert(1)</script>",
        b"",
        b"\x89PNG\r\n\x1a\n<script>alert(1)</script>",
        png()[:-45],
    ],
)
def test_what_is_no_image_is_not_served(tmp_path: Path, data: bytes) -> None:
    from viewer_data import problem

    one = problem(1).model_copy(update={"images": (Image.of(BytesSource(data)),)})
    with Run.open(tmp_path / "run", manifest()) as run:
        run.add_problems([one])
    app = viewer(tmp_path)
    address = run_address(app)
    answer = ask(app, f"{address}/images/{one.images[0].digest}")
    assert answer.status == 404
    assert b"alert" not in answer.body
    assert ask(app, f"{address}/problems/1").status == 200


def test_an_index_follows_a_run_that_grows(tmp_path: Path) -> None:
    index = Index(tmp_path / "index.sqlite")
    with Run.open(tmp_path / "run", manifest()) as run:

        def look() -> list[int]:
            stages = stages_of(run)
            index.look(run, PLAN, stages)
            with sqlite3.connect(index.path) as db:
                todo = [place for (place,) in db.execute("SELECT position FROM todo")]
            while not index.work(run, PLAN, stages).ready:
                pass
            return todo

        assert look() == []
        grow_problems = [1, 2]
        note_sampling(run, "pools", N, "policy")
        note_scoring(run, "prm", "prm", "pools")
        grow(run, 0, 2, ("prm",))
        assert look() == grow_problems
        assert look() == []
        assert index.find(Query(right="prm/last-1", wrong="majority")) == [1]
        grow(run, 2, 3, ())
        assert look() == [3]
        assert index.find(Query(text="zebra2")) == [3]
        from viewer_data import scores

        run.put_scores("prm", scores(2, "p2", "prm"))
        assert look() == [3]
        note_scoring(run, "judge", "judge", "pools")
        run.put_scores("judge", scores(0, "p0", "judge"))
        assert look() == [1]
        assert index.find(Query(tied="judge")) == [1]
        broken = StepScores(
            problem_id="p1",
            solution_index=0,
            scorer="judge",
            granularity="solution",
            values=(None,),
            error="the server hung up",
        )
        run.put_scores("judge", [broken])
        assert look() == [2]
        run.put_scores("judge", scores(1, "p1", "judge"))
        assert 2 in look()
        assert look() == []
        assert index.find(Query(right="judge")) == [2]
        note_scoring(run, "judge", "other judge", "pools")
        assert look() == [1, 2, 3]
        assert index.find(Query(tied="judge")) == []


def test_an_index_is_as_good_made_at_once_as_bit_by_bit(tmp_path: Path) -> None:
    def made_by(parts: int) -> dict[str, object]:
        index = Index(tmp_path / f"{parts}.sqlite")
        with Run.open(tmp_path / f"run{parts}", manifest()) as run:
            note_sampling(run, "pools", N, "policy")
            for scorer in SCORERS:
                note_scoring(run, scorer.name, scorer.name, "pools")
            size = 8 // parts
            for part in range(parts):
                grow(run, part * size, (part + 1) * size)
                index.look(run, PLAN, stages_of(run))
                while not index.work(run, PLAN, stages_of(run)).ready:
                    pass
        known = index.known()
        return {
            "accuracy": index.accuracy(),
            "rows": index.rows(range(1, 9)),
            "totals": index.totals(),
            "text": index.find(Query(text="zebra7")),
            "hard": index.find(Query(sort="hard")),
            "histograms": index.histograms(SCORERS),
            "methods": sorted(known.methods),
        }

    assert made_by(1) == made_by(4)


def test_another_run_in_the_same_place_gets_another_index(tmp_path: Path) -> None:
    index = Index(tmp_path / "index.sqlite")
    for problems in (4, 2):
        with Run.open(tmp_path / "run", manifest(), fresh=True) as run:
            note_sampling(run, "pools", N, "policy")
            grow(run, 0, problems, ())
            index.look(run, PLAN, stages_of(run))
            while not index.work(run, PLAN, stages_of(run)).ready:
                pass
        assert index.find(Query()) == list(range(1, problems + 1))


def test_a_damaged_index_is_made_again(tmp_path: Path) -> None:
    folder, cache = made(tmp_path / "run"), tmp_path / "cache"
    first = viewer(folder, cache=cache)
    wait(first, run_address(first) + "/problems")
    for file in cache.iterdir():
        file.write_bytes(b"not a database" * 1000)
    second = viewer(folder, cache=cache)
    assert positions(wait(second, run_address(second) + "/problems")) == [1, 2, 3, 4]


def test_nothing_is_written_into_a_run(tmp_path: Path) -> None:
    folder = made(tmp_path / "run")
    before = {one: one.stat().st_mtime_ns for one in folder.rglob("*") if one.is_file()}
    app = viewer(folder)
    address = run_address(app)
    for path in (address, f"{address}/problems", f"{address}/problems/1"):
        wait(app, path)
    after = {one: one.stat().st_mtime_ns for one in folder.rglob("*") if one.is_file()}
    assert {one for one in after if one not in before} <= {
        folder / "run.sqlite-wal",
        folder / "run.sqlite-shm",
    }
    assert all(after[one] == stamp for one, stamp in before.items())


def test_a_page_asks_no_more_of_the_disk_when_there_are_more_problems(tmp_path: Path) -> None:
    def decoded(problems: int) -> int:
        folder = made(tmp_path / f"run{problems}", problems)
        app = viewer(folder)
        address = run_address(app)
        wait(app, f"{address}/problems")
        import vilbench.store.database as database

        count = 0
        original = database.decode

        def counting(kind: type[Any], *rest: Any) -> Any:
            nonlocal count
            count += kind is not Event
            return original(kind, *rest)

        import vilbench.store.excerpts as excerpts
        import vilbench.store.run as run_module

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(excerpts, "decode", counting)
            patch.setattr(run_module, "decode", counting)
            ask(app, f"{address}/problems?right=prm/mean&sort=hard")
            listed = count
            ask(app, f"{address}/problems/2")
        assert listed == 0
        return count

    assert decoded(4) == decoded(40) == 1 + N + 2 * N


def test_a_run_without_a_plan_is_shown_without_choices(tmp_path: Path) -> None:
    from vilbench.viewer.app import application

    folder = made(tmp_path / "run")
    app = application(folder, lambda run: None)
    address = run_address(app)
    wait(app, f"{address}/problems")
    page = ask(app, f"{address}/problems/1").text
    assert page.count('class="card ') == N
    assert "chip" in page and ask(app, address).status == 200


def test_a_run_that_has_only_begun_is_shown(tmp_path: Path) -> None:
    with Run.open(tmp_path / "run", manifest()) as run:
        run.add_problems([])
    app = viewer(tmp_path)
    address = run_address(app)
    assert ask(app, address).status == 200
    assert "No problem passes" in ask(app, f"{address}/problems").text
    assert ask(viewer(tmp_path / "run"), "/").status == 200


def test_a_folder_without_runs_says_so(tmp_path: Path) -> None:
    assert "There is no run in this folder" in ask(viewer(tmp_path), "/").text


def test_a_link_is_good_while_the_index_is_being_made(tmp_path: Path) -> None:
    index = Index(tmp_path / "index.sqlite")
    with Run.read(made(tmp_path / "run")) as run:
        assert not index.look(run, PLAN, stages_of(run)).ready
        given = {"right": "prm/mean", "source": "charts", "by": "judge", "sort": "high"}
        query = Query.read(given, index.known())
        assert index.find(query) == []
        while not index.work(run, PLAN, stages_of(run)).ready:
            pass
    assert index.find(Query.read(given, index.known())) == [4]


def test_every_state_has_an_address() -> None:
    known = Known(("a&b", "c"), ("m",), ("prm/mean", "majority"))
    query = Query(
        source="a&b",
        right="prm/mean",
        wrong="majority",
        by="prm/mean",
        low=0.25,
        high=1.0,
        text='"x y" ü',
        sort="high",
        page=3,
    )
    from urllib.parse import parse_qsl

    assert Query.read(dict(parse_qsl(query.here()[1:])), known) == query
    assert Query.read({}, known) == Query() and Query().here() == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("red bar", '"red"* "bar"*'),
        ('"red bar" x', '"red bar" "x"*'),
        ('a"b', '"a b"*'),
        ("NEAR(a b) OR *", '"NEAR a"* "b"* "OR"*'),
        ("三角形", '"三 角 形"*'),
        ('"', ""),
        ("", ""),
    ],
)
def test_a_search_is_only_words(text: str, expected: str) -> None:
    assert matching(text) == expected


def test_hostile_results_do_not_break_the_summary(tmp_path: Path) -> None:
    folder = made(tmp_path / "run")
    for text in ("", "[]", "{", json.dumps({"rows": HOSTILE}), "9" * 5000):
        (folder / "results.json").write_text(text)
        app = viewer(folder)
        assert ask(app, run_address(app)).status == 200


def test_pools_of_the_data_cover_the_cases() -> None:
    assert len(POOLS) == 4 and planner is not None
