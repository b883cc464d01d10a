"""Links lead somewhere, every page is in the list of pages, pictures are small and shown."""

from __future__ import annotations

import re

import pytest
from pages import ROOT, anchors, linked, links, text_of

IMAGES = sorted((ROOT / "docs/images").iterdir())
MOST_BYTES = 200_000
MOST_BYTES_IN_ALL = 1_500_000


@pytest.mark.parametrize("page", linked())
def test_links_lead_to_files_and_headings(page: str) -> None:
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (ROOT / page).parent / name if name else ROOT / page
        assert target.exists(), f"{page}: {link}"
        if anchor:
            assert anchor in anchors(target.resolve().relative_to(ROOT).as_posix()), (
                f"{page}: {link}"
            )


@pytest.mark.parametrize("page", linked())
def test_pages_that_are_named_are_there(page: str) -> None:
    for name in re.findall(r"`((?:docs|tests|benchmarks)/[\w/-]+\.\w+)`", text_of(page)):
        assert (ROOT / name).exists(), f"{page}: {name}"


def test_the_list_of_pages_has_each_of_them_once() -> None:
    rows = re.findall(r"^\| \[[^\]]+\]\((docs/[\w-]+\.md)\) \| .+ \|$", text_of("README.md"), re.M)
    there = [path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")]
    assert sorted(rows) == sorted(there)


@pytest.mark.parametrize("image", IMAGES, ids=lambda path: path.name)
def test_pictures_are_small_and_shown(image: object) -> None:
    (path,) = (one for one in IMAGES if one == image)
    assert path.stat().st_size <= MOST_BYTES
    name = path.relative_to(ROOT).as_posix()
    shown = [page for page in linked() if name.removeprefix("docs/") in text_of(page)]
    assert shown


def test_pictures_are_small_together() -> None:
    assert sum(path.stat().st_size for path in IMAGES) <= MOST_BYTES_IN_ALL
