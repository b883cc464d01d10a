"""A chat server in a process of its own, to be killed while it answers.

What it does depends on the question: "wait" holds the answer until a line comes on standard
input, "half" sends half of one and waits, anything else is answered at once. It tells of every
request by a line on standard output.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

from child import Child
from loopback import JSON, Handler, Loopback

SAID = "Step 1: I look.\nStep 2: It is {}.\nAnswer: {}"


class ChatProcess(Child):
    """The server, running.

    Args:
        port: 0 takes one that is free.
    """

    def __init__(self, port: int = 0) -> None:
        super().__init__([sys.executable, __file__, str(port)])
        self.port = int(self.line())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def has_been_asked(self, times: int = 1) -> None:
        """Waits until it holds so many more requests."""
        for _ in range(times):
            assert self.line() == "asked"

    def go(self) -> None:
        """Lets the answers out that were held."""
        self.tell("go")


def answer(body: dict[str, Any]) -> bytes:
    choices = [
        {
            "index": k,
            "message": {"role": "assistant", "content": SAID.format(k, k)},
            "finish_reason": "stop",
        }
        for k in range(body.get("n") or 1)
    ]
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return json.dumps({"model": body["model"], "choices": choices, "usage": usage}).encode()


def tell(line: object) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    going = threading.Event()

    class Answering(Handler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = json.loads(self.body())
            tell("asked")
            asked = json.dumps(body["messages"])
            said = answer(body)
            if "wait" in asked:
                going.wait(60)
            if "half" in asked:
                length = {"Content-Length": str(len(said))}
                self.give(said[: len(said) // 2], {**JSON, **length})
                self.wfile.flush()
                going.wait(60)
                self.wfile.write(said[len(said) // 2 :])
            else:
                self.give(said, JSON)

    tell(Loopback(Answering, port=int(sys.argv[1])).port)
    for _ in sys.stdin:
        going.set()


if __name__ == "__main__":
    main()
