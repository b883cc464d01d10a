"""`POST /v1/score`: values of the library, batches, the queue, streams, departures."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from serve_data import AGGREGATIONS, IMAGE, Running, TextScorer, asked, running, value, waited

from vilbench.embedded import model_folder
from vilbench.evaluate.pools import Scale, ScorerPlan
from vilbench.prm.folder import load
from vilbench.prm.scoring import PrmScoring
from vilbench.scorers.prm import PrmScorer
from vilbench.selection import aggregation
from vilbench.serve.limits import Limits
from vilbench.serve.reading import made_problem
from vilbench.serve.service import Served
from vilbench.steps import FORMATS
from vilbench.testing import tiny_png
from vilbench.types import BytesSource, Image

TEXT = "Step 1: I see a.\nStep 2: So it is b.\nAnswer: B"
PROBLEM = made_problem(
    "How many?", ("one", "two"), (Image.of(BytesSource(tiny_png("teal", (64, 64)))),)
)


@pytest.fixture
def server() -> Iterator[Running]:
    with running(TextScorer()) as found:
        yield found


def test_values_and_aggregates(server: Running) -> None:
    steps = {"steps": ["first", "second"]}
    placed = {"text": "first|second", "spans": [[0, 5], [6, 12]]}
    reply = server.post("/v1/score", asked(TEXT, steps, placed))
    assert reply.status_code == 200
    answer = reply.json()
    assert answer["fingerprint"] == "text/step"
    results = answer["results"]
    assert [one["index"] for one in results] == [0, 1, 2]
    ends = [16, len(TEXT)]  # the answer line stays with the last step
    assert results[0]["values"] == [value(PROBLEM, TEXT[:end]) for end in ends]
    assert results[0]["spans"] == [[0, 16], [17, len(TEXT)]]
    assert results[1]["values"] == [value(PROBLEM, "first"), value(PROBLEM, "first\nsecond")]
    assert results[2]["values"] == [value(PROBLEM, "first"), value(PROBLEM, "first|second")]
    for one in results:
        assert set(one["aggregates"]) == set(AGGREGATIONS)
        for name in AGGREGATIONS:
            assert one["aggregates"][name] == aggregation(name)(one["values"])
    assert answer["usage"]["prompt_tokens"] == len(TEXT) + 2 * 12


def test_any_aggregation_by_name_and_none_that_is_unknown(server: Running) -> None:
    reply = server.post("/v1/score", asked(TEXT, aggregations=["last-2", "geometric-mean"]))
    assert set(reply.json()["results"][0]["aggregates"]) == {"last-2", "geometric-mean"}
    reply = server.post("/v1/score", asked(TEXT, aggregations=["median"]))
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "aggregations"
    assert "last-n" in reply.json()["error"]["message"]


def test_what_cannot_be_scored_takes_its_own_values_only(server: Running) -> None:
    reply = server.post("/v1/score", asked(TEXT, "poison"))
    assert reply.status_code == 200
    sound, bad = reply.json()["results"]
    assert sound["error"] is None and None not in sound["values"]
    assert bad["values"] == [None] and bad["aggregates"]["mean"] is None
    assert "secret" not in bad["error"]
    reply = server.post("/v1/score", asked("poison"))
    assert reply.status_code == 422
    assert "10.1.2.3" not in reply.text and "secret" not in reply.text


def test_an_empty_text_has_no_steps_and_no_scores(server: Running) -> None:
    (result,) = server.post("/v1/score", asked("")).json()["results"]
    assert (result["values"], result["aggregates"]["mean"]) == ([], None)


def test_requests_that_wait_are_scored_together() -> None:
    scorer = TextScorer()
    scorer.open.clear()
    with running(scorer) as server, ThreadPoolExecutor(20) as pool:
        first = pool.submit(server.post, "/v1/score", asked("Step 1: nothing"))
        waited(lambda: scorer.calls == [1])
        bodies = [asked(f"Step 1: number {k}") for k in range(12)]
        rest = [pool.submit(server.post, "/v1/score", body) for body in bodies]
        waited(lambda: server.made.service.queue.waiting == 12)
        scorer.open.set()
        answers = [one.result().json() for one in rest]
        assert first.result().status_code == 200
    assert scorer.calls == [1, 12]
    for k, answer in enumerate(answers):
        assert answer["results"][0]["values"] == [value(PROBLEM, f"Step 1: number {k}")]


def test_a_batch_keeps_to_its_budget_and_a_long_request_does_not_hold_up_short_ones() -> None:
    scorer = TextScorer(seconds=0.02)
    limits = Limits(batch_tokens=500)
    long = asked(*(f"Step 1: {k} " + "x" * 290 for k in range(20)))
    done: list[str] = []
    with running(scorer, limits=limits) as server, ThreadPoolExecutor(2) as pool:

        def ask(name: str, body: object) -> httpx2.Response:
            reply = server.post("/v1/score", body)
            done.append(name)
            return reply

        slow = pool.submit(ask, "long", long)
        waited(lambda: bool(scorer.calls))
        quick = pool.submit(ask, "short", asked("Step 1: short"))
        assert (slow.result().status_code, quick.result().status_code) == (200, 200)
    assert done == ["short", "long"]
    assert max(scorer.calls) <= 3 and sum(scorer.calls) == 21


def test_a_full_queue_gives_429_and_recovers() -> None:
    scorer = TextScorer()
    scorer.open.clear()
    with running(scorer, limits=Limits(waiting=3)) as server, ThreadPoolExecutor(8) as pool:
        body = asked(TEXT)
        first = pool.submit(server.post, "/v1/score", body)
        waited(lambda: len(scorer.calls) == 1)
        waiting = [pool.submit(server.post, "/v1/score", body) for _ in range(3)]
        waited(lambda: server.made.service.queue.waiting == 3)
        refused = server.post("/v1/score", body)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["type"] == "rate_limit_error"
        scorer.open.set()
        assert {one.result().status_code for one in (first, *waiting)} == {200}
        assert server.post("/v1/score", body).status_code == 200
        assert "vilbench_queue_refused_total 1.0" in server.get("/metrics").text


def test_a_client_that_goes_leaves_the_queue() -> None:
    scorer = TextScorer()
    scorer.open.clear()
    with running(scorer) as server, ThreadPoolExecutor(2) as pool:
        first = pool.submit(server.post, "/v1/score", asked("Step 1: first"))
        waited(lambda: len(scorer.calls) == 1)
        with server.client() as client, pytest.raises(httpx2.TimeoutException):
            client.post("/v1/score", json=asked("Step 1: gone"), timeout=0.2)
        waited(lambda: server.made.service.queue.waiting == 0)
        scorer.open.set()
        assert first.result().status_code == 200
        waited(lambda: server.made.service.running == 0)
    assert scorer.calls == [1]


def test_a_request_that_takes_too_long_ends() -> None:
    scorer = TextScorer()
    scorer.open.clear()
    with running(scorer, limits=Limits(seconds=0.2)) as server:
        reply = server.post("/v1/score", asked(TEXT))
        assert (reply.status_code, reply.json()["error"]["code"]) == (504, "timeout")
        late = server.post("/v1/score", asked(TEXT, stream=True))
        assert json.loads(late.text)["error"]["code"] == "timeout"
        scorer.open.set()
        waited(lambda: server.made.service.queue.load.running == 0)
        assert server.post("/v1/score", asked(TEXT)).status_code == 200


def test_a_stream_has_a_line_per_solution_as_they_come() -> None:
    scorer = TextScorer()
    limits = Limits(batch_tokens=10)
    texts = [f"Step 1: {'x' * 20} {k}" for k in (0, 1, 2, 1)]
    with running(scorer, limits=limits) as server, server.client() as client:
        scorer.open.clear()
        threading.Timer(0.1, scorer.open.set).start()
        with client.stream("POST", "/v1/score", json=asked(*texts, stream=True)) as reply:
            assert reply.headers["content-type"] == "application/x-ndjson"
            lines = [json.loads(line) for line in reply.iter_lines()]
    assert sorted(one["index"] for one in lines) == [0, 1, 2, 3]
    assert scorer.calls == [1, 1, 1]  # equal solutions are scored once
    for one in lines:
        assert one["values"] == [value(PROBLEM, texts[one["index"]])]


def test_the_server_stops_when_what_runs_is_done() -> None:
    scorer = TextScorer()
    scorer.open.clear()
    with running(scorer) as server, ThreadPoolExecutor(2) as pool:
        first = pool.submit(server.post, "/v1/score", asked(TEXT))
        waited(lambda: len(scorer.calls) == 1)
        server.server.handle_exit(15, None)
        refused = server.post("/v1/score", asked(TEXT))
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "stopping")
        assert server.get("/health").json() == {"status": "stopping"}
        scorer.open.set()
        assert first.result().status_code == 200
        waited(lambda: server.server.should_exit)


def test_what_outlasts_the_grace_is_given_up() -> None:
    scorer = TextScorer()
    scorer.open.clear()
    with (
        running(scorer, limits=Limits(grace_seconds=0.2)) as server,
        ThreadPoolExecutor(2) as pool,
    ):
        whole = pool.submit(server.post, "/v1/score", asked(TEXT))
        streamed = pool.submit(server.post, "/v1/score", asked(TEXT, stream=True))
        waited(lambda: server.made.service.running == 2)
        server.server.handle_exit(15, None)
        reply = whole.result()
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "stopping")
        assert json.loads(streamed.result().text)["error"]["code"] == "stopping"
        waited(lambda: server.server.should_exit)
        scorer.open.set()


def test_whole_solutions_have_one_value() -> None:
    with running(TextScorer("solution")) as server:
        (result,) = server.post("/v1/score", asked(TEXT)).json()["results"]
        assert result["values"] == [value(PROBLEM, TEXT)]
        assert result["aggregates"] == {}
        about = server.get("/v1/models").json()["data"][0]["vilbench"]
        assert (about["granularity"], about["low"], about["high"]) == ("solution", 0.0, 1.0)


async def test_the_embedded_reward_model_scores_as_in_the_library() -> None:
    loaded = load(model_folder("embedded:vilprm"), device="cpu")
    scorer = PrmScorer(PrmScoring(loaded), loaded.fingerprint)
    plan = ScorerPlan("prm", "step", Scale(0, 1), AGGREGATIONS, "mean")
    texts = [TEXT, "Step 1: I read 2.\nAnswer: 2", "Step 1: I see a.\nStep 2: No.", TEXT]
    spans = FORMATS["steps-brief"]
    with running(Served(scorer, plan, spans)) as server, ThreadPoolExecutor(8) as pool:
        bodies = [asked(*texts), *(asked(text) for text in texts)]
        bodies.append({**asked(*texts), "problem": {"question": "Other?", "images": [IMAGE]}})
        replies = list(pool.map(lambda body: server.post("/v1/score", body).json(), bodies))
    direct = PrmScoring(loaded)
    from vilbench.steps import question_parts

    steps = [[text[a:b] for a, b in spans.split(text)] for text in texts]
    expected = direct.score(question_parts(PROBLEM), steps).values
    for result, values in zip(replies[0]["results"], expected, strict=True):
        assert result["values"] == pytest.approx(values, abs=1e-5)
    for reply, values in zip(replies[1:5], expected, strict=True):
        assert reply["results"][0]["values"] == pytest.approx(values, abs=1e-5)
    assert replies[0]["results"][0]["values"] == replies[0]["results"][3]["values"]
    other = made_problem("Other?", (), PROBLEM.images)
    expected = direct.score(question_parts(other), steps).values
    for result, values in zip(replies[5]["results"], expected, strict=True):
        assert result["values"] == pytest.approx(values, abs=1e-5)
