"""The pages of the documentation: their blocks, commands among the text, anchors and links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHELL, PYTHON, YAML = ("bash", "sh"), ("python",), ("yaml",)

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\S*)[^\n]*\n(?P<text>.*?)^(?P=indent)```", re.M | re.S
)
_INLINE = re.compile(r"(?<!`)`(?!`)([^`]+)`(?!`)")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.M)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: Its file, from the root of the repository.
        line: Of the fence.
        language: After the fence; may be empty.
        text: Between the fences, less what the block is indented by.
    """

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> tuple[str, ...]:
    """Pages whose blocks are held to what they say, by their paths from the root."""
    return ("README.md", "CONTRIBUTING.md", *_below("docs", "*.md"))


def linked() -> tuple[str, ...]:
    """All pages whose links are followed."""
    return (*pages(), "CHANGELOG.md", "LOG.md", *_below("docs/decisions", "*.md"))


def _below(folder: str, pattern: str) -> tuple[str, ...]:
    return tuple(
        sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / folder).glob(pattern))
    )


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> tuple[Block, ...]:
    text = text_of(page)
    return tuple(
        Block(
            page,
            text[: found.start()].count("\n") + 1,
            found["language"],
            re.sub(rf"^ {{{len(found['indent'])}}}", "", found["text"], flags=re.M),
        )
        for found in _FENCE.finditer(text)
    )


def spoken(page: str) -> tuple[str, ...]:
    """Code amid the text, on one line each."""
    prose = _FENCE.sub("", text_of(page))
    return tuple(" ".join(found.split()) for found in _INLINE.findall(prose))


def links(page: str) -> tuple[str, ...]:
    """Where its links and pictures lead, on this machine."""
    prose = _INLINE.sub("", _FENCE.sub("", text_of(page)))
    return tuple(link for link in _LINK.findall(prose) if not re.match(r"[a-z+]+:", link))


def anchors(page: str) -> frozenset[str]:
    """Names of its headings, as the hosting site makes them."""
    prose = _FENCE.sub("", text_of(page))
    found: list[str] = []
    for heading in _HEADING.findall(prose):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        name = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found.append(name if name not in found else f"{name}-{found.count(name)}")
    return frozenset(found)
