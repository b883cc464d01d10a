"""The official client against the whole server: embedded models, a real process, a token."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import openai
import pytest
from serve_data import IMAGE, TOKEN, Running, TextScorer, asked, running, waited
from serve_process import ServeProcess

from vilbench.config.problems import ProblemsConfig, load_problem_set
from vilbench.errors import EngineError
from vilbench.serve.limits import Limits
from vilbench.serve.upstream import Upstream
from vilbench.testing import ScriptedEngine
from vilbench.types import Completion, Prompt, Sampling

USER: dict[str, Any] = {"role": "user", "content": "How many?"}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server with the embedded solver behind the embedded reward model."""
    arguments = ("--upstream", "embedded:base", "--token", TOKEN)
    with ServeProcess("embedded:vilprm", *arguments) as process:
        yield process.url


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=url, api_key=TOKEN, max_retries=0, timeout=120) as found:
        yield found


@pytest.fixture(scope="module")
def puzzle() -> dict[str, Any]:
    """A puzzle with its picture, as a message."""
    config = ProblemsConfig(source="puzzles", split="test", limit=1)
    problem = load_problem_set(config, 0).problems[0]
    data = base64.b64encode(problem.images[0].read()).decode()
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    return {"role": "user", "content": [picture, {"type": "text", "text": problem.question}]}


def test_best_of_n_about_an_image(client: openai.OpenAI, url: str, puzzle: dict[str, Any]) -> None:
    answer = client.chat.completions.create(
        model="best-of-n",
        messages=[puzzle],
        n=2,
        seed=7,
        temperature=1,
        max_completion_tokens=120,
        extra_body={"vilbench": {"n": 6, "aggregation": "min", "return_all": True}},
    )
    assert answer.model_extra is not None
    told = answer.model_extra["vilbench"]
    candidates = told["candidates"]
    assert (told["n"], told["aggregation"], len(candidates)) == (6, "min", 6)
    assert len({one["content"] for one in candidates}) > 1
    order = sorted(range(6), key=lambda k: (-candidates[k]["score"], k))
    assert [one.message.content for one in answer.choices] == [
        candidates[k]["content"] for k in order[:2]
    ]
    assert told["scores"] == [candidates[k]["score"] for k in order[:2]]
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 6 and answer.usage.prompt_tokens > 6

    # They are the scores that the scoring route gives of the same texts.
    picture, text = puzzle["content"]
    shown = {"question": text["text"], "images": [picture["image_url"]["url"]]}
    body = {
        "problem": shown,
        "solutions": [{"text": one["content"]} for one in candidates],
        "aggregations": ["min"],
    }
    headers = {"authorization": f"Bearer {TOKEN}"}
    scored = httpx2.post(f"{url}/score", json=body, headers=headers, timeout=60).json()["results"]
    for one, other in zip(candidates, scored, strict=True):
        assert one["values"] == pytest.approx(other["values"], abs=1e-5)
        assert one["score"] == pytest.approx(other["aggregates"]["min"], abs=1e-5)
        assert one["score"] == min(one["values"])


def test_the_same_seed_gives_the_same_answer_streamed_or_not(
    client: openai.OpenAI, puzzle: dict[str, Any]
) -> None:
    request: dict[str, Any] = {
        "model": "best-of-n",
        "messages": [puzzle],
        "seed": 11,
        "max_tokens": 80,
        "extra_body": {"vilbench": {"n": 3}},
    }
    answer = client.chat.completions.create(**request)
    with client.chat.completions.stream(**request) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == answer.choices[0].message.content
    assert final.choices[0].finish_reason == answer.choices[0].finish_reason


async def test_the_asynchronous_client(url: str, puzzle: dict[str, Any]) -> None:
    async with openai.AsyncOpenAI(base_url=url, api_key=TOKEN, max_retries=0) as client:
        answers = await asyncio.gather(
            *(
                client.chat.completions.create(
                    model="best-of-n",
                    messages=[puzzle],
                    max_tokens=60,
                    extra_body={"vilbench": {"n": 2}},
                )
                for _ in range(3)
            )
        )
    assert all(one.choices[0].message.content for one in answers)


def test_models(client: openai.OpenAI) -> None:
    scorer, solver, best = client.models.list().data
    assert scorer.model_extra is not None and solver.model_extra is not None
    assert scorer.model_extra["vilbench"]["role"] == "scorer"
    assert solver.model_extra["vilbench"]["role"] == "best-of-n"
    assert best.model_extra is not None and best.id == "best-of-n"
    assert best.model_extra["vilbench"] == solver.model_extra["vilbench"]
    for one in (solver, best):
        assert client.models.retrieve(one.id).id == one.id
    with pytest.raises(openai.NotFoundError, match=f"there are '{scorer.id}', '{solver.id}', "):
        client.models.retrieve("gpt-4o")


