"""`vilbench serve` in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys

from child import Child


class ServeProcess(Child):
    """The command, until it is left; it must say that it serves.

    Args:
        arguments: Behind `vilbench serve`.

    Attributes:
        url: With `/v1`.
    """

    def __init__(self, *arguments: str) -> None:
        start = [sys.executable, "-c", "from vilbench.cli import main; main()"]
        super().__init__([*start, "serve", *arguments, "--port", "0"], subprocess.PIPE)
        assert self.process.stdout is not None
        lines = self.process.stdout
        self.url = next((one.split()[1] for one in lines if one.startswith("serving ")), "")
        assert self.url, self.process.communicate()[1]

    def signal(self, which: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(which)

    def ended(self, seconds: float = 30.0) -> tuple[int, str]:
        """Waits for its end: exit status, and what it said on standard error."""
        _, complaints = self.process.communicate(timeout=seconds)
        return self.process.returncode, complaints
