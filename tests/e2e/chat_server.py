"""A server of chat completions that solves, and judges, in a fixed way."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class ChatServer:
    """Solutions of three steps that end with a letter, and verdicts from 1 to 5.

    What it says depends on the messages, the model and the seed alone, so that two runs of
    the same requests read the same.

    Attributes:
        asked: Requests so far, by the model's name.
    """

    def __init__(self) -> None:
        self.asked: dict[str, list[dict[str, Any]]] = {}
        asked, lock = self.asked, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    asked.setdefault(body["model"], []).append(body)
                said = json.dumps(_answer(body)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: object) -> None:
                """Keeps quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def _answer(body: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(body["messages"])
    choices = []
    for k in range(body.get("n") or 1):
        digest = hashlib.sha256(f"{body['model']}{body.get('seed', 0) + k}{text}".encode()).digest()
        if "Overall Score" in text:
            said = f"Reasoning: looked at it.\nOverall Score: {digest[0] % 5 + 1}"
        else:
            said = (
                f"Step 1: I look at number {digest[1]}.\nStep 2: It is like {digest[2]}.\n"
                f"Step 3: So I choose.\nAnswer: {'AB'[digest[0] % 2]}"
            )
        message = {"role": "assistant", "content": said}
        choices.append({"index": k, "message": message, "finish_reason": "stop"})
    written = 20 * len(choices)
    usage = {"prompt_tokens": 100, "completion_tokens": written, "total_tokens": 100 + written}
    return {
        "id": "answer",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": choices,
        "usage": usage,
    }
