"""The tables of what stands in are read by someone: a row that nothing uses has to go."""

from __future__ import annotations

import re
import shlex

import pytest
from pages import ROOT, SHELL, YAML, blocks, pages, spoken
from programs import Programs, ended, options_of
from stand_ins import (
    ADDED,
    ADDRESSES,
    CHECKED,
    DRAWN,
    FILES,
    MODELS,
    ON_A_CLUSTER,
    OWN_TESTS,
    RECIPES,
    SIZES,
    SMALLER,
)
from typer.main import get_command
from workshop import block_of

from vilbench.cli.app import app

BLOCKS = [one for page in pages() for one in blocks(page)]
COMMANDS = [
    words
    for one in BLOCKS
    if one.language in SHELL
    for line in re.split(r"\n|;|&&", one.text.replace("\\\n", " "))
    if "'" not in line or line.count("'") % 2 == 0
    if (words := shlex.split(line.removeprefix(" do "), comments=True))
]
VILBENCH = get_command(app)
LINES = [" ".join(words) + " " for words in COMMANDS]
SHOWN = "\n".join(one.text for one in BLOCKS)
EXAMPLES = {"json", "csv"}


def test_every_block_is_of_a_kind_that_is_held_to_something() -> None:
    known = {*SHELL, *YAML, "python", *EXAMPLES, ""}
    assert [str(one) for one in BLOCKS if one.language not in known] == []
    shown = {block_of(name) for name in FILES}
    loose = [one for one in BLOCKS if one.language in EXAMPLES and one not in shown]
    assert [str(one) for one in loose] == [], "name the file that it shows in FILES"


def test_no_command_hides_in_a_block_without_a_language() -> None:
    begun = re.compile(r"^\s*(?:\$ )?(?:vilbench|python|pip|make|vllm|accelerate|export) ", re.M)
    hidden = [str(one) for one in BLOCKS if not one.language and begun.search(one.text)]
    assert hidden == [], "write bash behind the fence"


@pytest.mark.parametrize("key", [*SMALLER, *ADDED])
def test_commands_that_are_made_smaller_are_on_some_page(key: str) -> None:
    assert [line for line in LINES if line.startswith(f"vilbench {key} ")]


@pytest.mark.parametrize("text", [*MODELS, *SIZES, *ADDRESSES, *ON_A_CLUSTER])
def test_texts_that_are_replaced_are_on_some_page(text: str) -> None:
    assert text in SHOWN


@pytest.mark.parametrize("name", FILES)
def test_files_are_shown_once_and_read_by_some_page(name: str) -> None:
    block_of(name)
    assert re.search(rf"(?<![\w/-]){re.escape(name)}", SHOWN)


@pytest.mark.parametrize("program", CHECKED)
def test_programs_that_are_only_checked_are_on_some_page(program: str) -> None:
    assert [line for line in LINES if line.startswith(f"{program}")]


def test_what_does_not_run_stands_in_the_table() -> None:
    known = Programs((), ROOT).table().keys()
    assert known - {"vilbench", "python"} == {one for one in CHECKED if " " not in one}


def test_recipes_and_pages_of_the_tables_exist() -> None:
    for name in RECIPES:
        assert (ROOT / "src/vilbench/recipes" / name).is_file()
    assert set(DRAWN) <= set(pages())
    for page, test in OWN_TESTS.items():
        assert page.removeprefix("docs/") in (ROOT / test).read_text(encoding="utf-8")
        assert [one for one in blocks(page) if one.language == "python"]


@pytest.mark.parametrize("page", [*pages(), "LOG.md"])
def test_commands_amid_the_text_have_the_options_that_they_name(page: str) -> None:
    for line in spoken(page):
        if re.match(r"vilbench [a-z]", line):
            said = ended(lambda line=line: options_of(VILBENCH, line.split()[1:]))
            assert said.code == 0, f"{page}: {line}\n{said.text}"
        elif re.match(r"python (?:-m )?benchmarks", line):
            place = 2 if " -m " in line else 1
            path = line.split()[place].replace(".", "/").removesuffix("/py")
            assert (ROOT / f"{path}.py").is_file(), f"{page}: {line}"


def test_a_command_that_is_wrong_is_found() -> None:
    for line, told in (
        ("run embedded --limits 3", "--limits"),
        ("runs embedded", "runs"),
        ("problems shows", "shows"),
    ):
        said = ended(lambda line=line: options_of(VILBENCH, line.split()))
        assert said.code != 0
        assert told in said.text
