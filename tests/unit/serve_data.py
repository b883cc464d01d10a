"""A real server on loopback, in a thread, around a scorer without a model."""

from __future__ import annotations

import asyncio
import base64
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

from vilbench.errors import EngineError
from vilbench.evaluate.pools import Scale, ScorerPlan
from vilbench.serve.app import Application, application
from vilbench.serve.fetching import Fetcher
from vilbench.serve.limits import Limits
from vilbench.serve.running import Server
from vilbench.serve.service import Served
from vilbench.serve.upstream import Upstream
from vilbench.steps import FORMATS
from vilbench.testing import tiny_png
from vilbench.types import Granularity, Problem, Solution, StepScorer, StepScores, Usage
from vilbench.web.guard import Access
from vilbench.web.listening import LOOPBACK, bound

TOKEN = "a token of 20 chars."  # noqa: S105
AGGREGATIONS = ("mean", "min", "product", "last-1")
CERTIFICATES = httpx2.create_ssl_context()  # read once; no test needs them
IMAGE = "data:image/png;base64," + base64.b64encode(tiny_png("teal", (64, 64))).decode()


class TextScorer:
    """Values in [0, 1) that follow from question, images and the steps before; in batches.

    A step that says "poison" fails; `calls` holds how many solutions each call had.
    """

    def __init__(self, granularity: Granularity = "step", *, seconds: float = 0.0) -> None:
        self.name = "text"
        self.granularity: Granularity = granularity
        self.fingerprint = f"text/{granularity}"
        self.seconds = seconds
        self.calls: list[int] = []
        self.open = threading.Event()
        self.open.set()

    async def score(self, problem: Problem, solutions: Sequence[Solution]) -> list[StepScores]:
        self.calls.append(len(solutions))
        if self.seconds:
            await asyncio.sleep(self.seconds)
        while not self.open.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        records = []
        for one in solutions:
            values: tuple[float | None, ...] = tuple(
                value(problem, one.text[: span.end]) for span in one.steps
            )
            if self.granularity == "solution":
                values = (value(problem, one.text),)
            error = "/secret/path: cannot" if "poison" in one.text else None
            records.append(
                StepScores(
                    problem_id=problem.id,
                    solution_index=one.index,
                    scorer=self.name,
                    granularity=self.granularity,
                    values=(None,) * len(values) if error else values,
                    usage=Usage(prompt_tokens=len(one.text)),
                    error=error,
                )
            )
        if records and all(record.error for record in records):
            raise EngineError("http://10.1.2.3:80/secret/path failed")
        return records


def value(problem: Problem, text: str) -> float:
    shown = repr((problem.question, problem.choices, [one.digest for one in problem.images], text))
    return zlib.crc32(shown.encode("utf-8", "surrogatepass")) / 2**32


def served(scorer: StepScorer, width: int = 1) -> Served:
    plan = ScorerPlan(scorer.name, scorer.granularity, Scale(0, 1), AGGREGATIONS, "mean")
    return Served(scorer, plan, FORMATS["steps"], width=width)


@dataclass(frozen=True)
class Running:
    """A server that runs."""

    made: Application
    server: Server
    url: str
    token: str | None

    def client(self, **headers: str) -> httpx2.Client:
        shown = {} if self.token is None else {"authorization": f"Bearer {self.token}"}
        given = {**shown, **headers}
        return httpx2.Client(base_url=self.url, headers=given, timeout=30, verify=CERTIFICATES)

    def post(self, path: str, body: Any, **headers: str) -> httpx2.Response:
        with self.client(**headers) as client:
            return client.post(path, json=body)

    def get(self, path: str) -> httpx2.Response:
        with self.client() as client:
            return client.get(path)


@contextmanager
def running(
    scorer: StepScorer | Served,
    *,
    upstream: Upstream | None = None,
    token: str | None = None,
    limits: Limits | None = None,
    fetcher: Fetcher | None = None,
) -> Iterator[Running]:
    what = scorer if isinstance(scorer, Served) else served(scorer)
    made = application(
        what,
        upstream=upstream,
        access=Access(LOOPBACK, token),
        limits=limits or Limits(),
        fetcher=fetcher,
    )
    server = Server(made)
    with bound("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
        thread.start()
        while not server.started:
            threading.Event().wait(0.005)
        try:
            yield Running(made, server, f"http://127.0.0.1:{port}", token)
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def waited(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    """Waits until it holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.005)


def asked(*solutions: object, **more: object) -> dict[str, object]:
    """A scoring request about one question."""
    problem = {"question": "How many?", "choices": ["one", "two"], "images": [IMAGE]}
    shown = [one if isinstance(one, dict) else {"text": one} for one in solutions]
    return {"problem": problem, "solutions": shown, **more}
