"""What is said where an extra of the package is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vilbench import config
from vilbench.errors import RecipeError

WITHOUT = "import sys\nsys.modules.update(dict.fromkeys({lacking!r}))\n"
COMMAND = "from vilbench.cli import main\nmain()"
LOCAL = ("torch", "transformers", "tokenizers", "safetensors")


def python(program: str, *arguments: object) -> tuple[int, str]:
    """Status and complaints of a program that has none of the extra's libraries."""
    found = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(lacking=LOCAL) + program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return found.returncode, found.stderr


@pytest.mark.parametrize(
    ("command", "recipe", "words"),
    [
        ("run", "embedded", "engines of kind local need "),
        ("search", "embedded-search", "engines of kind local need "),
        ("collect", "embedded-collect", "engines of kind local need "),
    ],
)
def test_no_run_is_begun_without_the_local_extra(
    command: str, recipe: str, words: str, tmp_path: Path
) -> None:
    status, said = python(COMMAND, command, recipe, "--limit", 1, "--out", tmp_path / "run")
    (line,) = said.splitlines()
    assert status == 2
    assert line.startswith(f"vilbench: {words}")
    assert line.endswith(": pip install 'vilbench[local]'")
    assert not (tmp_path / "run").exists()


def test_a_server_needs_the_local_extra_for_a_reward_model() -> None:
    status, said = python(COMMAND, "serve", "embedded:vilprm", "--port", "0")
    (line,) = said.splitlines()
    assert status == 2
    assert line.startswith("vilbench: scorers of kind prm need ")
    assert line.endswith(": pip install 'vilbench[local]'")


@pytest.mark.parametrize("command", ["train", "loop"])
def test_training_needs_its_extras(command: str, tmp_path: Path) -> None:
    status, said = python(COMMAND, command, "embedded", "--out", tmp_path / "out")
    (line,) = said.splitlines()
    assert status == 2
    assert line.startswith(f"vilbench: '{command}' needs ")
    assert line.endswith(": pip install 'vilbench[local,train]'")
    assert not (tmp_path / "out").exists()


def test_a_program_is_told_the_same() -> None:
    program = """
import vilbench
from vilbench.errors import InputError
for load in (vilbench.load_prm, vilbench.load_generator):
    try:
        load("embedded:vilprm")
    except InputError as error:
        assert str(error).endswith(": pip install 'vilbench[local]'"), error
    else:
        raise AssertionError(load)
"""
    assert python(program) == (0, "")


def test_what_workers_load_is_not_needed_here(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = config.load("embedded")
    for module in ("vilbench.engines.local", "vilbench.prm.folder", "vilbench.prm.scoring"):
        monkeypatch.setitem(sys.modules, module, None)
    config.check_libraries(recipe, away=True)
    with pytest.raises(RecipeError, match=r"engines of kind local .*vilbench\[local\]"):
        config.check_libraries(recipe)


def test_models_behind_servers_need_their_own_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vilbench.engines.openai.engine", None)
    recipe = config.load("embedded").changed(
        {"sample.engine": {"kind": "openai", "model": "m", "base_url": "http://localhost:9/v1"}}
    )
    for away in (False, True):
        with pytest.raises(RecipeError, match=r"engines of kind openai .*vilbench\[openai\]"):
            config.check_libraries(recipe, away=away)
