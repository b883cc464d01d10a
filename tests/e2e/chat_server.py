"""A server of chat completions that solves, and judges, in a fixed way."""

from __future__ import annotations

import hashlib
import json
import threading
from typing import Any

from loopback import JSON, Handler, Loopback


class ChatServer(Loopback):
    """Solutions of three steps that end with a letter, and verdicts from 1 to 5.

    What it says depends on the messages, the model and the seed alone, so that two runs of
    the same requests read the same.

    Attributes:
        asked: Requests so far, by the model's name.
    """

    def __init__(self) -> None:
        self.asked: dict[str, list[dict[str, Any]]] = {}
        asked, lock = self.asked, threading.Lock()

        class Answering(Handler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = json.loads(self.body())
                with lock:
                    asked.setdefault(body["model"], []).append(body)
                self.give(json.dumps(_answer(body)).encode(), JSON)

        super().__init__(Answering)

    @property
    def url(self) -> str:
        return f"{super().url}/v1"


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
