"""What the commands say: lines in which nothing is markup and no control character passes."""

from __future__ import annotations

from rich.console import Console

from vilbench.report.text import visible


def say(console: Console, text: str) -> None:
    """Prints every line of `text` as it is meant to be read."""
    for line in text.splitlines():
        console.print(visible(line), markup=False, highlight=False, soft_wrap=True)
