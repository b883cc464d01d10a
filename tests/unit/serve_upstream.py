"""A chat server in a process of its own, to be killed while it answers.

What it does depends on the question: "wait" holds the answer until a line comes on standard
input, "half" sends half of one and waits, anything else is answered at once. It tells of every
request by a line on standard output.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

SAID = "Step 1: I look.\nStep 2: It is {}.\nAnswer: {}"


class ChatProcess:
    """The server, running.

    Args:
        port: 0 takes one that is free.
    """

    def __init__(self, port: int = 0) -> None:
        command = [sys.executable, __file__, str(port)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.port = int(self._line())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def has_been_asked(self, times: int = 1) -> None:
        """Waits until it holds so many more requests."""
        for _ in range(times):
            assert self._line() == "asked"

    def go(self) -> None:
        """Lets the answers out that were held."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


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

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            tell("asked")
            asked = json.dumps(body["messages"])
            said = answer(body)
            if "wait" in asked:
                going.wait(60)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            if "half" in asked:
                self.wfile.write(said[: len(said) // 2])
                self.wfile.flush()
                going.wait(60)
                said = said[len(said) // 2 :]
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            """Keeps quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    tell(server.server_address[1])
    for _ in sys.stdin:
        going.set()


if __name__ == "__main__":
    main()
