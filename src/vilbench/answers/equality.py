"""Whether two LaTeX expressions mean the same, asked of a process that can be killed.

math-verify understands LaTeX and proves equality, but hostile text makes it compute without
end or fill the memory, its own time limits are signals that work in the main thread only, and
it takes most of a second to import. So it lives in one process of its own (see `worker`),
which is started when the first expression has to be understood, serves all threads one after
another, and does every comparison in a fork with limits.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from vilbench.errors import ComparisonError

_PROGRAM: Final = Path(__file__).with_name("worker.py")
_PASSED_ON: Final = ("PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LANG")
"""Environment of the worker: it meets hostile text and needs no keys."""
_GRACE: Final = 10.0
"""Seconds beyond the limits after which the worker itself is given up."""


@dataclass(frozen=True)
class Limits:
    """Of one comparison.

    Attributes:
        cpu: Seconds of processor time; what decides, so that a busy machine gives the same
            verdicts as an idle one.
        wall: Seconds in all, for what waits without computing; far beyond `cpu`.
        memory: Bytes of address space.
        start: Seconds that the worker may take to come up.
    """

    cpu: float = 3.0
    wall: float = 30.0
    memory: int = 1 << 30
    start: float = 120.0


@dataclass
class Tally:
    """What a `Comparer` has done.

    Attributes:
        asked: Comparisons that went to the worker.
        undecided: Those that it gave up, for time, memory or understanding.
        started: Workers started.
        cpu: Processor seconds of all comparisons.
        longest: Processor seconds of the longest one.
    """

    asked: int = 0
    undecided: int = 0
    started: int = 0
    cpu: float = 0.0
    longest: float = 0.0


class Comparer:
    """Compares expressions in a process of its own; safe to call from any thread.

    Args:
        limits: Of one comparison.
        kept: Verdicts remembered: the samples of a problem answer alike.
    """

    def __init__(self, limits: Limits | None = None, kept: int = 4096) -> None:
        self.limits = limits or Limits()
        self.tally = Tally()
        self._kept = kept
        self._known: OrderedDict[tuple[str, str], bool | None] = OrderedDict()
        self._lock = threading.Lock()
        self._worker: subprocess.Popen[bytes] | None = None

    def same(self, gold: str, given: str) -> bool | None:
        """Whether `given` means what `gold` means; None when that was not to be found out.

        Args:
            gold: The reference, LaTeX without delimiters. The order counts: "3" answers
                "x=3", and an interval answers an inequality.
            given: What is compared with it.

        Raises:
            ComparisonError: The worker cannot be started.
        """
        key = (gold, given)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
            self.tally.asked += 1
            verdict = self._ask(gold, given)
            self.tally.undecided += verdict is None
            self._known[key] = verdict
            while len(self._known) > self._kept:
                self._known.popitem(last=False)
            return verdict

    def close(self) -> None:
        """End the worker; the next comparison starts another."""
        with self._lock:
            self._end()

    def _ask(self, gold: str, given: str) -> bool | None:
        for _ in range(2):  # a worker that somebody killed meanwhile is replaced once
            worker = self._worker or self._start()
            try:
                pipe = _pipe(worker.stdin)
                pipe.write(json.dumps({"gold": gold, "given": given}).encode() + b"\n")
                pipe.flush()
                reply = _line(worker, self.limits.wall + _GRACE)
            except BrokenPipeError:
                reply = None
            except BaseException:  # interrupted: a late reply must not answer the next question
                self._end()
                raise
            if reply is not None:
                verdict, cpu = reply.get("same"), reply.get("cpu")
                if isinstance(cpu, float):
                    self.tally.cpu += cpu
                    self.tally.longest = max(self.tally.longest, cpu)
                return verdict if isinstance(verdict, bool) else None
            self._end()
        return None

    def _start(self) -> subprocess.Popen[bytes]:
        limits = self.limits
        self._worker = worker = subprocess.Popen(  # noqa: S603 - our own program
            [
                *(sys.executable, "-P", str(_PROGRAM)),
                *(f"--{name}={getattr(limits, name)}" for name in ("cpu", "wall", "memory")),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            start_new_session=True,  # Ctrl-C is for the program, which ends the worker
        )
        self.tally.started += 1
        try:
            reply = _line(worker, limits.start)
        except BaseException:
            self._end()
            raise
        if reply is None or "ready" not in reply:
            self._end()
            why = reply.get("error") if reply else "it ended or did not come up in time"
            raise ComparisonError(
                f"the process that compares LaTeX cannot be started ({why}); "
                "it needs the package math-verify"
            )
        return worker

    def _end(self) -> None:
        worker, self._worker = self._worker, None
        if worker is None:
            return
        worker.kill()
        worker.wait()
        for pipe in (worker.stdin, worker.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # what was not sent is of no use
                    pipe.close()

    def _forget(self) -> None:
        """In a forked child: the worker, its pipes and the lock are the parent's."""
        worker, self._worker = self._worker, None
        self._lock = threading.Lock()
        self.tally = Tally()
        if worker is not None:
            worker.returncode = 0  # nobody here waits for another's child
            for pipe in (worker.stdin, worker.stdout):
                if pipe is not None:
                    os.close(pipe.fileno())


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise ComparisonError("the worker has no pipe")
    return pipe


def _line(worker: subprocess.Popen[bytes], seconds: float) -> dict[str, object] | None:
    """The next reply; None when the worker ends first or says nothing for so long."""
    pipe = _pipe(worker.stdout)
    end = time.monotonic() + seconds
    data = b""
    while not data.endswith(b"\n"):
        left = end - time.monotonic()
        if left <= 0 or not select.select([pipe], [], [], left)[0]:
            return None
        more = os.read(pipe.fileno(), 1 << 16)
        if not more:
            return None
        data += more
    reply = json.loads(data)
    return reply if isinstance(reply, dict) else None


COMPARER: Final = Comparer()
"""The one that grading uses."""

atexit.register(COMPARER.close)
os.register_at_fork(after_in_child=COMPARER._forget)
