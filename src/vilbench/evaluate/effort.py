"""What a stage took beside tokens: time and memory, noted in the run when the stage ends.

A stage that is gone on with notes each start by itself. What a killed start did is not
known, so that its problems are not counted either: seconds per problem stay right.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from vilbench.store.run import Run
from vilbench.types import Record

WORK: Final = "work"
"""Kind of the event."""

_RESET = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


class Effort(Record):
    """One start of a stage, from its first problem to its last.

    Attributes:
        key: Of the solutions or scores that it stored.
        problems: Problems that it came to the end of.
        seconds: Time on the wall, whatever went on side by side.
        peak_bytes: Most memory of this process while the stage went on; where the system
            cannot tell that, since the process began. None where it tells nothing.
        accelerator_bytes: Most memory that tensors took on this process's accelerators; None
            without one.
    """

    key: str
    problems: int = Field(ge=1)
    seconds: float = Field(ge=0, allow_inf_nan=False)
    peak_bytes: int | None = Field(default=None, ge=0)
    accelerator_bytes: int | None = Field(default=None, ge=0)


@dataclass
class Tally:
    """Counts the problems of a start."""

    problems: int = 0


@contextmanager
def effort(run: Run, key: str) -> Iterator[Tally]:
    """Times a start of the stage that stores under `key`; nothing done leaves no note.

    An interrupted start is noted too, for its problems are stored.
    """
    tally = Tally()
    _reset_peaks()
    began = time.monotonic()
    try:
        yield tally
    finally:
        if tally.problems:
            done = Effort(
                key=key,
                problems=tally.problems,
                seconds=round(time.monotonic() - began, 3),
                peak_bytes=_peak_bytes(),
                accelerator_bytes=_accelerator_bytes(),
            )
            run.event(WORK, done.model_dump(mode="json"))


def efforts(run: Run) -> dict[str, list[Effort]]:
    """All noted starts by their key, oldest first."""
    found: dict[str, list[Effort]] = {}
    for event in run.events():
        if event.kind == WORK:
            one = Effort.model_validate(event.data)
            found.setdefault(one.key, []).append(one)
    return found


def _cuda() -> Any:
    """The accelerator part of torch, if an engine has loaded torch and there is one."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    return cuda if cuda is not None and cuda.is_available() else None


def _reset_peaks() -> None:
    with suppress(OSError):
        _RESET.write_text("5")
    cuda = _cuda()
    if cuda is not None:
        for device in range(cuda.device_count()):
            cuda.reset_peak_memory_stats(device)


def _accelerator_bytes() -> int | None:
    cuda = _cuda()
    if cuda is None:
        return None
    return sum(int(cuda.max_memory_allocated(device)) for device in range(cuda.device_count()))


def _peak_bytes() -> int | None:
    with suppress(OSError, ValueError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
