"""Many clients of `vilbench serve` at once: errors, throughput, and the ratio to one at a time.

    python benchmarks/serving.py --clients 200 --seconds 60

The server runs in a process of its own, over the embedded reward model; this process asks. A
request has `--solutions` solutions of a puzzle with its picture, written by a fixed rule. One
client asks first, one request after the other; then all of them do. `--flood` sends more than
the queue holds and counts the refusals. Every request must be answered, with the scores that
the same request got alone, and the server must have counted as many. Whatever is not so is
printed, and the exit status is 1; so it is where the throughput is less than `--least` times
that of one client.
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
        sent: Requests.
        statuses: By HTTP status, "lost" for those without an answer, "wrong" for other scores
            than the request got alone.
        seconds: Of each that was answered with 200.
        wall: Of all.
    """

    sent: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    wall: float = 0.0

    @property
    def rate(self) -> float:
        """Answers with 200 a second."""
        return self.statuses["200"] / self.wall

    def told(self, name: str) -> str:
        """A line about it."""
        p50, p95, p99 = np.percentile(self.seconds or [np.nan], [50, 95, 99])
        said = ", ".join(f"{status}: {count:,}" for status, count in sorted(self.statuses.items()))
        return (
            f"{name}: {self.sent:,} sent; {said}; {self.rate:,.1f}/s, p50 {p50:.3f} s, "
            f"p95 {p95:.3f} s, p99 {p99:.3f} s"
        )

    def faults(self, *allowed: str) -> list[str]:
        """What must not be: other statuses, and requests without any."""
        found = [
            f"{count} x {status}"
            for status, count in self.statuses.items()
            if status not in allowed
        ]
        missing = self.sent - self.statuses.total()
        return [*found, f"{missing} without an end"] if missing else found


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


Scores = list[list[float | None]]


async def ask(
    url: str,
    requests: Sequence[bytes],
    clients: int,
    seconds: float,
    expected: Sequence[Scores] | None = None,
) -> Tally:
    """So many clients, each one request after the other, until the time is over.

    Args:
        url: The server.
        requests: Their bodies, in turn.
        clients: How many.
        seconds: Until no new request is sent.
        expected: Scores of each of the requests.
    """
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
                at = next(place) % len(requests)
                tally.sent += 1
                sent = time.perf_counter()
                try:
                    reply = await connection.post("/v1/score", content=requests[at], headers=_JSON)
                except httpx2.HTTPError as error:
                    tally.statuses[f"lost ({type(error).__name__})"] += 1
                    continue
                status = str(reply.status_code)
                if status == "200":
                    tally.seconds.append(time.perf_counter() - sent)
                    if expected is not None and not _alike(_scores(reply), expected[at]):
                        status = "wrong"
                tally.statuses[status] += 1

    await asyncio.gather(*map(client, connections))
    tally.wall = time.perf_counter() - begun
    return tally


_JSON = {"content-type": "application/json"}


def _scores(reply: httpx2.Response) -> Scores:
    return [one["values"] for one in reply.json()["results"]]


def _alike(scores: Scores, expected: Scores) -> bool:
    """Whether they are the same up to the rounding of another batch."""
    if [len(one) for one in scores] != [len(one) for one in expected]:
        return False
    pairs = [
        pair
        for some, others in zip(scores, expected, strict=True)
        for pair in zip(some, others, strict=True)
    ]
    return all(a is not None and b is not None and abs(a - b) < 1e-4 for a, b in pairs)


async def alone(url: str, requests: Sequence[bytes]) -> list[Scores]:
    """Scores of each of the requests, asked one after the other."""
    async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as connection:
        replies = [
            await connection.post("/v1/score", content=body, headers=_JSON) for body in requests
        ]
    return [_scores(one.raise_for_status()) for one in replies]


async def counted(url: str) -> int:
    """Requests for scores that the server says it has answered."""
    async with httpx2.AsyncClient(base_url=url, timeout=30, trust_env=False) as connection:
        text = (await connection.get("/metrics")).text
    lines = [line for line in text.splitlines() if line.startswith("vilbench_requests_total")]
    return sum(int(float(line.split()[-1])) for line in lines if 'route="/v1/score"' in line)


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


async def measure(options: argparse.Namespace, url: str) -> list[str]:
    """Prints what happens, and returns what must not."""
    requests = bodies(options.problems, options.solutions)
    expected = await alone(url, requests)
    one = await ask(url, requests, 1, options.alone, expected)
    print(one.told("one at a time"))
    before = await counted(url)
    many = await ask(url, requests, options.clients, options.seconds, expected)
    print(many.told(f"{options.clients} clients"))
    ratio = many.rate / one.rate
    print(f"ratio of throughput: {ratio:.2f}")
    faults = [*one.faults("200"), *many.faults("200")]
    answered = await counted(url) - before
    if answered != many.sent:
        faults.append(f"the server counts {answered} requests of {many.sent}")
    if ratio < options.least:
        faults.append(f"a ratio of {ratio:.2f} is less than {options.least:g}")
    if options.flood:
        flood = await ask(url, requests, options.flood, options.alone, expected)
        print(flood.told(f"{options.flood} clients, a queue of {options.queue}"))
        after = await ask(url, requests, 1, min(2.0, options.alone), expected)
        print(after.told("afterwards"))
        faults += [*flood.faults("200", "429"), *after.faults("200")]
        if not flood.statuses["429"]:
            faults.append("nothing was refused: the flood is no flood")
    return faults


def main() -> None:
    """Runs the server and its clients."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--alone", type=float, default=5.0, help="seconds of one client")
    parser.add_argument("--problems", type=int, default=64)
    parser.add_argument("--solutions", type=int, default=1)
    parser.add_argument("--least", type=float, default=3.0, help="ratio of throughput")
    parser.add_argument("--queue", type=int, default=512)
    parser.add_argument("--batch-tokens", type=int, default=8192)
    parser.add_argument("--flood", type=int, default=0, help="clients beyond the queue")
    options = parser.parse_args()
    given = ("--queue", str(options.queue), "--batch-tokens", str(options.batch_tokens))
    process, url = served(given)
    try:
        faults = asyncio.run(measure(options, url))
    finally:
        process.terminate()
        status = process.wait(60)
    if status:
        faults.append(f"the server ended with {status}")
    for fault in faults:
        print(f"FAILED: {fault}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
