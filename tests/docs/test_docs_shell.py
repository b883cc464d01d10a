"""The shell of the pages: what it finds, where it stops, what a program is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import ROOT
from programs import Programs, on_this_machine, smaller
from shell import Call, Said, Shell

CALLS: list[Call] = []


def echo(call: Call) -> Said:
    CALLS.append(call)
    return Said(" ".join(call.words[1:]) + "\n", 3 if "fail" in call.words else 0)


@pytest.fixture
def shell() -> Iterator[Shell]:
    CALLS.clear()
    with Shell({"told": echo}) as made:
        yield made


def test_a_program_gets_words_folder_and_variables(shell: Shell, tmp_path: Path) -> None:
    script = "export KEY=a\nfor one in 1 '2 3'; do told --n $one $(told in); done\ntold | tr a b"
    said = shell.run(script, tmp_path, {"OTHER": "o"})
    assert said.code == 0
    assert said.text == "--n 1 in\n--n 2 3 in\n\n"
    assert CALLS[1].words == ("told", "--n", "1", "in")
    assert CALLS[1].folder == tmp_path
    assert (CALLS[1].environment["KEY"], CALLS[1].environment["OTHER"]) == ("a", "o")


def test_the_first_command_that_fails_ends_the_block(shell: Shell, tmp_path: Path) -> None:
    assert shell.run("told fail\ntold on", tmp_path, {}) == Said("fail\n", 3)
    assert shell.run("told fail | cat\ntold on", tmp_path, {}).code == 3


def test_a_program_that_is_in_no_table_is_not_found(shell: Shell, tmp_path: Path) -> None:
    said = shell.run("vilbench --help", tmp_path, {})
    assert said.code == 127
    assert "vilbench" in said.text


def test_a_block_of_wrong_commands_fails(tmp_path: Path) -> None:
    programs = Programs((), tmp_path)
    with Shell(programs.table()) as shell:
        for line in (
            "vilbench run embedded --no-such-option",
            "vilbench train no-such-recipe --out there",
            "vilbench run embedded --executor local --out there",
            "python benchmarks/weights.py --no-such-option",
            "python benchmarks/none.py",
            "make nothing",
            "pip install 'vilbench[nothing]'",
            "vllm serve some/model --port 8001",
            "pytest tests/none.py",
            "ray start --no-such-option",
            "accelerate launch --no-such-option x",
        ):
            said = shell.run(line, tmp_path, {"HOME": str(tmp_path)})
            assert said.code != 0, f"{line}: {said.text}"
    assert list(tmp_path.iterdir()) == []


def test_commands_are_made_smaller_and_stay_as_they_are() -> None:
    words = ("vilbench", "run", "embedded", "--limit", "540", "--out", "o")
    assert smaller(words, ROOT) == (*words[:4], "2", "--out", "o", "-n", "6")
    words = ("vilbench", "run", "my.csv", "--limit", "10%", "-n", "3")
    assert smaller(words, ROOT) == words
    spread = ["vilbench", "run", "e", "--executor", "ray", "--workers", "2", "--out", "o"]
    assert on_this_machine(spread) == ("vilbench", "run", "e", "--out", "o")
