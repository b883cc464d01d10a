"""Many clients of `vilbench serve` at once: errors, throughput, and the ratio to one at a time.

    python benchmarks/serving.py --clients 200 --seconds 60

The server runs in a process of its own, over the embedded reward model; this process asks. A
request has `--solutions` solutions of a puzzle with its picture, written by a fixed rule. One
client asks first, one request after the other; then all of them do. `--flood` sends more than
the queue holds and counts the refusals. Every request must be answered once.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx2
import numpy as np

from vilbench.config.problems import ProblemsConfig, load_problem_set
from vilbench.images import extension
from vilbench.types import Problem

_MODEL = "embedded:vilprm"


@dataclass
class Tally:
    """What came of a stretch of requests.

    Attributes:
        statuses: By HTTP status, "lost" for those without an answer.
        seconds: Of each that was answered with 200.
        wall: Of all.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    wall: float = 0.0

    @property
    def rate(self) -> float:
        """Answers with 200 a second."""
        return self.statuses["200"] / self.wall

    def told(self, name: str) -> str:
        """A line about it."""
        p50, p95 = np.percentile(self.seconds or [np.nan], [50, 95])
        said = ", ".join(f"{status}: {count:,}" for status, count in sorted(self.statuses.items()))
        return f"{name}: {said}; {self.rate:,.1f}/s, p50 {p50:.3f} s, p95 {p95:.3f} s"


def bodies(count: int, solutions: int) -> list[bytes]:
    """Requests about as many puzzles; their solutions differ from each other."""
    config = ProblemsConfig(source="puzzles", split="test", limit=count)
    problems = load_problem_set(config, 0).problems
    return [_body(one, solutions, k) for k, one in enumerate(problems)]


def _body(problem: Problem, solutions: int, seed: int) -> bytes:
    shown = {
        "question": problem.question,
        "choices": list(problem.choices),
        "images": [_url(one.read()) for one in problem.images],
    }
    texts = [
        f"Step 1: I see {(seed + k) % 97}.\nStep 2: I see {(seed * 7 + k) % 89}.\n"
        f"Step 3: so {(seed + 3 * k) % 79}.\nAnswer: {(seed + 3 * k) % 79}"
        for k in range(solutions)
    ]
    body = {"problem": shown, "solutions": [{"text": text} for text in texts]}
    return json.dumps(body).encode()


def _url(data: bytes) -> str:
    return f"data:image/{extension(data)};base64,{base64.b64encode(data).decode()}"


async def ask(url: str, requests: Sequence[bytes], clients: int, seconds: float) -> Tally:
    """So many clients, each one request after the other, until the time is over."""
    tally = Tally()
    place = iter(range(10**9))
    # Certificates are read once, and not while the clock runs.
    context = httpx2.create_ssl_context()
    connections = [
        httpx2.AsyncClient(base_url=url, timeout=120, verify=context, trust_env=False)
        for _ in range(clients)
    ]
    begun = time.perf_counter()

    async def client(connection: httpx2.AsyncClient) -> None:
        async with connection:
            while time.perf_counter() - begun < seconds:
                body = requests[next(place) % len(requests)]
                sent = time.perf_counter()
                try:
                    reply = await connection.post(
                        "/v1/score", content=body, headers={"content-type": "application/json"}
                    )
                except httpx2.HTTPError as error:
                    tally.statuses[f"lost ({type(error).__name__})"] += 1
                    continue
                status = str(reply.status_code)
                if status == "200":
                    values = [one["values"] for one in reply.json()["results"]]
                    whole = all(None not in some for some in values) and len(values) > 0
                    status = status if whole else "incomplete"
                    tally.seconds.append(time.perf_counter() - sent)
                tally.statuses[status] += 1

    await asyncio.gather(*map(client, connections))
    tally.wall = time.perf_counter() - begun
    return tally


def served(arguments: Sequence[str]) -> tuple[subprocess.Popen[str], str]:
    """A server in a process of its own, and its address."""
    start = [sys.executable, "-c", "from vilbench.cli import main; main()"]
    command = [*start, "serve", _MODEL, "--port", "0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("serving "):
            return process, line.split()[1].removesuffix("/v1")
    raise SystemExit("the server did not start")


async def measure(options: argparse.Namespace, url: str) -> None:
    """Prints what happens."""
    requests = bodies(options.problems, options.solutions)
    await ask(url, requests, 1, min(2.0, options.seconds))
    alone = await ask(url, requests, 1, options.alone)
    print(alone.told("one at a time"))
    many = await ask(url, requests, options.clients, options.seconds)
    print(many.told(f"{options.clients} clients"))
    print(f"ratio of throughput: {many.rate / alone.rate:.2f}")
    if options.flood:
        flood = await ask(url, requests, options.flood, options.alone)
        print(flood.told(f"{options.flood} clients, a queue of {options.queue}"))
        after = await ask(url, requests, 1, 2.0)
        print(after.told("afterwards"))


def main() -> None:
    """Runs the server and its clients."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--alone", type=float, default=5.0, help="seconds of one client")
    parser.add_argument("--problems", type=int, default=64)
    parser.add_argument("--solutions", type=int, default=1)
    parser.add_argument("--queue", type=int, default=512)
    parser.add_argument("--batch-tokens", type=int, default=8192)
    parser.add_argument("--flood", type=int, default=0, help="clients beyond the queue")
    options = parser.parse_args()
    given = ("--queue", str(options.queue), "--batch-tokens", str(options.batch_tokens))
    process, url = served(given)
    try:
        asyncio.run(measure(options, url))
    finally:
        process.terminate()
        process.wait(60)


if __name__ == "__main__":
    main()
