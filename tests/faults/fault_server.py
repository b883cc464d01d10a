"""A real HTTP server that speaks chat completions and misbehaves on a script.

    async with FaultServer([refuse(429, headers={"Retry-After": "1"}), cut()]) as server:
        ...  # the first request is refused, the second cut, all others are answered well

An act is what one request gets; it is made by a function of the request, so that faults can
be built from what a good answer would have been. It is plain sockets, for a library would not
let go in the middle of a body.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import re
import socket
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

_WORDS = ("two", "red", "circle", "left", "of", "the", "bar", "is", "four", "score", "你好", "ü")
_TOKEN = re.compile(r"\s*\w+|\s*[^\w\s]|\s+")


@dataclass(frozen=True)
class Request:
    """A request as it came."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]

    @property
    def n(self) -> int:
        return int(self.body.get("n") or 1)


@dataclass(frozen=True)
class Act:
    """What a request gets.

    Attributes:
        status: HTTP status.
        headers: More headers.
        body: Bytes that are sent.
        length: What `Content-Length` says; the body's true length by default.
        pause: Seconds before anything is sent.
        drip: Seconds between two bytes of the body.
        ending: "keep" the connection, "close" it, or "reset" it so that the peer gets an error.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    length: int | None = None
    pause: float = 0.0
    drip: float = 0.0
    ending: str = "keep"


Script = Callable[[Request], Act]


def texts(request: Request, count: int) -> list[str]:
    """What the model says: choice `k` depends on the messages and on the seed plus `k`."""
    said = []
    for k in range(count):
        seed = 0 if request.body.get("temperature") == 0 else request.body.get("seed", 0) + k
        words = json.dumps([request.body["messages"], seed], sort_keys=True).encode()
        digest = hashlib.blake2b(words, digest_size=12).digest()
        said.append(" ".join(_WORDS[byte % len(_WORDS)] for byte in digest))
    return said


def tokens_of(text: str) -> list[str]:
    """The server's tokens: words with the blank before them."""
    return _TOKEN.findall(text)


def choice(request: Request, index: int, text: str) -> dict[str, Any]:
    """A choice that obeys `stop`, `max_tokens` and `logprobs`."""
    body = request.body
    limit = int(body.get("max_completion_tokens") or body.get("max_tokens") or 1 << 30)
    pieces = tokens_of(text)
    reason = "stop" if len(pieces) <= limit else "length"
    pieces = pieces[:limit]
    whole = "".join(pieces)
    cuts = [at for stop in body.get("stop", ()) if (at := whole.find(stop)) >= 0]
    if cuts:
        reason, whole = "stop", whole[: min(cuts)]
    made: dict[str, Any] = {
        "index": index,
        "message": {"role": "assistant", "content": whole, "refusal": None},
        "finish_reason": reason,
        "logprobs": None,
    }
    if body.get("logprobs"):
        made["logprobs"] = {"content": logprobs(pieces, int(body.get("top_logprobs", 0)))}
    return made


def logprobs(pieces: Iterable[str], top: int) -> list[dict[str, Any]]:
    """Entries as OpenAI has them, the characters of the last piece split into bytes."""

    def entry(text: str, probability: float) -> dict[str, Any]:
        return {
            "token": text,
            "logprob": math.log(probability),
            "bytes": list(text.encode()),
        }

    made = []
    for piece in pieces:
        others = [entry(word, 0.1) for word in ("a", "b", "c")[: max(0, top - 1)]]
        made.append({**entry(piece, 0.6), "top_logprobs": [entry(piece, 0.6), *others]})
    return made


def completion(request: Request, said: Iterable[str] | None = None) -> dict[str, Any]:
    """A good answer."""
    spoken = list(texts(request, request.n) if said is None else said)
    choices = [choice(request, index, text) for index, text in enumerate(spoken)]
    written = sum(len(tokens_of(item["message"]["content"])) for item in choices)
    read = len(json.dumps(request.body["messages"])) // 4 + 1
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": request.body["model"],
        "choices": choices,
        "usage": {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
            "prompt_tokens_details": {"cached_tokens": min(3, read)},
        },
    }


