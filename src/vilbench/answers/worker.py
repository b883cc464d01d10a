r"""The process in which LaTeX is understood and compared, under limits of time and memory.

It is run as a file and imports nothing of the package, so that it starts quickly and starts
from any program, whatever that one's threads, event loops and start method are. Requests and
replies are JSON, one a line:

    <- {"ready": true}  or  {"error": "..."}      once, after the start
    -> {"gold": "2\sqrt{3}", "given": "\sqrt{12}"}
    <- {"same": true, "cpu": 0.02}     same is null: not understood, or beyond the limits

The process itself only loads and waits. Every comparison is done by a fork of it, which is
there in milliseconds with all that was loaded, leaves no trace of hostile text behind, and may
be killed at no cost. The limits are the kernel's: they also hold within a computation that
never comes back to Python (`9^{9^{9^9}}`), and end an orphan.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

Same = Callable[[str, str], "bool | None"]

_WARM = (("\\frac{1}{2}x^2-\\sqrt{3}", "0.5x^{2}-3^{1/2}"), ("(0,\\infty)", "x > 0"))


def load() -> Same:
    """The comparison of math-verify; raises `ImportError` where it is not installed."""
    from math_verify import LatexExtractionConfig, parse, verify

    logging.disable(logging.CRITICAL)
    config = (LatexExtractionConfig(),)

    def read(text: str) -> list[object]:
        # Its own time limits are signals, and would end ours.
        found: list[object] = parse(
            f"${text}$", config, fallback_mode="no_fallback", parsing_timeout=None
        )
        return found

    def same(gold: str, given: str) -> bool | None:
        wanted, said = read(gold), read(given)
        if not wanted or not said:
            return None
        # The order counts: the first is the reference.
        return bool(verify(wanted, said, allow_set_relation_comp=True, timeout_seconds=None))

    for pair in _WARM:  # what is loaded at first use is loaded before the forks
        same(*pair)
    return same


def bound(cpu: float, wall: float, memory: int) -> None:
    """Limits of a fork: seconds of processor time, seconds in all, bytes of addresses.

    The timers' signals end the process, and it writes no file and dumps no core.
    """
    for number in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(number, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, cpu)
    signal.setitimer(signal.ITIMER_REAL, wall)
    for kind, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        within = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (within, within))


class Outcome(NamedTuple):
    """Verdict of a comparison, None when it was killed or raised, and its processor time."""

    same: bool | None
    cpu: float


def apart(same: Same, gold: str, given: str, limits: argparse.Namespace) -> Outcome:
    """`same(gold, given)` in a fork."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            bound(limits.cpu, limits.wall, limits.memory)
            verdict = same(gold, given)
            os.write(writing, b"?" if verdict is None else b"=" if verdict else b"!")
        finally:  # whatever a parser makes of hostile text, the fork ends here
            os._exit(0)
    os.close(writing)
    said = os.read(reading, 1)
    os.close(reading)
    _, _, used = os.wait4(child, 0)
    return Outcome({b"=": True, b"!": False}.get(said), used.ru_utime + used.ru_stime)


def main() -> None:
    """Serve standard input until it ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cpu", type=float, required=True)
    parser.add_argument("--wall", type=float, required=True)
    parser.add_argument("--memory", type=int, required=True)
    limits = parser.parse_args()
    # What libraries print must not get between the replies.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def reply(**message: Any) -> None:
        with suppress(BrokenPipeError):
            print(json.dumps(message), file=replies, flush=True)

    try:
        same = load()
    except Exception as error:
        return reply(error=f"{type(error).__name__}: {error}")
    reply(ready=True)
    for line in sys.stdin:
        request = json.loads(line)
        reply(**apart(same, request["gold"], request["given"], limits)._asdict())
    return None


if __name__ == "__main__":
    main()
