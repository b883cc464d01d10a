"""Commands of `vilbench` run within the tests' process, and the smallest recipe for them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from vilbench.cli import main

TINY = """\
name: tiny
problems: {source: puzzles, split: dev, limit: 2}
sample:
  engine: {kind: local, model: "embedded:small"}
  format: steps-brief
  n: 2
  max_tokens: 16
scorers:
  - {kind: likelihood, format: steps-brief, engine: {kind: local, model: "embedded:small"}}
"""
_ESCAPES = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")


class Said(NamedTuple):
    """What a command wrote to its two streams."""

    out: str
    err: str


Command = Callable[..., Said]


def runner(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *begins: str
) -> Command:
    """Runs commands that begin with the given words, and checks the code that they end with."""

    def run(*arguments: object, code: int = 0) -> Said:
        monkeypatch.setattr(sys, "argv", ["vilbench", *begins, *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = Said(*capsys.readouterr())
        assert (ended.value.code or 0) == code, said
        assert not _ESCAPES.search(said.out + said.err)
        return said

    return run
