"""What a request to a server costs the client, in processor time and memory.

    python benchmarks/client.py                    # 1,000 in flight, 50,000 requests
    python benchmarks/client.py --requests 5000

The server is a process of its own that answers at once, so that all the time is the client's.
Every request shows one of a hundred images, which are encoded once each; answers carry
log-probabilities where `--logprobs` says so, as a judge's do. The time is the process's own
(user and system), so that other work on the machine plays no part; memory is what the
process holds in RAM, taken ten times on the way.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import multiprocessing
import os
import platform
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from typing import NamedTuple

import psutil
from PIL import Image as Pillow

from vilbench.engines.openai.engine import OpenAIEngine
from vilbench.executors import map_bounded
from vilbench.types import BytesSource, Image, Prompt, Sampling

_IMAGES = 100
_WARM_UP = 2000
_WORDS = "Step 1: I count 3 circles.\nStep 2: I add 2.\nAnswer: 5"


class Row(NamedTuple):
    """What was measured at one place of the way."""

    requests: int
    cpu_ms: float
    memory_mb: float


class _Answers(asyncio.Protocol):
    """Answers every request with the same bytes, as soon as it is there."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._data = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end].lower()
            at = head.index(b"content-length:") + len(b"content-length:")
            whole = end + 4 + int(head[at:].split(b"\r\n", 1)[0])
            if len(self._data) < whole:
                return
            self._data = self._data[whole:]
            assert self._transport is not None
            self._transport.write(self._answer)


def serve(pipe: Connection, logprobs: bool) -> None:
    """Serves until it is ended."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": _WORDS},
        "finish_reason": "stop",
        "logprobs": {"content": _entries()} if logprobs else None,
    }
    answer = {
        "model": "model",
        "choices": [choice],
        "usage": {"prompt_tokens": 300, "completion_tokens": 30},
    }
    body = json.dumps(answer).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: _Answers(head.encode() + b"\r\n\r\n" + body), "127.0.0.1", 0, backlog=2048
        )
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def _entries() -> list[dict[str, object]]:
    def entry(text: str, logprob: float) -> dict[str, object]:
        return {"token": text, "logprob": logprob, "bytes": list(text.encode())}

    pieces = [_WORDS[at : at + 2] for at in range(0, len(_WORDS), 2)]
    top = [entry(f"t{k}", -4.0 - k) for k in range(20)]
    return [{**entry(piece, -0.1), "top_logprobs": top} for piece in pieces]


@asynccontextmanager
async def server(logprobs: bool) -> AsyncIterator[str]:
    """The address of a server in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, logprobs), daemon=True)
    process.start()
    try:
        port = await asyncio.to_thread(ours.recv)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.join()


def pictures(count: int, side: int) -> list[Image]:
    """Images of noise-free colour, each with bytes of its own."""
    made = []
    for number in range(count):
        data = io.BytesIO()
        colour = (number * 37 % 256, number * 91 % 256, number * 53 % 256)
        Pillow.new("RGB", (side, side), colour).save(data, "PNG", compress_level=0)
        made.append(Image.of(BytesSource(data.getvalue())))
    return made


async def measure(requests: int, concurrency: int, side: int, logprobs: bool) -> list[Row]:
    """Rows at tenths of the way, after a warm-up that opens all connections."""
    images = pictures(_IMAGES, side)
    sampling = Sampling(max_tokens=64, top_logprobs=20 if logprobs else 0)
    this = psutil.Process()
    rows: list[Row] = []
    async with (
        server(logprobs) as url,
        OpenAIEngine("model", "vllm", base_url=url, concurrency=concurrency) as engine,
    ):

        async def ask(number: int) -> int:
            image = images[number % len(images)]
            prompt = Prompt((image, f"How many circles are left of {number}?"))
            return len(await engine.generate(prompt, 1, sampling, number))

        async for _ in map_bounded(ask, range(_WARM_UP), concurrency):
            pass
        begun, done = time.process_time(), 0
        async for outcome in map_bounded(ask, range(requests), concurrency):
            assert outcome.value == 1
            done += 1
            if done % (requests // 10) == 0:
                cpu = (time.process_time() - begun) / done * 1000
                rows.append(Row(done, cpu, this.memory_info().rss / 2**20))
        counts = engine.counts
        assert engine.images_made == _IMAGES
        assert counts.samples == requests + _WARM_UP
        print(f"most in flight: {counts.most_in_flight}, images encoded: {engine.images_made}")
        print(counts.told())
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--concurrency", type=int, default=1000)
    parser.add_argument("--side", type=int, default=64, help="side of an image, in pixels")
    parser.add_argument("--logprobs", action="store_true")
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, CPython", end=" ")
    print(platform.python_version())
    rows = asyncio.run(
        measure(options.requests, options.concurrency, options.side, options.logprobs)
    )
    print("requests  client CPU, ms a request  memory, MB")
    for row in rows:
        print(f"{row.requests:>8,}  {row.cpu_ms:>24.3f}  {row.memory_mb:>10.1f}")


if __name__ == "__main__":
    main()
