"""Makes the pictures of the viewer for the documentation.

    python benchmarks/screenshots.py RUN TREES [--to docs/images]

RUN is a Best-of-N run with a report, TREES a run of `vilbench collect`. Needs Chromium
(`VILBENCH_CHROMIUM`, or `chromium` on the path).
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
from playwright.sync_api import Browser, sync_playwright

COLOURS = 96
"""Colours of a picture: pages of text and flat areas need no more."""

MOST_BYTES = 200_000


@dataclass(frozen=True)
class Shot:
    """A picture.

    Attributes:
        name: Of the file, after "viewer-".
        run: Which of the two runs; "" is the list of both.
        path: The page below the run's.
        scheme: Light or dark.
        width: Of the window, in CSS pixels.
        height: Of the window.
        row: Whether the first row of that list is opened.
    """

    name: str
    run: Literal["", "run", "trees"]
    path: str = ""
    scheme: Literal["light", "dark"] = "light"
    width: int = 1200
    height: int = 860
    row: bool = False


_CONTRAST = "/problems?right=prm/mean&wrong=majority"
_LARGEST = "/trees?outcome=mixed&order=largest"

SHOTS = (
    Shot("run", "run"),
    Shot("problem", "run", _CONTRAST, row=True, height=1000),
    Shot("problem-phone", "run", _CONTRAST, "dark", 390, 844, row=True),
    Shot("tree", "trees", _LARGEST, row=True, height=1000),
)


def main() -> None:
    """Makes them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("trees", type=Path)
    parser.add_argument("--to", type=Path, default=Path("docs/images"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in ("run", "trees"):
            shutil.copytree(getattr(given, name), Path(folder) / name)
        with viewer(Path(folder)) as site, sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=os.environ.get("VILBENCH_CHROMIUM") or shutil.which("chromium"),
                args=["--no-sandbox"],
            )
            for shot in SHOTS:
                path = given.to / f"viewer-{shot.name}.png"
                path.write_bytes(small(taken(browser, site, shot)))
                print(f"{path}: {path.stat().st_size:,} bytes")
                assert path.stat().st_size <= MOST_BYTES, "too large for the documentation"
            browser.close()


def taken(browser: Browser, site: str, shot: Shot) -> bytes:
    """A page as PNG."""
    page = browser.new_page(
        viewport={"width": shot.width, "height": shot.height}, color_scheme=shot.scheme
    )
    page.goto(site)
    if shot.run:
        link = page.get_by_role("link", name=shot.run, exact=True).first
        page.goto(f"{site}{link.get_attribute('href')}{shot.path}")
        page.locator(".notice progress").wait_for(state="detached", timeout=120_000)
    if shot.row:
        page.goto(site + (page.locator("tr[data-row] th a").first.get_attribute("href") or ""))
    picture = page.screenshot()
    page.close()
    return picture


def small(data: bytes) -> bytes:
    """The same picture in a palette."""
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    buffer = io.BytesIO()
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
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
