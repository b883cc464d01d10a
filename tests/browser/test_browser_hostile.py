"""Hostile text in every place that holds text stays text, in a real browser."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from subprocess import DEVNULL
from urllib.parse import parse_qsl, urlsplit

import pytest
from browsing import VILBENCH, browser, clean, joined, read, viewer, watched
from hostile import PAYLOADS, SHORT, hostile_name, hostile_run, texts
from playwright.sync_api import Browser

from vilbench.display.text import name, visible

NAMES = (10, 26, 45)
"""Payloads that are names of folders."""

A_KIND = 12
"""Pages of a kind that are looked at, so many that every payload is on one of them."""

ASKED = 2
"""The same of those that an address asks in a special way."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("hostile")
    hostile_run(made / "plain").close()
    hostile_run(made / "reported", problems=12).close()
    subprocess.run([*VILBENCH, "report", made / "reported", "--plain"], check=True, stdout=DEVNULL)
    for place in NAMES:
        hostile_run(hostile_name(made, place), problems=3).close()
    return made


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with browser() as made:
        yield made


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[str]:
    with viewer(folder) as address:
        yield address


def test_the_corpus_is_of_every_kind() -> None:
    assert len(PAYLOADS) == len(set(PAYLOADS)) >= 60
    assert {one for place in range(11) for one in texts(place, 6)} == set(PAYLOADS)


def kind_of(address: str) -> str:
    """An address without its names, numbers and values."""
    parts = urlsplit(address)
    path = re.sub(r"/[0-9a-f]{64}", "/image", re.sub(r"/runs/[^/]+", "/runs/x", parts.path))
    keys = sorted({key for key, _ in parse_qsl(parts.query)})
    return re.sub(r"\d+", "0", path) + "".join(f"?{key}" for key in keys)


def test_no_page_of_the_viewer_obeys(chrome: Browser, site: str) -> None:
    """Follows the links of the viewer, a bounded number of pages of each kind."""
    said: dict[str, str] = {}
    kinds: Counter[str] = Counter()
    waiting = ["/"]
    with watched(chrome, site) as (page, seen):
        while waiting:
            path = waiting.pop(0)
            answer = page.goto(site + path)
            assert answer is not None
            assert answer.status == 200, path
            said[path] = read(page)
            clean(page)
            seen.check()
            for link in page.evaluate("[...document.links].map((one) => one.getAttribute('href'))"):
                if link.startswith("data:text/csv") and path.endswith("/report"):
                    continue
                assert link.startswith(("/", "#")), link
                target, kind = link.partition("#")[0], kind_of(link.partition("#")[0])
                if not target or target in said or target in waiting or "/image" in kind:
                    continue
                if kinds[kind] < (ASKED if "?" in kind else A_KIND):
                    kinds[kind] += 1
                    waiting.append(target)
    assert {"/runs/x/problems/0", "/runs/x/trees/0", "/runs/x/report"} <= set(kinds)
    all_said = " ".join(said.values())
    for place in NAMES:
        assert joined(name(SHORT[place]).replace("/", "\u2215")) in all_said
    for one in SHORT:
        assert joined(name(one)) in all_said, one
    for payload in PAYLOADS:
        assert joined(visible(payload, 3_000, lines=True)[:3_000]) in all_said, payload


def test_the_report_does_not_obey(chrome: Browser, folder: Path) -> None:
    with watched(chrome, "file://") as (page, seen):
        page.goto((folder / "reported" / "report.html").as_uri())
        text = read(page)
        clean(page)
        seen.requests[:] = [one for one in seen.requests if not one.startswith("data:image/")]
    assert joined(name(SHORT[0])) in text
    shown = [one for one in PAYLOADS if joined(visible(one, 200, lines=True)[:200]) in text]
    assert len(shown) >= 50
