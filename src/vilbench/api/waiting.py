"""Waiting for what the rooms below do in an event loop.

One loop runs in a thread of its own for all calls: connections to servers, which belong to a
loop, outlive a call, and a notebook, which has a loop running, can wait as any program can.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


def waited(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`; Ctrl-C cancels it.

    Raises:
        RuntimeError: It is asked for by what such a call is waiting for.
    """
    loop = _loop()
    if threading.current_thread().name == _NAME:
        work.close()
        raise RuntimeError("the short way blocks: await the scorer or generator itself here")
    done = asyncio.run_coroutine_threadsafe(work, loop)
    try:
        return done.result()
    except BaseException:
        done.cancel()
        raise


_NAME = "vilbench-calls"


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name=_NAME, daemon=True).start()
    return loop
