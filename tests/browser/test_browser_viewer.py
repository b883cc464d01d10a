"""Runs and problems in a real browser: filters, keys, growth, the token, who can read it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from browsing import Writer, browser, clean, until, viewer, watched
from growing import begin, grow, score, solve
from legible import CONTRAST, STRUCTURE
from playwright.sync_api import Browser, Page

TOKEN = "a-token-of-the-tests"  # noqa: S105 - made up


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("runs")
    with begin(made / "whole") as run:
        for problem in run.problems():
            solve(run, problem)
            score(run, problem)
            grow(run, problem)
    return made


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with browser() as made:
        yield made


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[str]:
    with viewer(folder) as address:
        yield address


@pytest.fixture
def page(chrome: Browser, site: str) -> Iterator[Page]:
    with watched(chrome, site) as (made, _):
        yield made


def run_of(site: str, page: Page, title: str = "whole") -> str:
    page.goto(site)
    found = page.get_by_role("link", name=title, exact=True).first.get_attribute("href")
    return f"{site}{found}"


def ready(page: Page, address: str) -> None:
    """Opens a page once the index of its run is whole."""
    page.goto(address)
    until(lambda: page.get_by_text("The index of this run is being made").count() == 0)


def test_from_the_runs_to_a_solution_by_keys(site: str, page: Page) -> None:
    ready(page, run_of(site, page))
    page.goto(site)
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Problems", exact=True).click()
    page.wait_for_url("**/problems")  # and for its script: a key before that goes nowhere
    assert page.locator("tbody tr").count() == 9
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/problems/2")
    assert page.get_by_role("heading", level=1).inner_text() == "What is 1?"
    assert page.get_by_text("Step 1: it is 5.").is_visible()
    assert page.locator(".card .chip").first.inner_text() == "0.90"
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**/problems/3")
    page.get_by_role("link", name="search tree").click()
    page.wait_for_url("**/trees/3")
    clean(page)


def test_filters_of_problems(site: str, page: Page) -> None:
    address = run_of(site, page) + "/problems"
    ready(page, address)
    page.get_by_label("Right by").select_option("prm/mean")
    page.wait_for_url("**right=prm*")
    assert page.get_by_role("status").first.inner_text().startswith("9 problems")
    page.keyboard.press("/")
    page.keyboard.type("7")
    page.keyboard.press("Enter")
    page.wait_for_url("**text=7**")
    assert page.locator("tbody tr").count() == 1
    page.get_by_role("link", name="Clear").click()
    assert page.locator("tbody tr").count() == 9


def test_a_run_is_followed_while_it_goes_on(chrome: Browser, site: str, folder: Path) -> None:
    with Writer(folder / "growing") as told:
        told.store("solve")
        with watched(chrome, site) as (page, _):
            until(lambda: page.goto(site) is not None and "growing" in page.inner_text("main"))
            page.goto(run_of(site, page, "growing"))
            stages = page.locator("table.stages")
            assert "1 of 9" in stages.inner_text()
            page.evaluate("window.same = true")
            told.store("solve", "solve")
            until(lambda: "3 of 9" in stages.inner_text())
            assert "waits" in stages.inner_text()
            told.store("score")
            until(lambda: "1 of 3" in stages.inner_text())
            assert page.evaluate("window.same")
            told.end()
            until(lambda: page.locator("[data-live=off]").count() == 1)
            assert page.get_by_text("No process writes to this run.").is_visible()


def test_a_page_that_is_left_asks_for_nothing(chrome: Browser, site: str, folder: Path) -> None:
    with Writer(folder / "hidden") as told:
        told.store("solve")
        with watched(chrome, site) as (page, _):
            until(lambda: page.goto(site) is not None and "hidden" in page.inner_text("main"))
            page.goto(run_of(site, page, "hidden"))
            with page.expect_request("**/runs/**"):
                pass
            asked: list[str] = []
            page.on("request", lambda one: asked.append(one.url))
            page.evaluate(
                "Object.defineProperty(document, 'hidden', {get: () => window.gone, set() {}});"
                "window.gone = true; document.dispatchEvent(new Event('visibilitychange'))"
            )
            page.wait_for_timeout(300)
            asked.clear()
            told.store("solve")
            page.wait_for_timeout(3_000)
            assert asked == []
            page.evaluate("window.gone = false")
            page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
            until(lambda: "2 of 9" in page.inner_text("table.stages"))


def test_a_token_is_asked_for_once(chrome: Browser, folder: Path) -> None:
    with (
        viewer(folder, "--token", TOKEN) as site,
        watched(chrome, site) as (page, _),
    ):
        page.goto(site + "/?page=2")
        page.get_by_label("Token").fill("not the token")
        page.keyboard.press("Enter")
        page.get_by_role("alert").wait_for()
        page.get_by_label("Token").fill(TOKEN)
        page.keyboard.press("Enter")
        page.get_by_role("link", name="whole", exact=True).wait_for()
        assert page.url == site + "/?page=2"
        assert page.evaluate("document.cookie") == ""
        assert TOKEN not in str(page.context.cookies())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_can_be_read_by_everybody(chrome: Browser, site: str, scheme: str) -> None:
    with watched(chrome, site, color_scheme=scheme) as (page, _):
        run = run_of(site, page)
        pages = ["", "/problems", "/problems/2", "/problems/2?view=side", "/trees", "/trees/2"]
        for address in [site, *(run + one for one in pages)]:
            page.goto(address)
            page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true })")
            assert page.evaluate(STRUCTURE) == [], address
            assert page.evaluate(CONTRAST) == [], address
            assert page.title().endswith("vilbench")


def test_no_page_is_wider_than_a_phone(chrome: Browser, site: str) -> None:
    size = {"width": 360, "height": 740}
    with watched(chrome, site, viewport=size) as (page, _):
        run = run_of(site, page)
        for address in [site, run, run + "/problems", run + "/problems/2", run + "/trees/2"]:
            page.goto(address)
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, address
            assert page.evaluate(STRUCTURE) == [], address


def test_the_runs_are_whole_on_a_phone(chrome: Browser, site: str) -> None:
    with watched(chrome, site, viewport={"width": 390, "height": 844}) as (page, _):
        page.goto(site)
        table = page.locator("table.runs")
        hidden = "(e) => e.parentElement.scrollWidth - e.parentElement.clientWidth"
        assert table.evaluate(hidden) <= 0
        row = table.locator("tbody tr").first
        for cell in row.locator("th, td").all():
            box = cell.bounding_box()
            assert box is None or (box["x"] >= 0 and box["x"] + box["width"] <= 390)
        said = row.locator("td[data-label]").all()
        labels = [one.evaluate("(e) => getComputedStyle(e, '::before').content") for one in said]
        assert labels[:2] == ['"kind"', '"problems"']
        assert len(labels) == 5


def test_the_focus_is_seen_and_goes_in_order(site: str, page: Page) -> None:
    page.goto(run_of(site, page) + "/trees/2")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    places: list[float] = []
    for _ in range(25):
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        if page.evaluate("document.activeElement === document.body"):
            break
        assert outline != "none", page.evaluate("document.activeElement.outerHTML")
        places.append(page.evaluate("document.activeElement.getBoundingClientRect().top"))
    assert len(places) > 4
    assert all(later > earlier - 60 for earlier, later in pairwise(places))
