"""The best-of-n proxy, asked by the official client."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import openai
import pytest
from loopback import JSON, Handler, Loopback
from serve_data import IMAGE, Running, TextScorer, running, value

from vilbench.engines.openai.attempts import Patience
from vilbench.engines.openai.engine import OpenAIEngine
from vilbench.serve.proxy import ranked
from vilbench.serve.reading import made_problem
from vilbench.serve.upstream import Upstream
from vilbench.steps import FORMATS
from vilbench.testing import ScriptedEngine, prompt_text, tiny_png
from vilbench.types import BytesSource, Completion, Image, Usage

INSTRUCTION = FORMATS["steps"].instruction
SAID = [f"Step 1: I look.\nStep 2: It is {k}.\nAnswer: {k}" for k in range(8)]
PICTURE = Image.of(BytesSource(tiny_png("teal", (64, 64))))


def engine() -> ScriptedEngine:
    usage = Usage(prompt_tokens=10, completion_tokens=5)
    return ScriptedEngine({"": [Completion(text, "stop", usage) for text in SAID]}, name="solver")


@pytest.fixture
def solver() -> ScriptedEngine:
    return engine()


@pytest.fixture
def server(solver: ScriptedEngine) -> Iterator[Running]:
    with running(TextScorer(), upstream=Upstream(lambda: solver)) as found:
        yield found


def client(server: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0)


def best(question: str, images: Sequence[Image] = ()) -> list[int]:
    problem = made_problem(question, (), images)
    scores = []
    for text in SAID:
        spans = FORMATS["steps"].split(text)
        scores.append(sum(value(problem, text[: one.end]) for one in spans) / len(spans))
    return ranked(scores)


def test_the_best_of_eight(server: Running, solver: ScriptedEngine) -> None:
    answer = client(server).chat.completions.create(
        model="solver", messages=[{"role": "user", "content": "How many?"}]
    )
    (choice,) = answer.choices
    assert choice.message.content == SAID[best("How many?")[0]]
    assert choice.finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (80, 40)
    assert prompt_text(solver.prompts[0]).strip() == f"How many?\n{INSTRUCTION}"


def test_n_asks_for_the_best_ones_and_all_can_be_seen(server: Running) -> None:
    answer = client(server).chat.completions.create(
        model="best-of-n",
        n=3,
        messages=[{"role": "user", "content": "How many?"}],
        extra_body={"vilbench": {"n": 8, "aggregation": "mean", "return_all": True}},
    )
    order = best("How many?")
    assert [one.message.content for one in answer.choices] == [SAID[k] for k in order[:3]]
    assert [one.index for one in answer.choices] == [0, 1, 2]
    assert answer.model_extra is not None
    told = answer.model_extra["vilbench"]
    assert (told["n"], told["aggregation"], told["scorer"]) == (8, "mean", "text")
    assert [one["content"] for one in told["candidates"]] == SAID
    assert [told["candidates"][k]["chosen"] for k in order[:4]] == [0, 1, 2, None]
    assert told["scores"] == sorted((one["score"] for one in told["candidates"]), reverse=True)[:3]


def test_another_aggregation_is_another_choice(server: Running) -> None:
    problem = made_problem("How many?", (), ())
    chosen = max(SAID, key=lambda text: value(problem, text))
    answer = client(server).chat.completions.create(
        model="solver",
        messages=[{"role": "user", "content": "How many?"}],
        extra_body={"vilbench": {"aggregation": "last-1"}},
    )
    assert answer.choices[0].message.content == chosen


def test_images_text_parts_and_a_system_turn(server: Running, solver: ScriptedEngine) -> None:
    answer = client(server).chat.completions.create(
        model="solver",
        messages=[
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "How many?"},
                    {"type": "text", "text": f"Tell.\n{INSTRUCTION}"},
                    {"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}},
                ],
            },
        ],
        temperature=0.5,
        max_completion_tokens=100,
        seed=7,
    )
    asked = solver.prompts[0]
    # The image goes first and the instruction stands once.
    assert asked.parts == (PICTURE, f"How many?\nTell.\n{INSTRUCTION}")
    assert asked.system == "Be brief."
    expected = best("How many?\nTell.", [PICTURE])
    assert answer.choices[0].message.content == SAID[expected[0]]


def test_images_among_the_text_keep_their_places(server: Running, solver: ScriptedEngine) -> None:
    picture = {"type": "image_url", "image_url": {"url": IMAGE}}
    parts = [{"type": "text", "text": "First"}, picture, {"type": "text", "text": "How many?"}]
    body: dict[str, Any] = {
        "model": "solver",
        "messages": [{"role": "user", "content": parts}],
    }
    body["vilbench"] = {"instruct": False}
    assert server.post("/v1/chat/completions", body).status_code == 200
    assert solver.prompts[0].parts == ("First\n", PICTURE, "\nHow many?")


def test_a_stream_brings_the_finished_answer(server: Running) -> None:
    stream = client(server).chat.completions.create(
        model="solver",
        n=2,
        messages=[{"role": "user", "content": "How many?"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    texts = {0: "", 1: ""}
    ends: dict[int, str | None] = {}
    usage = None
    for chunk in stream:
        usage = chunk.usage or usage
        for one in chunk.choices:
            texts[one.index] += one.delta.content or ""
            if one.finish_reason:
                ends[one.index] = one.finish_reason
    order = best("How many?")
    assert [texts[0], texts[1]] == [SAID[order[0]], SAID[order[1]]]
    assert ends == {0: "stop", 1: "stop"}
    assert usage is not None and usage.total_tokens == 120


USER = {"role": "user", "content": "How many?"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"messages": [USER, {"role": "assistant", "content": "4"}, USER]}, "multi_turn"),
        ({"messages": [USER, {"role": "assistant", "content": "Step 1:"}]}, "multi_turn"),
        ({"messages": [{"role": "system", "content": "x"}]}, "unsupported"),
        ({"messages": [{"role": "tool", "content": "x"}, USER]}, "unsupported"),
        ({"messages": [{"role": "user", "content": "  "}]}, "invalid_value"),
        ({"messages": [{"role": "user"}]}, "invalid_value"),
        ({"messages": []}, "invalid_value"),
        ({"tools": [{"type": "function"}]}, "invalid_value"),
        ({"response_format": {"type": "json_object"}}, "invalid_value"),
        ({"logprobs": True}, "invalid_value"),
        ({"presence_penalty": 0.5}, "invalid_value"),
        ({"n": 9, "vilbench": {"n": 8}}, "invalid_value"),
        ({"n": 10**9}, "too_many"),
        ({"vilbench": {"n": 10**9}}, "too_many"),
        ({"vilbench": {"aggregation": "median"}}, "invalid_value"),
        ({"max_tokens": 10**9}, "too_many"),
        ({"temperature": 3}, "invalid_value"),
        ({"top_p": 0}, "invalid_value"),
        ({"stop": ["a"] * 5}, "invalid_value"),
        ({"unknown": 1}, "invalid_value"),
    ],
)
def test_what_is_not_served_is_refused_clearly(
    server: Running, solver: ScriptedEngine, change: dict[str, Any], code: str
) -> None:
    reply = server.post("/v1/chat/completions", {"model": "solver", "messages": [USER], **change})
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", code)
    assert error["message"] and error["param"]
    assert solver.prompts == []


@pytest.mark.parametrize(
    ("change", "param", "words"),
    [
        ({"temperature": 3}, "temperature", "must be at most 2"),
        ({"n": "four"}, "n", "must be a whole number"),
        ({"logprobs": True}, "logprobs", "must be false"),
        ({"presence_penalty": True}, "presence_penalty", "must be 0"),
        ({"unknown": 1}, "unknown", "is no key that is known here"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content", "must be text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages[0].content[0].text",
            "is missing",
        ),
    ],
)
def test_refusals_have_no_words_of_the_library(
    server: Running, change: dict[str, Any], param: str, words: str
) -> None:
    reply = server.post("/v1/chat/completions", {"model": "solver", "messages": [USER], **change})
    assert (reply.json()["error"]["param"], reply.json()["error"]["message"]) == (param, words)


def test_nothing_to_ask(server: Running) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client(server).chat.completions.create(model="gpt-4o", messages=[USER])
    assert caught.value.code == "model_not_found"
    assert "there are 'solver', 'best-of-n'" in str(caught.value)
    with running(TextScorer()) as alone:
        reply = alone.post("/v1/chat/completions", {"model": "best-of-n", "messages": [USER]})
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "no_upstream")


def test_the_client_lists_the_models(server: Running) -> None:
    listed = client(server).models.list()
    assert [one.id for one in listed] == ["text", "solver", "best-of-n"]
    assert client(server).models.retrieve("solver").id == "solver"
    assert client(server).models.retrieve("best-of-n").id == "best-of-n"


def test_an_engine_of_the_same_name_is_listed_once() -> None:
    engine = ScriptedEngine({"": ["Step 1: x"]}, name="best-of-n")
    with running(TextScorer(), upstream=Upstream(lambda: engine)) as same:
        assert [one.id for one in client(same).models.list()] == ["text", "best-of-n"]


def test_candidates_without_any_score_are_an_error() -> None:
    poisoned = ScriptedEngine({"": ["Step 1: poison"]})
    with running(TextScorer(), upstream=Upstream(lambda: poisoned)) as server:
        reply = server.post("/v1/chat/completions", {"model": "best-of-n", "messages": [USER]})
        assert reply.status_code == 422
        assert "secret" not in reply.text
    silent = ScriptedEngine({"": [""]})
    with running(TextScorer(), upstream=Upstream(lambda: silent)) as server:
        reply = server.post("/v1/chat/completions", {"model": "best-of-n", "messages": [USER]})
        assert (reply.status_code, reply.json()["error"]["code"]) == (502, "no_verdict")


def test_ranking_puts_missing_scores_last_and_keeps_the_order_of_ties() -> None:
    assert ranked([None, 0.5, -1.0, 0.5, None, 2.0]) == [5, 1, 3, 2, 0, 4]


KEY = "sk-secret-upstream-key"
Answer = Callable[[dict[str, Any]], tuple[int, dict[str, Any]]]


class Faulty(Loopback):
    """A chat server that answers as it is told, or not at all."""

    def __init__(self, answer: Answer, port: int = 0) -> None:
        class Answering(Handler):
            def answer(self) -> None:
                status, document = answer(json.loads(self.body()))
                self.give(json.dumps(document).encode(), JSON, status)

        super().__init__(Answering, port=port)


def sound(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    choices = [
        {"index": k, "message": {"role": "assistant", "content": SAID[k]}, "finish_reason": "stop"}
        for k in range(body.get("n") or 1)
    ]
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return 200, {"id": "x", "model": "solver", "choices": choices, "usage": usage}


def refusing(status: int) -> Answer:
    words = f"{KEY} at http://10.0.0.9/internal/path failed"
    return lambda body: (status, {"error": {"message": words, "code": "x"}})


def upstream(port: int, **patience: Any) -> Upstream:
    quick = Patience(attempts=2, first_wait_s=0.01, **patience)
    url = f"http://127.0.0.1:{port}/v1"
    return Upstream(lambda: OpenAIEngine("solver", base_url=url, api_key=KEY, patience=quick))


BODY = {"model": "best-of-n", "messages": [USER], "vilbench": {"n": 4}}


@pytest.mark.parametrize(
    ("status", "expected"),
    [(500, 502), (503, 502), (401, 502), (404, 502), (400, 400), (429, 429)],
)
def test_failures_of_the_upstream_are_told_without_its_words(status: int, expected: int) -> None:
    faulty = Faulty(refusing(status))
    try:
        with running(TextScorer(), upstream=upstream(faulty.port)) as server:
            for _ in range(2):
                reply = server.post("/v1/chat/completions", BODY)
                assert reply.status_code == expected
                for private in (KEY, "10.0.0.9", "internal", str(faulty.port), "127.0.0.1"):
                    assert private not in reply.text
                assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
    finally:
        faulty.stop()


def test_an_upstream_that_is_killed_and_comes_back() -> None:
    first = Faulty(sound)
    with running(TextScorer(), upstream=upstream(first.port)) as server:
        assert server.post("/v1/chat/completions", BODY).status_code == 200
        first.stop()
        for _ in range(2):
            reply = server.post("/v1/chat/completions", BODY)
            assert (reply.status_code, reply.json()["error"]["code"]) == (502, "upstream_failed")
            assert str(first.port) not in reply.text
        again = Faulty(sound, first.port)
        try:
            assert server.post("/v1/chat/completions", BODY).status_code == 200
        finally:
            again.stop()


def test_an_upstream_that_was_never_there_may_come() -> None:
    there = Faulty(sound)
    port = there.port
    there.stop()
    with running(TextScorer(), upstream=upstream(port)) as server:
        for _ in range(2):
            assert server.post("/v1/chat/completions", BODY).status_code == 502
        again = Faulty(sound, port)
        try:
            assert server.post("/v1/chat/completions", BODY).status_code == 200
        finally:
            again.stop()


def test_an_upstream_that_hangs_is_a_timeout() -> None:
    release = threading.Event()

    def hang(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        release.wait(10)
        return sound(body)

    faulty = Faulty(hang)
    try:
        slow = upstream(faulty.port, first_byte_s=0.1)
        with running(TextScorer(), upstream=slow) as server:
            reply = server.post("/v1/chat/completions", BODY)
            assert (reply.status_code, reply.json()["error"]["code"]) == (504, "upstream_timeout")
    finally:
        release.set()
        faulty.stop()
