"""Reports in a real browser: who can read them, on which screens, and on paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import browser
from legible import CONTRAST, STRUCTURE
from playwright.sync_api import Browser, Page
from report_data import make_exhibit
from test_report_comparison import made
from test_report_diagnosis import BAD, CLEAN, record
from test_report_plates import full

from vilbench.report.comparison import render_comparison
from vilbench.report.diagnosis import Diagnosis
from vilbench.report.page import render


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with browser() as made:
        yield made


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report with every section, and a comparison."""
    folder = tmp_path_factory.mktemp("reports")
    made_of = {
        "report": render(full(), [make_exhibit(1)], None, Diagnosis(record(CLEAN, BAD))),
        "comparison": render_comparison([made("a"), made("b", gains=(0.2, -0.1))]),
    }
    for name, text in made_of.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in made_of}


def opened(chrome: Browser, path: Path, scheme: str, width: int) -> Page:
    context = chrome.new_context(
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": width, "height": 800},
    )
    page = context.new_page()
    page.goto(path.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true })")
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_reports_can_be_read_by_everybody(
    chrome: Browser, pages: dict[str, Path], scheme: str, width: int
) -> None:
    for name, path in pages.items():
        page = opened(chrome, path, scheme, width)
        assert page.evaluate(STRUCTURE) == [], name
        assert page.evaluate(CONTRAST) == [], name
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        page.context.close()
