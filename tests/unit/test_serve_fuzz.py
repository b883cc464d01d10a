"""What schemathesis makes of the server's own OpenAPI document: no 500, answers as it says."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import positive_data_acceptance
from serve_data import AGGREGATIONS, IMAGE, TOKEN, Running, TextScorer, running, served

import vilbench.serve
from vilbench.serve.app import application
from vilbench.serve.chat import ChatAnswer
from vilbench.serve.limits import Limits
from vilbench.serve.protocol import ScoreAnswer, SolutionScores
from vilbench.serve.upstream import Upstream
from vilbench.testing import ScriptedEngine
from vilbench.web.guard import Access
from vilbench.web.listening import LOOPBACK

LIMITS = Limits(characters=1000, solutions=8, steps=8, samples=4, seconds=20)
FEW = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def upstream() -> Upstream:
    said = ["Step 1: I look.\nStep 2: It is 3.", "Step 1: poison", ""]
    return Upstream(lambda: ScriptedEngine({"": said}, name="solver"))


def document() -> dict[str, Any]:
    made = application(
        served(TextScorer()), upstream=upstream(), access=Access(LOOPBACK, TOKEN), limits=LIMITS
    )
    app = made.app._app._app  # type: ignore[attr-defined]
    found: dict[str, Any] = app.openapi()
    return found


DOCUMENT = document()
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
SCORE = SCHEMA["/v1/score"]["POST"]
CHAT = SCHEMA["/v1/chat/completions"]["POST"]


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(TextScorer(), upstream=upstream(), token=TOKEN, limits=LIMITS) as found:
        yield found


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as found:
        yield found


Case = schemathesis.Case[Any]


def body_of(case: Case) -> dict[str, Any]:
    """Its body, to be changed in place."""
    body: Any = case.body
    assert isinstance(body, dict)
    return body


def call(case: Case, server: Running, session: requests.Session) -> Any:
    # What can be scored depends on images and limits too, of which no schema can tell.
    return case.call_and_validate(
        base_url=server.url,
        session=session,
        headers={"Authorization": f"Bearer {TOKEN}"},
        excluded_checks=[positive_data_acceptance],
    )


@SCHEMA.parametrize()
@FEW
def test_any_request_gets_an_answer_that_the_document_knows(
    case: Case, server: Running, session: requests.Session
) -> None:
    call(case, server, session)


@given(case=SCORE.as_strategy(), draw=st.data())
@FEW
def test_solutions_of_any_form_are_scored(
    case: Case, draw: st.DataObject, server: Running, session: requests.Session
) -> None:
    body = body_of(case)
    body["model"] = draw.draw(st.sampled_from(["text", None]))
    body["aggregations"] = draw.draw(st.lists(st.sampled_from(AGGREGATIONS)))
    problem = body["problem"]
    problem["images"] = [IMAGE] * min(2, len(problem.get("images", ())))
    body["solutions"] = body["solutions"][: LIMITS.solutions]
    for one in body["solutions"]:
        one.pop("spans", None)
    reply = call(case, server, session)
    assert reply.status_code in (200, 400, 422)
    if reply.status_code == 200 and body.get("stream"):
        found = [SolutionScores.model_validate_json(line) for line in reply.text.splitlines()]
        assert sorted(one.index for one in found) == list(range(len(body["solutions"])))
    elif reply.status_code == 200:
        answer = ScoreAnswer.model_validate_json(reply.content)
        assert [one.index for one in answer.results] == list(range(len(body["solutions"])))


@given(case=CHAT.as_strategy(), draw=st.data())
@FEW
def test_questions_of_any_form_are_answered(
    case: Case, draw: st.DataObject, server: Running, session: requests.Session
) -> None:
    body = body_of(case)
    body["model"] = draw.draw(st.sampled_from(["solver", "best-of-n"]))
    parts = st.sampled_from(
        [
            {"type": "text", "text": "How many?"},
            {"type": "image_url", "image_url": {"url": IMAGE}},
        ]
    )
    content = draw.draw(st.text() | st.lists(parts, max_size=4))
    body["messages"] = [{"role": "user", "content": content}]
    for name, most in (("n", 4), ("max_tokens", 8192), ("max_completion_tokens", 8192)):
        if body.get(name) is not None:
            body[name] = min(body[name], most)
    chosen = body.setdefault("vilbench", {})
    chosen["n"] = draw.draw(st.none() | st.integers(1, 4))
    chosen["aggregation"] = draw.draw(st.none() | st.sampled_from(AGGREGATIONS))
    reply = call(case, server, session)
    assert reply.status_code in (200, 400)
    if reply.status_code == 200 and body.get("stream"):
        lines = [line.removeprefix("data: ") for line in reply.text.split("\n\n") if line]
        assert lines[-1] == "[DONE]"
        kinds = {json.loads(line)["object"] for line in lines[:-1]}
        assert kinds == {"chat.completion.chunk"}
    elif reply.status_code == 200:
        answer = ChatAnswer.model_validate_json(reply.content)
        assert len(answer.choices) == (body.get("n") or 1)


def refused_with(place: int) -> set[Any]:
    """The constants at a place of the arguments of every refusal."""
    folder = Path(vilbench.serve.__file__).parent
    return {
        argument.value
        for file in folder.glob("*.py")
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "Refusal"
        for argument in call.args[place : place + 1]
        if isinstance(argument, ast.Constant)
    }


def test_every_code_is_on_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")
    codes = refused_with(1) - {"client_gone"}
    assert {"stopping", "upstream_failed", "image_timeout"} <= codes
    assert [one for one in sorted(codes) if f"`{one}`" not in page] == []


def test_every_status_that_is_refused_with_is_in_the_document() -> None:
    raised = refused_with(0)
    assert {400, 401, 413, 429, 500, 502, 503, 504} <= raised
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            known = {int(status) for status in operation["responses"]}
            # Nobody is there any more to read a 499.
            assert raised - {499} <= known, (path, method)


def test_the_document_tells_of_the_token() -> None:
    (scheme,) = DOCUMENT["components"]["securitySchemes"].values()
    assert scheme == {"type": "http", "scheme": "bearer"}
    for methods in DOCUMENT["paths"].values():
        assert all(operation["security"] for operation in methods.values())
