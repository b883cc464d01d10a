"""What is imported when: light commands stay light, torch stays in its rooms."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import vilbench

ROOT = Path(vilbench.__file__).parent
TORCH_ROOMS = ("backbone", "engines", "prm", "training")
HEAVY = ("torch", "transformers", "tokenizers", "safetensors")


def modules_after(program: str) -> set[str]:
    """Top-level names of what a fresh interpreter has imported at the end of a program."""
    told = "; import sys, json; print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", program + told], capture_output=True, text=True, check=True
    )
    return {name.split(".")[0] for name in json.loads(done.stderr)}


def command(*arguments: str) -> str:
    return (
        "import sys, contextlib; from vilbench.cli import main; "
        f"sys.argv = ['vilbench', *{arguments!r}]\n"
        "with contextlib.suppress(SystemExit): main()\n0"
    )


@pytest.mark.parametrize("arguments", [("--help",), ("demo", "--help"), ("problems", "--help")])
def test_help_needs_next_to_nothing(arguments: tuple[str, ...]) -> None:
    loaded = modules_after(command(*arguments))
    heavy = {*HEAVY, "numpy", "scipy", "PIL", "jinja2", "yaml", "rich"}
    assert loaded & heavy == set()


def test_the_list_of_problems_needs_no_numbers_crunched() -> None:
    loaded = modules_after(command("problems", "list"))
    assert loaded & {*HEAVY, "scipy", "jinja2", "rich", "yaml"} == set()


def test_the_package_itself_needs_nothing() -> None:
    assert not modules_after("import vilbench") & {*HEAVY, "numpy", "pydantic", "typer"}


def test_everything_outside_the_rooms_of_torch_does_without_it() -> None:
    names = sorted(
        ".".join(("vilbench", *path.relative_to(ROOT).with_suffix("").parts))
        for path in ROOT.rglob("*.py")
        if path.relative_to(ROOT).parts[0] not in TORCH_ROOMS
    )
    names = [name.removesuffix(".__init__") for name in names]
    assert "vilbench.cli.job" in names
    assert not modules_after("import " + ", ".join(names)) & set(HEAVY)


def test_no_module_reads_pickles_or_runs_text() -> None:
    forbidden = {"pickle", "marshal", "shelve", "dill", "joblib"}
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import):
                assert not {alias.name.split(".")[0] for alias in node.names} & forbidden, place
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in forbidden, place
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "torch.load", "yaml.load"), place
