"""A shell whose `vilbench` runs in this process.

Blocks are run by bash as they are written. The programs that they name are small clients of a
socket: what they are called with comes here, and what is said and the exit code go back. So a
page's twenty commands load torch once.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

_CLIENT = """\
#!{python} -IS
import json, os, socket, sys
door = socket.socket(socket.AF_UNIX)
door.connect({door!r})
words, folder, environment = [{name!r}, *sys.argv[1:]], os.getcwd(), dict(os.environ)
asked = {{"words": words, "folder": folder, "environment": environment}}
door.sendall(json.dumps(asked).encode())
door.shutdown(socket.SHUT_WR)
said = json.loads(b"".join(iter(lambda: door.recv(1 << 16), b"")))
sys.stdout.write(said["text"])
sys.exit(said["code"])
"""


@dataclass(frozen=True)
class Call:
    """A program that a block calls.

    Attributes:
        words: Its name, and what it is called with.
        folder: Where.
        environment: With these variables.
    """

    words: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]


class Said(NamedTuple):
    """What a program says, on both streams, and the code it ends with."""

    text: str
    code: int


Program = Callable[[Call], Said]


class Shell:
    """Runs scripts; the programs among its commands are functions."""

    def __init__(self, programs: Mapping[str, Program]) -> None:
        self._programs = programs
        # Not pytest's own: the name of a socket has a hundred characters at most.
        self._room = tempfile.TemporaryDirectory(prefix="vb-")
        folder = Path(self._room.name)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / "door"))
        self._listener.listen()
        self._listener.settimeout(0.02)
        self._bin = folder / "bin"
        self._bin.mkdir()
        for name in programs:
            path = self._bin / name
            door = str(folder / "door")
            path.write_text(_CLIENT.format(python=sys.executable, door=door, name=name))
            path.chmod(0o755)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.close()
        self._room.cleanup()

    def run(self, script: str, folder: Path, environment: Mapping[str, str]) -> Said:
        """Runs a script until its end, or the first command of it that fails."""
        given = {**environment, "PATH": f"{self._bin}:/usr/bin:/bin"}
        command = ["bash", "-euo", "pipefail", "-c", script]
        with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
            process = subprocess.Popen(
                command, cwd=folder, env=given, stdout=said, stderr=subprocess.STDOUT
            )
            try:
                while process.poll() is None:
                    self._answer_one()
            finally:
                process.kill()
                process.wait()
            said.seek(0)
            return Said(said.read(), process.returncode)

    def _answer_one(self) -> None:
        try:
            caller, _ = self._listener.accept()
        except TimeoutError:
            return
        with caller:
            caller.settimeout(None)
            asked = json.loads(b"".join(iter(lambda: caller.recv(1 << 16), b"")))
            words = tuple(asked["words"])
            call = Call(words, Path(asked["folder"]), asked["environment"])
            said = self._programs[words[0]](call)
            caller.sendall(json.dumps(said._asdict()).encode())


class Within:
    """This process as if it had been started by a call: folder, variables and arguments."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._before = (Path.cwd(), dict(os.environ), sys.argv)

    def __enter__(self) -> Sequence[str]:
        os.chdir(self._call.folder)
        os.environ.clear()
        os.environ.update(self._call.environment)
        sys.argv = list(self._call.words)
        return sys.argv

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        folder, environment, sys.argv = self._before
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
