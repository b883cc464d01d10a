"""A served scorer's client against a server that misbehaves: asked again, and never for ever."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest
from loopback import Handler, Loopback

from vilbench.engines.openai.attempts import Patience
from vilbench.errors import EngineError
from vilbench.scorers.remote import RemoteScorer, Served
from vilbench.testing import make_problem, make_solution

KEY = "a-token-that-is-secret"
PROBLEM = make_problem()
SOLUTION = make_solution(PROBLEM, 0, "Step 1: a")
TOLD = Served("prm", "step", "prm/1", 0.0, 1.0)
PATIENCE = Patience(attempts=3, first_wait_s=0.01, first_byte_s=0.3, call_s=0.6, longest_wait_s=2)
GOOD = json.dumps({"fingerprint": "prm/1", "results": [{"values": [0.5]}]}).encode()


class Misbehaving(Loopback):
    """A server that does as `plan` says, one word a request; then it is good.

    Attributes:
        asked: Requests so far.
    """

    def __init__(self) -> None:
        self.plan: list[str] = []
        self.asked = 0
        self.left = threading.Event()
        outer = self

        class Doing(Handler):
            def answer(self) -> None:
                self.body()
                outer.asked += 1
                outer.answer(self, outer.plan.pop(0) if outer.plan else "good")
                self.close_connection = True

        super().__init__(Doing)

    def stop(self) -> None:
        self.left.set()
        super().stop()

    def answer(self, to: Handler, what: str) -> None:
        words = json.dumps({"error": {"message": f"{KEY} was refused"}}).encode()
        if what == "good":
            to.give(GOOD)
        elif what.isdigit():
            to.give(words, status=int(what))
        elif what == "wait":
            to.give(words, {"Retry-After": "1"}, status=429)
        elif what == "wait until":
            to.give(words, {"Retry-After": formatdate(time.time() + 1.5, usegmt=True)}, status=503)
        elif what == "too long":
            to.give(words, {"Retry-After": "3600"}, status=429)
        elif what == "html":
            to.give(b"<html>Welcome</html>")
        elif what == "truncated":
            to.give(GOOD[:-5])
        elif what == "empty":
            to.give(b'{"fingerprint": "prm/1", "results": []}')
        elif what == "null":
            to.give(b'{"fingerprint": "prm/1", "results": [{"values": null}]}')
        elif what == "NaN":
            to.give(GOOD.replace(b"0.5", b'"x"'))
        elif what == "cut":
            to.give(GOOD, {"Content-Length": "1000"})
        elif what == "reset":
            to.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            to.connection.close()
        elif what == "silent":
            self.left.wait(5)
        elif what == "drip":
            to.send_response(200)
            to.send_header("Content-Length", "1000")
            to.end_headers()
            for _ in range(100):
                to.wfile.write(b" ")
                if self.left.wait(0.05):
                    return


@pytest.fixture
def server() -> Iterator[Misbehaving]:
    with Misbehaving() as found:
        yield found


async def asked(server: Misbehaving) -> Any:
    remote = RemoteScorer(f"{server.url}/v1", TOLD, api_key=KEY, patience=PATIENCE)
    try:
        (record,) = await remote.score(PROBLEM, [SOLUTION])
        return record
    finally:
        await remote.aclose()


AGAIN = ["429", "500", "502", "503", "504", "408", "html", "truncated", "empty", "null", "NaN"]
AGAIN += ["cut", "reset", "silent", "drip"]


@pytest.mark.parametrize("what", [*AGAIN, "wait", "wait until"])
async def test_a_fault_that_passes_costs_one_more_request(server: Misbehaving, what: str) -> None:
    server.plan = [what]
    begun = time.monotonic()
    record = await asked(server)
    assert (record.values, record.error) == ((0.5,), None)
    assert server.asked == 2
    if what.startswith("wait"):
        assert time.monotonic() - begun > 0.4


@pytest.mark.parametrize("what", AGAIN)
async def test_a_fault_that_stays_ends_after_all_attempts(server: Misbehaving, what: str) -> None:
    server.plan = [what] * 9
    with pytest.raises(EngineError) as caught:
        await asked(server)
    assert server.asked == PATIENCE.attempts
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("what", ["400", "401", "404", "413", "422", "too long"])
async def test_what_will_not_pass_is_asked_once(server: Misbehaving, what: str) -> None:
    server.plan = [what] * 9
    with pytest.raises(EngineError) as caught:
        await asked(server)
    assert server.asked == 1
    assert KEY not in str(caught.value)


async def test_cancelling_leaves_no_task(server: Misbehaving) -> None:
    server.plan = ["silent"]
    remote = RemoteScorer(f"{server.url}/v1", TOLD, patience=Patience())
    before = asyncio.all_tasks()
    task = asyncio.create_task(remote.score(PROBLEM, [SOLUTION]))
    while not server.asked:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == before
    (record,) = await remote.score(PROBLEM, [SOLUTION])
    assert record.values == (0.5,)
    await remote.aclose()
