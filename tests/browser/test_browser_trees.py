"""Search trees in a real browser: list, folds, keyboard, links, live growth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import Writer, browser, clean, until, viewer, watched
from playwright.sync_api import Browser, Page

from vilbench.search import NodeRecord, TreeRecord
from vilbench.store import trees
from vilbench.store.manifest import Manifest
from vilbench.store.records import Spent
from vilbench.store.run import Run
from vilbench.testing import make_problem


def tree(problem_id: str, solutions: int, depth: int, right: int) -> TreeRecord:
    """Solutions of so many steps, the first of them right; two in a row share a first step."""
    nodes = [NodeRecord(node=0, rollouts=solutions, right=right)]
    above = 0
    for solution in range(solutions):
        if solution % 2 == 0:
            above = 0
            nodes.append(_node(nodes, 0, f"Step 1: way {solution // 2}.", solution < right))
            above = len(nodes) - 1
        here = above
        for level in range(2, depth):
            nodes.append(_node(nodes, here, f"Step {level} of {solution}.", solution < right))
            here = len(nodes) - 1
        nodes.append(
            NodeRecord(
                node=len(nodes),
                parent=here,
                step=f"Answer of {solution}",
                finished=True,
                correct=solution < right,
            )
        )
    return TreeRecord(
        problem_id=problem_id, rule="rollouts", seed=0, nodes=tuple(nodes), stopped="complete"
    )


def _node(nodes: list[NodeRecord], parent: int, step: str, right: bool) -> NodeRecord:
    return NodeRecord(node=len(nodes), parent=parent, step=step, rollouts=2, right=1 + right)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("runs")
    with Run.open(made / "grown", Manifest.of("grown", {}, seed=0, problem_set="own")) as run:
        names = [f"p{n:03}" for n in range(120)]
        run.add_problems([make_problem(id=one, question=f"What is {one}?") for one in names])
        grown = [tree(one, 4 + n % 5, 4, n % 6) for n, one in enumerate(names)]
        grown[7] = tree("p007", 1_200, 4, 3)
        trees.put(run, "k", (), [trees.Grown(one, Spent()) for one in grown])
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


def trees_of(site: str, page: Page, title: str = "grown") -> str:
    page.goto(site)
    link = page.get_by_role("link", name=title, exact=True).first.get_attribute("href")
    return f"{site}{link}/trees"


def test_list_filter_and_pages(site: str, page: Page) -> None:
    page.goto(trees_of(site, page))
    rows = page.locator("tbody tr")
    until(lambda: rows.count() == 50)
    page.get_by_role("link", name="next").click()
    assert "page 2 of 3" in page.get_by_role("status").inner_text()
    assert page.locator("tbody a").first.inner_text() == "What is p050?"
    page.get_by_label("Finished solutions").select_option("none right")
    page.get_by_label("Order").select_option("largest first")
    page.wait_for_url("**outcome=none-right**order=largest")
    assert page.get_by_role("status").inner_text() == "20 trees of 120"
    page.get_by_role("searchbox").fill("What is P011?")
    page.get_by_label("Finished solutions").select_option("all")
    page.get_by_text("1 tree of 120").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/trees/12**")
    assert page.get_by_role("heading", level=1).inner_text() == "What is p011?"
    page.get_by_role("link", name="search trees").click()
    assert page.get_by_role("searchbox").input_value() == "What is P011?"


def test_folds_best_path_and_keyboard(site: str, page: Page) -> None:
    page.goto(trees_of(site, page) + "/3?value=rest")
    best = page.locator("#grove > .grove > li.best > details")
    assert best.count() == 1
    assert best.get_attribute("open") is not None
    assert best.locator(".about > .end.right").first.is_visible()
    closed = page.locator("#grove details:not([open])")
    folded = closed.count()
    assert folded > 0
    summary = closed.first.locator("> summary")
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator("#grove details:not([open])").count() == folded - 1
    page.get_by_role("button", name="Open all").press("Space")
    assert page.locator("#grove details:not([open])").count() == 0
    assert page.get_by_text("Answer of 5").is_visible()
    page.get_by_label("Colour and number").select_option("share of right continuations")
    page.wait_for_url("**value=rollouts*")
    page.get_by_role("link", name="next tree").click()
    page.wait_for_url("**/trees/4?value=rollouts")
    clean(page)


def test_the_map_leads_to_the_step(site: str, page: Page) -> None:
    page.goto(trees_of(site, page) + "/4")
    answer = page.locator(".step", has_text="Answer of 3")
    assert not answer.is_visible()
    number = (answer.get_attribute("id") or "").removeprefix("n")
    page.locator(f"a[data-node='{number}'] rect").click()
    assert answer.is_visible()
    assert "here" in (answer.get_attribute("class") or "")


def test_a_large_tree_comes_by_parts(site: str, page: Page) -> None:
    page.goto(trees_of(site, page) + "/8")
    assert page.locator(".step").count() <= 300
    assert page.get_by_text("Answer of 0").is_visible()
    last = page.locator("#grove > .grove > li:last-child > a.more")
    before = page.locator("#grove > .grove > li").count()
    address = page.url
    last.focus()
    page.keyboard.press("Enter")
    until(lambda: page.locator("#grove > .grove > li").count() > before)
    assert page.url == address
    assert page.evaluate("document.activeElement.matches('#grove summary')")
    numbers = page.evaluate("[...document.querySelectorAll('#grove .step')].map((one) => one.id)")
    assert len(numbers) == len(set(numbers))


def test_without_a_script_everything_is_behind_links(chrome: Browser, site: str) -> None:
    with watched(chrome, site, java_script_enabled=False) as (page, _):
        page.goto(trees_of(site, page) + "/8")
        page.locator("#grove > .grove > li:last-child > a.more").click()
        assert "from=" in page.url
        assert page.locator(".step").count() > 0
        page.get_by_label("Colour and number").select_option("ReST-MCTS* reward")
        page.get_by_role("button", name="Show").click()
        assert "value=rest" in page.url
        page.locator("#grove summary").first.click()


def test_a_list_grows_while_trees_are_collected(chrome: Browser, site: str, folder: Path) -> None:
    with Writer(folder / "growing") as told:
        told.store("grow", "grow")
        with watched(chrome, site) as (page, _):
            until(lambda: page.goto(site) is not None and "growing" in page.inner_text("main"))
            page.goto(trees_of(site, page, "growing"))
            rows = page.locator("tbody tr")
            assert rows.count() == 2
            page.evaluate("window.same = true")
            page.locator("tbody a").first.focus()
            told.store("grow")
            until(lambda: rows.count() == 3)
            told.store("grow", "grow")
            until(lambda: rows.count() == 5)
            assert page.evaluate("window.same")
            assert page.evaluate("document.activeElement.textContent") == "What is 0?"
            told.end()
            until(lambda: page.locator("[data-live=off]").count() == 1)
