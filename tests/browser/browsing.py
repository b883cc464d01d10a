"""The viewer as a process, a real browser, and what is asked of every page."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from child import Child
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, sync_playwright

VILBENCH = [sys.executable, "-c", "from vilbench.cli import main; main()"]
_MARK = re.compile(r"http://\S+(?=/)")


def chromium() -> str:
    """Where the browser is; skips without one, and fails without one on CI."""
    names = ("chromium", "chromium-browser")
    found = os.environ.get("VILBENCH_CHROMIUM") or next(
        filter(None, map(shutil.which, names)), None
    )
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("there is no chromium, and CI is to have one")
        pytest.skip("there is no chromium")
    return found


@contextmanager
def browser() -> Iterator[Browser]:
    """One browser; ended with the block."""
    path = chromium()
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield made
        finally:
            made.close()


@contextmanager
def viewer(folder: Path, *options: str) -> Iterator[str]:
    """`vilbench view` on a free port; gives its address without a slash at the end."""
    process = subprocess.Popen(
        [*VILBENCH, "view", str(folder), "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        yield _address(process)
    finally:
        process.terminate()
        process.wait(20)


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    said = ""
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        if select.select([process.stdout], [], [], 0.5)[0]:
            line = process.stdout.readline()
            said += line
            if found := _MARK.search(line):
                return found.group()
    raise AssertionError(f"the viewer did not start: {said}")


class Writer(Child):
    """A process that has a run in `folder` open and writes when it is told to (`growing.py`)."""

    def __init__(self, folder: Path) -> None:
        super().__init__([sys.executable, Path(__file__).with_name("growing.py"), folder])
        assert self.line() == "open"

    def store(self, *words: str) -> None:
        """Returns when it has stored what it was told to, word by word."""
        for word in words:
            self.tell(word)
            assert self.line().startswith(word)

    def end(self) -> None:
        """It closes the run and ends."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(30) == 0


@dataclass
class Watch:
    """What pages did that no page may do.

    Attributes:
        requests: Addresses outside the origin that were asked for.
        dialogs: What dialogs said.
        complaints: Violated policies and errors in the console.
        pages: Windows that opened.
    """

    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Nothing of it happened."""
        assert self == Watch()


@contextmanager
def watched(browser: Browser, origin: str, **options: Any) -> Iterator[tuple[Page, Watch]]:
    """A page of a fresh context that is watched, checked at the end of the block."""
    context: BrowserContext = browser.new_context(**options)
    context.set_default_timeout(15_000)
    seen = Watch()
    page = context.new_page()

    def dismissed(dialog: Dialog) -> None:
        seen.dialogs.append(dialog.message)
        dialog.dismiss()

    context.on("page", lambda one: seen.pages.append(one.url))
    context.on(
        "request",
        lambda one: None if one.url.startswith(origin) else seen.requests.append(one.url),
    )
    page.on("dialog", dismissed)
    page.on("pageerror", lambda one: seen.complaints.append(str(one)))
    page.on(
        "console",
        lambda one: seen.complaints.append(one.text) if one.type in ("error", "warning") else None,
    )
    try:
        yield page, seen
        seen.check()
    finally:
        context.close()


INTRUDERS = """() => {
  const found = [];
  if (window.pwned !== undefined) found.push("a script of theirs ran");
  for (const one of document.querySelectorAll("*")) {
    for (const attribute of one.attributes) {
      if (/^on/i.test(attribute.name)) found.push(`${one.tagName} ${attribute.name}`);
      if (/^\\s*javascript:/i.test(attribute.value)
          && ["href", "src", "action", "formaction", "xlink:href"].includes(attribute.name)) {
        found.push(`${one.tagName} ${attribute.name}=${attribute.value}`);
      }
    }
    const source = one.getAttribute("src") || one.getAttribute("href") || "";
    const ours = /^\\/static\\/[a-z]+\\.js$/.test(source);
    if (one.localName === "script" && !ours) found.push("script");
    if (/^(iframe|object|embed|base|marquee|video|math|animate|use)$/.test(one.localName)) {
      found.push(one.localName);
    }
    const policy = /^(content-security-policy)?$/i.test(one.httpEquiv || "");
    if (one.localName === "meta" && !policy) found.push(`meta ${one.httpEquiv}`);
  }
  return found;
}"""
"""What must not be in any page: handlers, scripts that are not ours, elements that load."""

OPEN_ALL = "() => document.querySelectorAll('details').forEach((one) => { one.open = true; })"


def clean(page: Page) -> None:
    """Nothing of the shown text became more than text."""
    assert page.evaluate(INTRUDERS) == []


def read(page: Page) -> str:
    """What stands on the page to be read, all folds open, white space as single blanks."""
    page.evaluate(OPEN_ALL)
    return " ".join(page.inner_text("body").split())


def joined(text: str) -> str:
    """Text as `read` gives it."""
    return " ".join(text.split())


def until(wanted: Callable[[], bool], seconds: float = 20.0) -> None:
    """Waits for something to become true.

    Raises:
        AssertionError: It did not in time.
    """
    end = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
