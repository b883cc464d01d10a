"""Every block of docs/api.md runs, one after the other, offline."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import pytest

import vilbench

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def shown(block: str) -> str:
    """What a block prints, as the comments at its end have it."""
    found = re.search(r"(?:^#.*\n)+\Z", block, re.MULTILINE)
    assert found, block
    return re.sub("^# ?", "", found[0], flags=re.MULTILINE)


def assert_alike(said: str, told: str) -> None:
    """The same words, and the same numbers but for rounding; machines differ in the last digit."""
    number = re.compile(r"\d+\.\d+")
    assert number.sub("0.0", said).split() == number.sub("0.0", told).split()
    values, expected = ([float(one) for one in number.findall(text)] for text in (said, told))
    assert values == pytest.approx(expected, abs=0.02)


def test_the_blocks_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)

    def refuse(*_: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    names: dict[str, Any] = {"__name__": "api"}
    said: list[str] = []
    for number, block in enumerate(BLOCKS):
        exec(compile(block, f"docs/api.md, block {number}", "exec"), names)  # noqa: S102 - ours
        said.append(capsys.readouterr().out)
        assert_alike(said[-1], shown(block))
    # Ten lines, or fewer, score three solutions, and the right one comes first.
    lines = [line for line in BLOCKS[0].splitlines() if line.strip() and line[0] != "#"]
    assert len(lines) <= 10
    assert [line.split()[-1] for line in said[0].splitlines()] == ["correct", "wrong", "wrong"]
    assert said[1] == "['number', 'choice']\n"
    assert said[2] == "[(None, None, 1.0, None), (None, None, 0.0, None)]\n"
    told = dict(line.split()[:2] for line in said[3].splitlines())
    assert told["cot"] == "0.50" and told["sums/min"] == "1.00" == told["oracle"]
    assert said[4] == "small 3 2\n"
    assert "sums" in said[5] and "correct" in said[5]


def test_the_page_names_all_that_the_package_offers() -> None:
    listed = set(re.findall(r"^\| `(\w+)\(", PAGE, re.MULTILINE))
    offered = set(vilbench.__all__) - {"__version__", "Scored", "StoredRun"}
    assert listed == offered
    assert sorted(vilbench.__all__) == vilbench.__all__
    assert set(vilbench.__all__) <= set(dir(vilbench))