def test_a_wrong_key(url: str) -> None:
    with openai.OpenAI(base_url=url, api_key="sk-of-somebody-else", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError) as caught:
            stranger.chat.completions.create(model="best-of-n", messages=[USER])
        assert caught.value.code == "invalid_api_key"
        with pytest.raises(openai.AuthenticationError):
            stranger.models.list()


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": [USER, {"role": "assistant", "content": "4"}, USER]}, "messages[0]"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"logprobs": True}, "logprobs"),
        ({"response_format": {"type": "json_object"}}, "response_format.type"),
        ({"n": 9, "extra_body": {"vilbench": {"n": 8}}}, "n"),
        ({"extra_body": {"vilbench": {"aggregation": "median"}}}, "vilbench.aggregation"),
        ({"extra_body": {"vilbench": {"samples": 8}}}, "vilbench.samples"),
        ({"extra_body": {"best_of": 3}}, "best_of"),
    ],
)
def test_refusals_name_the_field(client: openai.OpenAI, change: dict[str, Any], param: str) -> None:
    request: dict[str, Any] = {"model": "best-of-n", "messages": [USER], **change}
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**request)
    assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")


def test_images_on_the_network_are_refused(client: openai.OpenAI) -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://example.org/x.png"}}
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model="best-of-n",
            messages=[{"role": "user", "content": [picture]}],
        )
    assert caught.value.param == "messages.images[0]"
    assert "data URLs" in str(caught.value)


def test_other_parts_of_the_protocol_are_not_there(client: openai.OpenAI) -> None:
    def files() -> object:
        return client.files.list()

    calls: list[Callable[[], object]] = [
        lambda: client.responses.create(model="best-of-n", input="x"),
        lambda: client.completions.create(model="best-of-n", prompt="x"),
        lambda: client.embeddings.create(model="best-of-n", input="x"),
        files,
    ]
    for call in calls:
        with pytest.raises(openai.NotFoundError) as caught:
            call()
        assert caught.value.code == "not_found"


class Slow(ScriptedEngine):
    """Answers when it is told to."""

    def __init__(self) -> None:
        super().__init__({"": ["Step 1: x"]}, name="solver")
        self.going = False

    async def generate(
        self, prompt: Prompt, n: int, sampling: Sampling, seed: int, *, first: int = 0
    ) -> list[Completion]:
        while not self.going:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        return await super().generate(prompt, n, sampling, seed, first=first)


def plain(server: Running, *, retries: int = 0) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=retries)


def test_overload_is_a_rate_limit_and_passes() -> None:
    engine = Slow()
    upstream = Upstream(lambda: engine)
    with (
        running(TextScorer(), upstream=upstream, limits=Limits(waiting=2)) as server,
        ThreadPoolExecutor(3) as pool,
    ):

        def ask(retries: int) -> Any:
            with plain(server, retries=retries) as client:
                return client.chat.completions.create(model="solver", messages=[USER])

        first = [pool.submit(ask, 0) for _ in range(2)]
        waited(lambda: upstream.under_way == 2)
        with pytest.raises(openai.RateLimitError) as caught:
            ask(0)
        assert caught.value.response.headers["retry-after"] == "5"
        assert caught.value.code == "busy"
        engine.going = True
        assert all(one.result().choices for one in first)
        assert ask(0).choices


def test_the_client_comes_again_after_a_refusal() -> None:
    scorer = TextScorer()
    scorer.open.clear()
    engine = ScriptedEngine({"": ["Step 1: x"]}, name="solver")
    with (
        running(scorer, upstream=Upstream(lambda: engine), limits=Limits(waiting=1)) as server,
        ThreadPoolExecutor(3) as pool,
        plain(server, retries=3) as client,
    ):
        busy = [pool.submit(server.post, "/v1/score", asked("Step 1: x"))]
        waited(lambda: scorer.calls == [1])
        busy.append(pool.submit(server.post, "/v1/score", asked("Step 1: y")))
        waited(lambda: server.made.service.queue.waiting == 1)
        again = pool.submit(client.post, "/score", cast_to=httpx2.Response, body=asked("Step 1: z"))
        waited(lambda: server.made.service.queue.load.refused == 1)
        scorer.open.set()
        assert {one.result().status_code for one in busy} == {200}
        assert again.result().status_code == 200


def test_failures_are_server_errors_of_the_client() -> None:
    class Broken(ScriptedEngine):
        async def generate(
            self, prompt: Prompt, n: int, sampling: Sampling, seed: int, *, first: int = 0
        ) -> list[Completion]:
            raise EngineError("http://10.0.0.1/secret failed")

    broken = Broken({"": ["x"]}, name="solver")
    with (
        running(TextScorer(), upstream=Upstream(lambda: broken)) as server,
        plain(server) as client,
        pytest.raises(openai.InternalServerError) as caught,
    ):
        client.chat.completions.create(model="solver", messages=[USER])
    assert (caught.value.status_code, caught.value.code) == (502, "upstream_failed")
    assert "secret" not in str(caught.value) and "10.0.0.1" not in str(caught.value)


def test_candidates_that_cannot_be_scored_are_unprocessable() -> None:
    poisoned = ScriptedEngine({"": ["Step 1: poison"]}, name="solver")
    with (
        running(TextScorer(), upstream=Upstream(lambda: poisoned)) as server,
        plain(server) as client,
        pytest.raises(openai.UnprocessableEntityError) as caught,
    ):
        content = [{"type": "image_url", "image_url": {"url": IMAGE}}]
        client.chat.completions.create(
            model="solver",
            messages=[{"role": "user", "content": content}],
        )
    assert caught.value.code == "unscorable"
