"""What the programs of the pages do here: `vilbench` runs, the others are checked."""

from __future__ import annotations

import argparse
import io
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tomllib
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import IO, Any, NoReturn, TypeVar

import httpx2
import typer
from pages import ROOT
from shell import Call, Program, Said, Within
from stand_ins import ADDED, ON_A_CLUSTER, SMALLER
from typer.main import get_command

from vilbench import config
from vilbench.cli import executing, main
from vilbench.cli.app import app
from vilbench.config.scorers import JudgeConfig
from vilbench.executors.cluster import LOOPBACK

T = TypeVar("T")
_SERVERS = ("serve", "view")


class Programs:
    """The programs, and what they have started.

    Attributes:
        prepared: Folders that lie ready; what the page makes itself takes their place.
        served: Address of the server that was started last, less `/v1`.
        copies: Folder with a copy of each benchmark.
    """

    def __init__(self, prepared: Sequence[Path], copies: Path) -> None:
        self.prepared = list(prepared)
        self.served = "http://127.0.0.1:9"
        self.copies = copies
        self._running: list[subprocess.Popen[str]] = []

    def table(self) -> Mapping[str, Program]:
        return {
            "vilbench": self.vilbench,
            "python": python,
            "make": make,
            "pip": pip,
            "vllm": vllm,
            "accelerate": self.accelerate,
            "pytest": pytest_,
            "ray": ray,
        }

    def vilbench(self, call: Call) -> Said:
        found = ended(lambda: options_of(get_command(app), call.words[1:]))
        if found.code:
            return found
        try:
            here = on_this_machine(call.words)
        except typer.BadParameter as error:
            return Said(f"{error}\n", 2)
        words = smaller(here, self.copies)
        call = Call(words, call.folder, call.environment)
        self._make_room(call)
        if words[1] in _SERVERS:
            return self._serve(call)
        with Within(call):
            return ended(main)

    def _make_room(self, call: Call) -> None:
        """What lies ready gives way to what the page makes itself."""
        for flag, value in zip(call.words, call.words[1:], strict=False):
            folder = call.folder / value
            if flag in ("--out", "--to") and folder in self.prepared:
                shutil.rmtree(folder)
                self.prepared.remove(folder)

    def _serve(self, call: Call) -> Said:
        """Starts a server and asks it whether it is well; it stays up until the page's end."""
        process = subprocess.Popen(
            [sys.executable, "-c", "from vilbench.cli import main; main()", *call.words[1:]],
            cwd=call.folder,
            env=dict(call.environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._running.append(process)
        assert process.stdout is not None
        said, address = _first_address(process.stdout)
        if not address:
            return Said(said, process.wait(30) or 1)
        token = call.environment.get("VILBENCH_TOKEN")
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        local = address.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        path = "/health" if call.words[1] == "serve" else "/"
        answer = httpx2.get(local + path, headers=headers, timeout=30)
        if call.words[1] == "serve":
            self.served = local
        return Said(f"{said}{path}: {answer.status_code}\n", 0 if answer.is_success else 1)

    def stop(self) -> None:
        """Ctrl-C for every server; each ends, and with nothing wrong."""
        for process in self._running:
            process.send_signal(signal.SIGINT)
        for process in self._running:
            rest, _ = process.communicate(timeout=60)
            assert "Traceback" not in rest, rest

    def accelerate(self, call: Call) -> Said:
        from accelerate.commands.launch import launch_command_parser

        if call.words[1] != "launch":
            return Said(f"accelerate {call.words[1]} is not known here\n", 2)
        parser, words = launch_command_parser(), list(call.words[2:])
        said = ended(lambda: parser.parse_args(words))
        if said.code:
            return said
        given = parser.parse_args(words)
        words = [Path(given.training_script).name, *given.training_script_args]
        return self.vilbench(Call(tuple(words), call.folder, call.environment))


def smaller(words: Sequence[str], copies: Path) -> tuple[str, ...]:
    """The command with options that make it small."""
    made = list(words)
    for option, most in longest(SMALLER, words).items():
        if option not in made:
            made += [option, most]
            continue
        place = made.index(option) + 1
        if made[place].isdecimal():
            made[place] = str(min(int(made[place]), int(most))) if most.isdecimal() else most
    for word in longest(ADDED, words):
        made.append(word.format(copies=copies / words[-1].partition(":")[0]))
    return tuple(made)


def longest(table: Mapping[str, T], words: Sequence[str]) -> T:
    """The row whose key is the longest that a command begins with; the empty one without any."""
    line = " ".join(words[1:]) + " "
    found = [key for key in table if line.startswith(key + " ")]
    return table[max(found, key=len)] if found else type(next(iter(table.values())))()


def on_this_machine(words: Sequence[str]) -> tuple[str, ...]:
    """The command without a cluster, whose options are read.

    Raises:
        typer.BadParameter: They do not go together, or one is wrong.
    """
    left, given = [], dict.fromkeys(ON_A_CLUSTER)
    waiting = iter(words)
    for word in waiting:
        if word in given:
            given[word] = next(waiting)
        else:
            left.append(word)
    kind, address, workers, each = given.values()
    executing.chosen(kind, address, None if workers is None else int(workers), each)
    return tuple(left)


def options_of(command: Any, words: Sequence[str]) -> None:
    """Finds the command that words name, and each option among them; values are not looked at.

    Raises:
        SystemExit: There is no such command or option.
    """
    rest = list(words)
    while rest and hasattr(command, "commands"):
        name = rest.pop(0)
        if name.startswith("-"):
            break
        if name not in command.commands:
            raise SystemExit(f"no command {name}")
        command = command.commands[name]
    known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
    for word in rest:
        option = word.partition("=")[0]
        if re.match(r"--?[a-z]", option) and option not in {*known, "--help"}:
            raise SystemExit(f"no option {option}")


def ended(program: object) -> Said:
    """What a program of this process says until it ends, and its code."""
    assert callable(program)
    said = io.StringIO()
    code: object = 0
    with redirect_stdout(said), redirect_stderr(said):
        try:
            program()
        except SystemExit as stop:
            code = stop.code
            if isinstance(code, str):
                said.write(code)
        except Exception:
            traceback.print_exc(file=said)
            code = 70
    return Said(said.getvalue(), code if isinstance(code, int) else bool(code))


def _first_address(lines: IO[str]) -> tuple[str, str]:
    said = ""
    for line in iter(lines.readline, ""):
        said += line
        found = re.match(r"(?:serving|viewer:) (http://[^/\s]+)", line)
        if found:
            return said, found[1]
    return said, ""


class _ReadError(Exception):
    """Raised in place of the work behind the options."""


@contextmanager
def _only_options() -> Iterator[None]:
    parse = argparse.ArgumentParser.parse_args

    def read(self: argparse.ArgumentParser, *given: object, **named: object) -> NoReturn:
        parse(self, *given, **named)
        raise _ReadError

    argparse.ArgumentParser.parse_args = read  # type: ignore[method-assign]
    try:
        yield
    finally:
        argparse.ArgumentParser.parse_args = parse  # type: ignore[method-assign]


def python(call: Call) -> Said:
    """Runs `-c`; of a program of the repository the options are read and no more."""
    if call.words[1] == "-c":
        done = subprocess.run(
            [sys.executable, *call.words[1:]], capture_output=True, text=True, check=False
        )
        return Said(done.stdout + done.stderr, done.returncode)
    if call.words[1] == "-m":
        path = ROOT.joinpath(*call.words[2].split(".")).with_suffix(".py")
        options = call.words[3:]
    else:
        path, options = ROOT / call.words[1], call.words[2:]
    if not path.is_file():
        return Said(f"there is no {path.relative_to(ROOT)}\n", 2)

    def read() -> None:
        place = len(sys.path)
        sys.path.append(str(path.parent))
        try:
            with _only_options():
                runpy.run_path(str(path), run_name="__main__")
        except _ReadError:
            return
        finally:
            del sys.path[place]
        raise SystemExit(f"{path.name} reads no options")

    with Within(Call((str(path), *options), call.folder, call.environment)):
        return ended(read)


def make(call: Call) -> Said:
    """What it would do; a target that is unknown fails."""
    done = subprocess.run(
        ["/usr/bin/make", "-n", "-C", str(ROOT), *call.words[1:]],
        capture_output=True,
        text=True,
        check=False,
    )
    return Said(done.stdout + done.stderr, done.returncode)


def pip(call: Call) -> Said:
    """Whether the package has the extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = re.fullmatch(r"install (?:-e )?(?:vilbench|\.)\[([\w,]+)\]", " ".join(call.words[1:]))
    if found is None:
        return Said("nothing else than vilbench is installed here\n", 2)
    unknown = set(found[1].split(",")) - set(project["optional-dependencies"])
    return Said(f"no extra {', '.join(unknown)}\n" if unknown else "", 2 if unknown else 0)


def vllm(call: Call) -> Said:
    """Whether a recipe of the paper has a judge with this model at this port."""
    parser = argparse.ArgumentParser("vllm")
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("model")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--max-model-len", type=int)
    parser.add_argument("--limit-mm-per-prompt")
    parser.add_argument("--trust-remote-code", action="store_true")
    with Within(call):
        said = ended(parser.parse_args)
        if said.code:
            return said
        given = parser.parse_args()
    judges = [
        one.engine for one in config.load("paper/judges").scorers if isinstance(one, JudgeConfig)
    ]
    models = {one.model for one in judges}
    return Said("", 0) if given.model in models else Said(f"no judge is {given.model}\n", 2)


def ray(call: Call) -> Said:
    """Whether its own parser takes the options; nothing is begun."""
    # Ray reads some variables when it is imported, once for all tests of a process.
    os.environ.update(LOOPBACK)
    from ray.scripts.scripts import start

    with Within(call):
        return ended(lambda: start.make_context("ray start", list(call.words[2:])))


def pytest_(call: Call) -> Said:
    """Whether the files are there."""
    gone = [word for word in call.words[1:] if not (ROOT / word).exists()]
    return Said(f"there is no {', '.join(gone)}\n" if gone else "", 2 if gone else 0)