def as_json(answer: object, **more: Any) -> Act:
    """An act that sends JSON."""
    headers = {"Content-Type": "application/json", **more.pop("headers", {})}
    return Act(headers=headers, body=json.dumps(answer).encode(), **more)


def well(request: Request) -> Act:
    """A good answer."""
    return as_json(completion(request))


def says(*said: str) -> Script:
    """An answer with these texts."""
    return lambda request: as_json(completion(request, said))


def changed(change: Callable[[dict[str, Any]], object]) -> Script:
    """A good answer, changed."""

    def act(request: Request) -> Act:
        answer = completion(request)
        change(answer)
        return as_json(answer)

    return act


def refuse(
    status: int,
    message: str = "no",
    *,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Script:
    """An error as OpenAI words it."""
    error = {"error": {"message": message, "type": code or "server_error", "code": code}}
    return lambda request: as_json(error, status=status, headers=dict(headers or {}))


def page(status: int = 200) -> Script:
    """A web page in place of an answer, as gateways have them."""
    return lambda request: Act(
        status, {"Content-Type": "text/html"}, b"<!doctype html><title>Login</title>"
    )


def raw(body: bytes, **more: Any) -> Script:
    """These bytes, said to be JSON."""
    return lambda request: Act(headers={"Content-Type": "application/json"}, body=body, **more)


def cut(share: float = 0.5) -> Script:
    """JSON that ends early, and says that it is complete."""

    def act(request: Request) -> Act:
        good = well(request)
        return replace(good, body=good.body[: int(len(good.body) * share)])

    return act


def reset(share: float = 0.5) -> Script:
    """A connection that breaks within the body."""

    def act(request: Request) -> Act:
        good = well(request)
        part = good.body[: int(len(good.body) * share)]
        return replace(good, body=part, length=len(good.body), ending="reset")

    return act


def drip(seconds: float) -> Script:
    """A good answer, byte by byte."""
    return lambda request: replace(well(request), drip=seconds)


def late(seconds: float) -> Script:
    """A good answer, after a while."""
    return lambda request: replace(well(request), pause=seconds)


class FaultServer:
    """The server, on a free port of the loopback interface.

    Args:
        script: What the first requests get, in the order in which they come; all others get
            `otherwise`.
        otherwise: By default a good answer.

    Attributes:
        requests: All requests so far.
        most_at_once: Most requests under way at a time.
    """

    def __init__(self, script: Iterable[Script] = (), otherwise: Script = well) -> None:
        self._script = list(script)
        self._otherwise = otherwise
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._at_once = 0
        self.requests: list[Request] = []
        self.most_at_once = 0

    @property
    def url(self) -> str:
        """Its `base_url`."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://{host}:{port}/v1"

    @property
    def seeds(self) -> list[int]:
        """Seeds of all samples that good answers to these requests would have."""
        return [r.body["seed"] + k for r in self.requests for k in range(r.n)]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()

    async def act(self, request: Request) -> Act:
        """What a request gets."""
        return (self._script.pop(0) if self._script else self._otherwise)(request)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            while (request := await _read(reader)) is not None:
                self.requests.append(request)
                self._at_once += 1
                self.most_at_once = max(self.most_at_once, self._at_once)
                try:
                    going_on = await _play(await self.act(request), writer)
                finally:
                    self._at_once -= 1
                if not going_on:
                    return
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return  # the client went, or the server ends
        finally:
            self._open.discard(task)
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Request | None:
    head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
    if not head:
        return None
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    pairs = (line.split(":", 1) for line in lines)
    headers = {name.strip().lower(): value.strip() for name, value in pairs}
    data = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(first.split(" ")[1], headers, json.loads(data or b"{}"))


async def _play(act: Act, writer: asyncio.StreamWriter) -> bool:
    """Whether the connection goes on."""
    await asyncio.sleep(act.pause)
    length = len(act.body) if act.length is None else act.length
    lines = [f"HTTP/1.1 {act.status} X", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in act.headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
    if act.drip:
        for byte in act.body:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(act.drip)
    else:
        writer.write(act.body)
    await writer.drain()
    if act.ending == "reset":
        await asyncio.sleep(0.02)  # what was sent must arrive before the reset
        peer: socket.socket = writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    return act.ending == "keep"
