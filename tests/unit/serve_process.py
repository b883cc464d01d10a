"""`vilbench serve` in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from types import TracebackType
from typing import Self


class ServeProcess:
    """The command, until it is left; it must say that it serves.

    Args:
        arguments: Behind `vilbench serve`.

    Attributes:
        url: With `/v1`.
    """

    def __init__(self, *arguments: str) -> None:
        start = [sys.executable, "-c", "from vilbench.cli import main; main()"]
        self._process = subprocess.Popen(
            [*start, "serve", *arguments, "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        lines = iter(self._process.stdout.readline, "")
        self.url = next((one.split()[1] for one in lines if one.startswith("serving ")), "")
        assert self.url, self._process.communicate()[1]

    def signal(self, which: signal.Signals = signal.SIGTERM) -> None:
        self._process.send_signal(which)

    def ended(self, seconds: float = 30.0) -> tuple[int, str]:
        """Waits for its end: exit status, and what it said on standard error."""
        _, complaints = self._process.communicate(timeout=seconds)
        return self._process.returncode, complaints

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait(10)
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()
