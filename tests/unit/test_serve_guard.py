"""Who may ask the server, and what hostile requests get."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import time
from collections.abc import Iterator, Sequence

import pytest
from fastapi.routing import APIRoute
from serve_data import IMAGE, TOKEN, Running, TextScorer, asked, running
from serve_images import bomb

from vilbench.serve.faults import public
from vilbench.serve.limits import Limits
from vilbench.serve.upstream import Upstream
from vilbench.testing import ScriptedEngine, tiny_png
from vilbench.types import Problem, Solution, StepScores

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
SMALL = Limits(
    body_bytes=200_000,
    body_seconds=0.5,
    images=2,
    image_bytes=50_000,
    pixels=10_000,
    characters=1_000,
    choices=4,
    solutions=3,
    steps=5,
)


@pytest.fixture(scope="module")
def closed() -> Iterator[Running]:
    upstream = Upstream(lambda: ScriptedEngine({"": ["Step 1: x"]}, name="solver"))
    with running(TextScorer(), upstream=upstream, token=TOKEN) as found:
        yield found


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(TextScorer(), limits=SMALL) as found:
        yield found


def paths(server: Running) -> list[str]:
    app = server.made.app._app._app  # type: ignore[attr-defined]
    found = [one.path for one in app.routes]
    assert {"/v1/score", "/v1/chat/completions", "/v1/models", "/metrics"} < set(found)
    assert all(isinstance(one, APIRoute) or one.path == "/openapi.json" for one in app.routes)
    return [path.replace("{name:path}", "text") for path in found]


def test_no_route_and_no_method_without_the_token(closed: Running) -> None:
    wrong = ("", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \u00e9")
    with closed.client() as client:
        del client.headers["authorization"]
        for path in (*paths(closed), "/", "/docs", "/nowhere", "//v1/models"):
            for method in METHODS:
                reply = client.request(method, path)
                assert reply.status_code == 401, (method, path)
        for shown in wrong:
            headers = {b"authorization": shown.encode()}
            assert client.get("/v1/models", headers=headers).status_code == 401, shown
        told = client.get("/v1/models").json()
    assert told["error"]["code"] == "invalid_api_key"
    assert TOKEN not in json.dumps(told)
    assert closed.get("/v1/models").status_code == 200
    assert closed.get("/openapi.json").status_code == 200


def test_no_page_loads_code_from_elsewhere(closed: Running) -> None:
    for path in ("/docs", "/redoc"):
        assert closed.get(path).status_code == 404


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "2130706433", "", "localhost@evil.example"]
)
def test_other_names_are_not_served(server: Running, host: str) -> None:
    with server.client(host=host) as client:
        assert client.get("/v1/models").status_code in (400, 421)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"},
    ],
)
def test_other_sites_may_not_ask(server: Running, headers: dict[str, str]) -> None:
    assert server.post("/v1/score", asked("x"), **headers).status_code == 403


def test_a_form_of_another_kind_is_no_request(server: Running) -> None:
    with server.client() as client:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            reply = client.post(
                "/v1/score", content=json.dumps(asked("x")), headers={"content-type": kind}
            )
            assert reply.status_code == 400


HOSTILE_BODIES = (
    b"",
    b"{",
    b'{"problem"',
    b"null",
    b"[]",
    b"3",
    b'"x"',
    b"\xff\xfe",
    b"[" * 50_000,
    b'{"a":' * 20_000,
    b'{"problem":' + b"9" * 10_000 + b"}",
    b'{"problem":NaN,"solutions":Infinity}',
    b'{"problem":{"question":"\\ud800"},"solutions":[{"text":"\\udfff"}]}',
    b'{"problem":{"question":"x"},"solutions":[]}',
    b'{"problem":{"question":"x"},"solutions":[{}]}',
    b'{"problem":{"question":"x"},"solutions":[{"text":"a","steps":["a"]}]}',
    b'{"problem":{"question":"x"},"solutions":[{"text":"abc","spans":[[2,1]]}]}',
    b'{"problem":{"question":"x"},"solutions":[{"text":"abc","spans":[[0,2],[1,3]]}]}',
    b'{"problem":{"question":"x"},"solutions":[{"text":"abc","spans":[[-1,2]]}]}',
    b'{"problem":{"question":"x"},"solutions":[{"text":"abc","spans":[[0,99]]}]}',
    b'{"problem":{"question":{}},"solutions":[{"text":7}]}',
    b'{"problem":{"question":"x"},"solutions":[{"text":"a"}],"model":["x"]}',
    b'{"problem":{"question":"x"},"solutions":[{"text":"a"}],"extra":1}',
    b'{"problem":{"question":"x"},"solutions":[{"text":"a"}],"aggregations":["last-0"]}',
    b'{"problem":{"question":"x","choices":["a","b","c","d","e"]},"solutions":[{"text":"a"}]}',
    json.dumps(asked(*"abcd")).encode(),
    json.dumps(asked("x" * 1001)).encode(),
    json.dumps(asked({"steps": ["x"] * 6})).encode(),
    json.dumps(asked("\n\n".join(f"Step {k}: x" for k in range(1, 8)))).encode(),
    json.dumps({**asked("x"), "problem": {"question": "x" * 1001}}).encode(),
)


@pytest.mark.parametrize("body", HOSTILE_BODIES)
def test_hostile_bodies_are_clean_errors(server: Running, body: bytes) -> None:
    with server.client(**{"content-type": "application/json"}) as client:
        for path in ("/v1/score", "/v1/chat/completions"):
            reply = client.post(path, content=body)
            assert 400 <= reply.status_code < 500, (path, reply.text)
            error = reply.json()["error"]
            assert set(error) == {"message", "type", "param", "code"}
            assert len(reply.content) < 1_000
    assert server.post("/v1/score", asked("Step 1: x")).status_code == 200


def data_url(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize(
    "url",
    [
        data_url(b""),
        data_url(b"no image"),
        data_url(tiny_png()[:40]),
        data_url(bomb(50_000, 50_000)),
        data_url(bomb(101, 100)),
        data_url(tiny_png(size=(1, 1))),
        data_url(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "svg+xml"),
        data_url(b"x" * 60_000),
        "data:image/png;base64,!!!!",
        "data:image/png,abc",
        "data:text/html;base64,aGk=",
        "http://127.0.0.1:1/x.png",
        "https://evil.example/x.png",
        "http://2130706433/x.png",
        "http://0177.0.0.1/x.png",
        "http://[::ffff:127.0.0.1]/x.png",
        "http:\\\\evil.example\\x.png",
        "file:///etc/passwd",
        "/etc/passwd",
        "ftp://evil.example/x.png",
        "",
    ],
)
def test_images_that_are_not_taken(server: Running, url: str) -> None:
    body = {**asked("Step 1: x"), "problem": {"question": "?", "images": [url]}}
    reply = server.post("/v1/score", body)
    assert reply.status_code in (400, 413)
    assert reply.json()["error"]["param"] == "problem.images[0]"
    assert "evil" not in reply.text and "passwd" not in reply.text


def test_too_many_images(server: Running) -> None:
    body = {**asked("Step 1: x"), "problem": {"question": "?", "images": [IMAGE] * 3}}
    assert server.post("/v1/score", body).json()["error"]["code"] == "too_many"


def test_a_body_beyond_the_limit_is_not_read(server: Running) -> None:
    with server.client(**{"content-type": "application/json"}) as client:
        assert client.post("/v1/score", content=b"x" * 200_001).status_code == 413
        parts = (b"x" * 10_000 for _ in range(21))
        assert client.post("/v1/score", content=parts).status_code == 413
        packed = gzip.compress(b"{}")
        reply = client.post("/v1/score", content=packed, headers={"content-encoding": "gzip"})
        assert reply.status_code == 415
    assert server.post("/v1/score", asked("Step 1: x")).status_code == 200


def raw(server: Running, data: bytes, seconds: float = 5.0) -> bytes:
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(data)
        said = b""
        while part := connection.recv(65536):
            said += part
    return said


def test_a_body_that_drips_is_cut(server: Running) -> None:
    begun = time.monotonic()
    head = b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
    said = raw(server, head)
    assert b" 408 " in said.split(b"\r\n")[0]
    assert time.monotonic() - begun < 4


@pytest.mark.parametrize("head", [b"", b"G", b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nX: y"])
def test_a_head_that_does_not_come_is_not_waited_for(server: Running, head: bytes) -> None:
    begun = time.monotonic()
    assert raw(server, head) == b""
    assert 0.4 < time.monotonic() - begun < 4


def test_nor_is_it_behind_a_request_that_came(server: Running) -> None:
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        said = b""
        while not said.endswith(b"}"):
            said += connection.recv(65536)
        assert said.startswith(b"HTTP/1.1 200")
        begun = time.monotonic()
        connection.sendall(b"GET /hea")
        time.sleep(0.3)
        connection.sendall(b"lth")  # a byte now and then does not help
        assert connection.recv(65536) == b""
        assert 0.4 < time.monotonic() - begun < 4


def test_a_body_may_take_longer_than_its_head(server: Running) -> None:
    port = int(server.url.rpartition(":")[2])
    body = json.dumps(asked("Step 1: x")).encode()
    head = b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        time.sleep(0.3)
        connection.sendall(head)
        time.sleep(0.3)  # more than 0.5 in all
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_requests_that_hold_too_much_memory_are_refused() -> None:
    with running(TextScorer(), limits=Limits(held_bytes=1_000)) as server:
        reply = server.post("/v1/score", asked("Step 1: " + "x" * 2_000))
        assert (reply.status_code, reply.json()["error"]["code"]) == (429, "busy")
        assert reply.headers["retry-after"]
        for _ in range(5):
            assert server.post("/v1/score", asked("Step 1: x")).status_code == 200


def test_two_hosts_and_odd_lengths(server: Running) -> None:
    for head in (
        b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\n\r\n",
        b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1e3\r\n\r\n",
        b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999\r\n\r\n",
        b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n"
        b"Content-Length: 2\r\n\r\n{}",
        b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n X: folded\r\nY : z\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ):
        said = raw(server, head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        status = int(said.split(b" ")[1])
        assert 400 <= status < 500 or status == 501, head
        error = json.loads(said.partition(b"\r\n\r\n")[2])["error"]
        assert set(error) == {"message", "type", "param", "code"}


def test_every_answer_forbids_what_browsers_would_do(server: Running) -> None:
    for reply in (server.get("/v1/models"), server.get("/nowhere"), server.post("/v1/score", {})):
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in reply.headers["content-security-policy"]
        assert "access-control-allow-origin" not in reply.headers
        assert "server" not in reply.headers


def test_faults_of_the_program_show_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    class Broken(TextScorer):
        async def score(self, problem: Problem, solutions: Sequence[Solution]) -> list[StepScores]:
            raise RuntimeError("/secret/path and sk-secret-key")

    with running(Broken()) as server:
        reply = server.post("/v1/score", asked("Step 1: x"))
        assert (reply.status_code, reply.json()["error"]["code"]) == (500, "internal_error")
        assert "secret" not in reply.text
        streamed = server.post("/v1/score", asked("Step 1: x", stream=True))
        assert "secret" not in streamed.text
        assert json.loads(streamed.text)["error"]["code"] == "internal_error"
        assert server.get("/health").status_code == 200


@pytest.mark.parametrize(
    "text",
    [
        "cannot read /home/someone/models/x.bin",
        "cannot read ../models/x.bin",
        "http://10.0.0.1:8000/v1/chat failed",
        "connect to 10.0.0.1:8000 failed",
        "connect to [::1]:8000 failed",
        "C:\\Users\\someone\\x",
        "Incorrect API key: sk-abcdefgh12345678",
        "at localhost:8000",
    ],
)
def test_words_for_clients_have_no_places(text: str) -> None:
    shown = public(text)
    assert "[...]" in shown
    for private in ("someone", "models", "10.0.0.1", "8000", "sk-abc", "::1"):
        assert private not in shown


def test_words_for_clients_keep_what_matters() -> None:
    told = "3 tokens of the prompt and 4/5 of the steps are more than 1.5"
    assert public(told) == told
    assert len(public("x" * 10_000)) <= 400
