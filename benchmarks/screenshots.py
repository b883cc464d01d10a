"""Makes the pictures of the documentation.

    vilbench run embedded --out runs/demo
    vilbench collect embedded-collect --limit 12 --out runs/trees
    vilbench search embedded-search --out runs/beam
    python benchmarks/screenshots.py --run runs/demo --trees runs/trees --beam runs/beam

Needs Chromium (`VILBENCH_CHROMIUM`, or `chromium` on the path). `--only` makes some of them.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

COLOURS = 160
"""Colours of a picture: pages of text and flat areas need no more."""

MOST_BYTES = 200_000
RUNS = ("run", "trees", "beam")


@dataclass(frozen=True)
class Shot:
    """A picture.

    Attributes:
        name: Of the file.
        run: Which of the runs; "" is the list of them all.
        path: The viewer's page below the run's, or "report" for the report.
        scheme: Light or dark.
        width: Of the window, in CSS pixels.
        height: Of the window, or the most of a part of a page.
        row: Whether the first row of that list is opened.
        reading: Which value of a tree's steps is shown there; the viewer's own choice without.
        part: Only this part of the page, by a selector; the window without one.
    """

    name: str
    run: Literal["", "run", "trees", "beam"]
    path: str = ""
    scheme: Literal["light", "dark"] = "light"
    width: int = 1200
    height: int = 860
    row: bool = False
    reading: str = ""
    part: str = ""


_CONTRAST = "/problems?right=prm/mean&wrong=majority"
_LARGEST = "/trees?outcome=mixed&order=largest"

SHOTS = (
    Shot("report", "run", "report", width=1100, height=1500),
    Shot("report-curves", "run", "report", width=1100, height=900, part="#curves"),
    Shot("report-values", "run", "report", width=1100, height=805, part="#sweep"),
    Shot("report-modalities", "run", "report", width=1100, height=800, part="#slices"),
    Shot("report-problem", "run", "report", width=1100, height=905, part="#gallery"),
    Shot("report-phone", "run", "report", "dark", 390, 844),
    Shot("viewer-run", "run"),
    Shot("viewer-problem", "run", _CONTRAST, row=True, height=1000),
    Shot("viewer-problem-phone", "run", _CONTRAST, "dark", 390, 844, row=True),
    Shot("viewer-tree", "trees", _LARGEST, row=True, height=1000),
    Shot("viewer-search", "beam", _LARGEST, row=True, reading="judge", height=1000),
)


def main() -> None:
    """Makes them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in RUNS:
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--to", type=Path, default=Path("docs/images"))
    parser.add_argument("--only", nargs="+", choices=[shot.name for shot in SHOTS])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in RUNS:
            shutil.copytree(getattr(given, name), Path(folder) / name)
        with viewer(Path(folder)) as site, sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=os.environ.get("VILBENCH_CHROMIUM") or shutil.which("chromium"),
                args=["--no-sandbox"],
            )
            for shot in SHOTS:
                if given.only and shot.name not in given.only:
                    continue
                path = given.to / f"{shot.name}.png"
                path.write_bytes(small(taken(browser, site, Path(folder), shot)))
                print(f"{path}: {path.stat().st_size:,} bytes")
                assert path.stat().st_size <= MOST_BYTES, "too large for the documentation"
            browser.close()


def taken(browser: Browser, site: str, folder: Path, shot: Shot) -> bytes:
    """A page, or a part of one, as PNG."""
    page = browser.new_page(
        viewport={"width": shot.width, "height": shot.height}, color_scheme=shot.scheme
    )
    if shot.path == "report":
        page.goto((folder / shot.run / "report.html").resolve().as_uri())
    else:
        page.goto(site)
        if shot.run:
            link = page.get_by_role("link", name=shot.run, exact=True).first
            page.goto(f"{site}{link.get_attribute('href')}{shot.path}")
            page.locator(".notice progress").wait_for(state="detached", timeout=120_000)
        if shot.row:
            first = page.locator("tr[data-row] th a").first.get_attribute("href")
            page.goto(site + (first or ""))
        if shot.reading:
            page.get_by_label("Colour and number").select_option(shot.reading)
            page.get_by_role("button", name="Show").click()
            page.wait_for_load_state()
            page.get_by_role("button", name="Open all").click()
    picture = of_part(page, shot) if shot.part else page.screenshot()
    page.close()
    return picture


def of_part(page: Page, shot: Shot) -> bytes:
    """The beginning of a part of a page."""
    box = page.locator(shot.part).bounding_box()
    assert box is not None, f"{shot.name}: the page has no {shot.part}"
    height = min(box["height"], shot.height)
    return page.screenshot(
        full_page=True, clip={"x": 0, "y": box["y"], "width": shot.width, "height": height}
    )


def small(data: bytes) -> bytes:
    """The same picture in a palette, the colours of its smallest marks included."""
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    few = picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    few.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


@contextmanager
def viewer(folder: Path) -> Iterator[str]:
    """`vilbench view` on a free port; gives its address."""
    code = "from vilbench.cli import main; main()"
    command = [sys.executable, "-c", code, "view", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[1].rstrip("/")
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
