"""The server that the proxy or a judge asks is killed: clean errors, and all is well again."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import httpx2
import pytest
from loopback import JSON, Handler, Loopback
from serve_data import Running, TextScorer, asked, running, waited
from serve_upstream import ChatProcess

from vilbench.engines.openai.attempts import Patience
from vilbench.engines.openai.engine import OpenAIEngine
from vilbench.evaluate.pools import Scale, ScorerPlan
from vilbench.scorers.judge import PROMPTS, JudgeScorer
from vilbench.serve.renewal import LastingScorer, Renewed
from vilbench.serve.service import Served
from vilbench.serve.upstream import Upstream
from vilbench.steps import FORMATS
from vilbench.types import StepScorer

KEY = "sk-secret-upstream-key"


def engine(port: int) -> OpenAIEngine:
    patience = Patience(attempts=2, first_wait_s=0.01, connect_s=2.0)
    return OpenAIEngine(
        "solver", base_url=f"http://127.0.0.1:{port}/v1", api_key=KEY, patience=patience
    )


def ask(server: Running, question: str) -> httpx2.Response:
    user = {"role": "user", "content": question}
    body = {"model": "best-of-n", "messages": [user], "vilbench": {"n": 4}}
    return server.post("/v1/chat/completions", body)


def clean(reply: httpx2.Response, port: int, code: str) -> None:
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["type"]) == (502, code, "server_error")
    assert set(error) == {"message", "type", "param", "code"}
    for private in (KEY, str(port), "127.0.0.1", "Traceback", "/", ".py", "httpx", "Errno"):
        assert private not in reply.text


@pytest.mark.parametrize("where", ["wait", "half"])
def test_killed_in_the_middle_of_requests_and_started_again(where: str) -> None:
    with ChatProcess() as first, ThreadPoolExecutor(9) as pool:
        port = first.port
        with running(TextScorer(), upstream=Upstream(lambda: engine(port))) as server:
            assert ask(server, "How many?").status_code == 200
            first.has_been_asked()
            under_way = [pool.submit(ask, server, f"{where} {k}") for k in range(8)]
            first.has_been_asked(8)
            first.kill()
            for one in under_way:
                clean(one.result(), port, "upstream_failed")
            # Nothing is left of them, the server goes on, and what needs no engine works.
            waited(lambda: server.made.service.running == 0)
            assert server.made.service.upstream is not None
            assert server.made.service.upstream.under_way == 0
            assert server.made.service.queue.waiting == 0
            assert server.get("/health").json() == {"status": "ok"}
            assert server.post("/v1/score", asked("Step 1: x")).status_code == 200
            clean(ask(server, "How many?"), port, "upstream_failed")
            with ChatProcess(port):
                replies = list(pool.map(lambda k: ask(server, f"Again {k}"), range(8)))
            assert {one.status_code for one in replies} == {200}


def test_some_requests_are_killed_and_others_are_not() -> None:
    with ChatProcess() as first, ThreadPoolExecutor(3) as pool:
        port = first.port
        with running(TextScorer(), upstream=Upstream(lambda: engine(port))) as server:
            lost = pool.submit(ask, server, "wait")
            first.has_been_asked()
            scored = pool.submit(server.post, "/v1/score", asked("Step 1: x"))
            assert scored.result().status_code == 200
            first.kill()
            clean(lost.result(), port, "upstream_failed")


async def test_an_engine_that_gave_up_is_closed_when_its_last_user_leaves() -> None:
    closed: list[object] = []

    class Engine:
        ended = ""

        async def aclose(self) -> None:
            closed.append(self)

    first = Engine()
    renewed = Renewed(first, Engine, lambda one: (one,))
    async with renewed.using() as slow:
        async with renewed.using() as one:
            assert one is slow is first
            first.ended = "wrong key"
        async with renewed.using() as second:
            assert second is not first
            assert (closed, renewed.under_way) == ([], 2)
    assert closed == [first]
    await renewed.aclose()
    assert closed == [first, second]


class Made(NamedTuple):
    """A judge and its engine."""

    scorer: StepScorer
    engines: tuple[OpenAIEngine, ...]


class Judge(Loopback):
    """A server that judges every step to be a 4."""

    def __init__(self, port: int) -> None:
        said = b'{"model": "solver", "choices": [{"index": 0, "finish_reason": "stop", '
        said += b'"message": {"role": "assistant", "content": "Overall Score: 4"}}]}'

        class Judging(Handler):
            def answer(self) -> None:
                self.body()
                self.give(said, JSON)

        super().__init__(Judging, port=port)


@pytest.fixture
def port() -> Iterator[int]:
    """A port where nothing listens yet."""
    there = Judge(0)
    there.stop()
    yield there.port


def test_a_judge_whose_server_comes_late_goes_and_comes_back(port: int) -> None:
    made: list[Made] = []

    def make() -> Made:
        asks = engine(port)
        made.append(Made(JudgeScorer(asks, "step", PROMPTS["rubric"], expectation=False), (asks,)))
        return made[-1]

    lasting = LastingScorer(make(), make)
    plan = ScorerPlan(lasting.name, lasting.granularity, Scale(1, 5), ("mean",), "mean")
    body = asked("Step 1: x\nStep 2: y")
    with running(Served(lasting, plan, FORMATS["steps"], behind_server=True)) as server:
        for _ in range(2):
            clean(server.post("/v1/score", body), port, "scorer_failed")
        for _ in range(2):
            with Judge(port):
                reply = server.post("/v1/score", body)
            assert reply.status_code == 200
            assert reply.json()["results"][0]["values"] == [4.0, 4.0]
            clean(server.post("/v1/score", body), port, "scorer_failed")
        # One that was never reached is made anew; one that was goes on.
        assert len(made) == 3
        assert server.get("/v1/models").json()["data"][0]["vilbench"]["fingerprint"] == (
            made[0].scorer.fingerprint
        )
